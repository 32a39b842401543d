#include "device/membership.h"

#include <stdlib.h>

#include "base/must.h"
#include "device/devices.h"
#include "device/event_outbox.h"
#include "device/membership_left.h"
#include "message/control_message.h"

enum {
    VALUE_BYTES = 4096,
    LEFT_KEEP_S_MAX = 31 * 24 * 3600,  /* see left_expiry() */
};

void memberships_init(struct memberships *memberships)
{
    *memberships = (struct memberships){ .members_max = GROUP_MEMBERS_MAX, .groups_max = USER_GROUPS_MAX };
    member_counts_init(&memberships->counts);
    list_init(&memberships->publishes);
}

void memberships_fini(struct memberships *memberships)
{
    must(memberships->away_count == 0 && list_is_empty(&memberships->publishes));
    member_counts_fini(&memberships->counts);
}

static struct membership_command *membership_of(struct command *command)
{
    return container_of(command, struct membership_command, command);
}

static struct ledger *ledger_of(const struct writer *writer)
{
    return writer->durable.store->ledger;
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

static void membership_end(struct membership_command *mine, enum membership_outcome outcome)
{
    struct writer *writer = mine->writer;

    must(mine->memberships->away_count > 0);
    mine->memberships->away_count--;
    mine->outcome = outcome;
    if (mine->settled != NULL)
        mine->settled(mine);
    else
        writer->port->send(writer->ctx, mine->command.loop, &mine->command);
}

static void membership_free(struct command *command)
{
    struct membership_command *mine = membership_of(command);

    ledger_read_fini(&mine->read);
    channel_name_unref(mine->user);
    channel_name_unref(mine->group);
    free(mine);
}

/* --- the append ------------------------------------------------------------------------------------------------- */

/* The rows of a change, as the store holds them until the append is done. */
struct membership_rows {
    struct ledger_write  write;
    struct ledger_change changes[3];
    char                 group_key[LEDGER_KEY_BYTES_MAX], member_key[LEDGER_KEY_BYTES_MAX];
    char                 value[GROUP_SPANS_BYTES_MAX];
    bool                 has_event;
    struct event_row     event[];  /* one, if it has */
};

static void publish_drop(struct command *command)
{
    struct publish_command    *publish = container_of(command, struct publish_command, command);
    struct membership_command *mine    = publish->owner;

    publish->owner = NULL;
    publish_kind.free(command);
    if (mine == NULL)
        return;
    mine->memberships->away_count--;
    membership_free(&mine->command);
}

/* The writer has it from the start; if the writer ends before the store has it, the change goes with it. */
static const struct command_kind membership_append_kind = { .name = "membership append", .free = publish_drop };

/* The row of somebody who left says what a device that is away may still read. Once the group's log keeps none of it, or
 * no session is kept as long, the row is of no use. */
static msec left_expiry(const struct membership_command *mine)
{
    const msec most = (msec)LEFT_KEEP_S_MAX * 1000;
    msec       keep = mine->group->space->keep_ms;

    return mine->writer->wall + (keep == 0 || keep > most ? most : keep);
}

static enum event_kind event_kind_of(const struct membership_command *mine)
{
    return mine->request == MEMBERSHIP_JOIN ? EVENT_KIND_JOINED : EVENT_KIND_LEFT;
}

static void membership_rows_add_event(struct membership_rows *rows, const struct membership_command *mine)
{
    const struct event_facts facts = { .kind = event_kind_of(mine), .user = channel_own_name(mine->user),
                                       .channel = channel_name_span(mine->group) };

    rows->has_event = true;
    event_row_prepare(mine->memberships->events, rows->event, facts.user, &facts, true, &rows->changes[rows->write.count++]);
}

static struct membership_rows *membership_rows_new(const struct membership_command *mine)
{
    bool                    has_event = event_outbox_wants(mine->memberships->events, event_kind_of(mine));
    struct membership_rows *rows = calloc(1, sizeof *rows + (has_event ? sizeof rows->event[0] : 0));
    struct span             user = channel_own_name(mine->user), group = channel_own_name(mine->group);
    bool                    is_join = mine->request == MEMBERSHIP_JOIN;
    struct buf              value;

