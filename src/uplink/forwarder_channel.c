/* forwarder_channel.c - the life of a batch: a page is read, the batch is fixed in the cursor's row, sent, and the cursor moves.
 *
 *     READ ──▶ FIXED ──▶ SENT ── 2xx ──▶ MOVED
 *      ▲                  ├── 4xx ─▶ half of it, from READ; a single message, often enough ─▶ BURIED ─▶ MOVED
 *      └── after a while ─┴── all else
 *
 * Where no other channel waits, the move of one batch is written together with the bounds of the next one. */
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "uplink/forwarder_batch.h"
#include "uplink/forwarder_priv.h"
#include "uplink/webhook.h"

static struct forwarder *forwarder_of(const struct forwarder_batch *batch)
{
    return batch->channel->part->forwarder;
}

/* --- its end -------------------------------------------------------------------------------------------------------- */

static void batch_drop_entries(struct forwarder_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        message_unref(batch->entries[i].message);
    free(batch->entries);
    batch->entries = NULL;
    batch->count = batch->buried = 0;
}

/* The channel has nothing under way any more. False: it went with it. */
static bool batch_end(struct forwarder_batch *batch)
{
    struct forwarder_channel *channel   = batch->channel;
    struct forwarder         *forwarder = forwarder_of(batch);

    batch_drop_entries(batch);
    free(batch);
    list_take(&channel->link);
    channel->batch = NULL;
    channel->part->busy_count--;
    forwarder->under_way--;
    if (!channel->is_gone)
        return true;
    forwarder_channel_back(channel);
    return false;
}

void forwarder_batch_again(struct forwarder_batch *batch, bool is_down, msec at_least_ms)
{
    struct forwarder_channel *channel   = batch->channel;
    struct forwarder         *forwarder = forwarder_of(batch);

    counter_add(&forwarder->counters.retries, 1);
    forwarder_failed(forwarder, is_down, at_least_ms);
    if (batch_end(batch))
        forwarder_channel_wait(channel, forwarder->set->now + forwarder_retry_ms(forwarder, ++channel->failures));
}

/* Nobody knows what its row says now: it is read anew. */
static void batch_reload(struct forwarder_batch *batch, bool is_down)
{
    struct forwarder_channel *channel   = batch->channel;
    struct forwarder         *forwarder = forwarder_of(batch);
    uint64_t                  before    = forwarder_channel_behind(channel);

    if (is_down)
        forwarder_failed(forwarder, true, 0);
    if (!batch_end(batch))
        return;
    channel->state    = CHANNEL_NEW;
    channel->is_dirty = false;
    forwarder_count_behind(channel, before);
    list_push(&forwarder->unread, &channel->link);
}

/* --- its rows --------------------------------------------------------------------------------------------------------- */

/* True: the row says what the channel has in memory. */
static bool batch_wrote(struct forwarder_batch *batch, struct forwarder_write *write)
{
    enum ledger_outcome       outcome  = write->write.outcome;
    bool                      is_lease = write->write.stale_at == 0;
    struct forwarder_channel *channel  = batch->channel;

    forwarder_write_free(write);
    if (channel->is_gone) {
        batch_end(batch);
        return false;
    }
    if (outcome == LEDGER_DONE) {
        channel->version++;
        channel->is_dirty = false;
        return true;
    }
    if (outcome == LEDGER_STALE && is_lease) {
        forwarder_part_lost(channel->part);
        batch_end(batch);
    } else {
        batch_reload(batch, outcome != LEDGER_STALE);
    }
    return false;
}

static void batch_write(struct forwarder_batch *batch, enum batch_stage stage, void (*done)(struct forwarder_write *write))
{
    struct forwarder_channel *channel = batch->channel;

    channel->stage = stage;
    forwarder_write_send(forwarder_write_cursor(channel, channel->part->number), batch, done);
}

static void batch_moved(struct forwarder_write *write)
{
    struct forwarder_batch   *batch   = write->owner;
    struct forwarder_channel *channel = batch->channel;

    if (batch_wrote(batch, write) && batch_end(batch))
        forwarder_channel_settle(channel);
}

static void batch_read(struct forwarder_batch *batch);

static bool goes_on_at_once(const struct forwarder_channel *channel)
{
    const struct forwarder *forwarder = channel->part->forwarder;

    return forwarder_channel_behind(channel) > 0 && channel->part->is_wanted && !forwarder_has_ready(forwarder) &&
           forwarder->set->now >= forwarder->paused_until;
}

