#include "device/receipts.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device/device_look.h"
#include "device/group_spans.h"

enum { RECEIPTS_READ_BYTES_MAX = 256 * 1024, SESSION_ROWS_A_READ = 200 };

/* A page under way: members, then their sessions one user after the other, then the look at the devices. */
struct receipts_work {
    struct receipts_command *command;
    struct device_read       read;
    char                     prefix[LEDGER_KEY_BYTES_MAX], after[LEDGER_KEY_BYTES_MAX];
    char                     users[RECEIPTS_MEMBERS_MAX + 1][USER_NAME_BYTES_MAX + 1];
    struct ledger_key        keys[RECEIPTS_MEMBERS_MAX + 1];     /* of the users' rows of the group */
    struct buf               key_bytes;
    size_t                   user_count, user_at, member_count;
    bool                     has_more_users;                     /* behind the last of them */
    char                     first_user[USER_NAME_BYTES_MAX + 1];      /* asked: where the page begins … */
    char                     device_after[DEVICE_NAME_BYTES_MAX + 1];  /* … behind this device of it; then, of any user, where
                                                                        * the next read goes on */
    char                     last_user[USER_NAME_BYTES_MAX + 1]; /* that was looked at */
    struct device_facts     *facts;
    size_t                   count;
    bool                     is_full;
    struct device_look       look;
};

static struct receipts_command *receipts_of(struct command *command)
{
    return container_of(command, struct receipts_command, command);
}

static void receipts_set_text(char *into, size_t size, struct span text)
{
    must(text.len < size);
    if (text.len > 0)
        memcpy(into, text.at, text.len);
    into[text.len] = '\0';
}

/* --- its life --------------------------------------------------------------------------------------------------- */

static void receipts_work_free(struct receipts_command *command)
{
    struct receipts_work *work = command->work;

    if (work == NULL)
        return;
    ledger_read_fini(&work->read.read);
    device_look_fini(&work->look);
    buf_fini(&work->key_bytes);
    free(work->facts);
    free(work);
    command->work = NULL;
}

static void receipts_free(struct command *command)
{
    struct receipts_command *mine = receipts_of(command);

    receipts_work_free(mine);
    channel_name_unref(mine->channel);
    free(mine->at);
    free(mine);
}

static void receipts_answer(struct receipts_command *command, enum receipts_outcome outcome)
{
    struct writer *writer = command->devices->writer;

    if (command->work != NULL)
        command->devices->looks.receipt_count--;
    receipts_work_free(command);
    command->outcome = outcome;
    writer->port->send(writer->ctx, command->command.loop, &command->command);
}

static void receipts_drop(struct device_look *look)
{
    command_free(&container_of(look, struct receipts_work, look)->command->command);
}

/* --- the end of a page ------------------------------------------------------------------------------------------ */

/* Behind the last device, if its user has more; else behind the last user that was looked at. */
static void place_set_next(const struct receipts_work *work)
{
    char *place = work->command->place;

    place[0] = '\0';
    if (work->is_full)
        snprintf(place, RECEIPTS_PLACE_MAX + 1, "%s/%s", work->facts[work->count - 1].user,
                 work->facts[work->count - 1].device);
    else if (work->has_more_users)
        snprintf(place, RECEIPTS_PLACE_MAX + 1, "%s/", work->last_user);
}

static void receipts_looked(struct device_look *look, enum rc rc)
{
    struct receipts_work    *work    = container_of(look, struct receipts_work, look);
    struct receipts_command *command = work->command;
    msec                     now     = command->devices->writer->wall;

    if (rc != RC_OK) {
        receipts_answer(command, RECEIPTS_AWAY);
        return;
    }
    command->at = calloc(work->count + 1, sizeof command->at[0]);
    must(command->at != NULL);
    for (size_t i = 0; i < work->count; i++) {
        struct receipt *receipt = &command->at[command->count];
        receipt->facts          = work->facts[i];
        receipt->state          = receipt_judge(&receipt->facts, &command->message, now, &receipt->time);
        command->count += receipt->state != RECEIPT_NOT_MEANT;
    }
    place_set_next(work);
    receipts_answer(command, RECEIPTS_DONE);
}

