/* h2_session.c - what the frames of an HTTP/2 client mean: streams, windows and settings (RFC 9113 5, 6). */
#include <stdlib.h>

#include "base/must.h"
#include "http/h2_conn.h"
#include "http/h2_stream.h"

enum {
    HEADS_KEPT_MAX       = 64,
    OUTBOUND_ACKS_MAX    = 100,  /* answers to SETTINGS and PING that wait for the socket */
    SETTINGS_ENTRIES_MAX = 32,
    SETTING_BYTES        = 6,
    CLIENT_WINDOW_MAX    = INT32_MAX,
    WINDOW_STEP          = H2_WINDOW_BYTES / 2,  /* of ours, that is worth a frame */
};

struct h2_shared {
    struct stream_maker        makers[2];  /* of streams that are encrypted, and that are not */
    struct h2_head            *heads[HEADS_KEPT_MAX];  /* that nobody uses */
    size_t                     head_count;
    struct h2_head             head;       /* of the header block that is read */
    struct buf                 text;       /* … and its strings in Huffman's code */
    struct h2_usual            usual;
    struct h2_memory           memory;
};

/* --- what connections share ----------------------------------------------------------------------------------- */

struct h2_shared *h2_shared_get(struct http_server *server)
{
    if (server->h2 != NULL)
        return server->h2;
    struct h2_shared *shared = calloc(1, sizeof *shared);
    must(shared != NULL);
    h2_head_init(&shared->head, &server->limits.h1);
    buf_init(&shared->text, SIZE_MAX / 2);
    for (int i = 0; i < 2; i++)
        h2_stream_maker_init(&shared->makers[i], server->loop, i == 1);
    server->h2 = shared;
    return shared;
}

static void h2_heads_free(struct h2_head *head)
{
    h2_head_fini(head);
    free(head);
}

void h2_shared_free(struct h2_shared *shared)
{
    if (shared == NULL)
        return;
    for (int i = 0; i < 2; i++)
        stream_maker_fini(&shared->makers[i]);
    while (shared->head_count > 0)
        h2_heads_free(shared->heads[--shared->head_count]);
    h2_head_fini(&shared->head);
    buf_fini(&shared->text);
    h2_memory_fini(&shared->memory);
    free(shared);
}

struct h2_memory *h2_shared_memory(struct h2_shared *shared)
{
    return &shared->memory;
}

struct stream_maker *h2_shared_maker(struct h2_shared *shared, bool is_secret)
{
    return &shared->makers[is_secret];
}

struct h2_usual *h2_shared_usual(struct h2_shared *shared)
{
    return &shared->usual;
}

struct h2_head *h2_heads_keep(struct http_server *server, const struct h2_head *head)
{
    struct h2_shared *shared = server->h2;
    struct h2_head   *kept;

    if (shared->head_count > 0) {
        kept = shared->heads[--shared->head_count];
    } else {
        kept = malloc(sizeof *kept);
        must(kept != NULL);
        h2_head_init(kept, &server->limits.h1);
    }
    h2_head_keep(kept, head);
    return kept;
}

void h2_heads_give(struct http_server *server, struct h2_head *head)
{
    struct h2_shared *shared = server->h2;

    if (head == NULL || head == &shared->head)
        return;
    if (shared->head_count == HEADS_KEPT_MAX) {
        h2_heads_free(head);
        return;
    }
    h2_head_clear(head);
    shared->heads[shared->head_count++] = head;
}

/* --- streams -------------------------------------------------------------------------------------------------- */

static struct h2_exchange **h2_slot_of(struct h2_conn *conn, uint32_t id)
{
    return &conn->slots[id / 2 % H2_SLOTS];
}

static struct h2_exchange *h2_conn_find(struct h2_conn *conn, uint32_t id)
{
    struct h2_exchange *exchange = *h2_slot_of(conn, id);

    while (exchange != NULL && exchange->id != id)
        exchange = exchange->next_in_slot;
    return exchange;
}

static void h2_conn_keep_stream(struct h2_conn *conn, struct h2_exchange *exchange)
{
    struct h2_exchange **slot = h2_slot_of(conn, exchange->id);

    exchange->next_in_slot = *slot;
    exchange->window       = conn->window_each;
    *slot                  = exchange;
    conn->open_count++;
}

