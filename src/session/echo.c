/* echo.c - the diagnostic echo (--diagnostic-echo): what comes in goes out, to check proxies, balancers and clients.
 *
 * A WebSocket gets each message back as it came, text as text, binary as binary; plain HTTP gets any method's body. */
#include <stdlib.h>

#include "base/must.h"
#include "codec/ws/ws.h"
#include "http/ws_upgrade.h"
#include "session/session.h"
#include "session/serve.h"

enum { ECHO_FRAGMENTS_MAX = 1 << 20, WAITING_BYTES_MAX = 32 * 1024 * 1024, READS_A_TURN = 16 };

struct echo {
    struct stream *stream;
    struct session_worker   *worker;
    struct list    link;      /* in worker.echoes */
    struct timer   timer;     /* ends an echo that is silent; after our Close: ends the wait for the client's */
    struct ws      ws;
    enum ws_window window;
    struct buf     in;        /* read and not yet given to the codec: the beginning of a control frame that was cut */
    struct buf     message;   /* what has come of the message under way */
    struct buf     out;
    bool           is_closing;  /* our Close is in `out` */
    bool           is_shut;     /* our Close is sent: the client has close_timeout_ms to leave */
};

static void echo_free(struct echo *echo)
{
    wheel_disarm(&echo->worker->loop->wheel, &echo->timer);
    counter_sub(&echo->worker->counters.sessions[TRANSPORT_ECHO], 1);
    list_take(&echo->link);
    stream_close(echo->stream);
    buf_fini(&echo->in);
    buf_fini(&echo->message);
    buf_fini(&echo->out);
    free(echo);
}

static void echo_close(struct echo *echo, uint16_t code, struct span reason)
{
    if (echo->is_closing)
        return;
    echo->is_closing = true;
    ws_put_close(&echo->out, code, reason);
}

/* All of a message. A compressed one goes back compressed, if that pays: so a client can try both ways. */
static void echo_on_message(struct echo *echo, const struct ws_piece *last)
{
    struct span      message  = buf_span(&echo->message);
    enum ws_inflated inflated = WS_INFLATED;
    struct buf       deflated;

    if (last->is_deflated)
        inflated = ws_inflate(&echo->worker->inflater, last->opcode, message, echo->ws.message_bytes_max, &message);
    buf_init(&deflated, SIZE_MAX / 2);
    if (inflated != WS_INFLATED)
        echo_close(echo, ws_inflated_code(inflated), span_str(ws_inflated_reason(inflated)));
    else if (last->is_deflated && ws_deflate(&echo->worker->frames.deflater, echo->window, message, &deflated))
        ws_put_frame(&echo->out, last->opcode | WS_DEFLATED, buf_span(&deflated));
    else
        ws_put_frame(&echo->out, last->opcode, message);
    buf_fini(&deflated);
    buf_fini(&echo->message);
}

static void echo_on_piece(struct echo *echo, enum ws_event event, const struct ws_piece *piece)
{
    if (event == WS_FAULT) {
        echo_close(echo, piece->code, piece->bytes);
    } else if (event == WS_DATA) {
        buf_put(&echo->message, piece->bytes);
        if (piece->is_last)
            echo_on_message(echo, piece);
    } else if (piece->opcode == WS_PING) {
        ws_put_frame(&echo->out, WS_PONG, piece->bytes);
    } else if (piece->opcode == WS_CLOSE) {
        echo_close(echo, piece->code, SPAN(""));
    }
}

static void echo_feed(struct echo *echo)
{
    size_t total = 0;

    while (!echo->is_closing) {
        struct ws_piece piece;
        size_t          used  = 0;
        enum ws_event   event = ws_feed(&echo->ws, echo->in.at + total, echo->in.len - total, &used, &piece);
        total += used;
        if (event == WS_MORE)
            break;
        echo_on_piece(echo, event, &piece);
    }
    buf_drop(&echo->in, echo->is_closing ? echo->in.len : total);
}

/* False: the echo is gone. */
static bool echo_flush(struct echo *echo)
{
    while (echo->out.len > 0) {
        ssize_t put = stream_write(echo->stream, buf_span(&echo->out));
        if (put == STREAM_FAULT) {
            echo_free(echo);
            return false;
        }
        buf_drop(&echo->out, (size_t)put);
        if (echo->stream->is_full)
            return true;
    }
    if (echo->is_closing && !echo->is_shut) {
        echo->is_shut = true;
        stream_shut(echo->stream);
        wheel_arm(&echo->worker->loop->wheel, &echo->timer,
                  echo->worker->loop->now + echo->worker->limits.close_timeout_ms);
    }
    return true;
}

