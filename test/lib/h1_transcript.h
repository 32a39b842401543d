/* h1_transcript.h - what the codec makes of some bytes, as one line of JSON. For the unit test, the fuzzer and the
 * program of the differential test; never part of the server.
 *
 *   {"requests":[{"method":"GET","target":"/","minor":1,…,"body":"","is_whole":true}],"fault":0,"reason":""}
 *
 * Each byte is written as one of the characters U+0000 to U+00FF. The transcript also checks what h1.h promises for
 * every input. */
#ifndef LIB_H1_TRANSCRIPT_H
#define LIB_H1_TRANSCRIPT_H

#include "base/must.h"
#include "codec/h1/h1.h"
#include "lib/laws.h"

static inline void h1_transcript_put(struct buf *transcript, const char *key, struct span bytes)
{
    buf_putf(transcript, "\"%s\":\"", key);
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char byte = (unsigned char)bytes.at[i];
        if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\')
            buf_putf(transcript, "\\u%04x", byte);
        else
            buf_putc(transcript, (char)byte);
    }
    buf_putc(transcript, '"');
}

static inline void h1_transcript_fact(struct buf *transcript, const char *key, bool fact)
{
    buf_putf(transcript, ",\"%s\":%s", key, fact ? "true" : "false");
}

static inline void h1_transcript_fields(struct buf *transcript, const struct h1_head *head)
{
    must(head->request.field_count <= REQUEST_FIELDS_MAX);
    buf_put_lit(transcript, ",\"fields\":[");
    for (size_t i = 0; i < head->request.field_count; i++) {
        const struct http_field *field = &head->request.fields[i];
        must(field->name.len > 0 && request_field(&head->request, field->name).at != NULL);
        buf_put(transcript, i > 0 ? SPAN(",{") : SPAN("{"));
        h1_transcript_put(transcript, "name", field->name);
        buf_putc(transcript, ',');
        h1_transcript_put(transcript, "value", field->value);
        buf_putc(transcript, '}');
    }
    buf_putc(transcript, ']');
}

static inline void h1_transcript_head(struct buf *transcript, const struct h1_head *head, bool is_first)
{
    buf_put(transcript, is_first ? SPAN("{") : SPAN(",{"));
    h1_transcript_put(transcript, "method", head->request.method_text);
    buf_putf(transcript, ",\"method_number\":%d,\"minor\":%d,\"length\":%llu,", head->request.method, head->minor,
             (unsigned long long)head->content_length);
    h1_transcript_put(transcript, "target", head->request.target);
    buf_putc(transcript, ',');
    h1_transcript_put(transcript, "host", head->request.host);
    h1_transcript_fact(transcript, "is_chunked", head->is_chunked);
    h1_transcript_fact(transcript, "has_length", head->has_length);
    h1_transcript_fact(transcript, "is_keep_alive", head->is_keep_alive);
    h1_transcript_fact(transcript, "expects_continue", head->expects_continue);
    h1_transcript_fact(transcript, "is_websocket", head->request.is_websocket);
    h1_transcript_fields(transcript, head);
}

struct h1_transcript {
    struct h1  h1;
    struct buf body;
    unsigned   request_count;
    bool       is_inside;  /* of a request whose head is in the transcript */
};

static inline void h1_transcript_close(struct h1_transcript *run, bool is_whole, struct buf *transcript)
{
    if (!run->is_inside)
        return;
    buf_putc(transcript, ',');
    h1_transcript_put(transcript, "body", buf_span(&run->body));
    h1_transcript_fact(transcript, "is_whole", is_whole);
    buf_putc(transcript, '}');
    buf_clear(&run->body);
    run->is_inside = false;
}

static inline bool h1_transcript_is_in(struct span input, struct span part)
{
    return part.at >= input.at && part.at + part.len <= input.at + input.len;
}

/* A head that is right says the same of its sender to h1_read_sender(). */
static inline void h1_transcript_check_sender(struct span input, const struct h1_head *head)
{
    struct request_head sender;

    h1_read_sender(input, &sender);
    must(span_eq(request_field(&sender, SPAN("origin")), request_field(&head->request, SPAN("origin"))));
    must(span_eq_nocase(sender.host, head->request.host) || head->minor == 0);
}

/* Feeds the codec until it wants more or gives up; *input becomes what it did not consume. */
static inline enum h1_event h1_transcript_feed(struct h1_transcript *run, struct span *input, struct buf *transcript)
{
    for (;;) {
        struct h1_head head;
        struct span    body  = { 0 };
        size_t         used  = SIZE_MAX;
        enum h1_event  event = h1_feed(&run->h1, *input, &head, &used, &body);

        if (event == H1_FAULT)
            return event;
        must(used <= input->len);
        if (event == H1_HEAD_DONE) {
            must(!run->is_inside && h1_transcript_is_in(*input, head.request.method_text) &&
                 h1_transcript_is_in(*input, head.request.target));
            h1_transcript_check_sender(*input, &head);
            h1_transcript_head(transcript, &head, run->request_count++ == 0);
            run->is_inside = true;
        }
        if (event == H1_BODY) {
            must(run->is_inside && body.len > 0 && h1_transcript_is_in(*input, body));
            buf_put(&run->body, body);
        }
        if (event == H1_END)
            h1_transcript_close(run, true, transcript);
        *input = span_skip(*input, used);
        if (event == H1_MORE) {
            must(input->len == 0 || !run->is_inside);
            return event;
        }
    }
}

/* A teller for laws.h; `context` is a const struct h1_limits *. */
static inline void h1_transcript(struct cuts *cuts, void *context, struct buf *transcript)
{
    struct h1_transcript run  = { 0 };
    struct span    input = { 0 };
    enum h1_event  event = H1_MORE;

    h1_init(&run.h1, context);
    buf_init(&run.body, 1 << 20);
    buf_put_lit(transcript, "{\"requests\":[");
    while (event == H1_MORE && cuts_next(cuts, input.len, &input))
        event = h1_transcript_feed(&run, &input, transcript);
    h1_transcript_close(&run, false, transcript);
    buf_putf(transcript, "],\"fault\":%u,", run.h1.fault_status);
    h1_transcript_put(transcript, "reason", span_str(run.h1.fault_reason));
    buf_putc(transcript, '}');
    must(!buf_is_over(&run.body));
    buf_fini(&run.body);
}

#endif