void h2_exchange_close(struct h2_exchange *exchange)
{
    struct h2_conn      *conn = exchange->conn;
    struct h2_exchange **at   = h2_slot_of(conn, exchange->id);

    must(!exchange->is_closed && conn->open_count > 0);
    while (*at != exchange)
        at = &(*at)->next_in_slot;
    *at = exchange->next_in_slot;
    conn->open_count--;
    if (exchange->is_whole)
        h2_ended_note(&conn->ended, exchange->id);
    exchange->is_closed = true;
    list_take(&exchange->ready);
    list_take(&exchange->link);
    list_push(&conn->closed, &exchange->link);
    http_conn_mark(&conn->http);
}

/* A client that sends what brings nothing, or that makes us begin what it then throws away, is told to leave. */
static void h2_calm_down(struct h2_conn *conn, const char *why)
{
    h2_conn_abort(conn, H2_ENHANCE_YOUR_CALM, why);
}

static void h2_count_idle(struct h2_conn *conn)
{
    if (!h2_flood_idle(&conn->flood, conn->http.server->loop->now))
        h2_calm_down(conn, "too many frames that bring nothing");
}

void h2_conn_reset(struct h2_conn *conn, uint32_t id, enum h2_error error)
{
    if (conn->is_over)
        return;
    h2_put_reset(&conn->out, id, error);
    http_conn_mark(&conn->http);
    /* With CANCEL and NO_ERROR we end a stream for reasons of our own; all else the client has brought about. */
    if (error != H2_CANCEL && error != H2_NO_ERROR && !h2_flood_reset(&conn->flood, conn->http.server->loop->now))
        h2_calm_down(conn, "too many requests that are faulty");
}

/* Something has come for a stream that is not open. False: that was an error of the connection. */
static bool h2_conn_judge_closed(struct h2_conn *conn, uint32_t id)
{
    if (id > conn->ended.top || id % 2 == 0) {
        h2_conn_abort(conn, H2_PROTOCOL_ERROR, "a frame for a stream that was never begun");
        return false;
    }
    switch (h2_ended_judge(&conn->ended, id)) {
    case H2_ENDED_BY_CLIENT:
        h2_conn_abort(conn, H2_STREAM_CLOSED, "a frame for a stream that the client has ended");
        return false;
    case H2_ENDED_PASSED_OVER:
        h2_conn_abort(conn, H2_PROTOCOL_ERROR, "a stream's number below that of an earlier one");
        return false;
    case H2_ENDED_FINE:
        break;
    }
    return true;
}

/* --- HEADERS -------------------------------------------------------------------------------------------------- */

/* Blocks build on each other, so each is read to its end, whatever becomes of its stream. NULL: the connection is over. */
static struct h2_head *h2_conn_unpack(struct h2_conn *conn, struct span block, bool are_trailers)
{
    struct h2_shared  *shared = conn->http.server->h2;
    struct h2_head    *head   = &shared->head;
    struct hpack_field field;
    enum hpack_step    step;

    h2_head_clear(head);
    if (are_trailers)
        h2_head_expect_trailers(head);
    hpack_begin(&conn->hpack, block, &shared->text);
    while ((step = hpack_next(&conn->hpack, &field)) == HPACK_FIELD)
        if (!h2_head_take(head, &field)) {
            h2_calm_down(conn, "a header block without an end");
            return NULL;
        }
    if (step == HPACK_END)
        return head;
    h2_conn_abort(conn, H2_COMPRESSION_ERROR, "a header block that can't be read");
    return NULL;
}

/* Is the body what the head says? All of it has come. */
static bool h2_exchange_is_short(const struct h2_exchange *exchange)
{
    return exchange->due != 0 && exchange->due != UINT64_MAX;
}

static void h2_exchange_take_end(struct h2_exchange *exchange)
{
    if (h2_exchange_is_short(exchange)) {
        h2_exchange_reset(exchange, H2_PROTOCOL_ERROR);
        return;
    }
    h2_exchange_on_end(exchange);
    if (exchange->is_all_sent && !exchange->is_closed)
        h2_exchange_close(exchange);
}

/* RFC 9113 8.1: what stands behind a body, and ends it. */
static void h2_conn_on_trailers(struct h2_conn *conn, struct h2_exchange *exchange, const struct h2_frame *frame)
{
    struct h2_head *head = h2_conn_unpack(conn, frame->payload, true);

    if (head == NULL)
        return;
    if (exchange->is_whole) {
        h2_exchange_reset(exchange, H2_STREAM_CLOSED);
    } else if ((frame->flags & H2_END_STREAM) == 0 || head->is_malformed) {
        h2_exchange_reset(exchange, H2_PROTOCOL_ERROR);
    } else {
        if (head->fault_status != 0)
            h2_exchange_refuse(exchange, head->fault_status, head->fault_reason);
        if (!exchange->is_closed)
            h2_exchange_take_end(exchange);
    }
}

