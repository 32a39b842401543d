/* engine_request.c - requests to back ends, and their responses. */
#include <stdlib.h>

#include "base/base64.h"
#include "base/must.h"
#include "engine_priv.h"
#include "request.h"

enum { PUT_OFF_MS = 500, PUT_OFF_DOUBLINGS = 5, TIMEOUT_MS_MAX = 600000, STATUS_CANCELLED = 499 };

static struct request *find_by_id(const struct engine *engine, struct span id)
{
    for (struct list *link = engine->requests.next; link != &engine->requests; link = link->next) {
        struct request *request = container_of(link, struct request, link);
        if (span_eq(request->id, id))
            return request;
    }
    return NULL;
}

static struct request *find_by_ref(const struct engine *engine, uint64_t ref)
{
    for (struct list *link = engine->requests.next; link != &engine->requests; link = link->next) {
        struct request *request = container_of(link, struct request, link);
        if (request->ref == ref)
            return request;
    }
    return NULL;
}

/* --- the end ---------------------------------------------------------------------------------------------------------- */

/* `answer` needs no id. Frees the request. */
static void end(struct engine *engine, struct request *request, const struct lw_response *answer)
{
    struct lw_response response = *answer;

    response.id = request->id.at;
    list_take(&request->link);
    inbox_answered(engine->inbox, request->size);
    if (request->answer != NULL)
        request->answer(request->arg, &response);
    request_free(request);
}

static void end_without(struct engine *engine, struct request *request, unsigned code, const char *reason)
{
    end(engine, request, &(struct lw_response){ .code = code, .reason = reason, .body = "" });
}

/* --- what goes out ----------------------------------------------------------------------------------------------------- */

static void put_request(struct engine *engine, struct request *request, msec now)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_REQUEST);
    bin_set_bytes(&frame, BIN_REQUEST_ID, request->id);
    bin_set_bytes(&frame, BIN_METHOD, request->method);
    bin_set_bytes(&frame, BIN_PATH, request->path);
    bin_set_bytes(&frame, BIN_HEADERS, request->headers);
    if (request->until > now)
        bin_set_number(&frame, BIN_TIMEOUT_MS,
                       (uint64_t)(request->until - now < TIMEOUT_MS_MAX ? request->until - now : TIMEOUT_MS_MAX));
    request->ref = engine_ref(engine, REF_REQUEST);
    bin_set_number(&frame, BIN_REF, request->ref);
    frame.payload = request->body;
    bin_put(&engine->out, BIN_CLIENT, &frame);
    request->is_sent     = true;
    request->is_accepted = false;
}

static void put_cancel(struct engine *engine, struct request *request)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_CANCEL);
    bin_set_bytes(&frame, BIN_REQUEST_ID, request->id);
    bin_set_number(&frame, BIN_REF, engine_ref(engine, REF_OTHER));
    bin_put(&engine->out, BIN_CLIENT, &frame);
    request->is_cancel_sent = true;
}

/* The server would skip it unread, and its answer could not say which one it was. */
static bool is_too_long(const struct engine *engine, const struct request *request)
{
    return request->size - sizeof *request + 64 > engine->frame_bytes_max;
}

static void send(struct engine *engine, struct request *request, msec now)
{
    if (is_too_long(engine, request)) {
        end_without(engine, request, 413, "longer than the longest frame that the server takes");
        return;
    }
    if (!request->is_sent)
        put_request(engine, request, now);
    if (request->is_cancelled && !request->is_cancel_sent)
        put_cancel(engine, request);
}

void engine_put_requests(struct engine *engine, msec now)
{
    engine->request_due = 0;
    for (struct list *link = engine->requests.next, *next; link != &engine->requests; link = next) {
        struct request *request = container_of(link, struct request, link);
        next                    = link->next;
        if (engine->out.len > ENGINE_OUT_BYTES)
            return;
        if (request->not_before <= now || request->is_sent)
            send(engine, request, now);
        else if (engine->request_due == 0 || request->not_before < engine->request_due)
            engine->request_due = request->not_before;
    }
}

/* --- time --------------------------------------------------------------------------------------------------------------- */

void engine_end_late_requests(struct engine *engine, msec now)
{
    for (struct list *link = engine->requests.next, *next; link != &engine->requests; link = next) {
        struct request *request = container_of(link, struct request, link);
        next                    = link->next;
        if (request->until == 0 || request->until > now)
            continue;
        if (engine->state == ENGINE_UP && request->is_sent && !request->is_cancel_sent)
            put_cancel(engine, request);
        end_without(engine, request, 0, "no response within timeout_ms; the same id asks for it again");
    }
}

