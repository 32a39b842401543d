/* batch.c - many messages in one call, JSON or NDJSON: one answer a message, in order, each for itself (design: 4.4). */
#include <stdlib.h>

#include "api/call.h"
#include "base/must.h"
#include "publish/publish_check.h"
#include "publish/publish_json.h"

/* One message's fate. */
struct batch_item {
    struct batch        *batch;
    struct channel_name *name;        /* owns a reference; NULL if it was refused before */
    struct append_answer answer;
    const char          *why;         /* NULL: stored */
    struct json_fault    json_fault;  /* what `why` says of JSON, in detail */
    unsigned             status;
    uint32_t             inner;       /* of one with `channels`: how many items behind it are its own results */
    bool                 is_replayed;
};

struct batch {
    struct api           *api;
    struct http_exchange *exchange;
    struct batch_item    *items;
    size_t                count, cap;
    size_t                inner_left; /* how many inner results there may still be */
    size_t                waiting;    /* commands on their way */
    struct buf            strings;    /* of the message being read, decoded; while all are taken in */
    bool                  is_ndjson;
    bool                  is_read;    /* all has been taken in; the last answer ends it */
};

static struct batch_item *batch_add(struct batch *batch)
{
    must(batch->count < batch->cap);  /* items don't move: commands point at them */
    struct batch_item *item = &batch->items[batch->count++];
    *item                   = (struct batch_item){ .batch = batch };
    return item;
}

static void item_refuse(struct batch_item *item, unsigned status, const char *why)
{
    item->status = status;
    item->why    = why;
}

static void item_refuse_json(struct batch_item *item, const char *why, const struct json_fault *fault)
{
    item_refuse(item, 400, why);
    item->json_fault = *fault;
}

/* --- the answer --- */

