/* request_http.c - `longwire request` by POST /v1/request. The same request with the same id is asked again until it is answered:
 * after a time without an answer, after a lost connection, and when the server puts it off. */
#include <stdlib.h>

#include "base/base64.h"
#include "base/must.h"
#include "base/utf8.h"
#include "longwire/asker.h"
#include "longwire/backoff.h"
#include "longwire/fields.h"
#include "longwire/http.h"

enum { BODY_BYTES_MAX = 32 * 1024 * 1024, TIMEOUT_MS_MAX = 600000 };

/* --- the question ---------------------------------------------------------------------------------------------------- */

static void put_member(struct buf *text, const char *name, const char *value)
{
    buf_putf(text, "\"%s\":", name);
    json_put_string(text, span_str(value));
}

static void put_headers(struct buf *text, const struct asker *asker)
{
    buf_put_lit(text, ",\"headers\":{");
    for (size_t i = 0; i < asker->header_count; i++) {
        if (i > 0)
            buf_putc(text, ',');
        json_put_string(text, span_str(asker->headers[i].name));
        buf_putc(text, ':');
        json_put_string(text, span_str(asker->headers[i].value));
    }
    buf_putc(text, '}');
}

static void put_body(struct buf *text, struct span body)
{
    if (utf8_is_valid(body)) {
        buf_put_lit(text, ",\"body\":");
        json_put_string(text, body);
        return;
    }
    buf_put_lit(text, ",\"body_base64\":\"");
    base64_put(text, body);
    buf_putc(text, '"');
}

static void put_request(struct buf *text, const struct asker *asker)
{
    buf_putc(text, '{');
    put_member(text, "id", asker->id);
    buf_putc(text, ',');
    put_member(text, "method", asker->method);
    buf_putc(text, ',');
    put_member(text, "path", asker->path);
    if (asker->device != NULL) {
        buf_putc(text, ',');
        put_member(text, "device", asker->device);
    }
    if (asker->header_count > 0)
        put_headers(text, asker);
    if (asker->body.len > 0)
        put_body(text, buf_span(&asker->body));
    if (asker->timeout_ms > 0)
        buf_putf(text, ",\"timeout_ms\":%lld",
                 (long long)(asker->timeout_ms < TIMEOUT_MS_MAX ? asker->timeout_ms : TIMEOUT_MS_MAX));
    buf_putc(text, '}');
}

static void put_path(struct buf *path, const struct asker *asker)
{
    buf_put_lit(path, "/v1/request");
    if (asker->user != NULL) {
        buf_put_lit(path, "?user=");
        http_put_encoded(path, span_str(asker->user));
    }
    buf_putc(path, '\0');
}

/* --- the answer -------------------------------------------------------------------------------------------------------- */

/* Header fields of a response: their texts lie in one buffer, and are found by their offsets while it grows. */
struct heads {
    struct buf       texts;
    size_t           at[2 * 1024];
    size_t           count;
    struct lw_header headers[1024];
};

static void take_head(void *arg, struct span name, struct span value)
{
    struct heads *heads = arg;

    if (heads->count == sizeof heads->headers / sizeof heads->headers[0])
        return;
    heads->at[2 * heads->count] = heads->texts.len;
    buf_put(&heads->texts, name);
    buf_putc(&heads->texts, '\0');
    heads->at[2 * heads->count++ + 1] = heads->texts.len;
    buf_put(&heads->texts, value);
    buf_putc(&heads->texts, '\0');
}

static void point_at_texts(struct heads *heads)
{
    for (size_t i = 0; i < heads->count; i++)
        heads->headers[i] = (struct lw_header){ heads->texts.at + heads->at[2 * i], heads->texts.at + heads->at[2 * i + 1] };
}

static bool has_json_media(const struct heads *heads)
{
    for (size_t i = 0; i < heads->count; i++)
        if (span_eq_nocase(span_str(heads->headers[i].name), SPAN("content-type")))
            return json_is_media(span_str(heads->headers[i].value));
    return false;
}

enum { R_STATUS, R_HEADERS, R_BODY, R_BASE64, R_COUNT };