/* The whole body, if it came in one frame behind the head, and nothing speaks against it. */
static struct span h2_conn_take_body(struct h2_conn *conn, const struct h2_head *head, uint32_t id, struct span *input)
{
    struct span body;

    if (!h2_body_follows(*input, id, &body) || head->request.is_extended ||
        (head->has_length && head->content_length != body.len) || conn->in_used + body.len > H2_WINDOW_BYTES)
        return (struct span){ NULL, 0 };
    *input = span_skip(*input, H2_FRAME_HEAD_BYTES + body.len);
    conn->in_used += (uint32_t)body.len;
    return body;
}

static void h2_conn_serve_head(struct h2_conn *conn, struct h2_head *head, uint32_t id, bool is_end, struct span *input)
{
    struct span         body     = { NULL, 0 };
    bool                is_good  = head->fault_status == 0;
    struct h2_exchange *exchange = h2_exchange_new(conn, id);

    h2_conn_keep_stream(conn, exchange);
    if (is_good && !is_end)
        body = h2_conn_take_body(conn, head, id, input);
    exchange->due = !head->has_length ? UINT64_MAX : head->content_length - body.len;
    h2_exchange_on_head(exchange, head, is_end || body.len > 0, body);
}

static void h2_conn_on_request(struct h2_conn *conn, const struct h2_frame *frame, struct span *input)
{
    bool is_end = (frame->flags & H2_END_STREAM) != 0;

    h2_flood_request(&conn->flood);
    h2_ended_begin(&conn->ended, frame->id);
    struct h2_head *head = h2_conn_unpack(conn, frame->payload, false);
    if (head == NULL || conn->is_leaving)
        return;  /* GOAWAY has told that it is not served */
    if (conn->open_count >= conn->http.server->limits.streams_max) {
        h2_conn_reset(conn, frame->id, H2_REFUSED_STREAM);
        return;
    }
    h2_head_end(head, is_end);
    if (head->is_malformed || frame->depends_on_itself)
        h2_conn_reset(conn, frame->id, H2_PROTOCOL_ERROR);
    else
        h2_conn_serve_head(conn, head, frame->id, is_end, input);
}

static void h2_conn_on_headers(struct h2_conn *conn, const struct h2_frame *frame, struct span *input)
{
    struct h2_exchange *exchange = h2_conn_find(conn, frame->id);

    if (exchange != NULL)
        h2_conn_on_trailers(conn, exchange, frame);
    else if (frame->id % 2 == 1 && frame->id > conn->ended.top)
        h2_conn_on_request(conn, frame, input);
    else if (h2_conn_judge_closed(conn, frame->id) && h2_conn_unpack(conn, frame->payload, true) != NULL)
        h2_count_idle(conn);  /* it was under way when we reset the stream */
    hpack_end(&conn->hpack);
}

/* --- DATA ----------------------------------------------------------------------------------------------------- */

void h2_exchange_consume(struct h2_exchange *exchange, size_t bytes)
{
    struct h2_conn *conn = exchange->conn;

    if (exchange->is_closed || conn->is_over)
        return;
    exchange->in_read += (uint32_t)bytes;
    must(exchange->in_read <= exchange->in_used);
    if (exchange->in_read < WINDOW_STEP || exchange->is_whole)
        return;
    h2_put_window(&conn->out, exchange->id, exchange->in_read);
    exchange->in_used -= exchange->in_read;
    exchange->in_read = 0;
    http_conn_mark(&conn->http);
}

static void h2_exchange_take_data(struct h2_exchange *exchange, const struct h2_frame *frame)
{
    exchange->in_used += frame->counted;
    if (exchange->in_used > H2_WINDOW_BYTES) {
        h2_exchange_reset(exchange, H2_FLOW_CONTROL_ERROR);
        return;
    }
    if (exchange->due != UINT64_MAX) {
        if (frame->payload.len > exchange->due) {
            h2_exchange_reset(exchange, H2_PROTOCOL_ERROR);
            return;
        }
        exchange->due -= frame->payload.len;
    }
    /* Padding is nobody's to read. A body is gathered; what nobody gathers opens no window. */
    bool is_gathered = !exchange->is_served && !exchange->is_two_way;
    h2_exchange_consume(exchange, is_gathered ? frame->counted : frame->counted - frame->payload.len);
    if (frame->payload.len > 0)
        h2_exchange_on_body(exchange, frame->payload);
    if (frame->is_end && (frame->flags & H2_END_STREAM) != 0 && !exchange->is_closed)
        h2_exchange_take_end(exchange);
}

