#include "device/event_outbox_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device/row.h"
#include "device/row_kind.h"

enum {
    OUTBOX_BURST        = 64,   /* events of one log that are on their way together … */
    OUTBOX_STEPS        = 512,  /* … of so many that are looked at */
    OUTBOX_DELETES      = 128,  /* rows deleted in one batch */
    OUTBOX_AGAIN_TICKS  = 10,   /* after a refusal */
    EVENT_ROW_KEEP_MS   = 7 * 24 * 3600 * 1000,  /* as long as the logs keep events */
};

struct outbox_event {
    struct list         in_lane;
    struct outbox_lane *lane;
    struct event_debt  *debt;     /* shared with the other events of the row; NULL: none */
    enum event_row_way  way;
    enum event_kind     kind;
    uint64_t            order;
    msec                time;
    bool                is_away;
    uint32_t            text_len, key_len, row_key_len, row_value_len;  /* text_len 0: the row alone is written */
    char                bytes[];  /* text, idempotency key, key and value of the link's row */
};

struct outbox_batch {
    struct ledger_batch  batch;
    struct command       command;
    struct event_outbox *outbox;
    struct list          debts;
    size_t               count;
    struct ledger_write  writes[OUTBOX_DELETES];
    struct ledger_change changes[OUTBOX_DELETES];
};

void outbox_command_lent(struct command *command)
{
    (void)command;
    must(!"the outbox takes back what it lent to a store");
}

/* --- debts ------------------------------------------------------------------------------------------------------ */

struct event_debt *event_debt_new(struct span key)
{
    struct event_debt *debt = calloc(1, sizeof *debt + key.len);

    must(debt != NULL);
    debt->holders = 1;
    debt->key_len = key.len;
    memcpy(debt->key, key.at, key.len);
    return debt;
}

struct event_debt *event_debt_hold(struct event_debt *debt)
{
    debt->holders++;
    return debt;
}

void event_debt_release(struct event_outbox *outbox, struct event_debt *debt)
{
    if (--debt->holders == 0)
        list_push(&outbox->debts, &debt->in_line);
}

static void deletions_done(struct ledger_batch *ledger_batch)
{
    struct outbox_batch *batch = container_of(ledger_batch, struct outbox_batch, batch);

    batch->outbox->writer->port->post(batch->outbox->writer->ctx, &batch->command);
}

static void deletions_came(struct command *command, struct writer *writer)
{
    struct outbox_batch *batch  = container_of(command, struct outbox_batch, command);
    struct event_outbox *outbox = batch->outbox;

    must(outbox->batch == batch && writer->read_count > 0);
    writer->read_count--;
    outbox->batch = NULL;
    for (size_t i = 0; i < batch->count; i++) {
        struct event_debt *debt = container_of(list_pop(&batch->debts), struct event_debt, in_line);
        if (batch->writes[i].outcome == LEDGER_DONE) {
            free(debt);
        } else {
            list_push(&outbox->debts, &debt->in_line);
            outbox->pause_ticks = OUTBOX_AGAIN_TICKS;
        }
        ledger_write_fini(&batch->writes[i]);
    }
    free(batch);
}

static const struct command_kind deletions_kind = {
    .name = "event rows", .free = outbox_command_lent, .at_writer = deletions_came,
};

static void outbox_delete_rows(struct event_outbox *outbox)
{
    struct ledger *ledger = outbox->writer->durable.store->ledger;

    if (outbox->batch != NULL || outbox->pause_ticks > 0 || list_is_empty(&outbox->debts))
        return;
    struct outbox_batch *batch = calloc(1, sizeof *batch);
    must(batch != NULL);
    *batch = (struct outbox_batch){ .command = { .kind = &deletions_kind }, .outbox = outbox,
                                    .batch = { .done = deletions_done, .wall = outbox->writer->wall } };
    list_init(&batch->debts);
    list_init(&batch->batch.writes);
    for (; batch->count < OUTBOX_DELETES && !list_is_empty(&outbox->debts); batch->count++) {
        struct event_debt *debt      = container_of(list_pop(&outbox->debts), struct event_debt, in_line);
        batch->changes[batch->count] = (struct ledger_change){ .op  = LEDGER_DELETE,
                                                               .key = { ROW_EVENT, span_of(debt->key, debt->key_len) } };
        batch->writes[batch->count]  = (struct ledger_write){ .changes = &batch->changes[batch->count], .count = 1 };
        list_push(&batch->debts, &debt->in_line);
        list_push(&batch->batch.writes, &batch->writes[batch->count].link);
    }
    batch->batch.change_count = batch->count;
    outbox->batch             = batch;
    outbox->writer->read_count++;
    ledger->ops->write(ledger, &batch->batch);
}