    must(rows != NULL);
    buf_init(&value, sizeof rows->value);
    group_spans_put(&mine->spans, &value);
    must(!buf_is_over(&value));
    memcpy(rows->value, value.at, value.len);
    rows->changes[0] = (struct ledger_change){
        .op             = LEDGER_PUT,
        .key            = { ROW_GROUP, group_key(user, group, rows->group_key) },
        .value          = span_of(rows->value, value.len),
        .takes_seq      = true,
        .expires_at     = is_join ? 0 : left_expiry(mine),
        .is_conditional = true,
        .if_generation  = mine->generation,
    };
    rows->changes[1] = (struct ledger_change){
        .op        = is_join ? LEDGER_PUT : LEDGER_DELETE,
        .key       = { ROW_MEMBER, member_key(group, user, rows->member_key) },
        .takes_seq = is_join,
    };
    rows->write = (struct ledger_write){ .changes = rows->changes, .count = 2 };
    if (has_event)
        membership_rows_add_event(rows, mine);
    buf_fini(&value);
    return rows;
}

static struct message *membership_message(const struct membership_command *mine)
{
    struct buf object;

    buf_init(&object, VALUE_BYTES);
    buf_put_lit(&object, "{\"group\":");
    control_put_string(&object, channel_own_name(mine->group));
    buf_putf(&object, ",\"joined\":%s,", mine->request == MEMBERSHIP_JOIN ? "true" : "false");
    control_put_place(&object, mine->head.epoch, mine->head.head);
    buf_putc(&object, '}');
    must(!buf_is_over(&object));
    struct message *message = control_message_new(mine->user, SPAN("membership"), buf_span(&object),
                                                  span_of(mine->from, mine->from_len));
    message->time = mine->writer->wall;
    buf_fini(&object);
    return message;
}

static void membership_read_row(struct membership_command *mine);

static void membership_tell_event(struct memberships *memberships, const struct membership_rows *rows, uint64_t seq)
{
    if (rows->has_event)
        event_outbox_send(memberships->events, rows->event, seq);
}

static void membership_settled(struct publish_command *publish, struct writer *writer)
{
    struct membership_command *mine    = publish->owner;
    bool                       is_join = mine->request == MEMBERSHIP_JOIN;
    enum publish_outcome       outcome = publish->outcome;
    uint64_t                   seq     = publish->answer.seq;

    (void)writer;
    if (mine->memberships->devices != NULL)
        devices_group_moved(mine->memberships->devices, channel_own_name(mine->user),
                            outcome != PUBLISH_BROKEN);
    if (outcome == PUBLISH_DONE)
        membership_tell_event(mine->memberships, publish->rows, seq);
    publish->owner = NULL;
    command_free(&publish->command);
    switch (outcome) {
    case PUBLISH_DONE:
        mine->is_member = is_join;
        mine->seq       = seq;
        member_count_move(&mine->memberships->counts, mine->user, is_join ? 1 : -1);
        member_count_move(&mine->memberships->counts, mine->group, is_join ? 1 : -1);
        if (!is_join)
            membership_left_tell(mine->writer, mine->user, mine->group);
        membership_end(mine, MEMBERSHIP_DONE);
        return;
    case PUBLISH_STALE:
        membership_read_row(mine);
        return;
    case PUBLISH_BUSY: membership_end(mine, MEMBERSHIP_BUSY); return;
    case PUBLISH_NO_SPACE: membership_end(mine, MEMBERSHIP_NO_SPACE); return;
    case PUBLISH_AWAY: membership_end(mine, MEMBERSHIP_AWAY); return;
    case PUBLISH_BROKEN:
        counter_add(&mine->memberships->unknown_leaves, !is_join);
        membership_end(mine, MEMBERSHIP_BROKEN);
        return;
    case PUBLISH_REPLAYED:
    case PUBLISH_KEY_CONFLICT:
    case PUBLISH_NO_TARGET:
    case PUBLISH_PURGED:
    case PUBLISH_NO_MEMBER:
    case PUBLISH_TOO_OFTEN:
    case PUBLISH_TOO_FAR:
        break;
    }
    must(!"an append without key and target ends otherwise");
}

static void membership_append(struct membership_command *mine)
{
    const struct store_head *head    = &mine->head;
    struct message          *message = membership_message(mine);

    if (mine->request == MEMBERSHIP_JOIN)
        must(group_spans_join(&mine->spans, head->epoch, head->head));
    else
        must(group_spans_leave(&mine->spans, head->epoch, head->head, mine->generation));
    struct publish_command *publish = publish_command_new(&message, SPAN(""), SPAN(""));
    struct membership_rows *rows    = membership_rows_new(mine);
    publish->command                = (struct command){ .kind = &membership_append_kind, .loop = mine->command.loop };
    publish->append.write           = &rows->write;
    publish->rows                   = rows;
    publish->settled                = membership_settled;
    publish->owner                  = mine;
    mine->stage                     = MEMBERSHIP_APPEND;
    if (mine->memberships->devices != NULL)
        devices_group_moves(mine->memberships->devices);
    publish_kind.at_writer(&publish->command, mine->writer);
}

/* --- the head --------------------------------------------------------------------------------------------------- */

static void membership_heads_done(struct store_heads *heads)
{
    struct membership_command *mine = container_of(heads, struct membership_command, heads);

    mine->writer->port->post(mine->writer->ctx, &mine->command);
}

static void membership_ask_head(struct membership_command *mine)
{
    struct writer *writer = mine->writer;
    struct store  *store  = mine->group->space->durability == DURABLE ? writer->durable.store : writer->memory.store;

    mine->stage = MEMBERSHIP_HEAD;
    mine->heads = (struct store_heads){
        .names = &mine->group, .heads = &mine->head, .count = 1, .wall = writer->wall, .done = membership_heads_done,
    };
    writer->read_count++;
    store->ops->heads(store, &mine->heads);
}

static void membership_take_head(struct membership_command *mine)
{
    mine->writer->read_count--;
    writer_note_heads(mine->writer, &mine->heads);
    if (mine->head.rc == RC_OK)
        membership_append(mine);
    else
        membership_end(mine, mine->head.rc == RC_FULL ? MEMBERSHIP_BUSY : MEMBERSHIP_AWAY);
}

/* --- the counts ------------------------------------------------------------------------------------------------- */

/* Every time that it comes back from a count it looks at both again: what was read for the first may be old when the
 * second is known, but both stand in memory then. */
static void membership_look_counts(struct membership_command *mine)
{
    struct memberships *all    = mine->memberships;
    struct writer      *writer = mine->writer;

    mine->stage = MEMBERSHIP_COUNTS;
    if (mine->tries++ > MEMBERSHIP_TRIES_MAX) {
        membership_end(mine, MEMBERSHIP_AWAY);
        return;
    }
    enum member_count_answer answer = member_count_look(&all->counts, writer, mine->user, ROW_GROUP, all->groups_max,
                                                        &mine->command);
    if (answer == MEMBER_COUNT_FULL)
        membership_end(mine, MEMBERSHIP_USER_FULL);
    if (answer != MEMBER_COUNT_ROOM)
        return;
    answer = member_count_look(&all->counts, writer, mine->group, ROW_MEMBER, all->members_max, &mine->command);
    if (answer == MEMBER_COUNT_FULL)
        membership_end(mine, MEMBERSHIP_GROUP_FULL);
    if (answer == MEMBER_COUNT_ROOM)
        membership_ask_head(mine);
}

/* --- the row ---------------------------------------------------------------------------------------------------- */

static void membership_row_done(struct ledger_read *read)
{
    struct membership_command *mine = container_of(read, struct membership_command, read);

    mine->writer->port->post(mine->writer->ctx, &mine->command);
}

static void membership_read_row(struct membership_command *mine)
{
    struct ledger *ledger = ledger_of(mine->writer);

    if (mine->tries++ > MEMBERSHIP_TRIES_MAX) {
        membership_end(mine, MEMBERSHIP_BUSY);
        return;
    }
    mine->stage = MEMBERSHIP_ROW;
    mine->key   = (struct ledger_key){ ROW_GROUP, group_key(channel_own_name(mine->user),
                                                            channel_own_name(mine->group), mine->key_bytes) };
    mine->read  = (struct ledger_read){
         .way = LEDGER_GET, .keys = &mine->key, .key_count = 1, .bytes_max = VALUE_BYTES,
         .wall = mine->writer->wall, .done = membership_row_done,
    };
    mine->writer->read_count++;
    ledger->ops->read(ledger, &mine->read);
}

/* A row that can't be read, by its form, is overwritten by the next join as if there were none. */
static void membership_note_row(struct membership_command *mine, const struct ledger_row *row)
{
    mine->generation = row->generation;
    mine->spans      = (struct group_spans){ 0 };
    if (row->generation != 0 && !group_spans_get(row->value, &mine->spans))
        mine->spans.count = 0;
    mine->is_member = group_spans_is_member(&mine->spans);
    mine->seq       = row->generation;
}

/* Nothing is to be changed. Who has left perhaps did so by a request of which nobody knew what became of it, and nobody was told then. */
static void membership_made(struct membership_command *mine)
{
    if (mine->request == MEMBERSHIP_LEAVE && mine->generation != 0)
        membership_left_tell(mine->writer, mine->user, mine->group);
    membership_end(mine, MEMBERSHIP_DONE);
}

/* It may have been made a moment ago by another request, whose message was not told to the user's links yet. */
static void membership_confirm(struct membership_command *mine)
{
    mine->stage = MEMBERSHIP_MADE;
    if (mine->request == MEMBERSHIP_ASK || !writer_rest(mine->writer, mine->user, &mine->command))
        membership_made(mine);
}

static void membership_take_row(struct membership_command *mine)
{
    struct ledger_read *read = &mine->read;
    enum rc             rc   = read->rc;

    mine->writer->read_count--;
    if (rc == RC_OK && read->row_count == 1)
        membership_note_row(mine, &read->rows[0]);
    ledger_read_fini(read);
    if (rc != RC_OK)
        membership_end(mine, rc == RC_FULL ? MEMBERSHIP_BUSY : MEMBERSHIP_AWAY);
    else if (mine->request == MEMBERSHIP_ASK || mine->is_member == (mine->request == MEMBERSHIP_JOIN))
        membership_confirm(mine);
    else if (mine->request == MEMBERSHIP_JOIN)
        membership_look_counts(mine);
    else
        membership_ask_head(mine);
}

/* --- coming and going ------------------------------------------------------------------------------------------- */

static void membership_begin(struct membership_command *mine, struct writer *writer)
{
    mine->writer = writer;
    if (mine->memberships->away_count++ >= MEMBERSHIPS_AWAY_MAX)
        membership_end(mine, MEMBERSHIP_BUSY);
    else if (mine->user->space->durability != DURABLE || ledger_of(writer) == NULL)
        membership_end(mine, MEMBERSHIP_NOT_DURABLE);
    else
        membership_read_row(mine);
}

static void membership_at_writer(struct command *command, struct writer *writer)
{
    struct membership_command *mine = membership_of(command);

    switch (mine->stage) {
    case MEMBERSHIP_CAME: membership_begin(mine, writer); break;
    case MEMBERSHIP_ROW: membership_take_row(mine); break;
    case MEMBERSHIP_COUNTS: membership_look_counts(mine); break;
    case MEMBERSHIP_HEAD: membership_take_head(mine); break;
    case MEMBERSHIP_APPEND: must(!"the append has it"); break;
    case MEMBERSHIP_MADE: membership_made(mine); break;
    }
}

static void membership_at_loop(struct command *command, struct shard *shard)
{
    struct membership_command *mine = membership_of(command);

    shard_end_question(shard);
    mine->answered(mine);
}

static const struct command_kind membership_kind = {
    .name = "membership", .free = membership_free, .at_loop = membership_at_loop, .at_writer = membership_at_writer,
};

struct membership_command *membership_command_new(struct memberships *memberships, enum membership_request request,
                                                  struct channel_name *user, struct channel_name *group,
                                                  struct span from)
{
    struct membership_command *mine = calloc(1, sizeof *mine);