void forwarder_batch_done(struct forwarder_batch *batch)
{
    struct forwarder_channel *channel = batch->channel;
    uint64_t                  before  = forwarder_channel_behind(channel);

    if (channel->is_gone) {
        batch_end(batch);
        return;
    }
    channel->cursor.seq        = channel->cursor.last;
    channel->cursor.last       = 0;
    channel->cursor.is_changed = false;
    channel->is_dirty          = true;
    channel->failures = channel->refusals = 0;
    if (channel->cursor.seq >= channel->split_end)
        channel->limit = 0;
    forwarder_count_behind(channel, before);
    batch_drop_entries(batch);
    if (goes_on_at_once(channel))
        batch_read(batch);
    else
        batch_write(batch, BATCH_MOVED, batch_moved);
}

/* --- it is sent ------------------------------------------------------------------------------------------------------- */

/* In halves, from now on, until all of it is taken. */
static void batch_split(struct forwarder_batch *batch)
{
    struct forwarder_channel *channel = batch->channel;

    if (channel->split_end < channel->cursor.last)
        channel->split_end = channel->cursor.last;
    channel->limit       = (uint32_t)(batch->count / 2);
    channel->cursor.last = 0;
    batch_drop_entries(batch);
    batch_read(batch);
}

static void batch_refused(struct forwarder_batch *batch)
{
    struct forwarder         *forwarder = forwarder_of(batch);
    struct forwarder_channel *channel   = batch->channel;

    counter_add(&forwarder->counters.refusals, 1);
    if (batch->count > 1) {
        batch_split(batch);
        return;
    }
    if (++channel->refusals >= forwarder->options.tries) {
        forwarder_bury(batch);
        return;
    }
    if (batch_end(batch))
        forwarder_channel_wait(channel, forwarder->set->now + forwarder_retry_ms(forwarder, channel->refusals));
}

static bool is_given_up(const struct forwarder_batch *batch)
{
    const struct forwarder_options *options = &forwarder_of(batch)->options;

    return options->give_up_ms != 0 && batch->set->writer->wall - batch->channel->cursor.planned >= options->give_up_ms;
}

/* Seconds; a date is not read, and counts as none. */
static msec retry_after_ms(const struct fetch_call *fetch)
{
    uint64_t seconds;

    if (!span_u64(span_trim(fetch_call_field(fetch, "Retry-After")), &seconds))
        return 0;
    return seconds > FORWARDER_AFTER_MS_MAX / 1000 ? FORWARDER_AFTER_MS_MAX : (msec)seconds * 1000;
}

/* The back end as a whole is away or has too much to do; a failure of one batch says nothing of others. */
static bool is_down(const struct backend_call *call)
{
    return call->outcome != BACKEND_ANSWERED || call->fetch->status == 429 || call->fetch->status == 503;
}

static void batch_failed(struct forwarder_batch *batch, bool is_away, msec after_ms)
{
    if (!is_given_up(batch)) {
        forwarder_batch_again(batch, is_away, after_ms);
        return;
    }
    forwarder_failed(forwarder_of(batch), is_away, after_ms);  /* what comes behind it has to wait all the same */
    forwarder_bury(batch);
}

static void batch_judge(struct forwarder_batch *batch, bool is_away, msec after_ms)
{
    unsigned status     = batch->status;
    bool     is_refusal = status >= 400 && status < 500 && status != 408 && status != 429;

    if (status >= 200 && status < 300) {
        forwarder_took(forwarder_of(batch));
        counter_add(&forwarder_of(batch)->counters.batches, 1);
        counter_add(&forwarder_of(batch)->counters.messages, batch->messages);
        forwarder_batch_done(batch);
    } else if (is_refusal && forwarder_of(batch)->options.body == FORWARDER_LINES) {
        batch_refused(batch);
    } else {
        batch_failed(batch, is_away, after_ms);
    }
}

static void batch_answered(struct backend_call *call)
{
    struct forwarder_batch   *batch    = container_of(call, struct forwarder_batch, call);
    struct forwarder_channel *channel  = batch->channel;
    bool                      is_away  = is_down(call);
    msec                      after_ms = call->outcome == BACKEND_ANSWERED ? retry_after_ms(call->fetch) : 0;

    must(batch->set->away_count > 0);
    batch->set->away_count--;
    counter_sub(&batch->set->calls, 1);
    batch->status = call->outcome == BACKEND_ANSWERED ? call->fetch->status : 0;
    fetch_call_free(call->fetch);
    free(call->target);
    call->fetch  = NULL;
    call->target = NULL;
    if (channel->is_gone)
        batch_end(batch);
    else
        batch_judge(batch, is_away, after_ms);
}

