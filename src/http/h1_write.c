#include "http/h1_write.h"

#include "base/must.h"
#include "http/cors.h"

static void put_field(struct buf *buf, struct span name, struct span value)
{
    must(field_is_one_line(name) && field_is_one_line(value));
    buf_put(buf, name);
    buf_put_lit(buf, ": ");
    buf_put(buf, value);
    buf_put_lit(buf, "\r\n");
}

static void put_fields(struct buf *buf, const struct http_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put_field(buf, fields[i].name, fields[i].value);
}

static void put_status(struct buf *buf, unsigned status)
{
    buf_put_lit(buf, "HTTP/1.1 ");
    buf_put_u64(buf, status);
    buf_putc(buf, ' ');
    buf_put(buf, span_str(h1_status_text(status)));
    buf_put_lit(buf, "\r\n");
}

static void put_date(struct buf *buf, struct http_server *server)
{
    buf_put_lit(buf, "Date: ");
    buf_put(buf, http_date(server));
    buf_put_lit(buf, "\r\n");
}

/* All heads begin with this, except 101. */
static void put_head(struct buf *buf, const struct http_exchange *exchange, const struct http_answer *answer)
{
    struct http_field fields[ANSWER_FIELDS_MAX];

    put_status(buf, answer->status);
    put_date(buf, exchange->server);
    put_fields(buf, fields, answer_fields(exchange, answer, fields));
}

void h1_put_answer(struct buf *buf, const struct h1_exchange *exchange, const struct http_answer *answer)
{
    put_head(buf, &exchange->http, answer);
    if (http_status_has_body(answer->status)) {
        buf_put_lit(buf, "Content-Length: ");
        buf_put_u64(buf, answer->body.len);
        buf_put_lit(buf, "\r\n");
    }
    if (exchange->is_last)
        buf_put_lit(buf, "Connection: close\r\n");
    else if (exchange->minor == 0)
        buf_put_lit(buf, "Connection: keep-alive\r\n");
    buf_put_lit(buf, "\r\n");
    if (!exchange->http.is_head && http_status_has_body(answer->status))
        buf_put(buf, answer->body);
}

void h1_put_stream_head(struct buf *buf, const struct h1_exchange *exchange, const struct http_answer *head,
                        bool is_chunked)
{
    put_head(buf, &exchange->http, head);
    put_field(buf, SPAN("Connection"), SPAN("close"));
    if (is_chunked)
        put_field(buf, SPAN("Transfer-Encoding"), SPAN("chunked"));
    buf_put_lit(buf, "\r\n");
}

void h1_put_switch(struct buf *buf, const struct h1_exchange *exchange, struct span accept, struct span protocol,
                   struct span extensions)
{
    put_status(buf, 101);
    put_field(buf, SPAN("Upgrade"), SPAN("websocket"));
    put_field(buf, SPAN("Connection"), SPAN("Upgrade"));
    put_date(buf, exchange->http.server);
    put_field(buf, SPAN("Sec-WebSocket-Accept"), accept);
    if (protocol.len > 0)
        put_field(buf, SPAN("Sec-WebSocket-Protocol"), protocol);
    if (extensions.len > 0)
        put_field(buf, SPAN("Sec-WebSocket-Extensions"), extensions);
    struct http_field fields[CORS_FIELDS_MAX];
    put_fields(buf, fields, cors_fields(&exchange->http, fields));
    buf_put_lit(buf, "\r\n");
}

void h1_put_continue(struct buf *buf)
{
    put_status(buf, 100);
    buf_put_lit(buf, "\r\n");
}

void h1_put_refusal(struct buf *buf, struct http_server *server, const struct http_refusal *refusal)
{
    const struct h1_exchange nobody = { .http.server = server, .minor = 1, .is_last = true };
    struct buf               body;

    buf_init(&body, 4096);
    http_put_problem(&body, refusal->status, NULL, refusal->detail);
    h1_put_answer(buf, &nobody, &(struct http_answer){
        .status = refusal->status,
        .media  = SPAN("application/problem+json"),
        .fields = refusal->fields,
        .body   = buf_span(&body),
    });
    buf_fini(&body);
}

void http_put_body_end(bool is_chunked, struct buf *buf)
{
    if (is_chunked)
        buf_put_lit(buf, "0\r\n\r\n");
}