static void h2_conn_on_data(struct h2_conn *conn, const struct h2_frame *frame)
{
    struct h2_exchange *exchange = h2_conn_find(conn, frame->id);

    /* What one stream does not read must not hold up the others, so the window of the connection opens at once. */
    conn->in_used += frame->counted;
    http_conn_mark(&conn->http);
    if (conn->in_used > H2_WINDOW_BYTES) {
        h2_conn_abort(conn, H2_FLOW_CONTROL_ERROR, "more DATA than the window lets");
        return;
    }
    if (exchange == NULL) {
        if (frame->is_begin && h2_conn_judge_closed(conn, frame->id))
            h2_count_idle(conn);
        return;
    }
    if (exchange->is_whole) {
        h2_exchange_reset(exchange, H2_STREAM_CLOSED);
        return;
    }
    if (frame->is_begin && frame->is_empty && (frame->flags & H2_END_STREAM) == 0)
        h2_count_idle(conn);
    if (!conn->is_over)
        h2_exchange_take_data(exchange, frame);
}

/* --- windows of the client (RFC 9113 6.9) --------------------------------------------------------------------- */

static void h2_conn_on_window(struct h2_conn *conn, const struct h2_frame *frame)
{
    uint32_t            bytes    = h2_number(frame->payload.at) & INT32_MAX;
    struct h2_exchange *exchange = frame->id == 0 ? NULL : h2_conn_find(conn, frame->id);

    conn->has_window_news = true;
    if (frame->id == 0) {
        conn->window += bytes;
        if (bytes == 0)
            h2_conn_abort(conn, H2_PROTOCOL_ERROR, "WINDOW_UPDATE by nothing");
        else if (conn->window > CLIENT_WINDOW_MAX)
            h2_conn_abort(conn, H2_FLOW_CONTROL_ERROR, "a window above its maximum");
    } else if (exchange != NULL) {
        exchange->window += bytes;
        if (bytes == 0)
            h2_exchange_reset(exchange, H2_PROTOCOL_ERROR);
        else if (exchange->window > CLIENT_WINDOW_MAX)
            h2_exchange_reset(exchange, H2_FLOW_CONTROL_ERROR);
    } else if (frame->id > conn->ended.top || frame->id % 2 == 0) {
        h2_conn_abort(conn, H2_PROTOCOL_ERROR, "WINDOW_UPDATE of a stream that was never begun");
    }
}

/* It holds for the streams that are open, too; a window may become negative. */
static void h2_conn_set_window_each(struct h2_conn *conn, uint32_t bytes)
{
    int64_t more = (int64_t)bytes - conn->window_each;

    conn->window_each = bytes;
    for (struct list *link = conn->exchanges.next, *next; link != &conn->exchanges; link = next) {
        struct h2_exchange *exchange = container_of(link, struct h2_exchange, link);
        next = link->next;
        exchange->window += more;
        if (exchange->window > CLIENT_WINDOW_MAX)
            h2_exchange_reset(exchange, H2_FLOW_CONTROL_ERROR);
    }
}

/* --- frames of the connection --------------------------------------------------------------------------------- */

static bool h2_is_truth(uint32_t value)
{
    return value <= 1;
}

static void h2_conn_take_setting(struct h2_conn *conn, unsigned setting, uint32_t value)
{
    switch (setting) {
    case H2_HEADER_TABLE_SIZE:
        conn->must_drop_table |= value < HPACK_TABLE_BYTES_MAX;
        break;
    case H2_INITIAL_WINDOW_SIZE:
        if (value > CLIENT_WINDOW_MAX)
            h2_conn_abort(conn, H2_FLOW_CONTROL_ERROR, "a window above its maximum");
        else
            h2_conn_set_window_each(conn, value);
        break;
    case H2_MAX_FRAME_SIZE:
        if (value < H2_FRAME_BYTES_MAX || value >= 1u << 24)
            h2_conn_abort(conn, H2_PROTOCOL_ERROR, "MAX_FRAME_SIZE out of its range");
        break;
    case H2_ENABLE_PUSH:
    case H2_ENABLE_CONNECT_PROTOCOL:
    case H2_NO_RFC7540_PRIORITIES:
        if (!h2_is_truth(value))
            h2_conn_abort(conn, H2_PROTOCOL_ERROR, "a setting that is neither 0 nor 1");
        break;
    default:
        break;
    }
}

