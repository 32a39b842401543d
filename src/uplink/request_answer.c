/* request_answer.c - the response: a message of the device's log, in one commit with what says that the request was answered.
 *
 * The commit has the condition that the CALL row is still this node's; or, where calls share a row, that the id has no REQUEST row.
 * So it can be repeated as long as nobody knows whether it was written: the second one is refused. */
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device/row_kind.h"
#include "message/control_message.h"
#include "publish/publish_check.h"
#include "uplink/requests_priv.h"

enum { ANSWER_AGAIN_TICKS = 5, ANSWER_VALUE_BYTES = 64 };

/* --- the rows of the append ------------------------------------------------------------------------------------- */

/* As the store holds them until the append is done, which may be after the request is forgotten here. */
struct answer_rows {
    struct ledger_write  write;
    struct ledger_change changes[];  /* then the bytes of their keys and values */
};

static struct span rows_keep(struct buf *bytes, size_t from)
{
    must(!buf_is_over(bytes));
    return span_of(bytes->at + from, bytes->len - from);
}

static struct span keep_answered_value(struct buf *bytes, const struct request_work *work)
{
    struct request_row row  = { .is_answered = true, .claim = work->claim, .before = work->before,
                                .bytes = work->object.len };
    size_t             from = bytes->len;

    memcpy(row.hash, work->hash, sizeof row.hash);
    request_row_put(bytes, &row);
    return rows_keep(bytes, from);
}

static struct span keep_key(struct buf *bytes, struct span key)
{
    size_t from = bytes->len;

    buf_put(bytes, key);
    return rows_keep(bytes, from);
}

static struct span keep_piece_key(struct buf *bytes, const struct request_work *work, uint32_t piece)
{
    size_t from = bytes->len;

    request_piece_key_put(bytes, work->user, work->name, work->id, piece);
    return rows_keep(bytes, from);
}

/* A CALLS row relies on the REQUEST rows of the calls in it that were answered, as long as it stands. */
static msec kept_until(const struct request_work *work)
{
    msec until = work->since + work->requests->limits.keep_ms, least = work->requests->setup.writer->wall + CALLS_KEPT_MS;

    return work->is_grouped && until < least ? least : until;
}

static struct answer_rows *answer_rows_new(const struct request_work *work)
{
    size_t              room = 2 * (work->key_len + ANSWER_VALUE_BYTES) + work->pieces * (work->key_len + 8);
    size_t              count = 3 + work->pieces;
    struct answer_rows *rows  = calloc(1, sizeof *rows + count * sizeof rows->changes[0] + room);
    struct span         key;

    must(rows != NULL);
    struct buf bytes = { .at = (char *)(rows->changes + count), .cap = room, .max = room };  /* never grows */
    key              = keep_key(&bytes, work_key(work));
    rows->changes[0] = (struct ledger_change){
        .op = LEDGER_PUT, .key = { ROW_REQUEST, key }, .value = keep_answered_value(&bytes, work), .takes_seq = true,
        .expires_at = kept_until(work), .is_conditional = work->is_grouped, .if_generation = 0,
    };
    count = 1;
    if (!work->is_grouped)
        rows->changes[count++] = (struct ledger_change){ .op = LEDGER_DELETE, .key = { ROW_CALL, key }, .is_conditional = true,
                                                         .if_generation = work->generation };
    for (uint32_t piece = 1; piece <= work->pieces; piece++)
        rows->changes[count++] = (struct ledger_change){ .op = LEDGER_DELETE,
                                                         .key = { ROW_CALL, keep_piece_key(&bytes, work, piece) } };
    if (request_device_saves(work->device))
        rows->changes[count++] = request_device_change(keep_key(&bytes, work_device_key(work)), work->device->total);
    rows->write = (struct ledger_write){ .changes = rows->changes, .count = count };
    return rows;
}

/* --- the append ------------------------------------------------------------------------------------------------- */