static int print_response(const struct asker *asker, const struct field *fields, uint64_t status)
{
    struct heads *heads = calloc(1, sizeof *heads);
    struct buf    octets;

    must(heads != NULL);
    buf_init(&heads->texts, BODY_BYTES_MAX);
    buf_init(&octets, BODY_BYTES_MAX);
    if (fields[R_HEADERS].is_there)
        (void)fields_each(fields[R_HEADERS].raw, take_head, heads);
    point_at_texts(heads);
    struct span body = fields[R_BODY].is_there ? fields[R_BODY].text : SPAN("");
    if (fields[R_BODY].is_there && has_json_media(heads))
        body = fields[R_BODY].raw;  /* a string is a value then, and no text */
    if (fields[R_BASE64].is_there && base64_get(fields[R_BASE64].text, &octets))
        body = buf_span(&octets);
    int exit_code = asker_print(asker, &(struct lw_response){
        .status = (unsigned)status, .headers = heads->headers, .header_count = heads->count, .body = body.at, .body_len = body.len });
    buf_fini(&octets);
    buf_fini(&heads->texts);
    free(heads);
    return exit_code;
}

static int take_response(const struct asker *asker, struct span object)
{
    struct field fields[R_COUNT] = { { .name = "status" }, { .name = "headers" }, { .name = "body" }, { .name = "body_base64" } };
    struct buf   decoded;
    uint64_t     status;
    int          exit_code = EXIT_REFUSED;

    buf_init(&decoded, BODY_BYTES_MAX);
    if (fields_read(object, fields, R_COUNT, &decoded) && field_u64(&fields[R_STATUS], &status))
        exit_code = print_response(asker, fields, status);
    else
        say("the server's answer can't be read: is it a Longwire server?");
    buf_fini(&decoded);
    return exit_code;
}

/* --- until it is answered ------------------------------------------------------------------------------------------------ */

enum next { NEXT_DONE, NEXT_AT_ONCE, NEXT_LATER };

/* `was_sent`: the server may have it, so that the id must be asked for until there is an answer. */
static enum next judge(const struct asker *asker, const struct http *http, const struct http_answer *answer, bool *was_sent,
                       int *ret_exit)
{
    bool is_answered = answer->end == HTTP_DONE;

    *was_sent |= answer->end != HTTP_UNREACHED;
    if (is_answered && answer->status == 200)
        *ret_exit = take_response(asker, buf_span(&answer->body));
    else if (answer->end == HTTP_TIMEOUT)
        *ret_exit = asker_give_up(asker);
    else if (is_answered && answer->status == 202)
        return NEXT_AT_ONCE;
    else if ((is_answered && http_is_later(answer->status)) || (!is_answered && answer->end != HTTP_INTERRUPTED &&
                                                               (*was_sent || asker->has_patience)))
        return NEXT_LATER;
    else
        *ret_exit = http_complain(http, answer);
    return NEXT_DONE;
}

static enum next ask_once(const struct asker *asker, struct http *http, const struct http_request *request,
                          struct backoff *backoff, bool *was_sent, int *ret_exit)
{
    struct http_answer answer;

    http_ask(http, request, &answer);
    enum next next = judge(asker, http, &answer, was_sent, ret_exit);
    if (next == NEXT_LATER) {
        msec wait = backoff_next(backoff);
        (void)http_sleep(http, answer.retry_after_ms > wait ? answer.retry_after_ms : wait, asker->until);
    } else {
        backoff_reset(backoff);
    }
    http_answer_fini(&answer);
    return next;
}

int asker_run_http(struct asker *asker, const struct target *target)
{
    struct http    http;
    struct buf     path, body;
    struct backoff backoff;
    bool           was_sent  = false;
    int            exit_code = EXIT_REFUSED;

    http_init(&http, target, -1);
    backoff_init(&backoff);
    buf_init(&path, HTTP_PATH_BYTES_MAX);
    buf_init(&body, SIZE_MAX / 2);
    put_path(&path, asker);
    put_request(&body, asker);
    struct http_request request = { .method = "POST", .path = path.at, .accept = "application/json", .media = "application/json",
                                    .prefer = "wait=25", .has_body = true, .body = buf_span(&body),
                                    .body_bytes_max = BODY_BYTES_MAX, .until = asker->until };
    while (ask_once(asker, &http, &request, &backoff, &was_sent, &exit_code) != NEXT_DONE)
        if (asker->until != 0 && msec_now() >= asker->until) {
            exit_code = asker_give_up(asker);
            break;
        }
    buf_fini(&path);
    buf_fini(&body);
    http_fini(&http);
    return exit_code;
}
