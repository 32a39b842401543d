/* h1_tale.h - what the codec makes of some bytes, as one line of JSON. For the test, the fuzzer and the differential
 * program; never part of the server.
 *
 *   {"requests":[{"method":"GET","target":"/","minor":1,…,"body":"","is_whole":true}],"fault":0,"reason":""}
 *
 * Bytes stand for the characters U+0000 to U+00FF. The promises of h1.h that hold for every input are checked on the
 * way. */
#ifndef LIB_H1_TALE_H
#define LIB_H1_TALE_H

#include "base/must.h"
#include "codec/h1/h1.h"
#include "lib/laws.h"

static inline void h1_tale_put(struct buf *story, const char *key, struct span bytes)
{
    buf_putf(story, "\"%s\":\"", key);
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char byte = (unsigned char)bytes.at[i];
        if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\')
            buf_putf(story, "\\u%04x", byte);
        else
            buf_putc(story, (char)byte);
    }
    buf_putc(story, '"');
}

static inline void h1_tale_fact(struct buf *story, const char *key, bool fact)
{
    buf_putf(story, ",\"%s\":%s", key, fact ? "true" : "false");
}

static inline void h1_tale_fields(struct buf *story, const struct h1_head *head)
{
    must(head->field_count <= H1_FIELDS_MAX);
    buf_put_lit(story, ",\"fields\":[");
    for (size_t i = 0; i < head->field_count; i++) {
        const struct h1_field *field = &head->fields[i];
        must(field->name.len > 0 && h1_field(head, field->name).at != NULL);
        buf_put(story, i > 0 ? SPAN(",{") : SPAN("{"));
        h1_tale_put(story, "name", field->name);
        buf_putc(story, ',');
        h1_tale_put(story, "value", field->value);
        buf_putc(story, '}');
    }
    buf_putc(story, ']');
}

static inline void h1_tale_head(struct buf *story, const struct h1_head *head, bool is_first)
{
    buf_put(story, is_first ? SPAN("{") : SPAN(",{"));
    h1_tale_put(story, "method", head->method_text);
    buf_putf(story, ",\"method_number\":%d,\"minor\":%d,\"length\":%llu,", head->method, head->minor,
             (unsigned long long)head->content_length);
    h1_tale_put(story, "target", head->target);
    buf_putc(story, ',');
    h1_tale_put(story, "host", head->host);
    h1_tale_fact(story, "is_chunked", head->is_chunked);
    h1_tale_fact(story, "has_length", head->has_length);
    h1_tale_fact(story, "is_keep_alive", head->is_keep_alive);
    h1_tale_fact(story, "expects_continue", head->expects_continue);
    h1_tale_fact(story, "is_websocket", head->is_websocket);
    h1_tale_fields(story, head);
}

struct h1_tale {
    struct h1  h1;
    struct buf body;
    unsigned   request_count;
    bool       is_inside;  /* of a request whose head was told */
};

static inline void h1_tale_close(struct h1_tale *tale, bool is_whole, struct buf *story)
{
    if (!tale->is_inside)
        return;
    buf_putc(story, ',');
    h1_tale_put(story, "body", buf_span(&tale->body));
    h1_tale_fact(story, "is_whole", is_whole);
    buf_putc(story, '}');
    buf_clear(&tale->body);
    tale->is_inside = false;
}

static inline bool h1_tale_is_in(struct span input, struct span part)
{
    return part.at >= input.at && part.at + part.len <= input.at + input.len;
}

/* Until the codec wants more or gives up; *input becomes what it did not swallow. */
static inline enum h1_event h1_tale_feed(struct h1_tale *tale, struct span *input, struct buf *story)
{
    for (;;) {
        struct h1_head head;
        struct span    body  = { 0 };
        size_t         used  = SIZE_MAX;
        enum h1_event  event = h1_feed(&tale->h1, *input, &head, &used, &body);

        if (event == H1_FAULT)
            return event;
        must(used <= input->len);
        if (event == H1_HEAD_DONE) {
            must(!tale->is_inside && h1_tale_is_in(*input, head.method_text) && h1_tale_is_in(*input, head.target));
            h1_tale_head(story, &head, tale->request_count++ == 0);
            tale->is_inside = true;
        }
        if (event == H1_BODY) {
            must(tale->is_inside && body.len > 0 && h1_tale_is_in(*input, body));
            buf_put(&tale->body, body);
        }
        if (event == H1_END)
            h1_tale_close(tale, true, story);
        *input = span_skip(*input, used);
        if (event == H1_MORE) {
            must(input->len == 0 || !tale->is_inside);
            return event;
        }
    }
}

/* A teller for the laws; `context` is a const struct h1_limits *. */
static inline void h1_tale(struct cuts *cuts, void *context, struct buf *story)
{
    struct h1_tale tale  = { 0 };
    struct span    input = { 0 };
    enum h1_event  event = H1_MORE;

    h1_init(&tale.h1, context);
    buf_init(&tale.body, 1 << 20);
    buf_put_lit(story, "{\"requests\":[");
    while (event == H1_MORE && cuts_next(cuts, input.len, &input))
        event = h1_tale_feed(&tale, &input, story);
    h1_tale_close(&tale, false, story);
    buf_putf(story, "],\"fault\":%u,", tale.h1.fault_status);
    h1_tale_put(story, "reason", span_str(tale.h1.fault_reason));
    buf_putc(story, '}');
    must(!buf_is_over(&tale.body));
    buf_fini(&tale.body);
}

#endif