static void receipts_look(struct receipts_work *work)
{
    work->look = (struct device_look){
        .devices = work->command->devices, .channel = work->command->channel, .message = work->command->message,
        .at = work->facts, .count = work->count, .done = receipts_looked, .drop = receipts_drop,
    };
    device_look_begin(&work->look);
}

/* --- the sessions of a user ------------------------------------------------------------------------------------- */

static void receipts_scan(struct receipts_work *work, enum row_kind kind, struct span prefix, struct span after,
                          uint32_t limit, void (*came)(struct device_read *read))
{
    work->read.came = came;
    work->read.read = (struct ledger_read){ .way = LEDGER_SCAN, .kind = (uint8_t)kind, .prefix = prefix, .after = after,
                                            .limit = limit, .bytes_max = RECEIPTS_READ_BYTES_MAX };
    device_read_send(work->command->devices, &work->read);
}

/* A session that ended, or that nobody resumed for session_ttl_s, is none. */
static bool session_stands(const struct devices *devices, struct span user, struct span device,
                           const struct session_row *row)
{
    const struct standing *standing = standing_find(devices, user, device);
    msec                   wall     = devices->writer->wall;

    if (row->is_ended)
        return false;
    return row->seen + devices->limits.session_ttl_ms > wall ||
           (standing != NULL && standing_is_online(devices, standing, wall));
}

static void facts_take_session(struct device_facts *facts, struct span user, struct span device, uint64_t generation,
                               const struct session_row *row)
{
    *facts = (struct device_facts){ .generation = generation, .since = row->since, .seen = row->seen };
    receipts_set_text(facts->user, sizeof facts->user, user);
    receipts_set_text(facts->device, sizeof facts->device, device);
}

bool device_session_of(const struct devices *devices, struct span user, const struct ledger_row *row,
                       struct device_facts *ret)
{
    struct session_row session;
    struct span        device = row_key_last(row->key);

    if (row->generation == 0 || !session_row_get(row->value, &session) || device.len > DEVICE_NAME_BYTES_MAX ||
        !session_stands(devices, user, device, &session))
        return false;
    facts_take_session(ret, user, device, row->generation, &session);
    return true;
}

static void receipts_next_user(struct receipts_work *work);
static void receipts_ask_sessions(struct receipts_work *work);

static void receipts_sessions_came(struct device_read *asked)
{
    struct receipts_work *work = container_of(asked, struct receipts_work, read);
    struct ledger_read   *read = &asked->read;
    struct span           user = span_str(work->users[work->user_at]);
    enum rc               rc   = read->rc;
    size_t                i    = 0;

    for (; rc == RC_OK && i < read->row_count && work->count < work->command->limit; i++)
        work->count += device_session_of(work->command->devices, user, &read->rows[i], &work->facts[work->count]);
    bool is_whole = i == read->row_count && read->next.len == 0;
    receipts_set_text(work->device_after, sizeof work->device_after,
                      span_head(read->next.len > 0 ? row_key_last(read->next) : SPAN(""), DEVICE_NAME_BYTES_MAX));
    ledger_read_fini(read);
    if (rc != RC_OK && rc != RC_CORRUPT) {
        receipts_answer(work->command, RECEIPTS_AWAY);
        return;
    }
    work->is_full = work->count == work->command->limit &&
                    (!is_whole || work->user_at + 1 < work->user_count || work->has_more_users);
    if (!work->is_full && work->device_after[0] != '\0') {
        receipts_ask_sessions(work);
        return;
    }
    work->user_at++;
    receipts_next_user(work);
}

static void receipts_ask_sessions(struct receipts_work *work)
{
    struct span user  = span_str(work->users[work->user_at]);
    struct span after = SPAN("");

    if (work->device_after[0] != '\0')
        after = group_key(user, span_str(work->device_after), work->after);
    receipts_scan(work, ROW_SESSION, member_prefix(user, work->prefix), after, SESSION_ROWS_A_READ,
                  receipts_sessions_came);
}

static void receipts_next_user(struct receipts_work *work)
{
    if (work->is_full || work->user_at == work->user_count)
        receipts_look(work);
    else
        receipts_ask_sessions(work);
}

/* --- the members of a group ------------------------------------------------------------------------------------- */

