#include "longwire/http.h"

#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "base/utf8.h"
#include "longwire/print.h"

enum { RECEIVE_BYTES = 64 * 1024 };

/* What libcurl's callbacks know. */
struct call {
    CURL                      *easy;
    const struct http_request *request;
    struct http_answer        *answer;
    msec                       heard_at;
    bool                       is_stopped;
};

void http_init(struct http *http, const struct target *target, int stop_fd)
{
    *http = (struct http){
        .server = target->url.at, .servers = target->url.at, .server_count = target->url_count, .key = target->key, .is_verbose = target->is_verbose, .stop_fd = stop_fd,
    };
    must(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    http->multi = curl_multi_init();
    http->easy  = curl_easy_init();
    must(http->multi != NULL && http->easy != NULL);
}

void http_fini(struct http *http)
{
    curl_easy_cleanup(http->easy);
    curl_multi_cleanup(http->multi);
    curl_global_cleanup();
}

void http_answer_fini(struct http_answer *answer)
{
    buf_fini(&answer->body);
}

bool http_is_later(int status)
{
    return status == 408 || status == 425 || status == 429 || status == 502 || status == 503 || status == 504 ||
           status == 507;
}

void http_put_encoded(struct buf *buf, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (isalnum(byte) || (byte != '\0' && strchr("-._~", byte) != NULL))
            buf_putc(buf, (char)byte);
        else
            buf_putf(buf, "%%%02X", byte);
    }
}

bool http_channel_fits(const char *channel)
{
    if (strlen(channel) <= HTTP_CHANNEL_BYTES_MAX && utf8_is_valid(span_str(channel)))
        return true;
    say("that is no channel's name: not UTF-8, or longer than %d bytes", HTTP_CHANNEL_BYTES_MAX);
    return false;
}

void http_put_channel_path(struct buf *buf, const char *channel)
{
    buf_put_lit(buf, "/v1/channels/");
    http_put_encoded(buf, span_str(channel));
}

/* --- one request ------------------------------------------------------------------------------------------------ */

static size_t on_body(char *at, size_t size, size_t count, void *arg)
{
    struct call *call   = arg;
    struct span  piece  = span_of(at, size * count);
    long         status = 0;

    call->heard_at = msec_now();
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (call->request->sink == NULL || status / 100 != 2) {
        buf_put(&call->answer->body, piece);
        return buf_is_over(&call->answer->body) ? 0 : piece.len;
    }
    if (call->request->sink(call->request->sink_arg, piece))
        return piece.len;
    call->is_stopped = true;
    return 0;
}

static void header_add(struct curl_slist **headers, const char *name, const char *value)
{
    struct buf line;
    buf_init(&line, SIZE_MAX);
    buf_put(&line, span_str(name));
    buf_put_lit(&line, ": ");
    buf_put(&line, span_str(value));
    buf_putc(&line, '\0');
    struct curl_slist *longer = curl_slist_append(*headers, line.at);
    must(longer != NULL);
    *headers = longer;
    buf_fini(&line);  /* libcurl has its own copy */
}

static struct curl_slist *headers_new(const struct http_request *request)
{
    /* Without a value libcurl leaves its own header out: no guess at the media type, and no waiting for
     * 100 Continue before a body of a megabyte. */
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    must(headers != NULL);
    if (request->media != NULL)
        header_add(&headers, "Content-Type", request->media);
    else
        header_add(&headers, "Content-Type", "");
    if (request->accept != NULL)
        header_add(&headers, "Accept", request->accept);
    if (request->idempotency_key != NULL)
        header_add(&headers, "Idempotency-Key", request->idempotency_key);
    if (request->last_event_id != NULL)
        header_add(&headers, "Last-Event-ID", request->last_event_id);
    if (request->prefer != NULL)
        header_add(&headers, "Prefer", request->prefer);
    if (request->event != NULL)
        header_add(&headers, "Longwire-Event", request->event);
    if (request->collapse_key != NULL)
        header_add(&headers, "Collapse-Key", request->collapse_key);
    return headers;
}

/* A proxy from the environment is not for servers on this machine. */
static bool is_loopback(const char *server)
{
    const char *host = strstr(server, "://") + 3;
    const char *user = strrchr(host, '@');
    struct span span = span_str(user != NULL ? user + 1 : host);
    return span_starts(span, SPAN("127.")) || span_starts(span, SPAN("localhost")) || span_starts(span, SPAN("[::1]"));
}

static void easy_set_up(struct http *http, const struct http_request *request, struct call *call,
                        struct curl_slist *headers, char *error)
{
    CURL      *easy = http->easy;
    struct buf url;
    buf_init(&url, SIZE_MAX);
    buf_put(&url, span_str(http->server));
    buf_put(&url, span_str(request->path));
    buf_putc(&url, '\0');

