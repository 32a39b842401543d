/* redis_append.c - batches: cut into calls of the script, one or more for each instance. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "store/digest.h"
#include "store/redis_priv.h"

enum { APPEND_ARGS = 8, DIGEST_TEXT_BYTES = 17, KEY_TEXT_BYTES = 2048, RECORD_MOST = 256 << 20 };

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

static uint64_t whole(const redisReply *said, size_t at)
{
    return at < said->elements && said->element[at]->type == REDIS_REPLY_INTEGER ? (uint64_t)said->element[at]->integer : 0;
}

static void append_take(struct redis_store *store, struct append *append, const redisReply *answer, const redisReply *said)
{
    struct message *message = append->message;
    const uint64_t  epoch   = redis_epoch(answer, (long long)whole(said, 1));

    switch ((enum script_outcome)whole(said, 0)) {
    case SCRIPT_DONE:
        message->epoch  = epoch;
        message->seq    = whole(said, 2);
        message->id     = whole(said, 3);
        append->outcome = APPEND_DONE;
        counter_add(&store->append_count, 1);
        return;
    case SCRIPT_REPLAYED:
        append->first   = (struct append_answer){ epoch, whole(said, 2), whole(said, 3), (msec)whole(said, 4) };
        append->outcome = APPEND_REPLAYED;
        return;
    case SCRIPT_PURGED:
        append->purged  = (struct purge_answer){ epoch, whole(said, 2), whole(said, 3) };
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
    const bool          is_ok = redis_is_answer(store, reply, call->count + 1);

    for (size_t i = 0; i < call->count; i++) {
        if (is_ok && reply->element[i + 1]->type == REDIS_REPLY_ARRAY)
            append_take(store, call->appends[i], reply, reply->element[i + 1]);
        else
            call->appends[i]->outcome = refusal(reply);
    }
    free(call);
    batch_over(task);
}

/* --- calls ------------------------------------------------------------------------------------------------------------- */

/* Channel, publisher and key can't run into one another: the lengths stand before them. */
static struct span key_text(const struct append *append, char text[KEY_TEXT_BYTES])
{
    struct span name = channel_name_span(append->message->channel);
    int         len  = 0;

    if (append->key.len == 0)
        return SPAN("");
    len = snprintf(text, KEY_TEXT_BYTES, "lw:m:k:%zu:%zu:", name.len, append->publisher.len);
    must((size_t)len + name.len + append->publisher.len + append->key.len <= KEY_TEXT_BYTES);
    const struct span parts[] = { name, append->publisher, append->key };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].len > 0)
            memcpy(text + len, parts[i].at, parts[i].len);
        len += (int)parts[i].len;
    }
    return span_of(text, (size_t)len);
}

static void put_append(struct redis_line *line, const struct append *append, size_t channel)
{
    const struct message *message = append->message;
    char                  digest[DIGEST_TEXT_BYTES], text[KEY_TEXT_BYTES];
    struct buf            record;

    snprintf(digest, sizeof digest, "%016llx", (unsigned long long)append_digest(append));
    buf_init(&record, RECORD_MOST);
    redis_record_put(&record, message);
    must(!buf_is_over(&record));
    redis_line_put(line, append->is_purge ? SPAN("p") : message->kind == MESSAGE_RECALL ? SPAN("1") : SPAN("0"));
    redis_put_number(line, channel + 1);
    redis_line_put(line, key_text(append, text));
    redis_line_put(line, span_str(digest));
    redis_put_number(line, message->target);
    redis_put_number(line, (uint64_t)message->time);
    redis_put_number(line, (uint64_t)message->expires_at);
    redis_line_put(line, buf_span(&record));
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
    redis_call_begin(store, call->line, "append", task->batch->wall, 1 + call->channel_count * CHANNEL_ARGS + call->count * APPEND_ARGS,
                     on_appended, call);
    redis_put_number(call->line, call->channel_count);
    for (size_t i = 0; i < call->channel_count; i++)
        redis_put_channel(call->line, call->channels[i]);
    for (size_t i = 0; i < call->count; i++)
        put_append(call->line, call->appends[i], call->channel_of[i]);
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
