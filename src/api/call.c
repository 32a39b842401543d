/* call.c - what handlers share: refusals, answers, and the parameters of a request. */
#include "api/call.h"

#include "api/time_text.h"
#include "auth/credential.h"
#include "codec/url/url.h"
#include "message/user_name.h"

struct http_fields retry_after(unsigned status)
{
    static const struct http_field soon = { SPAN("Retry-After"), SPAN("1") };

    return status == 429 || status == 503 || status == 507 ? (struct http_fields){ &soon, 1 } : HTTP_NO_FIELDS;
}

void call_refuse(const struct call *call, unsigned status, const char *detail)
{
    http_problem(call->api->server, call->exchange, status, NULL, detail, retry_after(status));
}

bool call_passes(const struct call *call, struct verdict verdict)
{
    if (verdict.status != 0)
        http_problem(call->api->server, call->exchange, verdict.status, NULL, verdict.reason,
                     verdict.status == 401 ? HTTP_FIELDS({ SPAN("WWW-Authenticate"), SPAN("Bearer") })
                                           : retry_after(verdict.status));
    return verdict.status == 0;
}

bool call_may_publish_now(const struct call *call)
{
    return call_passes(call, usage_publish(call->api->usage, call->identity, http_exchange_number(call->exchange),
                                                 call->api->shard->now));
}

bool call_passes_member(const struct call *call, struct verdict verdict)
{
    return verdict.needs_member || call_passes(call, verdict);
}

bool call_body_is_plain(const struct call *call)
{
    struct span coding = request_field(call->request->head, SPAN("content-encoding"));

    if (coding.len == 0 || span_eq_nocase(coding, SPAN("identity")))
        return true;
    http_problem(call->api->server, call->exchange, 415, NULL,
                 "no Content-Encoding is undone here; send the body as it is",
                 HTTP_FIELDS({ SPAN("Accept-Encoding"), SPAN("identity") }));
    return false;
}

void call_answer_json(const struct call *call, unsigned status, struct span body)
{
    http_answer(call->api->server, call->exchange, &(struct http_answer){
        .status = status, .media = SPAN("application/json"), .body = body,
    });
}

struct channel_name *call_channel(const struct call *call, enum action action)
{
    struct channel_name *name = NULL;
    struct span          plain;
    struct buf           scratch;

    buf_init(&scratch, 4096);
    if (!url_decode(call->segments[2], URL_PATH, &scratch, &plain))
        plain = SPAN("");  /* refused as well: that is no channel name */
    call_passes(call, may_name(call->identity, action, call->api->namespaces, call->api->hash_key, plain, &name));
    buf_fini(&scratch);
    return name;
}

/* Is there another parameter of that name in the rest of a query? */
static bool query_names(struct span rest, struct span name)
{
    struct span at, value;

    while (url_query_next(&rest, &at, &value))
        if (span_eq(at, name))
            return true;
    return false;
}

bool call_knows_query(const struct call *call, struct known_words known)
{
    struct span query = call->request->query, name, value;
    char        why[UNKNOWN_WORD_BYTES];

    while (url_query_next(&query, &name, &value)) {
        if (span_starts(name, SPAN("_")) || credential_is_parameter(name))
            continue;
        if (!known_words_have(known, name)) {
            call_refuse(call, 400, unknown_word_say("parameter", name, known, why));
            return false;
        }
        if (query_names(query, name)) {
            call_refuse(call, 400, "a parameter stands in the query twice");
            return false;
        }
    }
    return true;
}

bool call_parameter(const struct call *call, struct span name, struct span *ret_encoded)
{
    struct span query = call->request->query, at;

    while (url_query_next(&query, &at, ret_encoded))
        if (span_eq(at, name))
            return true;
    return false;
}

struct verdict call_device(const struct call *call, struct span said, struct buf *scratch, struct span *ret)
{
    struct span of_token = identity_device(call->identity), encoded, asked = SPAN("");

    if (call_parameter(call, SPAN("device"), &encoded) && !url_decode(encoded, URL_QUERY, scratch, &asked))
        return (struct verdict){ 400, "device= is percent-encoded UTF-8" };
    if (said.len > 0 && asked.len > 0 && !span_eq(said, asked))
        return (struct verdict){ 400, "the query names another device than the body: leave one out, or say the same" };
    if (said.len == 0)
        said = asked;
    if (of_token.len > 0 && said.len > 0 && !span_eq(of_token, said))
        return (struct verdict){ 400, "the token names another device: leave out `device`, or say the same" };
    *ret = of_token.len > 0 ? of_token : said;
    if (ret->len > 0 && !device_name_is_valid(*ret))
        return (struct verdict){ 400, "`device` is no device's name: " USER_NAMES_ARE };
    return (struct verdict){ 0 };
}

bool call_u64(const struct call *call, struct span name, bool *ret_is_there, uint64_t *ret)
{
    struct buf  scratch, detail;
    struct span encoded, value;

    buf_init(&scratch, 64);
    *ret_is_there = call_parameter(call, name, &encoded);
    bool is_fine  = !*ret_is_there || (url_decode(encoded, URL_QUERY, &scratch, &value) && span_u64(value, ret));
    buf_fini(&scratch);
    if (is_fine)
        return true;
    buf_init(&detail, 256);
    buf_putf(&detail, "%.*s= is not a whole number%c", SPAN_ARG(name), '\0');
    call_refuse(call, 400, detail.at);
    buf_fini(&detail);
    return false;
}

bool call_time(const struct call *call, struct span name, msec *ret)
{
    struct buf  scratch, detail;
    struct span encoded, value;

    *ret = 0;
    if (!call_parameter(call, name, &encoded))
        return true;
    buf_init(&scratch, 64);
    bool is_fine = url_decode(encoded, URL_QUERY, &scratch, &value) &&
                   time_text_get(value, call->api->shard->wall, ret);
    buf_fini(&scratch);
    if (is_fine)
        return true;
    buf_init(&detail, 256);
    buf_putf(&detail, "%.*s= is no time: write " TIME_TEXT_FORMS "%c", SPAN_ARG(name), '\0');
    call_refuse(call, 400, detail.at);
    buf_fini(&detail);
    return false;
}

void call_answer_unreadable(struct api *api, struct http_exchange *exchange, const struct channel_name *channel)
{
    http_problem(api->server, exchange, 503, NULL, shard_engine_text(api->shard, channel, "the store can't be read just now"),
                 retry_after(503));
}

struct read_command *call_read_new(struct call *call, struct channel_name *name, enum read_way way, uint64_t bound,
                                 uint32_t limit, void (*answered)(struct read_command *))
{
    struct read_command *command = read_command_new(name);

    command->owner          = call->exchange;
    command->answered       = answered;
    command->read.way       = way;
    command->read.bound     = bound;
    command->read.limit     = limit;
    command->read.bytes_max = call->api->limits.history_bytes_max;
    return command;
}
