#include "longwire/proxy_link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "codec/json/json.h"

enum { READ_BYTES = 64 * 1024, HEADERS_MAX = 32, ID_BYTES_MAX = 128 };

/* A request under way; it lives until its response has come. */
struct proxy_ask {
    struct list        in_proxy;
    struct proxy_link *link;  /* NULL: the program has gone */
    char               id[ID_BYTES_MAX + 1];
};

static const struct h1_limits h1_limits = { .target_bytes_max = 8192, .head_bytes_max = PROXY_HEAD_BYTES_MAX };

struct proxy_link *proxy_link_new(struct lw *lw, struct list *asks, int fd, msec timeout_ms)
{
    struct proxy_link *link = calloc(1, sizeof *link);

    must(link != NULL);
    link->lw         = lw;
    link->asks       = asks;
    link->fd         = fd;
    link->timeout_ms = timeout_ms;
    link->heard_at   = msec_now();
    h1_init(&link->h1, &h1_limits);
    buf_init(&link->in, PROXY_HEAD_BYTES_MAX + 2 * READ_BYTES);
    buf_init(&link->body, PROXY_BODY_BYTES_MAX + READ_BYTES);
    buf_init(&link->out, SIZE_MAX / 2);  /* one response */
    buf_init(&link->words, 4 * PROXY_HEAD_BYTES_MAX);
    return link;
}

void proxy_link_free(struct proxy_link *link)
{
    if (link->ask != NULL) {
        (void)lw_cancel(link->lw, link->ask->id);
        link->ask->link = NULL;
    }
    list_take(&link->in_proxy);
    close(link->fd);
    buf_fini(&link->in);
    buf_fini(&link->body);
    buf_fini(&link->out);
    buf_fini(&link->words);
    free(link);
}

void proxy_asks_free(struct list *asks)
{
    struct list *at;

    while ((at = list_pop(asks)) != NULL)
        free(container_of(at, struct proxy_ask, in_proxy));
}

/* --- the answer ------------------------------------------------------------------------------------------------------ */

