/* batch.c - a batch that is carried out: its results, and the one answer. */
#include "api/batch.h"

#include <stdlib.h>

#include "base/must.h"
#include "publish/publish_check.h"

struct batch_item *batch_add(struct batch *batch)
{
    must(batch->count < batch->cap);  /* items don't move, because commands point at them */
    struct batch_item *item = &batch->items[batch->count++];
    *item                   = (struct batch_item){ .batch = batch };
    return item;
}

void item_refuse(struct batch_item *item, unsigned status, const char *why)
{
    must(item->why == NULL);
    item->status = status;
    item->why    = strdup(why);
    must(item->why != NULL);
}

static void put_item(struct buf *buf, const struct batch_item *item)
{
    buf_put_lit(buf, "{\"status\":");
    buf_put_u64(buf, item->status);
    if (item->why != NULL) {
        buf_put_lit(buf, ",\"title\":");
        json_put_string(buf, span_str(h1_status_text(item->status)));
        buf_put_lit(buf, ",\"detail\":");
        json_put_string(buf, span_str(item->why));
        /* Who may not publish gets the same answer for a foreign channel and for a namespace that does not exist: that has no name. */
        if (item->name != NULL && item->status != 403) {
            buf_put_lit(buf, ",\"channel\":");
            json_put_string(buf, channel_name_span(item->name));
        }
    } else {
        buf_putc(buf, ',');
        publish_put_receipt(buf, item->name, &item->answer);
        if (item->is_replayed)
            buf_put_lit(buf, ",\"replayed\":true");
    }
    buf_putc(buf, '}');
}

static size_t put_result(struct buf *buf, const struct batch_item *item)
{
    if (item->inner == 0) {
        put_item(buf, item);
        return 1;
    }
    buf_put_lit(buf, "{\"status\":207,\"results\":[");
    for (uint32_t i = 0; i < item->inner; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        put_item(buf, item + 1 + i);
    }
    buf_put_lit(buf, "]}");
    return 1 + item->inner;
}

static void put_results(const struct batch *batch, struct buf *buf)
{
    buf_clear(buf);
    if (!batch->is_ndjson)
        buf_put_lit(buf, "{\"results\":[");
    for (size_t i = 0; i < batch->count;) {
        if (i > 0 && !batch->is_ndjson)
            buf_putc(buf, ',');
        i += put_result(buf, &batch->items[i]);
        if (batch->is_ndjson)
            buf_putc(buf, '\n');
    }
    if (!batch->is_ndjson)
        buf_put_lit(buf, "]}");
}

static void batch_end_if_done(struct batch *batch)
{
    if (!batch->is_read || batch->waiting > 0)
        return;

    struct buf *scratch = &batch->api->scratch;
    put_results(batch, scratch);
    http_answer(batch->api->server, batch->exchange, &(struct http_answer){
        .status = 200,
        .media  = batch->is_ndjson ? SPAN("application/x-ndjson") : SPAN("application/json"),
        .body   = buf_span(scratch),
    });
    for (size_t i = 0; i < batch->count; i++) {
        channel_name_unref(batch->items[i].name);
        free(batch->items[i].why);
    }
    free(batch->items);
    free(batch);
}

void batch_seal(struct batch *batch)
{
    enum { RESULT_BYTES = 160 };  /* of one result, with names of average length */

    http_promise(batch->exchange, batch->count * RESULT_BYTES);
    must(!batch->is_read);
    batch->is_read = true;
    buf_fini(&batch->strings);
    batch_end_if_done(batch);
}

void item_answered(struct publish_command *command)
{
    struct batch_item *item  = command->owner;
    struct batch      *batch = item->batch;
    const char        *why   = publish_explain_sent(batch->api->shard, command, &item->status);

    if (why != NULL)
        item_refuse(item, item->status, why);
    item->answer      = command->answer;
    item->is_replayed = command->outcome == PUBLISH_REPLAYED;
    command_free(&command->command);
    must(batch->waiting > 0);
    batch->waiting--;
    batch_end_if_done(batch);
}

struct batch *batch_new(const struct call *call, bool is_ndjson)
{
    struct batch *batch = calloc(1, sizeof *batch);

    must(batch != NULL);
    batch->api       = call->api;
    batch->exchange  = call->exchange;
    batch->is_ndjson = is_ndjson;
    buf_init(&batch->strings, SIZE_MAX / 2);  /* bounded by batch_bytes_max, see publish_json_reserve() */
    return batch;
}

void batch_make_room(struct batch *batch, size_t messages)
{
    batch->inner_left = batch->api->limits.batch_messages_max;
    batch->cap        = messages + batch->inner_left;
    batch->items      = malloc(batch->cap * sizeof batch->items[0]);
    must(batch->items != NULL);
}
