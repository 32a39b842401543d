/* Subscribers over Server-Sent Events: Longwire and nchan. The body may be chunked or not: chunk sizes stand on lines
 * of their own and are skipped like every line that isn't a message. */
#include "bench/dialect.h"
#include "bench/http_head.h"

enum sse_stage { SSE_HEAD, SSE_EVENTS };

static void sse_get(struct client *client, const char *path)
{
    buf_putf(&client->out, "GET %s%s%u HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", path,
             client->target->prefix, client->channel, client->target->host);
}

static void longwire_greet(struct client *client)
{
    sse_get(client, "/v1/subscribe?channel=");
}

static void nchan_greet(struct client *client)
{
    sse_get(client, "/sub/");
}

static size_t sse_hear_head(struct client *client, struct span bytes, struct note *ret_note)
{
    struct http_head head;
    switch (http_head_read(bytes, &head)) {
    case HTTP_HEAD_PART:
        return 0;
    case HTTP_HEAD_BAD:
        return dialect_fault(bytes, "the answer isn't HTTP/1.1", ret_note);
    case HTTP_HEAD_WHOLE:
        break;
    }
    if (head.status != 200) {
        *ret_note = (struct note){ .heard = HEARD_FAULT, .payload = bytes };
        return bytes.len;
    }
    client->stage    = SSE_EVENTS;
    ret_note->heard = HEARD_READY;
    return head.text.len;
}

/* Whole lines without a message in them. */
static size_t sse_hear_other(struct span bytes, struct note *ret_note)
{
    const char *last = memrchr(bytes.at, '\n', bytes.len);
    if (last == NULL)
        return 0;
    struct span lines = span_of(bytes.at, (size_t)(last - bytes.at) + 1);
    if (memmem(lines.at, lines.len, "event: gap", 10) != NULL)
        return dialect_fault(bytes, "the server told of a gap", ret_note);
    ret_note->heard = HEARD_NOISE;
    return lines.len;
}

static size_t sse_hear(struct client *client, struct span bytes, struct note *ret_note)
{
    if (client->stage == SSE_HEAD)
        return sse_hear_head(client, bytes, ret_note);

    const char *at = payload_find(bytes);
    if (at == NULL)
        return sse_hear_other(bytes, ret_note);
    size_t      before  = (size_t)(at - bytes.at);
    const char *newline = memchr(at, '\n', bytes.len - before);
    if (newline == NULL)
        return 0;

    const char *line = memrchr(bytes.at, '\n', before);
    line             = line == NULL ? bytes.at : line + 1;
    if (!span_starts(span_of(line, (size_t)(newline - line)), SPAN("data:")))
        return dialect_fault(bytes, "a message outside of a data: line", ret_note);
    *ret_note = (struct note){ HEARD_PAYLOAD, span_of(at, (size_t)(newline - at)), 1 };
    return (size_t)(newline - bytes.at) + 1;
}

const struct dialect sse_dialects[] = {
    { "longwire", "sse", false, longwire_greet, sse_hear, NULL },
    { "nchan", "sse", false, nchan_greet, sse_hear, NULL },
    { 0 },
};