    must(mine != NULL && from.len <= sizeof mine->from);
    mine->command.kind = &membership_kind;
    mine->memberships  = memberships;
    mine->request         = request;
    mine->user         = channel_name_ref(user);
    mine->group        = channel_name_ref(group);
    mine->from_len     = from.len;
    if (from.len > 0)
        memcpy(mine->from, from.at, from.len);
    return mine;
}

static struct channel_name *name_in(struct namespaces *spaces, const struct hash_key *key, const char *space,
                                    struct span own_name)
{
    struct channel_name *name;
    struct buf           text;

    buf_init(&text, NAMESPACE_NAME_BYTES_MAX + 1 + CHANNEL_NAME_BYTES_MAX);
    buf_putf(&text, "%s:", space);
    buf_put(&text, own_name);
    must(channel_name_new(spaces, key, buf_span(&text), &name) == CHANNEL_NAME_OK);
    buf_fini(&text);
    return name;
}

struct membership_command *membership_question_new(struct memberships *memberships, struct namespaces *spaces,
                                                   const struct hash_key *key, struct span user,
                                                   const struct channel_name *channel)
{
    struct channel_name       *user_name  = name_in(spaces, key, "user", user);
    struct channel_name       *group_name = name_in(spaces, key, "group", channel_own_name(channel));
    struct membership_command *question   = membership_command_new(memberships, MEMBERSHIP_ASK, user_name, group_name,
                                                                   SPAN(""));

    channel_name_unref(user_name);
    channel_name_unref(group_name);
    return question;
}

void shard_ask_membership(struct shard *shard, struct membership_command *command)
{
    shard_ask_question(shard, &command->command);
}