/* --- the way to the log ----------------------------------------------------------------------------------------- */

static void event_leave(struct event_outbox *outbox, struct outbox_event *event)
{
    list_take(&event->in_lane);
    counter_sub(&outbox->waiting, 1);
    free(event);
}

/* A repeat is as good as the first one: the log has the event. So is a condition that does not hold: an earlier try has written
 * the row, or somebody else has told the end of the link. */
static bool event_is_in_log(enum publish_outcome outcome)
{
    return outcome == PUBLISH_DONE || outcome == PUBLISH_REPLAYED || outcome == PUBLISH_KEY_CONFLICT || outcome == PUBLISH_STALE;
}

/* An event that the store has. The row's bytes are its own: a try that was given up may still be held by the store. */
struct outbox_try {
    struct event_outbox *outbox;
    struct outbox_event *event;
    struct ledger_write  write;
    struct ledger_change change;
    struct ledger_batch  batch;    /* of a row without an event … */
    struct command       command;  /* … */
    char                 bytes[];
};

static void event_tried(struct event_outbox *outbox, struct outbox_event *event, bool is_done)
{
    struct outbox_lane *lane = event->lane;

    must(lane->away_count > 0 && event->is_away);
    lane->away_count--;
    event->is_away = false;
    if (!is_done) {
        counter_add(&outbox->refused, 1);
        lane->is_refused = true;
        return;
    }
    if (event->text_len > 0)
        counter_add(&outbox->written, 1);
    if (event->debt != NULL)
        event_debt_release(outbox, event->debt);
    event_leave(outbox, event);
}

static void event_settled(struct publish_command *publish, struct writer *writer)
{
    struct outbox_try   *mine    = publish->rows;
    struct event_outbox *outbox  = mine->outbox;
    struct outbox_event *event   = mine->event;
    bool                 is_done = event_is_in_log(publish->outcome);

    (void)writer;
    command_free(&publish->command);
    event_tried(outbox, event, is_done);
}

static struct span event_part(const struct outbox_event *event, size_t before, size_t len)
{
    return span_of(event->bytes + before, len);
}

static struct outbox_try *outbox_try_new(struct event_outbox *outbox, struct outbox_event *event)
{
    struct outbox_try *mine = malloc(sizeof *mine + event->row_key_len + event->row_value_len);

    must(mine != NULL);
    *mine = (struct outbox_try){ .outbox = outbox, .event = event };
    event->is_away = true;
    event->lane->away_count++;
    if (event->way == EVENT_ROW_NONE)
        return mine;
    memcpy(mine->bytes, event->bytes + event->text_len + event->key_len, event->row_key_len + event->row_value_len);
    mine->change = (struct ledger_change){
        .op             = event->way == EVENT_ROW_BEGIN ? LEDGER_PUT : LEDGER_DELETE,
        .key            = { ROW_LINK, span_of(mine->bytes, event->row_key_len) },
        .value          = span_of(mine->bytes + event->row_key_len, event->row_value_len),
        .generation     = event->way == EVENT_ROW_BEGIN ? LINK_ROW_GENERATION : 0,
        .is_conditional = true,
        .if_generation  = event->way == EVENT_ROW_BEGIN ? 0 : LINK_ROW_GENERATION,
    };
    mine->write = (struct ledger_write){ .changes = &mine->change, .count = 1 };
    return mine;
}

/* Each try is a message of its own: one that was refused late may still be held by the store. */
static void event_publish(struct event_outbox *outbox, struct outbox_event *event)
{
    struct span     text    = event_part(event, 0, event->text_len), key = event_part(event, event->text_len, event->key_len);
    struct message *message = message_new_event(event->lane->channel, MESSAGE_PLAIN, text.at, event->text_len,
                                                SPAN("application/json"), SPAN(""), span_str(event_kind_name(event->kind)));

    message->time                   = event->time;
    struct publish_command *publish = publish_command_new(&message, key, key.len > 0 ? SPAN("events") : SPAN(""));
    struct outbox_try      *mine    = outbox_try_new(outbox, event);
    publish->rows                   = mine;
    publish->append.write           = event->way == EVENT_ROW_NONE ? NULL : &mine->write;
    publish->settled                = event_settled;
    publish_kind.at_writer(&publish->command, outbox->writer);
}