static void work_is_back(struct request_work *work)
{
    work->requests->away_count -= !work->is_to_link;
    work->is_appending = work->is_to_link = false;
}

static void publish_dropped(struct command *command)
{
    struct publish_command *publish = container_of(command, struct publish_command, command);
    struct request_work    *work    = publish->owner;

    publish->owner = NULL;
    publish_kind.free(command);
    if (work == NULL)
        return;
    work_is_back(work);
}

/* The writer has it from the start; if the writer ends before the store has it, the work is told so. */
static const struct command_kind answer_append_kind = { .name = "response", .free = publish_dropped };

static void count_response(struct request_work *work)
{
    struct requests_counters *counters = &work->requests->counters;

    counter_add(&counters->responses[work->status / 100 < 6 ? work->status / 100 : 5], 1);
    if (work->status == 499)
        counter_add(&counters->cancelled, 1);
}

static struct publish_command *work_takes_back(struct request_work *work, struct publish_command *publish)
{
    publish->owner     = NULL;
    work_is_back(work);
    return publish;
}

static void answer_settled(struct publish_command *publish, struct writer *writer)
{
    struct request_work *work    = publish->owner;
    enum publish_outcome outcome = publish->outcome;

    (void)writer;
    work_takes_back(work, publish);
    if (outcome == PUBLISH_DONE) {
        count_response(work);
        request_waiters_tell(work, publish->append.message);
        if (!work_has_rows(work))
            request_link_note(work, publish->append.message);
    }
    if (outcome == PUBLISH_STALE)
        counter_add(&work->requests->counters.taken_over, 1);
    if (outcome == PUBLISH_DONE || outcome == PUBLISH_STALE)
        request_group_leave(work);
    if (outcome != PUBLISH_DONE && work_has_rows(work))
        request_device_doubt(work->device);
    command_free(&publish->command);
    if (outcome == PUBLISH_STALE && work->waiter_count > 0)
        request_follow_begin(work);
    else if (outcome == PUBLISH_DONE || outcome == PUBLISH_STALE || !work_has_rows(work))
        request_work_free(work);
    else
        request_work_later(work, ANSWER_AGAIN_TICKS);
}

/* Once, however often the append is tried. */
static void count_bytes(struct request_work *work)
{
    if (work->is_counted)
        return;
    work->is_counted = true;
    work->before     = work->device->total;
    work->device->total += work->object.len;
}

static void answer_append(struct request_work *work)
{
    struct writer          *writer  = work->requests->setup.writer;

    if (!work_has_rows(work) && work->requests->is_stopping) {
        request_work_free(work);  /* its link is gone, with all loops */
        return;
    }
    struct message         *message = control_message_new(work->channel, SPAN("response"), buf_span(&work->object), SPAN(""));
    struct publish_command *publish;

    message->time      = writer->wall;
    publish            = publish_command_new(&message, SPAN(""), SPAN(""));
    publish->settled   = answer_settled;
    publish->owner     = work;
    work->is_appending = true;
    if (!work_has_rows(work)) {
        work->is_to_link = true;
        writer_publish_to_link(writer, publish, work->loop);
        return;
    }
    work->requests->away_count++;
    count_bytes(work);
    struct answer_rows *rows = answer_rows_new(work);
    publish->command      = (struct command){ .kind = &answer_append_kind, .loop = work->loop };
    publish->append.write = &rows->write;
    publish->rows         = rows;
    publish_kind.at_writer(&publish->command, writer);
}

static void answer_if_total_known(struct request_work *work)
{
    if (!work_has_rows(work) || work->device->is_known) {
        answer_append(work);
        return;
    }
    request_device_ask_total(work->device);
    request_work_later(work, 1);
}