msec engine_request_deadline(const struct engine *engine)
{
    msec at = engine->state == ENGINE_UP && engine->request_due > 0 ? engine->request_due : INT64_MAX;

    for (const struct list *link = engine->requests.next; link != &engine->requests; link = link->next) {
        const struct request *request = container_of(link, struct request, link);
        if (request->until > 0 && request->until < at)
            at = request->until;
    }
    return at;
}

/* What no device's log holds is lost with the link. */
void engine_requests_lost(struct engine *engine)
{
    for (struct list *link = engine->requests.next, *next; link != &engine->requests; link = next) {
        struct request *request = container_of(link, struct request, link);
        next                    = link->next;
        if (request->is_accepted && !request->is_kept) {
            end_without(engine, request, 0, "the link was lost, and with it the response: this client is no device of a user");
            continue;
        }
        request->is_sent = request->is_accepted = request->is_cancel_sent = false;
    }
}

/* --- what the application says --------------------------------------------------------------------------------------------- */

void engine_order_request(struct engine *engine, struct order *order, msec now)
{
    struct request *request = order->request;

    order->request = NULL;
    if (request->timeout_ms > 0)
        request->until = now + request->timeout_ms;
    bool is_used = find_by_id(engine, request->id) != NULL;
    list_push(&engine->requests, &request->link);
    if (is_used)
        end_without(engine, request, 409, "a request with this id waits for its response already");
}

void engine_order_cancel(struct engine *engine, const struct order *order)
{
    struct request *request = find_by_id(engine, order_text(order));

    if (request == NULL)
        return;
    request->is_cancelled = true;
    if (request->ref == 0)
        end_without(engine, request, STATUS_CANCELLED, "cancelled before it was sent");
}

/* --- what the server says --------------------------------------------------------------------------------------------------- */

/* Does the log of this client's device bring the response, on whatever link? */
static bool is_of_device(const struct engine *engine)
{
    const struct followed *log = engine->device_log[0] == '\0' ? NULL : followed_find(&engine->table, span_str(engine->device_log));

    return engine->has_session || (log != NULL && log->is_on_link);
}

void engine_on_accepted(struct engine *engine, const struct bin_frame *frame)
{
    struct request *request = find_by_id(engine, bin_bytes(frame, BIN_REQUEST_ID));

    if (request == NULL)
        return;
    request->is_accepted = true;
    request->is_kept     = is_of_device(engine);
}

static bool is_for_now(unsigned code)
{
    return code == 429 || code == 503 || code == 507;
}

static void put_off(struct engine *engine, struct request *request, msec now)
{
    msec most = (msec)PUT_OFF_MS << (request->tries < PUT_OFF_DOUBLINGS ? request->tries : PUT_OFF_DOUBLINGS);

    request->tries++;
    request->is_sent    = request->is_cancel_sent = false;
    request->not_before = now + most / 2 + (msec)rng_below(&engine->rng, (uint64_t)most / 2 + 1);
}

void engine_on_request_error(struct engine *engine, const struct bin_frame *frame, msec now)
{
    struct request *request = find_by_ref(engine, bin_number(frame, BIN_REF));
    unsigned        code    = (unsigned)bin_number(frame, BIN_CODE);

    if (request == NULL)
        return;
    if (is_for_now(code)) {
        put_off(engine, request, now);
        return;
    }
    buf_clear(&engine->names);
    buf_put(&engine->names, bin_bytes(frame, BIN_REASON));
    buf_putc(&engine->names, '\0');
    end_without(engine, request, code, engine->names.at);
}

/* --- responses ------------------------------------------------------------------------------------------------------------- */

/* What a response says, in memory of its own. */
struct said {
    struct lw_response response;
    struct lw_header  *headers;
    struct buf         texts;   /* large enough from the start: nothing moves */
};

static const char *keep_text(struct said *said, struct span text)
{
    const char *at = said->texts.at + said->texts.len;

    buf_put(&said->texts, text);
    buf_putc(&said->texts, '\0');
    return at;
}

static struct span string_of(const struct json_token *token, struct buf *scratch)
{
    struct span text;

    return token != NULL && json_string(token, scratch, &text) ? text : SPAN("");
}