/* Of this hop, or made anew here. */
static bool is_of_hop(struct span name)
{
    static const struct span names[] = {
        SPAN("connection"), SPAN("keep-alive"), SPAN("proxy-connection"), SPAN("proxy-authenticate"), SPAN("proxy-authorization"),
        SPAN("te"), SPAN("trailer"), SPAN("transfer-encoding"), SPAN("upgrade"), SPAN("content-length"), SPAN("host"), SPAN("expect"),
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (span_eq_nocase(name, names[i]))
            return true;
    return false;
}

/* What came from afar must not begin a line of its own. */
static bool is_one_line(const char *text)
{
    return strpbrk(text, "\r\n") == NULL;
}

static void begin_answer(struct proxy_link *link, unsigned status)
{
    buf_clear(&link->out);
    link->written = 0;
    link->state   = PROXY_WRITING;
    buf_putf(&link->out, "HTTP/1.1 %u %s\r\n", status, h1_status_text(status));
}

static void end_answer(struct proxy_link *link, unsigned status, struct span body)
{
    /* RFC 9110 8.6: behind HEAD the length is that of the answer to GET, which the back end may have said. */
    if (status != 204 && status != 304 && !(link->is_head && body.len == 0))
        buf_putf(&link->out, "Content-Length: %zu\r\n", body.len);
    buf_put(&link->out, link->is_last ? SPAN("Connection: close\r\n\r\n") : SPAN("\r\n"));
    if (!link->is_head && status != 204 && status != 304)
        buf_put(&link->out, body);
}

static void answer_problem(struct proxy_link *link, unsigned status, const char *reason)
{
    struct buf text;

    buf_init(&text, 4096);
    json_put_problem(&text, status, span_str(h1_status_text(status)), span_str(reason));
    begin_answer(link, status);
    buf_put_lit(&link->out, "Content-Type: application/problem+json\r\n");
    end_answer(link, status, buf_span(&text));
    buf_fini(&text);
}

/* The length of a body that this answer does not bring. */
static bool is_absent_length(const struct proxy_link *link, const struct lw_response *response, const struct lw_header *header)
{
    return response->body_len == 0 && response->status != 204 && (link->is_head || response->status == 304) &&
           span_eq_nocase(span_str(header->name), SPAN("content-length")) && header->value[0] != '\0' &&
           header->value[strspn(header->value, "0123456789")] == '\0';
}

static void answer_response(struct proxy_link *link, const struct lw_response *response)
{
    begin_answer(link, response->status);
    for (size_t i = 0; i < response->header_count; i++) {
        const struct lw_header *header = &response->headers[i];
        if ((is_of_hop(span_str(header->name)) && !is_absent_length(link, response, header)) ||
            !request_is_token(span_str(header->name)) || !is_one_line(header->value))
            continue;
        buf_putf(&link->out, "%s: %s\r\n", header->name, header->value);
    }
    end_answer(link, response->status, span_of(response->body, response->body_len));
}

static void on_response(void *arg, const struct lw_response *response)
{
    struct proxy_ask  *ask  = arg;
    struct proxy_link *link = ask->link;

    list_take(&ask->in_proxy);
    free(ask);
    if (link == NULL)
        return;
    link->ask      = NULL;
    link->heard_at = msec_now();
    if (response->status >= 200 && response->status <= 599)
        answer_response(link, response);
    else if (response->status != 0)
        answer_problem(link, 502, "the response has a status that this proxy does not pass on");
    else
        answer_problem(link, response->code >= 400 && response->code <= 599 ? response->code : 504, response->reason);
}

/* --- the request -------------------------------------------------------------------------------------------------------- */

static size_t keep_word(struct proxy_link *link, struct span text)
{
    size_t at = link->words.len;

    buf_put(&link->words, text);
    buf_putc(&link->words, '\0');
    return at;
}

/* A program that takes this for its proxy names the whole address. */
static struct span path_of(struct span target)
{
    struct span rest = target;

    if (target.len == 0 || target.at[0] == '/')
        return target;
    for (size_t i = 0; i + 2 < target.len; i++)
        if (memcmp(target.at + i, "://", 3) == 0) {
            rest              = span_skip(target, i + 3);
            const char *slash = memchr(rest.at, '/', rest.len);
            return slash == NULL ? SPAN("/") : span_skip(rest, (size_t)(slash - rest.at));
        }
    return target;
}

static void keep_head(struct proxy_link *link)
{
    const struct request_head *request = &link->head.request;

    buf_clear(&link->words);
    buf_clear(&link->body);
    link->header_count = link->id = 0;
    link->method  = keep_word(link, request->method_text);
    link->path    = keep_word(link, path_of(request->target));
    link->is_head = request->method == HTTP_HEAD;
    link->is_last = !link->head.is_keep_alive;
    for (size_t i = 0; i < request->field_count; i++) {
        if (is_of_hop(request->fields[i].name))
            continue;
        link->names[link->header_count]    = keep_word(link, request->fields[i].name);
        link->values[link->header_count++] = keep_word(link, request->fields[i].value);
        if (span_eq_nocase(request->fields[i].name, SPAN("idempotency-key")) && request->fields[i].value.len <= ID_BYTES_MAX)
            link->id = link->values[link->header_count - 1];
    }
}

/* It must end the connection: the rest of the request would be taken for the next one. */
static void refuse(struct proxy_link *link, unsigned status, const char *reason)
{
    link->is_last = true;
    answer_problem(link, status, reason);
}

static void send_request(struct proxy_link *link)
{
    struct lw_header  headers[HEADERS_MAX];
    const char       *words = link->words.at;
    struct proxy_ask *ask   = calloc(1, sizeof *ask);

    must(ask != NULL);
    if (link->header_count > HEADERS_MAX) {
        free(ask);
        answer_problem(link, 431, "a request has at most 32 header fields here");
        return;
    }
    for (size_t i = 0; i < link->header_count; i++)
        headers[i] = (struct lw_header){ words + link->names[i], words + link->values[i] };
    if (link->id != 0 && words[link->id] != '\0')
        snprintf(ask->id, sizeof ask->id, "%s", words + link->id);
    else
        lw_make_id(link->lw, ask->id);
    ask->link             = link;
    enum lw_result result = lw_request(link->lw, &(struct lw_request){
        .path = words + link->path, .method = words + link->method, .headers = headers, .header_count = link->header_count,
        .body = link->body.at, .body_len = link->body.len, .id = ask->id, .timeout_ms = link->timeout_ms,
    }, on_response, ask);
    if (result == LW_OK) {
        list_push(link->asks, &ask->in_proxy);
        link->ask   = ask;
        link->state = PROXY_ASKING;
        return;
    }
    free(ask);
    if (result == LW_FULL)
        answer_problem(link, 503, "too many requests wait for their responses; send it again a little later");
    else
        answer_problem(link, result == LW_CLOSED ? 503 : 400, lw_result_text(result));
}

static void on_head(struct proxy_link *link)
{
    if (link->head.request.is_websocket) {
        refuse(link, 501, "no WebSocket goes through this proxy");
        return;
    }
    if (link->head.content_length > PROXY_BODY_BYTES_MAX) {
        refuse(link, 413, "the body is longer than this proxy takes: 16 MiB");
        return;
    }
    keep_head(link);
    if (link->head.expects_continue) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        (void)!write(link->fd, go_on, sizeof go_on - 1);  /* a program that does not hear it sends its body a little later */
    }
}