static void put_item(struct buf *buf, const struct batch_item *item)
{
    char detail[JSON_FAULT_BYTES];

    buf_put_lit(buf, "{\"status\":");
    buf_put_u64(buf, item->status);
    if (item->why != NULL) {
        buf_put_lit(buf, ",\"title\":");
        json_put_string(buf, span_str(h1_status_text(item->status)));
        buf_put_lit(buf, ",\"detail\":");
        json_put_string(buf, span_str(json_fault_say(item->why, &item->json_fault, detail)));
        if (item->name != NULL) {
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
    for (size_t i = 0; i < batch->count; i++)
        channel_name_unref(batch->items[i].name);
    free(batch->items);
    free(batch);
}

/* Nothing more is added. */
static void batch_seal(struct batch *batch)
{
    enum { RESULT_BYTES = 160 };  /* what one takes, names of average length */

    http_promise(batch->exchange, batch->count * RESULT_BYTES);
    batch->is_read = true;
    buf_fini(&batch->strings);
    batch_end_if_done(batch);
}

static void item_answered(struct publish_command *command)
{
    struct batch_item *item  = command->owner;
    struct batch      *batch = item->batch;

    item->why         = publish_explain(command->outcome, &item->status);
    item->answer      = command->answer;
    item->is_replayed = command->outcome == PUBLISH_REPLAYED;
    command_free(&command->command);
    batch->waiting--;
    batch_end_if_done(batch);
}

/* --- taking in --- */

static void item_publish(struct batch_item *item, struct publish_request *publish_request)
{
    struct batch   *batch = item->batch;
    struct message *message;

    publish_request->name  = item->name;
    struct verdict verdict = publish_check(publish_request, &message, &item->json_fault);
    if (verdict.status != 0) {
        item_refuse(item, verdict.status, verdict.reason);
        return;
    }
    struct publish_command *command = publish_command_new(&message, publish_request->key, span_str(publish_request->identity->name));
    command->owner                 = item;
    command->answered              = item_answered;
    batch->waiting++;
    shard_publish(batch->api->shard, command);
}

static void item_to_channel(struct batch_item *item, const struct json_token *channel, struct publish_request *publish_request)
{
    struct api *api = item->batch->api;
    struct buf  scratch;
    struct span text;

    buf_init(&scratch, 4096);
    if (!json_string(channel, &scratch, &text))
        text = SPAN("");  /* which is no channel name either */
    struct verdict verdict = may_name(api->namespaces, api->hash_key, text, &item->name);
    buf_fini(&scratch);
    if (verdict.status == 0)
        item_publish(item, publish_request);
    else
        item_refuse(item, verdict.status, verdict.reason);
}

/* "channels": a list, parsed anew from its raw text because it stands below what is kept. */
static void item_to_channels(struct batch_item *item, const struct json_token *channels, struct publish_request *publish_request)
{
    static const struct json_limits limits = { .depth_kept = 1 };
    struct batch                   *batch  = item->batch;
    struct json_doc                *doc    = &batch->api->inner_doc;

    if (channels->type != JSON_ARRAY || !json_parse(channels->raw, &limits, doc)) {
        item_refuse(item, 400, "`channels` is a list of channels");
        return;
    }
    const struct json_token *list = json_root(doc);
    if (list->count == 0 || list->count > batch->inner_left) {
        item_refuse(item, list->count == 0 ? 400 : 413, "`channels` is empty, or the batch is too long in all");
        return;
    }
    item->inner = list->count;
    batch->inner_left -= list->count;
    for (const struct json_token *at = json_first(doc, list); at != NULL; at = json_next(doc, list, at))
        item_to_channel(batch_add(batch), at, publish_request);
}

static void batch_take(struct batch *batch, const struct call *call, const struct json_doc *doc,
                       const struct json_token *object)
{
    struct batch_item       *item     = batch_add(batch);
    const struct json_token *channel  = json_member(doc, object, SPAN("channel"));
    const struct json_token *channels = json_member(doc, object, SPAN("channels"));
    struct publish_json      said;

    publish_json_reserve(&batch->strings, object->raw.len);
    const char *fault = publish_json_read(doc, object, &batch->strings, &said);
    if (fault == NULL && (channel == NULL) == (channels == NULL))
        fault = "a message has one of `channel` and `channels`";
    if (fault != NULL) {
        item_refuse(item, 400, fault);
        return;
    }
    struct publish_request request = {
        .payload = said.payload, .media = said.media, .key = said.key, .has_ttl = said.has_ttl, .ttl_s = said.ttl_s,
        .wall = call->api->shard->wall, .identity = call->identity,
    };
    if (channel != NULL)
        item_to_channel(item, channel, &request);
    else
        item_to_channels(item, channels, &request);
}

static struct batch *batch_new(const struct call *call, bool is_ndjson)
{
    struct batch *batch = calloc(1, sizeof *batch);

    must(batch != NULL);
    batch->api       = call->api;
    batch->exchange  = call->exchange;
    batch->is_ndjson = is_ndjson;
    buf_init(&batch->strings, SIZE_MAX / 2);  /* twice what one message takes: batch_bytes_max bounds it */
    return batch;
}

/* Items for so many messages, and for the inner results of `channels`. */
static void batch_make_room(struct batch *batch, size_t messages)
{
    batch->inner_left = batch->api->limits.batch_messages_max;
    batch->cap        = messages + batch->inner_left;
    batch->items      = malloc(batch->cap * sizeof batch->items[0]);
    must(batch->items != NULL);
}

static void serve_json_batch(struct call *call)
{
    static const struct json_limits limits = { .depth_kept = 3, .tokens_max = 2000000 };
    struct json_doc                *doc    = &call->api->doc;

    if (!json_parse(call->request->body, &limits, doc)) {
        char why[JSON_FAULT_BYTES];
        call_refuse(call, 400, json_fault_say("the batch is not JSON", &doc->fault, why));
        return;
    }
    const struct json_token *messages = json_member(doc, json_root(doc), SPAN("messages"));
    if (messages == NULL || messages->type != JSON_ARRAY) {
        call_refuse(call, 400, "a batch is {\"messages\":[…]}");
        return;
    }
    if (messages->count > call->api->limits.batch_messages_max) {
        call_refuse(call, 413, "too many messages in one batch (batch_messages_max)");
        return;
    }
    struct batch *batch = batch_new(call, false);
    batch_make_room(batch, messages->count);
    for (const struct json_token *at = json_first(doc, messages); at != NULL; at = json_next(doc, messages, at))
        batch_take(batch, call, doc, at);
    batch_seal(batch);
}

/* The next line that isn't empty; lines may end with CR LF. */
static bool line_next(struct span *rest, struct span *ret_line)
{
    while (span_cut(rest, '\n', ret_line)) {
        if (ret_line->len > 0 && ret_line->at[ret_line->len - 1] == '\r')
            ret_line->len--;
        if (span_trim(*ret_line).len > 0)
            return true;
    }
    return false;
}

static size_t count_lines(struct span body)
{
    struct span line;
    size_t      count = 0;

    while (line_next(&body, &line))
        count++;
    return count;
}

static void serve_ndjson_batch(struct call *call)
{
    static const struct json_limits limits = { .depth_kept = 1 };
    struct json_doc                *doc    = &call->api->doc;
    struct span                     rest   = call->request->body, line;
    size_t                          lines  = count_lines(rest);

    if (lines > call->api->limits.batch_messages_max) {
        call_refuse(call, 413, "too many messages in one batch (batch_messages_max)");
        return;
    }
    struct batch *batch = batch_new(call, true);
    batch_make_room(batch, lines);
    while (line_next(&rest, &line)) {
        if (json_parse(line, &limits, doc))
            batch_take(batch, call, doc, json_root(doc));
        else
            item_refuse_json(batch_add(batch), "this line is not JSON", &doc->fault);
    }
    batch_seal(batch);
}

static struct span media_kind(struct span media)
{
    struct span kind = SPAN("");
    span_cut(&media, ';', &kind);
    return span_trim(kind);
}

void serve_batch(struct call *call)
{
    struct span kind = media_kind(request_field(call->request->head, SPAN("content-type")));

    if (!call_body_is_plain(call))
        return;
    if (!call_passes(call, may_publish_at_all(call->identity, call->api->namespaces)))
        return;
    if (span_eq_nocase(kind, SPAN("application/x-ndjson")))
        serve_ndjson_batch(call);
    else if (kind.len == 0 || json_is_media(kind) || span_eq_nocase(kind, SPAN("application/x-www-form-urlencoded")))
        serve_json_batch(call);
    else
        call_refuse(call, 415, "a batch is application/json or application/x-ndjson");
}