void request_answer_begin(struct request_work *work)
{
    struct requests *requests = work->requests;

    work->stage      = REQUEST_ANSWERING;
    work->held_bytes = work->object.len;
    requests->held_bytes += work->held_bytes;
    counter_set(&requests->counters.held_bytes, requests->held_bytes);
    fetch_call_free(work->call.fetch);
    work->call.fetch = NULL;
    answer_if_total_known(work);
}

void request_answer_problem(struct request_work *work, unsigned status, const char *detail, const char *outcome)
{
    buf_clear(&work->object);
    work->status = status;
    response_put_problem(&work->object, work->id, status, detail, outcome);
    request_answer_begin(work);
}

/* --- an answer that is published elsewhere ---------------------------------------------------------------------- */

static const struct identity_facts back_end_is = { .key = { "uplink", 6 }, .rights = RIGHT_PUBLISH };

static void answer_published(struct publish_command *publish, struct writer *writer)
{
    struct request_work *work    = publish->owner;
    enum publish_outcome outcome = publish->outcome;
    unsigned             status;
    const char          *why = publish_explain(outcome, &status);

    (void)writer;
    command_free(&work_takes_back(work, publish)->command);
    if (why == NULL)
        request_call_published(work);
    else if (status == 429 || status == 503)
        request_work_later(work, ANSWER_AGAIN_TICKS);
    else
        request_answer_problem(work, 502, "the back end's answer could not be published", NULL);
}

/* A repeat, of this node or another one, finds the key and publishes nothing. */
static void put_publish_key(struct buf *key, const struct request_work *work)
{
    static const struct hash_key keys[2] = { { 0x7075626c697368, 1 }, { 0x7075626c697368, 2 } };

    buf_putf(key, "request:%016llx%016llx", (unsigned long long)hash_bytes(&keys[0], work_key(work)),
             (unsigned long long)hash_bytes(&keys[1], work_key(work)));
}

static void send_published(struct request_work *work, struct message *message)
{
    struct publish_command *publish;
    struct buf              key;

    buf_init(&key, 64);
    if (work_has_rows(work) && message->channel->space->durability == DURABLE)
        put_publish_key(&key, work);
    publish            = publish_command_new(&message, buf_span(&key), SPAN("uplink"));
    publish->command   = (struct command){ .kind = &answer_append_kind, .loop = work->loop };
    publish->settled   = answer_published;
    publish->owner     = work;
    work->is_appending = true;
    work->requests->away_count++;
    publish_kind.at_writer(&publish->command, work->requests->setup.writer);
    buf_fini(&key);
}

/* What the namespace does not take from anybody is not told in detail; what is wrong with the body is. */
static void refuse_publish(struct request_work *work, const struct verdict *verdict)
{
    static const char unfit[] = "the back end's answer can't be published there: ";
    char              detail[sizeof unfit + PUBLISH_WHY_BYTES];

    snprintf(detail, sizeof detail, "%s%s", unfit, verdict->status == 403 ? "see the policy of its namespace" : verdict->reason);
    request_answer_problem(work, 502, detail, NULL);
}

void request_answer_publish(struct request_work *work, struct channel_name *channel, struct span media, struct span body)
{
    struct identity      *identity = identity_new(&back_end_is);
    struct message       *message  = NULL;
    char                  why[PUBLISH_WHY_BYTES];
    struct publish_request request = { .name = channel, .payload = body, .media = media, .identity = identity,
                                       .wall = work->requests->setup.writer->wall };
    struct verdict        verdict;

    work->stage = REQUEST_PUBLISHING;
    if (conn_channel_key(channel, &(uint64_t){ 0 }))
        verdict = (struct verdict){ .status = 403, .reason = "not to a connection" };
    else
        verdict = publish_check(&request, why, &message);
    if (verdict.status != 0)
        refuse_publish(work, &verdict);
    else
        send_published(work, message);
    identity_unref(identity);
}

void request_answer_on(struct request_work *work)
{
    if (work->stage == REQUEST_PUBLISHING)
        request_call_took(work);
    else
        answer_if_total_known(work);
}