/* --- rows of links without an event ------------------------------------------------------------------------------ */

static void link_row_done(struct ledger_batch *batch)
{
    struct outbox_try *mine = container_of(batch, struct outbox_try, batch);

    mine->outbox->writer->port->post(mine->outbox->writer->ctx, &mine->command);
}

static void link_row_came(struct command *command, struct writer *writer)
{
    struct outbox_try *mine    = container_of(command, struct outbox_try, command);
    bool               is_done = mine->write.outcome == LEDGER_DONE || mine->write.outcome == LEDGER_STALE;

    writer->read_count--;
    event_tried(mine->outbox, mine->event, is_done);
    ledger_write_fini(&mine->write);
    free(mine);
}

static const struct command_kind link_row_kind = { .name = "link row", .free = outbox_command_lent, .at_writer = link_row_came };

static void link_row_write(struct event_outbox *outbox, struct outbox_event *event)
{
    struct ledger     *ledger = outbox->writer->durable.store->ledger;
    struct outbox_try *mine   = outbox_try_new(outbox, event);

    must(event->way != EVENT_ROW_NONE);
    mine->command = (struct command){ .kind = &link_row_kind };
    mine->batch   = (struct ledger_batch){ .change_count = 1, .wall = outbox->writer->wall, .done = link_row_done };
    list_init(&mine->batch.writes);
    list_push(&mine->batch.writes, &mine->write.link);
    outbox->writer->read_count++;
    ledger->ops->write(ledger, &mine->batch);
}

static bool has_order(const uint64_t *orders, size_t count, uint64_t order)
{
    size_t i = 0;

    while (i < count && orders[i] != order)
        i++;
    return i < count;
}

/* One event for each user: of two, the second could be stored although the first was not. */
static void outbox_lane_send(struct event_outbox *outbox, struct outbox_lane *lane)
{
    struct outbox_event *burst[OUTBOX_BURST];
    uint64_t             orders[OUTBOX_BURST];
    size_t               count = 0, steps = 0;

    if (lane->away_count > 0 || lane->is_refused)
        return;
    for (struct list *at = lane->waiting.next; at != &lane->waiting && count < OUTBOX_BURST && steps < OUTBOX_STEPS; at = at->next) {
        struct outbox_event *event = container_of(at, struct outbox_event, in_lane);
        steps++;
        if (has_order(orders, count, event->order))
            continue;
        orders[count]  = event->order;
        burst[count++] = event;
    }
    for (size_t i = 0; i < count; i++) {
        if (burst[i]->text_len > 0)
            event_publish(outbox, burst[i]);
        else
            link_row_write(outbox, burst[i]);
    }
}

void event_outbox_turn_end(struct event_outbox *outbox)
{
    if (counter_get(&outbox->waiting) > 0)
        for (size_t i = 0; i < EVENT_LOGS; i++)
            outbox_lane_send(outbox, &outbox->lanes[i]);
    outbox_delete_rows(outbox);
}

struct outbox_parts {
    struct span text, key, key_more, row_key, row_value;
};

/* Holds the debt of `like` from now on, in the place of its caller. */
static void outbox_push(struct event_outbox *outbox, const struct outbox_event *like, unsigned log, const struct outbox_parts *parts)
{
    const struct span    bytes[] = { parts->text, parts->key, parts->key_more, parts->row_key, parts->row_value };
    size_t               len     = 0, count = sizeof bytes / sizeof bytes[0];
    struct outbox_event *event;

    for (size_t i = 0; i < count; i++)
        len += bytes[i].len;
    event = malloc(sizeof *event + len);
    must(event != NULL);
    *event               = *like;
    event->lane          = &outbox->lanes[log];
    event->text_len      = (uint32_t)parts->text.len;
    event->key_len       = (uint32_t)(parts->key.len + parts->key_more.len);
    event->row_key_len   = (uint32_t)parts->row_key.len;
    event->row_value_len = (uint32_t)parts->row_value.len;
    for (size_t i = 0, at = 0; i < count; at += bytes[i].len, i++)
        if (bytes[i].len > 0)
            memcpy(event->bytes + at, bytes[i].at, bytes[i].len);
    list_init(&event->in_lane);
    list_push(&event->lane->waiting, &event->in_lane);
    counter_add(&outbox->waiting, 1);
}