static void call_add_text(struct fetch_call *fetch, struct span name, const struct buf *value)
{
    must(!buf_is_over(value) && fetch_call_add_field(fetch, name, buf_span(value)));
}

static void batch_put_fields(struct forwarder_batch *batch, struct fetch_call *fetch)
{
    const struct forwarder_options *options = &forwarder_of(batch)->options;
    const struct forwarder_channel *channel = batch->channel;
    bool                            is_json = options->body == FORWARDER_EVENTS;
    struct buf                      text;

    buf_init(&text, 4096);
    must(fetch_call_add_field(fetch, SPAN("Content-Type"), is_json ? SPAN("application/json") : SPAN("application/x-ndjson")));
    forwarder_put_key(&text, channel_name_span(channel->name), channel->cursor.epoch, channel->cursor.seq + 1,
                      channel->cursor.last);
    call_add_text(fetch, SPAN("Idempotency-Key"), &text);
    if (options->secret[0] != '\0') {
        buf_clear(&text);
        webhook_put_signature(&text, span_str(options->secret), batch->set->writer->wall / 1000, buf_span(&fetch->body));
        call_add_text(fetch, SPAN("Longwire-Signature"), &text);
    }
    buf_fini(&text);
}

static void batch_send(struct forwarder_batch *batch, struct fetch_call *fetch)
{
    struct forwarder *forwarder = forwarder_of(batch);

    batch_put_fields(batch, fetch);
    fetch->answer_bytes_max = FORWARDER_ANSWER_BYTES;
    fetch_call_want(fetch, "Retry-After");
    batch->call = (struct backend_call){ .fetch = fetch, .target = strdup(forwarder->options.target), .is_repeatable = true,
                                         .done = batch_answered };
    must(batch->call.target != NULL);
    counter_add(&forwarder->counters.sent_bytes, fetch->body.len);
    batch->channel->stage = BATCH_SENT;
    batch->set->away_count++;
    counter_add(&batch->set->calls, 1);
    batch->set->port->send(batch->set->ctx, span_str(forwarder->options.backend), &batch->call);
}

/* How many messages and gaps the body holds; 0: there is nothing to send. */
static size_t batch_put_body(struct forwarder_batch *batch, struct buf *body)
{
    const struct forwarder_options *options = &forwarder_of(batch)->options;
    const struct forwarder_channel *channel = batch->channel;
    msec                            wall    = batch->set->writer->wall;
    struct webhook_count            count;

    if (options->body == FORWARDER_LINES) {
        batch->messages = forwarder_put_lines(body, channel->name, channel->cursor.epoch, batch->entries, batch->count,
                                              channel->cursor.is_changed, wall);
        return batch->count;
    }
    count = webhook_put_body(body, channel->name, channel->cursor.epoch, batch->entries, batch->count,
                             channel->cursor.is_changed, options->kinds, wall);
    batch->messages = count.events;
    counter_add(&forwarder_of(batch)->counters.skipped, count.skipped);
    return count.events + count.gaps;
}

static void batch_fixed(struct forwarder_write *write)
{
    struct forwarder_batch *batch = write->owner;

    if (!batch_wrote(batch, write))
        return;
    struct fetch_call *fetch = fetch_call_new("POST", SPAN("http://localhost/"));
    buf_init(&fetch->body, FORWARDER_BODY_BYTES);
    size_t count = batch_put_body(batch, &fetch->body);
    if (count > 0 && !buf_is_over(&fetch->body)) {
        batch_send(batch, fetch);
        return;
    }
    bool is_over = buf_is_over(&fetch->body);
    fetch_call_free(fetch);
    if (!is_over) {
        forwarder_batch_done(batch);
        return;
    }
    batch->status = 413;  /* as a back end would say of it */
    batch_judge(batch, false, 0);
}

/* --- the page --------------------------------------------------------------------------------------------------------- */

/* The log has begun anew: what the cursor says means nothing in it. */
static void batch_begin_anew(struct forwarder_batch *batch, uint64_t epoch)
{
    struct forwarder_channel *channel = batch->channel;
    uint64_t                  before  = forwarder_channel_behind(channel);

    channel->cursor = (struct cursor_row){ .epoch = epoch, .is_changed = channel->cursor.epoch != 0 };
    channel->limit  = 0;
    channel->split_end = channel->failures = channel->refusals = 0;
    forwarder_count_behind(channel, before);
}