/* One step of what has come. False: nothing more can be done with it now. */
static bool feed_one(struct proxy_link *link, size_t *at)
{
    size_t      used;
    struct span piece;

    enum h1_event event = h1_feed(&link->h1, span_skip(buf_span(&link->in), *at), &link->head, &used, &piece);
    *at += used;
    switch (event) {
    case H1_MORE: return false;
    case H1_HEAD_DONE: on_head(link); break;
    case H1_BODY:
        if (link->body.len + piece.len > PROXY_BODY_BYTES_MAX)
            refuse(link, 413, "the body is longer than this proxy takes: 16 MiB");
        else
            buf_put(&link->body, piece);
        break;
    case H1_END: send_request(link); break;
    case H1_FAULT: refuse(link, link->h1.fault_status, link->h1.fault_reason); break;
    }
    return link->state == PROXY_READING;
}

static void feed(struct proxy_link *link)
{
    size_t at = 0;

    while (feed_one(link, &at))
        ;
    buf_drop(&link->in, at);
}

/* --- the socket ------------------------------------------------------------------------------------------------------------ */

static void read_some(struct proxy_link *link)
{
    char   *piece = buf_extend(&link->in, READ_BYTES);
    ssize_t got;

    must(piece != NULL);
    link->in.len -= READ_BYTES;
    got = recv(link->fd, piece, READ_BYTES, MSG_DONTWAIT);
    if (got > 0) {
        link->in.len += (size_t)got;
        link->heard_at = msec_now();
        feed(link);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        link->is_gone = true;
    }
}

static void write_some(struct proxy_link *link)
{
    ssize_t put = send(link->fd, link->out.at + link->written, link->out.len - link->written, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (put < 0) {
        link->is_gone = errno != EAGAIN && errno != EINTR;
        return;
    }
    link->written += (size_t)put;
    link->heard_at = msec_now();
    if (link->written < link->out.len)
        return;
    buf_clear(&link->out);
    if (link->is_last) {
        (void)shutdown(link->fd, SHUT_WR);
        link->is_gone = true;
        return;
    }
    link->state = PROXY_READING;
    feed(link);  /* the next request may have come with the last one */
}

short proxy_link_events(const struct proxy_link *link)
{
    switch (link->state) {
    case PROXY_READING: return POLLIN;
    case PROXY_WRITING: return POLLOUT;
    case PROXY_ASKING: break;
    }
    return POLLRDHUP;
}

void proxy_link_serve(struct proxy_link *link, short events)
{
    if (link->state == PROXY_ASKING && (events & (POLLRDHUP | POLLHUP | POLLERR)) != 0)
        link->is_gone = true;
    else if (link->state == PROXY_READING && (events & (POLLIN | POLLHUP | POLLERR)) != 0)
        read_some(link);
    if (!link->is_gone && link->state == PROXY_WRITING)
        write_some(link);
}

void proxy_link_look(struct proxy_link *link, msec now)
{
    if (link->state != PROXY_ASKING && now - link->heard_at >= PROXY_QUIET_MS)
        link->is_gone = true;
}