/* --- links ------------------------------------------------------------------------------------------------------ */

static void outbox_push_link(struct event_outbox *outbox, const struct outbox_event *like, const struct link_row *row, struct span text)
{
    struct buf key, value;

    buf_init(&key, LINK_ROW_KEY_BYTES);
    buf_init(&value, LINK_ROW_VALUE_BYTES);
    if (like->way != EVENT_ROW_NONE)
        link_row_key_put(&key, row);
    if (like->way == EVENT_ROW_BEGIN)
        link_row_value_put(&value, row);
    must(!buf_is_over(&key) && !buf_is_over(&value));
    outbox_push(outbox, like, row->log, &(struct outbox_parts){ .text = text, .row_key = buf_span(&key), .row_value = buf_span(&value) });
    buf_fini(&key);
    buf_fini(&value);
}

void event_outbox_take(struct event_outbox *outbox, const struct event_note *note)
{
    const struct outbox_event like = { .kind = note->kind, .order = note->order, .time = note->time, .way = note->way };
    const struct link_row     row  = { .log = note->log, .incarnation = outbox->names.incarnation, .connection = note->connection,
                                       .since = note->time, .node = span_str(outbox->node),
                                       .user = span_of(note->bytes, note->user_len),
                                       .device = span_of(note->bytes + note->user_len, note->device_len) };

    if (counter_get(&outbox->waiting) >= OUTBOX_WAITING_MAX) {
        counter_add(&outbox->lost, note->text_len > 0);
        return;
    }
    outbox_push_link(outbox, &like, &row, span_of(note->bytes + note->user_len + note->device_len, note->text_len));
}

void outbox_link_lost(struct event_outbox *outbox, const struct link_row *row)
{
    const struct event_facts  facts = { .kind = EVENT_KIND_DISCONNECTED, .user = row->user, .device = row->device,
                                        .connection = row->connection, .reason = "node_lost" };
    const struct outbox_event like  = { .kind = facts.kind, .order = event_order_of(&facts), .time = outbox->writer->wall,
                                        .way = EVENT_ROW_END };
    struct buf                text;

    buf_init(&text, EVENT_TEXT_BYTES);
    event_facts_put(&text, &facts, like.time);
    must(!buf_is_over(&text));
    outbox_push_link(outbox, &like, row, buf_span(&text));
    counter_add(&outbox->links_lost, 1);
    buf_fini(&text);
}

void event_outbox_nodes_changed(struct event_outbox *outbox)
{
    lost_links_hurry(outbox->lost_links);
}

/* --- rows ------------------------------------------------------------------------------------------------------- */

static struct ledger_change event_row_change(const struct event_row *row, uint64_t seq)
{
    return (struct ledger_change){
        .op = LEDGER_PUT, .key = { ROW_EVENT, span_of(row->key, row->key_len) }, .value = span_of(row->value, row->value_len),
        .generation = row->takes_seq ? 0 : seq, .takes_seq = row->takes_seq, .expires_at = row->time + EVENT_ROW_KEEP_MS,
    };
}

void event_row_prepare(struct event_outbox *outbox, struct event_row *row, struct span owner, const struct event_facts *facts,
                       bool takes_seq, struct ledger_change *ret_change)
{
    must(takes_seq || facts->seq != 0);
    event_row_put(row, &outbox->names, owner, facts, takes_seq, outbox->writer->wall);
    *ret_change = event_row_change(row, facts->seq);
}

void event_row_prepare_task(struct event_outbox *outbox, struct event_row *row, struct span owner, enum event_kind kind,
                            struct span channel, struct ledger_change *ret_change)
{
    event_row_put_task(row, &outbox->names, owner, kind, channel, outbox->writer->wall);
    *ret_change = event_row_change(row, 0);
}