/* They stand below what is kept of a response, so that a large body has no tokens either. */
static void read_headers(struct said *said, const struct json_token *text)
{
    static const struct json_limits limits = { .depth_kept = 1, .members_max = 1024 };
    struct json_doc                 doc;
    struct buf                      scratch;

    json_doc_init(&doc);
    bool is_object = text != NULL && json_parse(text->raw, &limits, &doc) && json_root(&doc)->type == JSON_OBJECT;
    said->headers  = calloc(is_object ? json_root(&doc)->count + 1 : 1, sizeof said->headers[0]);
    must(said->headers != NULL);
    for (const struct json_token *name = is_object ? json_first(&doc, json_root(&doc)) : NULL, *value; name != NULL;
         name = json_next(&doc, json_root(&doc), value)) {
        value = json_next(&doc, json_root(&doc), name);
        buf_init(&scratch, SIZE_MAX / 2);
        said->headers[said->response.header_count].name = keep_text(said, string_of(name, &scratch));
        buf_clear(&scratch);
        said->headers[said->response.header_count++].value = keep_text(said, string_of(value, &scratch));
        buf_fini(&scratch);
    }
    said->response.headers = said->headers;
    json_doc_fini(&doc);
}

/* A string is text, unless the media type says that it is a value of JSON. */
static void read_body(struct said *said, const struct json_doc *doc)
{
    const char              *media = lw_response_header(&said->response, "content-type");
    const struct json_token *body = json_member(doc, json_root(doc), SPAN("body"));
    const struct json_token *b64  = json_member(doc, json_root(doc), SPAN("body_base64"));
    struct buf               scratch;
    size_t                   begin = said->texts.len;

    buf_init(&scratch, SIZE_MAX / 2);
    if (b64 != NULL)
        (void)base64_get(string_of(b64, &scratch), &said->texts);
    else if (body != NULL)
        buf_put(&said->texts, body->type == JSON_STRING && (media == NULL || !json_is_media(span_str(media)))
                                  ? string_of(body, &scratch) : body->raw);
    said->response.body_len = said->texts.len - begin;
    said->response.body     = said->texts.at + begin;
    buf_putc(&said->texts, '\0');
    buf_fini(&scratch);
}

static void tell(struct engine *engine, struct request *request, const struct json_doc *doc, size_t bytes, bool is_replayed)
{
    struct said said   = { .response.is_replayed = is_replayed };
    uint64_t    status = 0;

    buf_init(&said.texts, SIZE_MAX / 2);
    must(buf_extend(&said.texts, 2 * bytes + 64) != NULL);
    buf_clear(&said.texts);
    (void)json_u64(json_member(doc, json_root(doc), SPAN("status")), &status);
    said.response.status = (unsigned)status;
    read_headers(&said, json_member(doc, json_root(doc), SPAN("headers")));
    read_body(&said, doc);
    end(engine, request, &said.response);
    free(said.headers);
    buf_fini(&said.texts);
}

static void note_replay(struct engine *engine, const struct bin_frame *frame)
{
    if (bin_has(frame, BIN_REPLAYED))
        engine->replays[engine->replay_count++ % ENGINE_REPLAYS] =
            (struct engine_replay){ bin_number(frame, BIN_EPOCH), bin_number(frame, BIN_SEQ) };
}

static bool was_replayed(const struct engine *engine, const struct bin_frame *frame)
{
    for (size_t i = 0; i < ENGINE_REPLAYS && i < engine->replay_count; i++)
        if (engine->replays[i].seq == bin_number(frame, BIN_SEQ) && engine->replays[i].epoch == bin_number(frame, BIN_EPOCH))
            return true;
    return false;
}

/* A document of its own: the callback may come back to the engine only by orders, but what it was told is borrowed from here. */
bool engine_on_response(struct engine *engine, const struct bin_frame *frame)
{
    static const struct json_limits limits = { .depth_kept = 1 };
    struct json_doc                 doc;
    struct buf                      scratch;
    struct request                 *request = NULL;

    if (list_is_empty(&engine->requests))
        return was_replayed(engine, frame);
    json_doc_init(&doc);
    buf_init(&scratch, SIZE_MAX / 2);
    if (json_parse(frame->payload, &limits, &doc) && json_root(&doc)->type == JSON_OBJECT)
        request = find_by_id(engine, string_of(json_member(&doc, json_root(&doc), SPAN("request")), &scratch));
    if (request != NULL) {
        note_replay(engine, frame);
        tell(engine, request, &doc, frame->payload.len, bin_has(frame, BIN_REPLAYED));
    }
    buf_fini(&scratch);
    json_doc_fini(&doc);
    return request != NULL || was_replayed(engine, frame);
}

const char *lw_response_header(const struct lw_response *response, const char *name)
{
    for (size_t i = 0; i < response->header_count; i++)
        if (span_eq_nocase(span_str(response->headers[i].name), span_str(name)))
            return response->headers[i].value;
    return NULL;
}
