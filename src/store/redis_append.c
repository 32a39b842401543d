/* redis_append.c - batches: cut into calls of the script, one or more for each instance. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "store/digest.h"
#include "store/redis_priv.h"

enum { APPEND_ARGS = 2, DIGEST_TEXT_BYTES = 17, KEY_TEXT_BYTES = 2048, RECORD_MOST = 256 << 20, ANSWER_NUMBERS = 4,
       APPENDS_BYTES = APPENDS_A_CALL * (KEY_TEXT_BYTES + 64),
       ANSWER_BYTES = 1 + ANSWER_NUMBERS * sizeof(double) };

/* What an append is for the script. */
enum script_kind { SCRIPT_MESSAGE = 0, SCRIPT_RECALL = 1, SCRIPT_PURGE = 3 };

/* What the script answers to an append. */
enum script_outcome { SCRIPT_DONE, SCRIPT_REPLAYED, SCRIPT_CONFLICT, SCRIPT_NO_TARGET, SCRIPT_PURGED };

/* A batch under way. */
struct batch_task {
    struct redis_store  *store;
    struct append_batch *batch;
    size_t               unanswered;  /* calls, and one more until all are sent */
};

/* The appends of one call of the script, and the channels that they name. */
struct batch_call {
    struct batch_task         *task;
    struct redis_line         *line;
    size_t                     count, channel_count, bytes;
    struct append             *appends[APPENDS_A_CALL];
    const struct channel_name *channels[APPENDS_A_CALL];
    size_t                     channel_of[APPENDS_A_CALL];
};

static void batch_over(struct batch_task *task)
{
    struct append_batch *batch = task->batch;

    if (--task->unanswered > 0)
        return;
    counter_add(&task->store->batch_count, 1);
    free(task);
    batch->done(batch);
}

/* --- answers ---------------------------------------------------------------------------------------------------------- */

/* ANSWER of the script. */
struct script_answer {
    unsigned char outcome;
    uint64_t      numbers[ANSWER_NUMBERS];
};

static struct script_answer answer_get(const char *at)
{
    struct script_answer said = { .outcome = (unsigned char)at[0] };

    for (size_t i = 0; i < ANSWER_NUMBERS; i++)
        said.numbers[i] = redis_record_number(at + 1 + i * sizeof(double));
    return said;
}

static void append_take(struct redis_store *store, struct append *append, const redisReply *answer, const char *at)
{
    const struct script_answer said    = answer_get(at);
    struct message            *message = append->message;
    const uint64_t             epoch   = redis_epoch(answer, (long long)said.numbers[0]);

    switch ((enum script_outcome)said.outcome) {
    case SCRIPT_DONE:
        message->epoch  = epoch;
        message->seq    = said.numbers[1];
        message->id     = said.numbers[2];
        append->outcome = APPEND_DONE;
        counter_add(&store->append_count, 1);
        return;
    case SCRIPT_REPLAYED:
        append->first   = (struct append_answer){ epoch, said.numbers[1], said.numbers[2], (msec)said.numbers[3] };
        append->outcome = APPEND_REPLAYED;
        return;
    case SCRIPT_PURGED:
        append->purged  = (struct purge_answer){ epoch, said.numbers[1], said.numbers[2] };
        append->outcome = APPEND_PURGED;
        return;
    case SCRIPT_CONFLICT: append->outcome = APPEND_KEY_CONFLICT; return;
    case SCRIPT_NO_TARGET: append->outcome = APPEND_NO_TARGET; return;
    }
    append->outcome = APPEND_BROKEN;
}

/* A Redis that is full, or may not be written to, says so before the script has written anything. */
static enum append_outcome refusal(const redisReply *reply)
{
    struct span text = redis_text(reply);

    if (reply == NULL || reply->type != REDIS_REPLY_ERROR)
        return APPEND_BROKEN;
    if (strstr(reply->str, "OOM ") != NULL)
        return APPEND_NO_SPACE;
    return span_starts(text, SPAN("MISCONF")) || span_starts(text, SPAN("NOPERM")) || span_starts(text, SPAN("BUSY")) ? APPEND_AWAY
                                                                                                                     : APPEND_BROKEN;
}

static void on_appended(void *ctx, const redisReply *reply)
{
    struct batch_call  *call  = ctx;
    struct batch_task  *task  = call->task;
    struct redis_store *store = task->store;
    const bool          is_ok = redis_is_answer(store, reply, 2) && redis_text(reply->element[1]).len == call->count * ANSWER_BYTES;

    for (size_t i = 0; i < call->count; i++) {
        if (is_ok)
            append_take(store, call->appends[i], reply, reply->element[1]->str + i * ANSWER_BYTES);
        else
            call->appends[i]->outcome = refusal(reply);
    }
    free(call);
    batch_over(task);
}