static void echo_on_readable(struct stream *stream, void *owner)
{
    struct echo *echo = owner;
    struct loop *loop = stream_loop(stream);

    /* A client that doesn't take what is sent back is not read from. A client that sends without pause is read on in
     * the next turn. */
    for (int i = 0; i < READS_A_TURN && echo->out.len < WAITING_BYTES_MAX; i++) {
        ssize_t got = stream_read(stream, loop->input, LOOP_INPUT_BYTES);
        if (got == STREAM_LATER)
            return;
        if (got <= 0) {
            echo_free(echo);
            return;
        }
        if (!echo->is_closing)
            wheel_arm(&loop->wheel, &echo->timer, loop->now + echo->worker->limits.echo_silence_ms);
        buf_put(&echo->in, span_of(loop->input, (size_t)got));
        echo_feed(echo);
        if (!echo_flush(echo) || stream_is_drained(stream, (size_t)got, LOOP_INPUT_BYTES))
            return;
    }
    if (!stream->is_full)
        stream_more(stream);
}

static void echo_on_writable(struct stream *stream, void *owner)
{
    if (echo_flush(owner))
        stream_more(stream);
}

static const struct stream_events echo_events = {
    .on_readable = echo_on_readable,
    .on_writable = echo_on_writable,
};

static void echo_on_timer(struct timer *timer, msec now)
{
    (void)now;
    echo_free(container_of(timer, struct echo, timer));
}

static void echo_open(struct session_worker *worker, struct http_exchange *exchange, const struct ws_handshake *shake)
{
    struct echo *echo = calloc(1, sizeof *echo);

    must(echo != NULL);
    echo->worker       = worker;
    echo->timer.fire = echo_on_timer;
    ws_init(&echo->ws, worker->limits.echo_bytes_max, ECHO_FRAGMENTS_MAX);
    buf_init(&echo->in, SIZE_MAX / 2);
    echo->window = shake->window;
    if (shake->window != WS_WINDOW_NONE)
        ws_allow_deflate(&echo->ws);
    buf_init(&echo->message, 2 * (size_t)worker->limits.echo_bytes_max);
    buf_init(&echo->out, SIZE_MAX / 2);
    echo->stream = http_open_websocket(worker->server, exchange, shake, SPAN(""), &echo->out, &echo->in);
    stream_hand_over(echo->stream, &echo_events, echo);
    list_push(&worker->echoes, &echo->link);
    counter_add(&worker->counters.sessions[TRANSPORT_ECHO], 1);
    wheel_arm(&worker->loop->wheel, &echo->timer, worker->loop->now + worker->limits.echo_silence_ms);
    echo_feed(echo);
    echo_flush(echo);
}

void echo_leave_all(struct session_worker *worker)
{
    for (struct list *at = worker->echoes.next, *next; at != &worker->echoes; at = next) {
        struct echo *echo = container_of(at, struct echo, link);
        next              = at->next;  /* this one may end */
        echo_close(echo, WS_CLOSE_GOING_AWAY, SPAN("the server is stopping; come again"));
        echo_flush(echo);
    }
}

void echo_close_all(struct session_worker *worker)
{
    while (!list_is_empty(&worker->echoes))
        echo_free(container_of(worker->echoes.next, struct echo, link));
}

void session_serve_echo(struct session_worker *worker, struct http_exchange *exchange,
                        const struct http_request *request)
{
    struct ws_handshake shake;
    struct span         media = request_field(request->head, SPAN("content-type"));

    if (request->head->is_websocket && exchange->is_brief) {
        http_refuse_crowd(worker->server, exchange);
        return;
    }
    if (request->head->is_websocket) {
        if (!ws_handshake_or_refuse(worker->server, exchange, request, NULL, 0, &shake))
            return;
        if (!worker->limits.has_compression)
            shake.window = WS_WINDOW_NONE;
        echo_open(worker, exchange, &shake);
        return;
    }
    /* An answer is as long as its body: while many wait for clients to read them, none is added. */
    if (!http_is_at_ease(worker->server)) {
        http_problem(worker->server, exchange, 503, NULL, "too many answers wait for clients to read them; ask again later",
                     HTTP_FIELDS({ SPAN("Retry-After"), SPAN("1") }));
        return;
    }
    http_answer(worker->server, exchange, &(struct http_answer){
        .status = 200,
        .media  = media.len > 0 ? media : SPAN("application/octet-stream"),
        .body   = request->body,
    });
}