/* An answer to SETTINGS or PING, of which no more may wait than a client needs. */
static void h2_conn_ack(struct h2_conn *conn, enum h2_frame_type type, struct span payload)
{
    if (conn->acks++ == OUTBOUND_ACKS_MAX) {
        h2_calm_down(conn, "too many SETTINGS or PINGs whose answers are not read");
        return;
    }
    h2_put_frame_head(&conn->out, payload.len, type, H2_ACK, 0);
    buf_put(&conn->out, payload);
    conn->acks_end = conn->put + conn->out.len;
}

static void h2_conn_on_settings(struct h2_conn *conn, const struct h2_frame *frame)
{
    struct span rest = frame->payload;

    if ((frame->flags & H2_ACK) != 0)
        return;
    conn->has_window_news = true;
    if (rest.len > SETTINGS_ENTRIES_MAX * SETTING_BYTES) {
        h2_calm_down(conn, "too many settings");
        return;
    }
    for (; rest.len > 0 && !conn->is_over; rest = span_skip(rest, SETTING_BYTES))
        h2_conn_take_setting(conn, h2_number(rest.at) >> 16, h2_number(rest.at + 2));
    if (!conn->is_over)
        h2_conn_ack(conn, H2_SETTINGS, SPAN(""));
}

static void h2_conn_on_reset(struct h2_conn *conn, const struct h2_frame *frame)
{
    struct h2_exchange *exchange = h2_conn_find(conn, frame->id);

    if (frame->id > conn->ended.top || frame->id % 2 == 0) {
        h2_conn_abort(conn, H2_PROTOCOL_ERROR, "RST_STREAM of a stream that was never begun");
        return;
    }
    h2_ended_note(&conn->ended, frame->id);
    if (exchange != NULL)
        h2_exchange_close(exchange);
    if (!h2_flood_reset(&conn->flood, conn->http.server->loop->now))
        h2_calm_down(conn, "too many requests that end before they are answered");
}

/* Frames that bring nothing by themselves. */
static void h2_conn_on_other(struct h2_conn *conn, const struct h2_frame *frame)
{
    h2_count_idle(conn);
    if (conn->is_over)
        return;
    switch (frame->type) {
    case H2_SETTINGS: h2_conn_on_settings(conn, frame); break;
    case H2_WINDOW_UPDATE: h2_conn_on_window(conn, frame); break;
    case H2_GOAWAY: conn->has_left = true; break;
    case H2_PING:
        if ((frame->flags & H2_ACK) == 0)
            h2_conn_ack(conn, H2_PING, frame->payload);
        break;
    default: break;  /* PRIORITY is not looked at, nor are types that we do not know (RFC 9113 5.5) */
    }
}

/* --- the session ---------------------------------------------------------------------------------------------- */

void h2_session_open(struct h2_conn *conn)
{
    struct http_server *server = conn->http.server;
    const struct { enum h2_setting setting; uint32_t value; } rows[] = {
        { H2_MAX_CONCURRENT_STREAMS, server->limits.streams_max },
        { H2_MAX_HEADER_LIST_SIZE, server->limits.h1.head_bytes_max },
        { H2_ENABLE_CONNECT_PROTOCOL, 1 },
        { H2_NO_RFC7540_PRIORITIES, 1 },
    };
    size_t count = sizeof rows / sizeof rows[0];

    h2_shared_get(server);
    /* Packed fields are no longer than unpacked ones, or their client makes fun of us. */
    h2_frames_init(&conn->frames, (size_t)H2_HEAD_FOLD * server->limits.h1.head_bytes_max);
    hpack_init(&conn->hpack);
    conn->window = conn->window_each = H2_WINDOW_BYTES;
    h2_put_frame_head(&conn->out, count * SETTING_BYTES, H2_SETTINGS, 0, 0);
    for (size_t i = 0; i < count; i++)
        h2_put_setting(&conn->out, rows[i].setting, rows[i].value);
}

void h2_session_take(struct h2_conn *conn, struct span input)
{
    struct h2_frame frame;

    while (!conn->is_over) {
        switch (h2_frames_next(&conn->frames, &input, &frame)) {
        case H2_FOUND_NOTHING:
            return;
        case H2_FOUND_FAULT:
            h2_conn_abort(conn, conn->frames.error, conn->frames.why);
            return;
        case H2_FOUND_FRAME:
            break;
        }
        switch (frame.type) {
        case H2_HEADERS: h2_conn_on_headers(conn, &frame, &input); break;
        case H2_DATA: h2_conn_on_data(conn, &frame); break;
        case H2_RST_STREAM: h2_conn_on_reset(conn, &frame); break;
        default: h2_conn_on_other(conn, &frame); break;
        }
    }
}