/* --- calls ------------------------------------------------------------------------------------------------------------- */

/* Channel, publisher and key can't run into one another: the lengths stand before them. The digest stands behind them. */
static struct span key_text(const struct append *append, char text[KEY_TEXT_BYTES])
{
    struct span name = channel_name_span(append->message->channel);
    char        digest[DIGEST_TEXT_BYTES];
    int         len = 0;

    if (append->key.len == 0)
        return SPAN("");
    snprintf(digest, sizeof digest, "%016llx", (unsigned long long)append_digest(append));
    len = snprintf(text, KEY_TEXT_BYTES, "lw:m:k:%zu:%zu:", name.len, append->publisher.len);
    const struct span parts[] = { name, append->publisher, append->key, span_str(digest) };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        must((size_t)len + parts[i].len <= KEY_TEXT_BYTES);
        if (parts[i].len > 0)
            memcpy(text + len, parts[i].at, parts[i].len);
        len += (int)parts[i].len;
    }
    return span_of(text, (size_t)len);
}

/* APPEND of the script. */
static void append_put(struct buf *buf, const struct append *append, size_t channel)
{
    const struct message *message = append->message;
    char                  text[KEY_TEXT_BYTES];
    const struct span     key = key_text(append, text);

    redis_whole_put(buf, append->is_purge ? SCRIPT_PURGE : message->kind == MESSAGE_RECALL ? SCRIPT_RECALL : SCRIPT_MESSAGE, 1);
    redis_whole_put(buf, channel + 1, 2);
    redis_whole_put(buf, message->payload_len, 4);
    redis_whole_put(buf, key.len, 2);
    buf_put(buf, key);
}

static void call_put(struct batch_call *call)
{
    struct buf channels, appends, record;

    buf_init(&channels, CHANNELS_BYTES);
    for (size_t i = 0; i < call->channel_count; i++)
        redis_channel_put(&channels, call->channels[i]);
    redis_line_put(call->line, buf_span(&channels));
    buf_fini(&channels);
    buf_init(&appends, APPENDS_BYTES);
    for (size_t i = 0; i < call->count; i++)
        append_put(&appends, call->appends[i], call->channel_of[i]);
    must(!buf_is_over(&appends));
    redis_line_put(call->line, buf_span(&appends));
    buf_fini(&appends);
    buf_init(&record, RECORD_MOST);
    for (size_t i = 0; i < call->count; i++) {
        buf_clear(&record);
        redis_record_put(&record, call->appends[i]->message);
        must(!buf_is_over(&record));
        redis_line_put(call->line, buf_span(&record));
    }
    buf_fini(&record);
}

static void call_send(struct batch_call *call)
{
    struct batch_task  *task  = call->task;
    struct redis_store *store = task->store;

    task->unanswered++;
    if (call->line->state != REDIS_UP) {
        for (size_t i = 0; i < call->count; i++)
            call->appends[i]->outcome = APPEND_AWAY;
        free(call);
        batch_over(task);
        return;
    }
    redis_call_begin(store, call->line, "append", task->batch->wall, APPEND_ARGS + call->count, on_appended, call);
    call_put(call);
}

static size_t call_channel_number(struct batch_call *call, const struct channel_name *name)
{
    for (size_t i = call->channel_count; i > 0; i--)
        if (channel_name_eq(call->channels[i - 1], name))
            return i - 1;
    call->channels[call->channel_count] = name;
    return call->channel_count++;
}

static void call_add(struct batch_call *call, struct append *append)
{
    call->channel_of[call->count] = call_channel_number(call, append->message->channel);
    call->appends[call->count++]  = append;
    call->bytes += message_size(append->message);
}

void redis_batch_start(struct redis_store *store, struct append_batch *batch)
{
    struct batch_call *open[REDIS_INSTANCES] = { NULL };
    struct batch_task *task = malloc(sizeof *task);
    struct list       *next;

    must(task != NULL);
    *task = (struct batch_task){ .store = store, .batch = batch, .unanswered = 1 };
    for (struct list *link = batch->appends.next; link != &batch->appends; link = next) {
        struct append      *append = container_of(link, struct append, link);
        struct redis_line  *line   = redis_line_of_channel(store, append->message->channel);
        struct batch_call **call   = &open[line->number];
        next                       = link->next;
        if (*call == NULL) {
            *call = calloc(1, sizeof **call);
            must(*call != NULL);
            (*call)->task = task;
            (*call)->line = line;
        }
        call_add(*call, append);
        if ((*call)->count == APPENDS_A_CALL || (*call)->bytes >= CALL_BYTES) {
            call_send(*call);
            *call = NULL;
        }
    }
    for (size_t i = 0; i < store->shard_count; i++)
        if (open[i] != NULL)
            call_send(open[i]);
    batch_over(task);
}
