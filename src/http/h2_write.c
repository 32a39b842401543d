/* h2_write.c - answers of HTTP/2 as frames: heads at once, bodies as the windows of the client let. */
#include "base/must.h"
#include "http/h2_conn.h"

enum {
    ROOM_LEAST  = 512,
    WINDOW_SOON = H2_WINDOW_BYTES / 2,      /* of ours: given back together with other frames … */
    WINDOW_NOW  = H2_WINDOW_BYTES / 4 * 3,  /* … or alone */
};

/* --- heads ---------------------------------------------------------------------------------------------------- */

static void h2_put_field(struct buf *block, struct span name, struct span value)
{
    must(field_is_one_line(name) && field_is_one_line(value));
    hpack_put_field(block, name, value);
}

static void h2_put_fields(struct buf *block, const struct http_exchange *exchange, const struct http_answer *answer)
{
    struct http_field fields[ANSWER_FIELDS_MAX];
    size_t            count = answer_fields(exchange, answer, fields);

    hpack_put_status(block, answer->status);
    h2_put_field(block, SPAN("date"), http_date(exchange->server));
    for (size_t i = 0; i < count; i++)
        h2_put_field(block, fields[i].name, fields[i].value);
}

/* An answer to no page, with no field of its service: it begins as the one before it, in the same second. */
static bool h2_is_usual(const struct http_exchange *exchange, const struct http_answer *answer)
{
    return answer->fields.count == 0 && !exchange->has_origin && answer->media.len <= sizeof ((struct h2_usual *)NULL)->media;
}

static bool h2_usual_fits(const struct h2_usual *usual, const struct http_answer *answer, msec second)
{
    return usual->second == second && usual->status == answer->status && usual->block_len > 0 &&
           span_eq(span_of(usual->media, usual->media_len), answer->media);
}

static void h2_usual_set(struct h2_usual *usual, const struct http_answer *answer, msec second, struct span block)
{
    if (block.len > sizeof usual->block)
        return;
    usual->second    = second;
    usual->status    = answer->status;
    usual->media_len = (uint8_t)answer->media.len;
    usual->block_len = (uint8_t)block.len;
    if (answer->media.len > 0)
        memcpy(usual->media, answer->media.at, answer->media.len);
    memcpy(usual->block, block.at, block.len);
}

static void h2_put_common(struct buf *block, const struct http_exchange *exchange, const struct http_answer *answer)
{
    struct h2_usual *usual  = h2_shared_usual(exchange->server->h2);
    msec             second = exchange->server->loop->wall / 1000;
    size_t           at     = block->len;

    if (!h2_is_usual(exchange, answer)) {
        h2_put_fields(block, exchange, answer);
    } else if (h2_usual_fits(usual, answer, second)) {
        buf_put(block, span_of(usual->block, usual->block_len));
    } else {
        h2_put_fields(block, exchange, answer);
        h2_usual_set(usual, answer, second, span_skip(buf_span(block), at));
    }
}

/* A block longer than a frame goes on in others. */
static void h2_split_block(struct buf *out, size_t at, unsigned flags, uint32_t id)
{
    struct buf block;

    buf_init(&block, SIZE_MAX / 2);
    buf_put(&block, span_skip(buf_span(out), at + H2_FRAME_HEAD_BYTES));
    out->len         = at;
    struct span rest = buf_span(&block);
    for (enum h2_frame_type type = H2_HEADERS; rest.len > 0; type = H2_CONTINUATION) {
        struct span part = span_head(rest, H2_FRAME_BYTES_MAX);
        rest             = span_skip(rest, part.len);
        h2_put_frame_head(out, part.len, type, (type == H2_HEADERS ? flags : 0) | (rest.len == 0 ? H2_END_HEADERS : 0), id);
        buf_put(out, part);
    }
    buf_fini(&block);
}

/* Returns where its frame begins. */
static size_t h2_begin_block(struct h2_conn *conn)
{
    size_t at = conn->out.len;

    buf_extend(&conn->out, H2_FRAME_HEAD_BYTES);
    if (conn->must_drop_table)
        hpack_put_no_table(&conn->out);
    conn->must_drop_table = false;
    return at;
}

static void h2_end_block(struct h2_conn *conn, size_t at, unsigned flags, uint32_t id)
{
    size_t len = conn->out.len - at - H2_FRAME_HEAD_BYTES;

    if (len <= H2_FRAME_BYTES_MAX)
        h2_set_frame_head(conn->out.at + at, len, H2_HEADERS, flags | H2_END_HEADERS, id);
    else
        h2_split_block(&conn->out, at, flags, id);
}