/* Was the user a member when the message was published? */
static bool spans_hold(const struct ledger_row *row, const struct receipt_message *message)
{
    struct group_spans spans;

    return row->generation != 0 && group_spans_get(row->value, &spans) &&
           group_spans_next(&spans, message->epoch, message->seq) == message->seq;
}

static void receipts_ask_spans(struct receipts_work *work);

static void receipts_spans_came(struct device_read *asked)
{
    struct receipts_work *work = container_of(asked, struct receipts_work, read);
    struct ledger_read   *read = &asked->read;
    enum rc               rc   = read->rc;

    for (size_t i = 0; rc == RC_OK && i < read->row_count; i++, work->user_at++)
        if (spans_hold(&read->rows[i], &work->command->message))
            memmove(work->users[work->member_count++], work->users[work->user_at], sizeof work->users[0]);
    if (rc == RC_CORRUPT)
        work->user_at++;
    ledger_read_fini(read);
    if (rc != RC_OK && rc != RC_CORRUPT)
        receipts_answer(work->command, RECEIPTS_AWAY);
    else
        receipts_ask_spans(work);
}

/* Users that were no members then are left out. */
static void receipts_ask_spans(struct receipts_work *work)
{
    if (work->user_at < work->user_count) {
        work->read.came = receipts_spans_came;
        work->read.read = (struct ledger_read){
            .way = LEDGER_GET, .keys = work->keys + work->user_at, .key_count = work->user_count - work->user_at,
            .bytes_max = RECEIPTS_READ_BYTES_MAX,
        };
        device_read_send(work->command->devices, &work->read);
        return;
    }
    /* The first one need not be the user of whom some devices are in the page before. */
    if (work->member_count == 0 || strcmp(work->users[0], work->first_user) != 0)
        work->device_after[0] = '\0';
    work->user_count = work->member_count;
    work->user_at    = 0;
    receipts_next_user(work);
}

static void receipts_make_keys(struct receipts_work *work)
{
    const struct span group = channel_own_name(work->command->channel);
    const size_t      bytes = work->user_count * LEDGER_KEY_BYTES_MAX;

    buf_init(&work->key_bytes, bytes + 1);
    must(buf_extend(&work->key_bytes, bytes + 1) != NULL);
    for (size_t i = 0; i < work->user_count; i++)
        work->keys[i] = (struct ledger_key){
            ROW_GROUP, group_key(span_str(work->users[i]), group, work->key_bytes.at + i * LEDGER_KEY_BYTES_MAX),
        };
}

static void receipts_add_user(struct receipts_work *work, struct span user)
{
    if (user_name_is_valid(user))
        receipts_set_text(work->users[work->user_count++], sizeof work->users[0], user);
}

static void receipts_members_came(struct device_read *asked)
{
    struct receipts_work *work = container_of(asked, struct receipts_work, read);
    struct ledger_read   *read = &asked->read;

    if (read->rc != RC_OK && read->rc != RC_CORRUPT) {
        receipts_answer(work->command, RECEIPTS_AWAY);
        return;
    }
    for (size_t i = 0; read->rc == RC_OK && i < read->row_count; i++)
        receipts_add_user(work, member_key_tail(read->rows[i].key));
    work->has_more_users = read->next.len > 0;
    if (work->has_more_users)
        receipts_set_text(work->last_user, sizeof work->last_user, member_key_tail(read->next));
    ledger_read_fini(read);
    receipts_make_keys(work);
    receipts_ask_spans(work);
}

/* --- it begins -------------------------------------------------------------------------------------------------- */

static void receipts_of_group(struct receipts_work *work)
{
    struct span group = channel_own_name(work->command->channel), after = SPAN("");

    if (work->first_user[0] != '\0')
        after = member_key(group, span_str(work->first_user), work->after);
    if (work->device_after[0] != '\0')
        receipts_add_user(work, span_str(work->first_user));
    receipts_scan(work, ROW_MEMBER, member_prefix(group, work->prefix), after, RECEIPTS_MEMBERS_MAX,
                  receipts_members_came);
}

static void receipts_of_user(struct receipts_work *work)
{
    receipts_add_user(work, channel_own_name(work->command->channel));
    receipts_next_user(work);
}