    curl_easy_reset(easy);  /* keeps the connection */
    curl_easy_setopt(easy, CURLOPT_URL, url.at);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "longwire-cli");
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    if (is_loopback(http->server))
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
    if (http->key != NULL) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(easy, CURLOPT_XOAUTH2_BEARER, http->key);
    }
    if (request->has_body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.len > 0 ? request->body.at : "");
    }
    buf_fini(&url);  /* libcurl has its own copy */
}

/* How long the wait may still last. If it is 0, *ret_end says which limit was reached. */
static msec patience(const struct http_request *request, msec heard_at, msec now, enum http_end *ret_end)
{
    msec quiet_ms = request->quiet_ms > 0 ? request->quiet_ms : HTTP_QUIET_MS;
    msec left     = heard_at + quiet_ms - now;
    *ret_end      = HTTP_SILENT;
    if (request->until != 0 && request->until - now < left) {
        left     = request->until - now;
        *ret_end = HTTP_TIMEOUT;
    }
    return left > 0 ? left : 0;
}

/* Runs libcurl until the answer is there (HTTP_DONE: *ret_code says how it ended) or a limit is reached. */
static enum http_end crank(struct http *http, struct call *call, CURLcode *ret_code)
{
    for (;;) {
        int running = 0;
        must(curl_multi_perform(http->multi, &running) == CURLM_OK);
        if (running == 0) {
            int            waiting;
            const CURLMsg *said = curl_multi_info_read(http->multi, &waiting);
            must(said != NULL && said->msg == CURLMSG_DONE);
            *ret_code = said->data.result;
            return HTTP_DONE;
        }
        enum http_end      end;
        msec               left = patience(call->request, call->heard_at, msec_now(), &end);
        struct curl_waitfd stop = { .fd = http->stop_fd, .events = CURL_WAIT_POLLIN };
        if (left == 0)
            return end;
        must(curl_multi_poll(http->multi, &stop, http->stop_fd >= 0, left < 60000 ? (int)left : 60000, NULL) ==
             CURLM_OK);
        if (stop.revents != 0)
            return HTTP_INTERRUPTED;
    }
}

/* "Connection refused" stands in the middle of a sentence. */
static void put_why(struct http_answer *answer, const char *text)
{
    snprintf(answer->why, sizeof answer->why, "%s", text);
    if (isupper((unsigned char)answer->why[0]) && islower((unsigned char)answer->why[1]))
        answer->why[0] = (char)tolower((unsigned char)answer->why[0]);
}

static enum http_end end_of_code(CURL *easy, CURLcode code, const struct call *call, const char *error)
{
    long system_error = 0;

    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &system_error);
    switch ((int)code) {
    case CURLE_OK:
        return HTTP_DONE;
    case CURLE_WRITE_ERROR:
        if (call->is_stopped)
            return HTTP_STOPPED;
        put_why(call->answer, "the answer is too long");
        return HTTP_BROKEN;
    case CURLE_COULDNT_CONNECT:
        put_why(call->answer, system_error != 0 ? strerror((int)system_error) : error);
        return HTTP_UNREACHED;
    case CURLE_COULDNT_RESOLVE_HOST:
        put_why(call->answer, "no such host");
        return HTTP_UNREACHED;
    case CURLE_OPERATION_TIMEDOUT:
        put_why(call->answer, "no answer");
        return HTTP_UNREACHED;
    case CURLE_URL_MALFORMAT:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
        put_why(call->answer, error);
        return HTTP_UNREACHED;
    default:
        put_why(call->answer, error[0] != '\0' ? error : curl_easy_strerror(code));
        return HTTP_BROKEN;
    }
}

static void note_headers(CURL *easy, struct http_answer *answer)
{
    long       status  = 0;
    curl_off_t seconds = 0;

    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    answer->status = (int)status;
    curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds);
    answer->retry_after_ms = seconds > 0 ? (msec)seconds * 1000 : -1;
}

/* For --verbose. say() takes the secrets out. */
static void request_say(const struct http *http, const struct http_request *request)
{
    if (!http->is_verbose)
        return;
    say("> %s %s%s", request->method, http->server, request->path);
    if (http->key != NULL)
        say("> Authorization: Bearer ***");
    if (request->media != NULL)
        say("> Content-Type: %s", request->media);
    if (request->idempotency_key != NULL)
        say("> Idempotency-Key: %s", request->idempotency_key);
    if (request->last_event_id != NULL)
        say("> Last-Event-ID: %s", request->last_event_id);
    if (request->event != NULL)
        say("> Longwire-Event: %s", request->event);
    if (request->collapse_key != NULL)
        say("> Collapse-Key: %s", request->collapse_key);
    if (request->has_body)
        say("> a body of %zu bytes", request->body.len);
}