void h2_put_head(struct h2_exchange *exchange, const struct http_answer *answer, bool has_body)
{
    struct h2_conn *conn    = exchange->conn;
    bool            is_last = !has_body && conn->out.len < H2_OUT_BYTES_MAX;
    char            digits[20], *length = digits + sizeof digits;
    size_t          at      = h2_begin_block(conn);

    h2_put_common(&conn->out, &exchange->http, answer);
    /* RFC 9110 6.4.1, 8.6 */
    if (!exchange->is_taken && http_status_has_body(answer->status)) {
        size_t left = answer->body.len;
        do
            *--length = (char)('0' + left % 10);
        while ((left /= 10) > 0);
        hpack_put_indexed(&conn->out, HPACK_CONTENT_LENGTH, span_of(length, (size_t)(digits + sizeof digits - length)));
    }
    h2_end_block(conn, at, is_last ? H2_END_STREAM : 0, exchange->id);
    if (is_last)
        h2_exchange_answered(exchange);
    else if (!has_body)
        h2_exchange_resume(exchange);  /* its stream stays open until the socket has room: so their number is bounded */
}

void h2_put_continue(struct h2_exchange *exchange)
{
    struct h2_conn *conn = exchange->conn;

    if (exchange->is_closed || conn->is_over)
        return;
    size_t at = h2_begin_block(conn);
    hpack_put_status(&conn->out, 100);
    h2_end_block(conn, at, 0, exchange->id);
}

/* --- bodies --------------------------------------------------------------------------------------------------- */

static int64_t h2_window_of(const struct h2_exchange *exchange)
{
    return exchange->window < exchange->conn->window ? exchange->window : exchange->conn->window;
}

static void h2_put_data(struct h2_exchange *exchange, struct span bytes, bool is_last)
{
    struct h2_conn *conn = exchange->conn;

    h2_put_frame_head(&conn->out, bytes.len, H2_DATA, is_last ? H2_END_STREAM : 0, exchange->id);
    buf_put(&conn->out, bytes);
    exchange->window -= (int64_t)bytes.len;
    conn->window -= (int64_t)bytes.len;
    h2_flood_data(&conn->flood);
}

size_t h2_conn_room_least(const struct h2_conn *conn)
{
    uint32_t half = conn->window_each / 2;

    return half >= ROOM_LEAST ? ROOM_LEAST : half > 0 ? half : 1;
}

void h2_put_body(struct h2_exchange *exchange, struct span body)
{
    struct h2_conn *conn = exchange->conn;

    if (list_is_empty(&conn->ready) && conn->out.len < H2_OUT_BYTES_MAX && body.len <= H2_FRAME_BYTES_MAX &&
        (int64_t)body.len <= h2_window_of(exchange)) {
        h2_put_data(exchange, body, true);
        if (conn->heavy == exchange)
            conn->heavy = NULL;
        h2_exchange_answered(exchange);
        return;
    }
    buf_put(&exchange->answer, body);
    conn->answers += body.len;
    h2_exchange_resume(exchange);
}

/* A frame of it, if its windows are open. A window that opens byte by byte would cost a frame a byte, so a frame waits until it is
 * worth its head. `waiting`: where it stands if it is for the window of the connection alone that it waits. */
static void h2_exchange_pump(struct h2_exchange *exchange, struct list *waiting)
{
    struct h2_conn *conn   = exchange->conn;
    size_t          left   = exchange->answer.len - exchange->answer_at;
    size_t          least  = left < h2_conn_room_least(conn) ? left : h2_conn_room_least(conn);
    int64_t         window = h2_window_of(exchange);
    size_t          part   = left < H2_FRAME_BYTES_MAX ? left : H2_FRAME_BYTES_MAX;

    if (left == 0 && exchange->is_cut) {
        h2_exchange_reset(exchange, H2_CANCEL);
        return;
    }
    if (left == 0 && !exchange->is_ended)
        return;
    if (left > 0 && window < (int64_t)least) {
        if (exchange->window >= (int64_t)least)
            list_push(waiting, &exchange->ready);
        return;
    }
    if ((int64_t)part > window && left > 0)
        part = (size_t)window;
    bool is_last = part == left && exchange->is_ended && !exchange->is_cut;
    h2_put_data(exchange, part == 0 ? SPAN("") : span_of(exchange->answer.at + exchange->answer_at, part), is_last);
    h2_exchange_sent(exchange, part);
    if (is_last)
        h2_exchange_answered(exchange);
    else
        h2_exchange_resume(exchange);
}

static void h2_conn_open_window(struct h2_conn *conn)
{
    if (conn->in_used < WINDOW_SOON || (conn->out.len == 0 && conn->in_used < WINDOW_NOW))
        return;
    h2_put_window(&conn->out, 0, conn->in_used);
    conn->in_used = 0;
}

void h2_conn_pump(struct h2_conn *conn)
{
    struct list  waiting;
    struct list *link;

    if (conn->is_over)
        return;
    list_init(&waiting);
    while (conn->out.len < H2_OUT_BYTES_MAX && (link = list_pop(&conn->ready)) != NULL)
        h2_exchange_pump(container_of(link, struct h2_exchange, ready), &waiting);
    list_move(&waiting, &conn->ready);
    list_move(&conn->ready, &waiting);
    h2_conn_open_window(conn);
}
