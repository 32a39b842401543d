/* ack.c - POST /v1/ack: a device acknowledges places without a link of its own.
 *
 *     {"places":{"user:alice":42,"group:lobby":7},"generation":3}
 *
 * The device is the one of the token; without one there `device` names it. */
#include <stdlib.h>

#include "api/call.h"
#include "base/must.h"
#include "device/device_command.h"
#include "message/user_name.h"
#include "publish/publish_json.h"

enum { ACK_PLACES_MAX = 1000 };

static const struct span ack_members[] = { SPAN("places"), SPAN("generation"), SPAN("device") };

/* One call while its body is read. */
struct ack_reading {
    struct call  *call;
    struct buf    strings;
    struct span   device;
    uint64_t      generation;
    struct session_place *places;
    size_t        count;
};

static bool refuse_ack(const struct ack_reading *reading, unsigned status, const char *detail)
{
    call_refuse(reading->call, status, detail);
    return false;
}

static const char places_are[] = "places is an object of whole numbers: {\"places\":{\"user:alice\":42}}";

static bool ack_take_place(struct ack_reading *reading, const struct json_token *name, const struct json_token *seq)
{
    struct api           *api   = reading->call->api;
    struct session_place *place = &reading->places[reading->count];
    struct span           text;

    if (!json_string(name, &reading->strings, &text) || !json_u64(seq, &place->seq) || place->seq > UINT64_MAX / 2)
        return refuse_ack(reading, 400, places_are);
    if (channel_name_new(api->namespaces, api->hash_key, text, &place->name) != CHANNEL_NAME_OK)
        return refuse_ack(reading, 404, "this session follows no such channel");
    reading->count++;
    return true;
}

/* Parsed anew from its raw text, because its members stand below what is kept of a body. */
static bool ack_take_places(struct ack_reading *reading, struct span raw)
{
    static const struct json_limits limits = { .depth_kept = 1, .members_max = ACK_PLACES_MAX };
    struct json_doc                *doc    = &reading->call->api->inner_doc;

    if (!json_parse(raw, &limits, doc) || json_root(doc)->type != JSON_OBJECT || json_root(doc)->count == 0)
        return refuse_ack(reading, 400, places_are);
    const struct json_token *root = json_root(doc);
    reading->places               = calloc(root->count, sizeof reading->places[0]);
    must(reading->places != NULL);
    for (const struct json_token *name = json_first(doc, root), *seq; name != NULL; name = json_next(doc, root, seq)) {
        seq = json_next(doc, root, name);
        if (!ack_take_place(reading, name, seq))
            return false;
    }
    return true;
}

static bool ack_read(struct ack_reading *reading)
{
    static const struct json_limits limits = { .depth_kept = 1, .members_max = 16 };
    struct json_doc                *doc    = &reading->call->api->doc;
    char                            why[JSON_FAULT_BYTES];

    if (!json_parse(json_skip_mark(reading->call->request->body), &limits, doc))
        return refuse_ack(reading, 400, json_fault_say("the body is one JSON object", &doc->fault, why));
    const struct json_token *root = json_root(doc);
    if (root->type != JSON_OBJECT || json_unknown_member(doc, root, KNOWN_WORDS(ack_members)) != NULL)
        return refuse_ack(reading, 400, "the body is an object with places, and perhaps generation and device");
    const struct json_token *generation = json_member(doc, root, SPAN("generation"));
    const struct json_token *device     = json_member(doc, root, SPAN("device"));
    const struct json_token *places     = json_member(doc, root, SPAN("places"));
    if (generation != NULL && (!json_u64(generation, &reading->generation) || reading->generation == 0))
        return refuse_ack(reading, 400, "generation is a whole number, as `connected` said it");
    if (device != NULL && !json_string(device, &reading->strings, &reading->device))
        return refuse_ack(reading, 400, "device is a string");
    if (places == NULL)
        return refuse_ack(reading, 400, places_are);
    return ack_take_places(reading, places->raw);
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void ack_put_places(struct buf *buf, const struct session_open *open)
{
    buf_put_lit(buf, "{\"places\":{");
    for (size_t i = 0; i < open->named_count; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        json_put_string(buf, channel_name_span(open->named[i].name));
        buf_putc(buf, ':');
        buf_put_u64(buf, open->named[i].seq);
    }
    buf_put_lit(buf, "}}");
}

static const struct { unsigned status; const char *detail; } ack_refusals[] = {
    [OPEN_DONE]     = { 200, NULL },
    [OPEN_STALE]    = { 409, "stale: a newer link has taken this session over" },
    [OPEN_NONE]     = { 404, "this device has no session" },
    [OPEN_FULL]     = { 403, "this user has as many devices as a user may have" },
    [OPEN_ASTRAY]   = { 404, "this session does not follow one of these channels; nothing was acknowledged" },
    [OPEN_NO_SPACE] = { 507, "the disk is full" },
    [OPEN_BUSY]     = { 503, "too many sessions are being looked at; come again later" },
    [OPEN_AWAY]     = { 503, "sessions can't be read just now; come again later" },
};

static void ack_answered(struct session_open *open)
{
    struct http_exchange *exchange = open->owner;
    struct api           *api      = exchange->owner;
    unsigned              status   = ack_refusals[open->outcome].status;

    if (open->outcome == OPEN_DONE) {
        buf_clear(&api->scratch);
        ack_put_places(&api->scratch, open);
        http_answer(api->server, exchange, &(struct http_answer){
            .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
        });
    } else {
        http_problem(api->server, exchange, status, NULL, ack_refusals[open->outcome].detail, retry_after(status));
    }
    command_free(&open->command);
}

static struct verdict ack_device(const struct call *call, struct span *device)
{
    struct span of_token = identity_device(call->identity);

    if (identity_user(call->identity).len == 0)
        return (struct verdict){ 401, "places belong to a user's device: come with the token of a user" };
    if (of_token.len > 0 && device->len > 0 && !span_eq(of_token, *device))
        return (struct verdict){ 403, "the token names another device" };
    if (of_token.len > 0)
        *device = of_token;
    if (!device_name_is_valid(*device))
        return (struct verdict){ 400, "name the device: the token does not" };
    return (struct verdict){ 0 };
}

static void ack_ask(struct ack_reading *reading)
{
    struct call         *call = reading->call;
    struct api          *api  = call->api;
    struct session_open *open = session_open_new(api->devices, identity_user(call->identity), reading->device, SPAN(""));

    open->home        = &api->home;
    open->way         = OPEN_ACK;
    open->generation  = reading->generation;
    open->named       = reading->places;
    open->named_count = reading->count;
    open->answered    = ack_answered;
    open->owner       = call->exchange;
    reading->places   = NULL;
    reading->count    = 0;
    shard_send_own(api->shard, &open->command);
}

void serve_ack(struct call *call)
{
    struct ack_reading reading = { .call = call };

    if (!call_body_is_plain(call) || !call_knows_query(call, KNOWN_NO_WORDS))
        return;
    buf_init(&reading.strings, SIZE_MAX / 2);
    publish_json_reserve(&reading.strings, call->request->body.len);
    if (ack_read(&reading) && call_passes(call, ack_device(call, &reading.device)))
        ack_ask(&reading);
    session_places_free(reading.places, reading.count);
    buf_fini(&reading.strings);
}