static void answer_say(const struct http *http, const struct http_answer *answer, msec took_ms)
{
    if (!http->is_verbose)
        return;
    if (answer->status == 0)
        say("< no answer after %lld ms: %s", (long long)took_ms, answer->why[0] != '\0' ? answer->why : "stopped");
    else
        say("< HTTP %d after %lld ms", answer->status, (long long)took_ms);
}

static void ask_one(struct http *http, const struct http_request *request, struct http_answer *ret)
{
    msec               began = msec_now();
    char               error[CURL_ERROR_SIZE] = "";
    struct call        call    = { .easy = http->easy, .request = request, .answer = ret, .heard_at = msec_now() };
    struct curl_slist *headers = headers_new(request);
    CURLcode           code    = CURLE_OK;

    *ret = (struct http_answer){ .retry_after_ms = -1 };
    buf_init(&ret->body, request->body_bytes_max != 0 ? request->body_bytes_max : HTTP_BODY_BYTES_MAX);
    easy_set_up(http, request, &call, headers, error);
    request_say(http, request);

    must(curl_multi_add_handle(http->multi, http->easy) == CURLM_OK);
    ret->end = crank(http, &call, &code);
    if (ret->end == HTTP_DONE)
        ret->end = end_of_code(http->easy, code, &call, error);
    else if (ret->end == HTTP_SILENT)
        put_why(ret, "it fell silent");
    note_headers(http->easy, ret);
    answer_say(http, ret, msec_now() - began);
    curl_multi_remove_handle(http->multi, http->easy);
    curl_slist_free_all(headers);
}

static void next_server(struct http *http)
{
    http->server_at = (http->server_at + 1) % http->server_count;
    http->server    = http->servers;
    for (size_t i = 0; i < http->server_at; i++)
        http->server += strlen(http->server) + 1;
}

/* Where one can't be reached nothing was sent: the next one may be asked the same. One that answers 503, because it is drained or its
 * engine is away, may do so for long: who asks again asks the next one. */
void http_ask(struct http *http, const struct http_request *request, struct http_answer *ret)
{
    ask_one(http, request, ret);
    for (size_t tries = 1; tries < http->server_count && ret->end == HTTP_UNREACHED; tries++) {
        http_answer_fini(ret);
        next_server(http);
        ask_one(http, request, ret);
    }
    if (http->server_count > 1 && ret->end == HTTP_DONE && ret->status == 503)
        next_server(http);
}

bool http_sleep(const struct http *http, msec ms, msec until)
{
    msec now = msec_now();
    if (until != 0 && now + ms > until)
        ms = until > now ? until - now : 0;
    msec end = now + ms;
    for (; now < end; now = msec_now()) {
        struct pollfd stop = { .fd = http->stop_fd, .events = POLLIN };
        if (poll(&stop, 1, end - now < 60000 ? (int)(end - now) : 60000) > 0)
            return false;
    }
    return true;
}

/* --- complaints ------------------------------------------------------------------------------------------------- */

void http_say_problem(const char *where, int status, struct span body)
{
    struct field fields[] = { { .name = "title" }, { .name = "detail" } };
    struct buf        decoded, text;

    buf_init(&decoded, HTTP_BODY_BYTES_MAX);
    buf_init(&text, HTTP_BODY_BYTES_MAX);
    bool is_problem = fields_read(body, fields, 2, &decoded) && field_is_string(&fields[0]);
    if (is_problem) {
        put_visible(&text, fields[0].text);
        if (field_is_string(&fields[1]) && fields[1].text.len > 0) {
            buf_put_lit(&text, ": ");
            put_visible(&text, fields[1].text);
        }
        say("%s%.*s (HTTP %d)", where, SPAN_ARG(buf_span(&text)), status);
    } else {
        say("%sthe server answered HTTP %d without saying why", where, status);
    }
    buf_fini(&decoded);
    buf_fini(&text);
}

int http_complain(const struct http *http, const struct http_answer *answer)
{
    const char *server = http->server;

    switch (answer->end) {
    case HTTP_UNREACHED:
        say("can't reach %s: %s. Is longwired running? Start it with `make run`, or name another with --server.",
            server, answer->why);
        return EXIT_UNREACHED;
    case HTTP_BROKEN:
    case HTTP_SILENT:
        say("lost the link to %s: %s.", server, answer->why);
        return EXIT_UNREACHED;
    case HTTP_TIMEOUT:
        say("no answer from %s within --timeout.", server);
        return EXIT_TIMEOUT;
    case HTTP_DONE:
    case HTTP_STOPPED:
    case HTTP_INTERRUPTED:
        break;
    }
    if (http_is_2xx(answer))
        say("what %s answered can't be understood; is it Longwire that runs there?", server);
    else
        http_say_problem("", answer->status, buf_span(&answer->body));
    return EXIT_REFUSED;
}