void event_outbox_send(struct event_outbox *outbox, const struct event_row *row, uint64_t seq)
{
    struct buf text;

    if (counter_get(&outbox->waiting) >= OUTBOX_WAITING_MAX)
        return;
    buf_init(&text, EVENT_TEXT_BYTES);
    buf_put(&text, row->text);
    if (row->takes_seq)
        event_text_add_seq(&text, seq);
    must(!buf_is_over(&text));
    const struct outbox_event like = { .kind = row->kind, .order = row->order, .time = row->time,
                                       .debt = event_debt_new(span_of(row->key, row->key_len)) };
    outbox_push(outbox, &like, row->log, &(struct outbox_parts){ .text = buf_span(&text), .key = event_row_name(row) });
    buf_fini(&text);
}

/* The events of one task differ in user and device. */
void event_outbox_add(struct event_outbox *outbox, const struct event_facts *facts, msec time, struct event_debt *debt)
{
    const struct outbox_event like = { .kind = facts->kind, .order = event_order_of(facts), .time = time,
                                       .debt = event_debt_hold(debt) };
    struct buf                text, who;

    buf_init(&text, EVENT_TEXT_BYTES);
    buf_init(&who, EVENT_TEXT_BYTES);
    event_facts_put(&text, facts, time);
    buf_putf(&who, "/%.*s/%.*s", SPAN_ARG(facts->user), SPAN_ARG(facts->device));
    must(!buf_is_over(&text) && !buf_is_over(&who));
    outbox_push(outbox, &like, event_facts_log(facts), &(struct outbox_parts){
        .text = buf_span(&text), .key = row_key_last(span_of(debt->key, debt->key_len)), .key_more = buf_span(&who),
    });
    buf_fini(&text);
    buf_fini(&who);
}

/* --- its life --------------------------------------------------------------------------------------------------- */

void event_outbox_tick(struct event_outbox *outbox)
{
    outbox->tick++;
    if (outbox->pause_ticks > 0)
        outbox->pause_ticks--;
    for (size_t i = 0; i < EVENT_LOGS && outbox->tick % OUTBOX_AGAIN_TICKS == 0; i++)
        outbox->lanes[i].is_refused = false;
    event_sweep_tick(outbox->sweep);
    lost_links_tick(outbox->lost_links);
}

bool event_outbox_is_idle(const struct event_outbox *outbox)
{
    for (size_t i = 0; i < EVENT_LOGS; i++)
        if (!list_is_empty(&outbox->lanes[i].waiting) && !outbox->lanes[i].is_refused)
            return false;
    return list_is_empty(&outbox->debts) || outbox->pause_ticks > 0;
}

void event_outbox_init(struct event_outbox *outbox, struct writer *writer, struct namespaces *namespaces,
                       const struct hash_key *hash_key, msec wall, uint64_t incarnation)
{
    *outbox = (struct event_outbox){ .writer = writer, .names = { .start = wall, .incarnation = incarnation } };
    list_init(&outbox->debts);
    for (size_t i = 0; i < EVENT_LOGS; i++) {
        char text[OWN_POLICY_TEXT];
        int  len = snprintf(text, sizeof text, "sys:events/%zu", i);
        must(channel_name_new(namespaces, hash_key, span_of(text, (size_t)len), &outbox->lanes[i].channel) == CHANNEL_NAME_OK);
        list_init(&outbox->lanes[i].waiting);
    }
    outbox->sweep      = event_sweep_new(outbox);
    outbox->lost_links = lost_links_new(outbox);
}

static void outbox_lane_free(struct event_outbox *outbox, struct outbox_lane *lane)
{
    struct list *at;

    while ((at = list_pop(&lane->waiting)) != NULL) {
        struct outbox_event *event = container_of(at, struct outbox_event, in_lane);
        if (event->debt != NULL)
            event_debt_release(outbox, event->debt);
        else
            counter_add(&outbox->lost, event->text_len > 0);
        event_leave(outbox, event);
    }
    channel_name_unref(lane->channel);
}

void event_outbox_fini(struct event_outbox *outbox)
{
    struct list *at;

    must(outbox->batch == NULL);
    for (size_t i = 0; i < EVENT_LOGS; i++)
        outbox_lane_free(outbox, &outbox->lanes[i]);
    while ((at = list_pop(&outbox->debts)) != NULL)
        free(container_of(at, struct event_debt, in_line));
    event_sweep_free(outbox->sweep);
    lost_links_free(outbox->lost_links);
}
