/* request.c - POST /v1/request: a request to a back end for clients that have no link, or none at the moment. The body is the
 * frame; the device is the one of the token, or without one there, `device` of the body or of the query names it.
 *
 * 202 says that the request is durable; the response comes in the device's log. Who sends `Prefer: wait=S` (RFC 7240) gets it
 * here if it is there in time. */
#include "api/call.h"
#include "base/must.h"
#include "message/user_name.h"
#include "publish/publish_json.h"
#include "publish/request_check.h"

enum { REQUEST_WAIT_S_MAX = 600, SENDER_ADDRESS_BYTES = 64 };

static const struct span request_members[] = { REQUEST_JSON_WORDS, SPAN("device"), SPAN("type") };

/* One call while its body is read. */
struct request_reading {
    struct call         *call;
    struct buf           strings, address;
    struct buf           words;    /* of the query */
    struct span          device;
    struct request_asked asked;
};

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void answer_accepted(struct api *api, struct http_exchange *exchange, const struct request_command *request)
{
    buf_clear(&api->scratch);
    buf_put_lit(&api->scratch, "{\"id\":");
    json_put_string(&api->scratch, request->id);
    buf_put_lit(&api->scratch, ",\"channel\":");
    json_put_string(&api->scratch, channel_name_span(request->channel));
    buf_putc(&api->scratch, '}');
    http_answer(api->server, exchange, &(struct http_answer){
        .status = 202, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
    });
}

static void answer_response(struct api *api, struct http_exchange *exchange, const struct request_command *request)
{
    struct buf *object = &api->scratch;

    buf_clear(object);
    json_put_message(object, request->answer);
    must(object->len > 0 && object->at[object->len - 1] == '}');
    if (request->outcome == REQUEST_REPLAYED) {
        object->len--;
        buf_put_lit(object, ",\"replayed\":true}");
    }
    http_answer(api->server, exchange, &(struct http_answer){
        .status = 200, .media = SPAN("application/json"), .body = buf_span(object),
    });
}

static void request_settled(struct request_command *request)
{
    struct http_exchange *exchange = request->owner;
    struct api           *api      = exchange->owner;
    unsigned              status;
    const char           *why = request_explain(request->outcome, &status);

    if (why != NULL)
        http_problem(api->server, exchange, status, NULL, status == 503 ? shard_engine_text(api->shard, NULL, why) : why,
                     retry_after(status));
    else if (request->answer != NULL)
        answer_response(api, exchange, request);
    else
        answer_accepted(api, exchange, request);
    command_free(&request->command);
}

/* --- the question ----------------------------------------------------------------------------------------------- */

static bool refuse_reading(const struct request_reading *reading, unsigned status, const char *detail)
{
    call_refuse(reading->call, status, detail);
    return false;
}

static bool request_read_body(struct request_reading *reading)
{
    static const struct json_limits limits = { .depth_kept = 1, .members_max = 16 };
    struct json_doc                *doc    = &reading->call->api->doc;
    char                            why[JSON_FAULT_BYTES], unknown[UNKNOWN_WORD_BYTES];
    struct span                     said;

    if (!json_parse(json_skip_mark(reading->call->request->body), &limits, doc))
        return refuse_reading(reading, 400, json_fault_say("the body is one JSON object", &doc->fault, why));
    const struct json_token *root     = json_root(doc);
    const struct json_token *stranger = json_unknown_member(doc, root, KNOWN_WORDS(request_members));
    const struct json_token *device   = json_member(doc, root, SPAN("device"));
    if (stranger != NULL)
        return refuse_reading(reading, 400, unknown_word_say("member", span_of(stranger->raw.at + 1, stranger->raw.len - 2),
                                                             KNOWN_WORDS(request_members), unknown));
    const struct json_token *type     = json_member(doc, root, SPAN("type"));
    if (type != NULL && (!json_string(type, &reading->strings, &said) || !span_eq(said, SPAN("request"))))
        return refuse_reading(reading, 400, "`type` is \"request\", or is left out");
    if (device != NULL && !json_string(device, &reading->strings, &reading->device))
        return refuse_reading(reading, 400, "`device` is a string");
    const char *fault = request_json_read(doc, root, &reading->strings, &reading->asked);
    return fault == NULL || refuse_reading(reading, 400, fault);
}

static struct verdict request_device(struct request_reading *reading)
{
    if (identity_user(reading->call->identity).len == 0)
        return (struct verdict){ 401, "requests belong to the device of a user: come with a token" };
    struct verdict verdict = call_device(reading->call, reading->device, &reading->words, &reading->device);
    if (verdict.status == 0 && reading->device.len == 0)
        return (struct verdict){ 400, "name the device: the token does not" };
    return verdict;
}

/* Of `Prefer: respond-async, wait=10`; what it says beside is not ours (RFC 7240 2). */
static msec wait_asked(const struct call *call)
{
    struct span list = request_field(call->request->head, SPAN("prefer")), one, value, name;
    uint64_t    seconds;

    while (span_cut(&list, ',', &one)) {
        if (span_cut(&one, ';', &value) && span_cut(&value, '=', &name) && span_eq_nocase(span_trim(name), SPAN("wait")) &&
            span_u64(span_trim(value), &seconds))
            return (msec)(seconds < REQUEST_WAIT_S_MAX ? seconds : REQUEST_WAIT_S_MAX) * 1000;
    }
    return 0;
}

static struct channel_name *device_log(const struct call *call, struct span device)
{
    struct channel_name *name;
    struct buf           text;

    buf_init(&text, 512);
    buf_put_lit(&text, "device:");
    buf_put(&text, identity_user(call->identity));
    buf_putc(&text, '/');
    buf_put(&text, device);
    must(channel_name_new(call->api->namespaces, call->api->hash_key, buf_span(&text), &name) == CHANNEL_NAME_OK);
    buf_fini(&text);
    return name;
}

static void request_send(struct request_reading *reading)
{
    struct call                *call    = reading->call;
    struct channel_name        *channel = device_log(call, reading->device);
    struct request_command     *request = NULL;
    char                        why[REQUEST_WHY_BYTES];
    const struct request_sender sender = { .identity = call->identity, .channel = channel, .device = reading->device,
                                           .user = identity_user(call->identity), .address = buf_span(&reading->address) };

    if (call_passes(call, request_check(call->api->routes, &sender, &reading->asked, why, &request))) {
        request->owner    = call->exchange;
        request->answered = request_settled;
        request->wait_ms  = wait_asked(call);
        shard_request(call->api->shard, request);
    }
    channel_name_unref(channel);
}

void serve_request(struct call *call)
{
    struct request_reading reading = { .call = call };
    struct ip_address      sender;

    if (!call_body_is_plain(call) || !call_knows_query(call, KNOWN_NO_WORDS))
        return;
    buf_init(&reading.strings, SIZE_MAX / 2);
    buf_init(&reading.address, SENDER_ADDRESS_BYTES);
    buf_init(&reading.words, QUERY_WORD_BYTES_MAX);
    publish_json_reserve(&reading.strings, call->request->body.len);
    if (http_exchange_client(call->exchange, &sender))
        ip_put(&sender, &reading.address);
    if (request_read_body(&reading) && call_passes(call, request_device(&reading)))
        request_send(&reading);
    buf_fini(&reading.words);
    buf_fini(&reading.strings);
    buf_fini(&reading.address);
}