/* Nothing is behind after all. What has moved is still to be written. */
static void batch_is_empty(struct forwarder_batch *batch)
{
    struct forwarder_channel *channel = batch->channel;

    if (channel->is_dirty)
        batch_write(batch, BATCH_MOVED, batch_moved);
    else if (batch_end(batch))
        forwarder_channel_settle(channel);
}

static void batch_take_page(struct forwarder_batch *batch, struct store_read *read)
{
    struct forwarder_channel *channel = batch->channel;

    batch->entries = read->entries;
    batch->count   = read->entry_count;
    read->entries  = NULL;
    size_t count   = forwarder_batch_cut(batch->entries, batch->count, channel->cursor.last);
    for (size_t i = count; i < batch->count; i++)
        message_unref(batch->entries[i].message);
    batch->count = count;
    if (batch->entries[0].message != NULL)
        channel->since = batch->entries[0].message->time;
    if (channel->cursor.last == 0)
        channel->cursor.planned = batch->set->writer->wall;
    channel->cursor.last = entry_last(&batch->entries[count - 1]);
    batch_write(batch, BATCH_FIXED, batch_fixed);
}

static void batch_note_head(struct forwarder_channel *channel, const struct store_read *read)
{
    uint64_t before = forwarder_channel_behind(channel);

    if (channel->epoch != read->epoch || channel->head < read->head)
        channel->head = read->head;
    channel->epoch = read->epoch;
    forwarder_count_behind(channel, before);
}

/* A log may have come to an end below what was heard of it, if its epoch changed. */
static void batch_note_end(struct forwarder_channel *channel, const struct store_read *read)
{
    uint64_t before = forwarder_channel_behind(channel);

    channel->head = read->head;
    forwarder_count_behind(channel, before);
}

static void batch_page_came(struct forwarder_batch *batch, struct store_read *read)
{
    struct forwarder_channel *channel = batch->channel;

    if (channel->is_gone) {
        batch_end(batch);
        return;
    }
    if (read->rc != RC_OK) {
        forwarder_batch_again(batch, read->rc != RC_CORRUPT, 0);
        return;
    }
    batch_note_head(channel, read);
    if (channel->cursor.epoch != read->epoch) {
        batch_begin_anew(batch, read->epoch);
        batch_read(batch);
    } else if (read->entry_count == 0) {
        batch_note_end(channel, read);
        batch_is_empty(batch);
    } else {
        batch_take_page(batch, read);
    }
}

static void batch_read_came(struct read_command *read, struct writer *writer)
{
    struct forwarder_batch *batch = read->owner;

    (void)writer;
    must(batch->set->away_count > 0);
    batch->set->away_count--;
    batch_page_came(batch, &read->read);
    command_free(&read->command);
}

static uint32_t batch_limit(const struct forwarder_channel *channel)
{
    if (channel->cursor.last != 0)
        return FORWARDER_BATCH_MAX;
    return channel->limit != 0 ? channel->limit : channel->part->forwarder->options.batch_max;
}

static void batch_read(struct forwarder_batch *batch)
{
    struct forwarder_channel *channel = batch->channel;
    struct read_command      *read    = read_command_new(channel->name);

    channel->stage      = BATCH_READ;
    read->read.way      = READ_AFTER;
    read->read.bound    = channel->cursor.seq;
    read->read.limit    = batch_limit(channel);
    read->read.bytes_max = channel->cursor.last != 0 ? 4 * FORWARDER_BATCH_BYTES : FORWARDER_BATCH_BYTES;
    read->read.wall     = batch->set->writer->wall;
    read->source        = READ_TAIL_OR_STORE;
    read->settled       = batch_read_came;
    read->owner         = batch;
    batch->set->away_count++;
    read_kind.at_writer(&read->command, batch->set->writer);
}

void forwarder_batch_begin(struct forwarder_channel *channel)
{
    struct forwarder_batch *batch = calloc(1, sizeof *batch);

    must(batch != NULL && channel->state == CHANNEL_READY);
    batch->channel = channel;
    batch->set     = channel->part->forwarder->set;
    channel->batch = batch;
    channel->state = CHANNEL_BUSY;
    list_push(&channel->part->forwarder->busy, &channel->link);
    channel->part->busy_count++;
    channel->part->forwarder->under_way++;
    batch_read(batch);
}

void forwarder_batch_cancel(struct forwarder_batch *batch)
{
    if (batch->channel->stage == BATCH_SENT)
        batch->set->port->cancel(batch->set->ctx, &batch->call);
}