static void receipts_session_came(struct device_read *asked)
{
    struct receipts_work *work = container_of(asked, struct receipts_work, read);
    struct ledger_read   *read = &asked->read;
    enum rc               rc   = read->rc;

    if (rc == RC_OK && read->row_count == 1)
        work->count += device_session_of(work->command->devices, span_str(work->first_user), &read->rows[0],
                                         &work->facts[0]);
    ledger_read_fini(read);
    if (rc != RC_OK && rc != RC_CORRUPT)
        receipts_answer(work->command, RECEIPTS_AWAY);
    else
        receipts_look(work);
}

static void receipts_of_device(struct receipts_work *work)
{
    struct span device = channel_own_name(work->command->channel), user = SPAN("");
    bool        is_done = work->first_user[0] != '\0';  /* it was in an earlier page */

    if (is_done || !span_cut(&device, '/', &user) || !user_name_is_valid(user) || !device_name_is_valid(device)) {
        receipts_look(work);
        return;
    }
    receipts_set_text(work->first_user, sizeof work->first_user, user);
    work->keys[0]   = (struct ledger_key){ ROW_SESSION, group_key(user, device, work->after) };
    work->read.came = receipts_session_came;
    work->read.read = (struct ledger_read){ .way = LEDGER_GET, .keys = work->keys, .key_count = 1,
                                            .bytes_max = RECEIPTS_READ_BYTES_MAX };
    device_read_send(work->command->devices, &work->read);
}

static const struct receipts_way {
    const char *space;
    void      (*begin)(struct receipts_work *work);
} receipts_ways[] = { { "user", receipts_of_user }, { "device", receipts_of_device }, { "group", receipts_of_group } };

static const struct receipts_way *receipts_way_of(const struct channel_name *channel)
{
    for (size_t i = 0; i < sizeof receipts_ways / sizeof receipts_ways[0]; i++)
        if (strcmp(receipts_ways[i].space, channel->space->name) == 0)
            return &receipts_ways[i];
    return NULL;
}

bool receipts_are_of(const struct channel_name *channel)
{
    return receipts_way_of(channel) != NULL;
}

static void receipts_at_writer(struct command *command, struct writer *writer)
{
    struct receipts_command *mine  = receipts_of(command);
    struct device_looks     *looks = &mine->devices->looks;
    struct span              device = span_str(mine->place), user = SPAN("");

    (void)writer;
    if (looks->receipt_count == RECEIPTS_AWAY_MAX) {
        receipts_answer(mine, RECEIPTS_BUSY);
        return;
    }
    looks->receipt_count++;
    struct receipts_work *work = calloc(1, sizeof *work);
    must(work != NULL);
    mine->work    = work;
    work->command = mine;
    work->facts   = calloc(mine->limit, sizeof work->facts[0]);
    must(work->facts != NULL);
    if (span_cut(&device, '/', &user)) {
        receipts_set_text(work->first_user, sizeof work->first_user, user);
        receipts_set_text(work->device_after, sizeof work->device_after, device);
    }
    receipts_way_of(mine->channel)->begin(work);
}

static void receipts_at_loop(struct command *command, struct shard *shard)
{
    struct receipts_command *mine = receipts_of(command);

    shard_end_question(shard);
    mine->answered(mine);
}

static const struct command_kind receipts_kind = {
    .name = "receipts", .free = receipts_free, .at_loop = receipts_at_loop, .at_writer = receipts_at_writer,
};

struct receipts_command *receipts_command_new(struct devices *devices, struct channel_name *channel)
{
    struct receipts_command *command = calloc(1, sizeof *command);

    must(command != NULL && receipts_are_of(channel));
    command->command.kind = &receipts_kind;
    command->devices      = devices;
    command->channel      = channel_name_ref(channel);
    return command;
}

bool receipts_set_place(struct receipts_command *command, struct span place)
{
    struct span device = place, user = SPAN("");

    if (memchr(place.at, '/', place.len) == NULL || !span_cut(&device, '/', &user) || !user_name_is_valid(user) ||
        (device.len > 0 && !device_name_is_valid(device)))
        return false;
    receipts_set_text(command->place, sizeof command->place, place);
    return true;
}

void shard_ask_receipts(struct shard *shard, struct receipts_command *command)
{
    must(command->limit >= 1 && command->limit <= RECEIPTS_LIMIT_MAX);
    shard_ask_question(shard, &command->command);
}
