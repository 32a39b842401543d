/* ack.c - POST /v1/ack: a device acknowledges places, and sets read marks of its user, without a link of its own.
 *
 *     {"places":{"user:alice":42,"group:lobby":7},"generation":3,"read":{"group:lobby":5}}
 *
 * The device is the one of the token; without one there `device` of the body or of the query names it. Places need a device, marks a user. */
#include <stdlib.h>

#include "api/call.h"
#include "api/mark_requests.h"
#include "base/must.h"
#include "device/device_command.h"
#include "message/user_name.h"
#include "publish/publish_json.h"

enum { ACK_PLACES_MAX = 1000 };

static const struct span ack_members[] = { SPAN("places"), SPAN("generation"), SPAN("device"), SPAN("read") };

/* One call while its body is read. */
struct ack_reading {
    struct call  *call;
    struct buf    strings;
    struct buf    words;    /* of the query */
    struct span   device;
    uint64_t      generation;
    struct session_place *places;
    size_t        count;
    struct ack_call *ack;
};

/* … and while it is carried out: the places, then the marks. */
struct ack_call {
    struct http_exchange *exchange;
    struct session_open  *open;        /* the places as they stand; NULL: none were named */
    struct mark_requests    marks;
    char                  device[DEVICE_NAME_BYTES_MAX];  /* empty: not known */
    size_t                device_len;
    struct buf            user;
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
    /* What is no channel keeps no name: no session follows it, and the answer is the one for any other that the session does not follow. */
    (void)channel_name_new(api->namespaces, api->hash_key, text, &place->name);
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
        return refuse_ack(reading, 400, "the body is an object with places or read, and perhaps generation and device");
    const struct json_token *generation = json_member(doc, root, SPAN("generation"));
    const struct json_token *device     = json_member(doc, root, SPAN("device"));
    const struct json_token *places     = json_member(doc, root, SPAN("places"));
    const struct json_token *read       = json_member(doc, root, SPAN("read"));
    if (generation != NULL && (!json_u64(generation, &reading->generation) || reading->generation == 0))
        return refuse_ack(reading, 400, "generation is a whole number, as `connected` said it");
    if (device != NULL && !json_string(device, &reading->strings, &reading->device))
        return refuse_ack(reading, 400, "device is a string");
    if (places == NULL && read == NULL)
        return refuse_ack(reading, 400, places_are);
    return (places == NULL || ack_take_places(reading, places->raw)) &&
           (read == NULL || mark_requests_read(&reading->ack->marks, reading->call, read->raw, &reading->strings));
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void ack_put_places(struct buf *buf, const struct session_open *open)
{
    buf_put_lit(buf, "\"places\":{");
    for (size_t i = 0; i < open->named_count; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        json_put_string(buf, channel_name_span(open->named[i].name));
        buf_putc(buf, ':');
        buf_put_u64(buf, open->named[i].seq);
    }
    buf_putc(buf, '}');
}

static void ack_put(struct buf *buf, const struct ack_call *ack)
{
    buf_clear(buf);
    buf_putc(buf, '{');
    if (ack->open != NULL)
        ack_put_places(buf, ack->open);
    if (ack->open != NULL && ack->marks.count > 0)
        buf_putc(buf, ',');
    if (ack->marks.count > 0) {
        buf_put_lit(buf, "\"read\":");
        mark_requests_put(&ack->marks, buf);
    }
    buf_putc(buf, '}');
}

static void ack_call_free(struct ack_call *ack)
{
    mark_requests_fini(&ack->marks);
    if (ack->open != NULL)
        command_free(&ack->open->command);
    buf_fini(&ack->user);
    free(ack);
}

static const struct { unsigned status; const char *detail; } ack_refusals[] = {
    [OPEN_DONE]     = { 200, NULL },
    [OPEN_STALE]    = { 409, "stale: a newer link has taken this session over" },
    [OPEN_NONE]     = { 404, "this device has no session" },
    [OPEN_FULL]     = { 403, "this user has as many devices as a user may have" },
    [OPEN_ASTRAY]   = { 404, "this session does not follow one of these channels; nothing was acknowledged" },
    [OPEN_NO_SPACE] = { 507, "the disk is full" },
    [OPEN_BUSY]     = { 503, "too many sessions are being looked at, or this one is in use just now; come again later" },
    [OPEN_AWAY]     = { 503, "sessions can't be read or stored just now; come again later" },
};

/* Is it the store's fault? */
static void ack_end(struct ack_call *ack, unsigned status, const char *detail, bool is_engine_away)
{
    struct http_exchange *exchange = ack->exchange;
    struct api           *api      = exchange->owner;

    if (status == 200) {
        ack_put(&api->scratch, ack);
        http_answer(api->server, exchange, &(struct http_answer){
            .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
        });
    } else {
        http_problem(api->server, exchange, status, NULL,
                     is_engine_away ? shard_engine_text(api->shard, NULL, detail) : detail, retry_after(status));
    }
    ack_call_free(ack);
}

static void ack_marked(struct mark_requests *marks)
{
    ack_end(container_of(marks, struct ack_call, marks), marks->status, marks->detail, marks->is_engine_away);
}

static void ack_mark(struct ack_call *ack)
{
    ack->marks.done = ack_marked;
    mark_requests_set(&ack->marks, ack->exchange->owner, buf_span(&ack->user), span_of(ack->device, ack->device_len));
}

static void ack_answered(struct session_open *open)
{
    struct ack_call *ack = open->owner;

    ack->open = open;
    if (open->outcome == OPEN_DONE)
        ack_mark(ack);
    else
        ack_end(ack, ack_refusals[open->outcome].status, ack_refusals[open->outcome].detail, open->outcome == OPEN_AWAY);
}

static struct verdict ack_device(struct ack_reading *reading)
{
    if (identity_user(reading->call->identity).len == 0)
        return (struct verdict){ 401, "places and read marks belong to a user: come with the token of one" };
    struct verdict verdict = call_device(reading->call, reading->device, &reading->words, &reading->device);
    if (verdict.status == 0 && reading->device.len == 0 && reading->count > 0)
        return (struct verdict){ 400, "name the device: the token does not" };
    return verdict;
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
    open->owner       = reading->ack;
    reading->places   = NULL;
    reading->count    = 0;
    shard_send_own(api->shard, &open->command);
}

/* The acknowledgements come first: if they are refused no mark is set. */
static void ack_begin(struct ack_reading *reading)
{
    struct ack_call *ack = reading->ack;

    buf_put(&ack->user, identity_user(reading->call->identity));
    ack->device_len = reading->device.len;
    if (ack->device_len > 0)
        memcpy(ack->device, reading->device.at, ack->device_len);
    if (reading->count > 0)
        ack_ask(reading);
    else
        ack_mark(ack);
    reading->ack = NULL;
}

static struct ack_call *ack_call_new(struct http_exchange *exchange)
{
    struct ack_call *ack = calloc(1, sizeof *ack);

    must(ack != NULL);
    ack->exchange = exchange;
    buf_init(&ack->user, USER_NAME_BYTES_MAX);
    return ack;
}

void serve_ack(struct call *call)
{
    struct ack_reading reading = { .call = call };

    if (!call_body_is_plain(call) || !call_knows_query(call, KNOWN_NO_WORDS))
        return;
    reading.ack = ack_call_new(call->exchange);
    buf_init(&reading.strings, SIZE_MAX / 2);
    buf_init(&reading.words, QUERY_WORD_BYTES_MAX);
    publish_json_reserve(&reading.strings, call->request->body.len);
    if (ack_read(&reading) && call_passes(call, ack_device(&reading)))
        ack_begin(&reading);
    session_places_free(reading.places, reading.count);
    buf_fini(&reading.words);
    buf_fini(&reading.strings);
    if (reading.ack != NULL)
        ack_call_free(reading.ack);
}
