/* Publishers over HTTP/1.1, pipelined on kept connections: Longwire (one message a request, or many as JSON) and
 * nchan. */
#include "bench/dialect.h"
#include "bench/http_head.h"

static void post_greet(struct client *client)
{
    (void)client;  /* a publisher's first words are its first publish */
}

static void post_head(struct client *client, const char *before, uint32_t channel, const char *after, const char *media,
                      size_t body_bytes)
{
    struct buf *out = &client->out;
    buf_put_lit(out, "POST ");
    buf_put(out, span_str(before));
    buf_put(out, span_str(client->target->prefix));
    buf_put_u64(out, channel);
    buf_put(out, span_str(after));
    buf_put_lit(out, " HTTP/1.1\r\nHost: ");
    buf_put(out, span_str(client->target->host));
    buf_put_lit(out, "\r\nContent-Type: ");
    buf_put(out, span_str(media));
    buf_put_lit(out, "\r\nContent-Length: ");
    buf_put_u64(out, body_bytes);
    buf_put_lit(out, "\r\n\r\n");
}

static void longwire_publish(struct client *client, const struct outgoing *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        post_head(client, "/v1/channels/", messages[i].channel, "/messages", "text/plain", PAYLOAD_BYTES);
        buf_put(&client->out, span_of(messages[i].payload, PAYLOAD_BYTES));
    }
}

static void nchan_publish(struct client *client, const struct outgoing *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        post_head(client, "/pub/", messages[i].channel, "", "text/plain", PAYLOAD_BYTES);
        buf_put(&client->out, span_of(messages[i].payload, PAYLOAD_BYTES));
    }
}

static void batch_put(struct buf *body, const char *prefix, const struct outgoing *message)
{
    buf_put_lit(body, "{\"channel\":\"");
    buf_put(body, span_str(prefix));
    buf_put_u64(body, message->channel);
    buf_put_lit(body, "\",\"data\":\"");
    buf_put(body, span_of(message->payload, PAYLOAD_BYTES));
    buf_put_lit(body, "\"}");
}

static void batch_publish(struct client *client, const struct outgoing *messages, size_t count)
{
    struct buf body;
    buf_init(&body, 16 * 1024 * 1024);
    buf_put_lit(&body, "{\"messages\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_putc(&body, ',');
        batch_put(&body, client->target->prefix, &messages[i]);
    }
    buf_put_lit(&body, "]}");
    buf_putf(&client->out, "POST /v1/messages HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n", client->target->host, body.len);
    buf_put(&client->out, buf_span(&body));
    buf_fini(&body);
}

/* One whole response at the head of the bytes, or 0: *ret_note tells why. */
static size_t post_cut(struct span bytes, struct http_head *ret_head, struct span *ret_body, struct note *ret_note)
{
    struct http_head head;
    switch (http_head_read(bytes, &head)) {
    case HTTP_HEAD_PART:
        return 0;
    case HTTP_HEAD_BAD:
        dialect_fault(bytes, "the answer to a publish isn't HTTP/1.1", ret_note);
        return 0;
    case HTTP_HEAD_WHOLE:
        break;
    }
    if (bytes.len - head.text.len < head.body_bytes)
        return 0;
    *ret_head = head;
    *ret_body = span_of(bytes.at + head.text.len, head.body_bytes);
    if (head.status / 100 == 2)
        return head.text.len + head.body_bytes;
    *ret_note = (struct note){ .heard = HEARD_FAULT, .payload = span_head(bytes, head.text.len + head.body_bytes) };
    return 0;
}

static size_t post_hear(struct client *client, struct span bytes, struct note *ret_note)
{
    (void)client;
    struct http_head head;
    struct span      body;
    size_t           used = post_cut(bytes, &head, &body, ret_note);
    if (used > 0)
        *ret_note = (struct note){ .heard = HEARD_ACK, .count = 1 };
    return ret_note->heard == HEARD_FAULT ? bytes.len : used;
}

static uint64_t count_of(struct span body, struct span text)
{
    uint64_t    count = 0;
    const char *at    = memmem(body.at, body.len, text.at, text.len);
    while (at != NULL) {
        count++;
        body = span_skip(body, (size_t)(at - body.at) + text.len);
        at   = memmem(body.at, body.len, text.at, text.len);
    }
    return count;
}

/* {"results":[{"status":201,…},…]}: every message has an answer of its own, and only 201 counts. */
static size_t batch_hear(struct client *client, struct span bytes, struct note *ret_note)
{
    (void)client;
    struct http_head head;
    struct span      body;
    size_t           used = post_cut(bytes, &head, &body, ret_note);
    if (ret_note->heard == HEARD_FAULT)
        return bytes.len;
    if (used == 0)
        return 0;
    uint64_t answers = count_of(body, SPAN("\"status\":"));
    uint64_t stored  = count_of(body, SPAN("\"status\":201"));
    if (stored == 0 || stored != answers)
        return dialect_fault(bytes, "a batch of which not every message was taken", ret_note);
    *ret_note = (struct note){ .heard = HEARD_ACK, .count = stored };
    return used;
}

const struct dialect post_dialects[] = {
    { "longwire", "single", true, post_greet, post_hear, longwire_publish },
    { "longwire", "acked", true, post_greet, post_hear, longwire_publish },
    { "longwire", "batch", true, post_greet, batch_hear, batch_publish },
    { "nchan", "single", true, post_greet, post_hear, nchan_publish },
    { "nchan", "acked", true, post_greet, post_hear, nchan_publish },
    { 0 },
};
