/* h2_write.c - heads and bodies of HTTP/2 answers, on their way to nghttp2. */
#include <stdio.h>

#include "base/must.h"
#include "http/h2_conn.h"

enum { ROOM_LEAST = 512 };

static nghttp2_nv h2_field_of(struct span name, struct span value)
{
    must(field_is_one_line(name) && field_is_one_line(value));
    return (nghttp2_nv){ (uint8_t *)(uintptr_t)name.at, (uint8_t *)(uintptr_t)value.at, name.len, value.len,
                         NGHTTP2_NV_FLAG_NONE };
}

/* Asked when nghttp2 may send `len` bytes of DATA in this stream. A window that opens byte by byte would cost a frame a
 * byte, so a frame waits until it is worth its head. */
static ssize_t h2_read_body(nghttp2_session *session, int32_t id, uint8_t *into, size_t len, uint32_t *flags,
                            nghttp2_data_source *source, void *ctx)
{
    struct h2_conn     *conn     = ctx;
    struct h2_exchange *exchange = source->ptr;
    size_t              left     = exchange->answer.len - exchange->answer_at;
    size_t              part     = left < len ? left : len;

    (void)into;
    if (conn->out.len >= H2_OUT_BYTES_MAX)
        return NGHTTP2_ERR_PAUSE;
    if (left == 0 && exchange->is_cut)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    if ((left == 0 && (!exchange->is_ended || exchange->is_cut)) || (part < left && part < h2_conn_room_least(conn))) {
        exchange->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (part == left && exchange->is_ended && !exchange->is_cut) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        h2_exchange_answered(exchange);
    }
    return (ssize_t)part;
}

size_t h2_conn_room_least(const struct h2_conn *conn)
{
    uint32_t half = nghttp2_session_get_remote_settings(conn->session, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE) / 2;

    return half >= ROOM_LEAST ? ROOM_LEAST : half > 0 ? half : 1;
}

void h2_put_head(struct h2_exchange *exchange, const struct http_answer *answer, bool has_body)
{
    struct http_field           fields[ANSWER_FIELDS_MAX];
    nghttp2_nv                  nvs[ANSWER_FIELDS_MAX + 3];
    const nghttp2_data_provider source = { { .ptr = exchange }, h2_read_body };
    struct http_server         *server = exchange->http.server;
    char                        status[3] = { (char)('0' + answer->status / 100), (char)('0' + answer->status / 10 % 10),
                                              (char)('0' + answer->status % 10) };
    char                        length[24];
    size_t                      count  = 0;

    nvs[count++] = h2_field_of(SPAN(":status"), span_of(status, 3));
    nvs[count++] = h2_field_of(SPAN("date"), http_date(server));
    size_t field_count = answer_fields(&exchange->http, answer, fields);
    for (size_t i = 0; i < field_count; i++)
        nvs[count++] = h2_field_of(fields[i].name, fields[i].value);
    /* RFC 9110 6.4.1, 8.6 */
    if (!exchange->is_taken && http_status_has_body(answer->status)) {
        int len = snprintf(length, sizeof length, "%zu", answer->body.len);
        nvs[count++] = h2_field_of(SPAN("content-length"), span_of(length, (size_t)len));
    }
    /* Behind the end of the body, be it empty, the client is given time to see that it need not send the rest. */
    bool has_end = has_body || !exchange->is_whole;
    must(nghttp2_submit_response(exchange->conn->session, exchange->id, nvs, count, has_end ? &source : NULL) == 0);
}

void h2_put_continue(struct h2_exchange *exchange)
{
    nghttp2_nv nv = h2_field_of(SPAN(":status"), SPAN("100"));

    nghttp2_submit_headers(exchange->conn->session, NGHTTP2_FLAG_NONE, exchange->id, NULL, &nv, 1, NULL);
}
