/* batch_read.c - POST /v1/messages: the messages of a batch, as JSON or NDJSON. */
#include "api/batch.h"
#include "base/must.h"
#include "device/member_publish.h"
#include "publish/publish_check.h"
#include "publish/publish_json.h"

static void item_publish(struct batch_item *item, struct publish_request *request)
{
    struct batch   *batch = item->batch;
    struct message *message;
    char            why[PUBLISH_WHY_BYTES];

    request->name          = item->name;
    struct verdict verdict = usage_publish(batch->api->usage, request->identity,
                                                 http_exchange_number(batch->exchange), batch->api->shard->now);
    if (verdict.status == 0)
        verdict = publish_check(request, why, &message);
    if (verdict.status != 0) {
        item_refuse(item, verdict.status, verdict.reason);
        return;
    }
    struct publish_command *command = publish_command_new(&message, request->key, identity_from(request->identity));
    command->owner                 = item;
    command->answered              = item_answered;
    batch->waiting++;
    if (verdict.needs_member)
        publish_only_for_member(batch->api->memberships, batch->api->namespaces, batch->api->hash_key,
                                identity_user(request->identity), command);
    shard_publish(batch->api->shard, command);
}

static void item_to_channel(struct batch_item *item, const struct json_token *channel, struct publish_request *request)
{
    struct api *api = item->batch->api;
    struct buf  scratch;
    struct span text;

    buf_init(&scratch, 4096);
    if (!json_string(channel, &scratch, &text))
        text = SPAN("");  /* refused as well: that is no channel name */
    struct verdict verdict = may_name(request->identity, ACTION_PUBLISH, api->namespaces, api->hash_key, text,
                                      &item->name);
    buf_fini(&scratch);
    if (verdict.status == 0)
        verdict = may(request->identity, item->name, ACTION_PUBLISH);
    if (verdict.status == 0 || verdict.needs_member)
        item_publish(item, request);
    else
        item_refuse(item, verdict.status, verdict.reason);
}

/* `channels` is parsed anew from its raw text, because its list stands below the levels that are kept. */
static void item_to_channels(struct batch_item *item, const struct json_token *channels,
                             struct publish_request *request)
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
        item_to_channel(batch_add(batch), at, request);
}

static const struct span message_words[] = { PUBLISH_JSON_WORDS, SPAN("channels") };
static const struct span batch_words[]   = { SPAN("messages") };

/* As it stands in the text, without its quotes. */
static struct span member_name(const struct json_token *name)
{
    return span_of(name->raw.at + 1, name->raw.len - 2);
}

static void batch_take(struct batch *batch, const struct call *call, const struct json_doc *doc,
                       const struct json_token *object)
{
    struct batch_item       *item     = batch_add(batch);
    const struct json_token *channel  = json_member(doc, object, SPAN("channel"));
    const struct json_token *channels = json_member(doc, object, SPAN("channels"));
    const struct json_token *unknown  = json_unknown_member(doc, object, KNOWN_WORDS(message_words));
    struct publish_json      said;

    publish_json_reserve(&batch->strings, object->raw.len);
    const char *fault = publish_json_read(doc, object, &batch->strings, &said);
    if (fault == NULL && (channel == NULL) == (channels == NULL))
        fault = "a message has one of `channel` and `channels`";
    if (fault != NULL) {
        item_refuse(item, 400, fault);
        return;
    }
    if (unknown != NULL) {
        char why[UNKNOWN_WORD_BYTES];
        item_refuse(item, 400, unknown_word_say("member", member_name(unknown), KNOWN_WORDS(message_words), why));
        return;
    }
    struct publish_request request = {
        .payload = said.payload, .media = said.media, .key = said.key,
        .event = said.event, .collapse_key = said.collapse_key, .priority = said.priority, .has_ttl = said.has_ttl, .ttl_s = said.ttl_s,
        .wall = call->api->shard->wall, .identity = call->identity,
    };
    if (channel != NULL)
        item_to_channel(item, channel, &request);
    else
        item_to_channels(item, channels, &request);
}

static void serve_json_batch(struct call *call)
{
    static const struct json_limits limits = { .depth_kept = 3, .tokens_max = 2000000 };
    struct json_doc                *doc    = &call->api->doc;

    if (!json_parse(json_skip_mark(call->request->body), &limits, doc)) {
        char why[JSON_FAULT_BYTES];
        call_refuse(call, 400, json_fault_say("the batch is not JSON", &doc->fault, why));
        return;
    }
    const struct json_token *unknown  = json_unknown_member(doc, json_root(doc), KNOWN_WORDS(batch_words));
    const struct json_token *messages = json_member(doc, json_root(doc), SPAN("messages"));
    if (unknown != NULL) {
        char why[UNKNOWN_WORD_BYTES];
        call_refuse(call, 400, unknown_word_say("member", member_name(unknown), KNOWN_WORDS(batch_words), why));
        return;
    }
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

/* Passes over empty lines. A line may end with CR LF. */
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
    struct span                     rest   = json_skip_mark(call->request->body), line;
    size_t                          lines  = count_lines(rest);
    char                            why[JSON_FAULT_BYTES];

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
            item_refuse(batch_add(batch), 400, json_fault_say("this line is not JSON", &doc->fault, why));
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
    if (!call_knows_query(call, KNOWN_NO_WORDS))
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
