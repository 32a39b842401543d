/* h1_response_transcript.h - what the parser of responses makes of some bytes, as one line of text. For the unit test and the
 * fuzzer. The input's end is the server's close.
 *
 *   100 X: y | 200 Content-Length: 2 | head 2 | body ok | end follow | left 0
 *
 * The transcript also checks what h1_response.h promises for every input. */
#ifndef LIB_H1_RESPONSE_TRANSCRIPT_H
#define LIB_H1_RESPONSE_TRANSCRIPT_H

#include "codec/h1/h1_response.h"
#include "lib/h1_transcript.h"

struct h1_response_question {
    uint32_t head_bytes_max;
    bool     is_to_head;
};

struct h1_response_run {
    struct h1_response         response;
    struct buf                 body;
    size_t                     head_bytes;
    bool                       has_status, has_head;
    enum h1_response_event     event;
};

static inline void h1_response_tell_field(const struct http_field *field, struct span input, struct buf *transcript)
{
    must(field->name.len > 0 && h1_transcript_is_in(input, field->name));
    must(field->value.len == 0 || h1_transcript_is_in(input, field->value));
    buf_putf(transcript, " %.*s: %.*s", SPAN_ARG(field->name), SPAN_ARG(field->value));
}

static inline void h1_response_tell(struct h1_response_run *run, const struct h1_response_piece *piece, struct span input,
                                    struct buf *transcript)
{
    switch (run->event) {
    case H1_RESPONSE_STATUS:
        must(!run->has_head && piece->status >= 100 && piece->status <= 999 && piece->status != 101);
        buf_putf(transcript, "%s%u", run->has_status ? " | " : "", piece->status);
        run->has_status = true;
        break;
    case H1_RESPONSE_FIELD:
        must(run->has_status && !run->has_head);
        h1_response_tell_field(&piece->field, input, transcript);
        break;
    case H1_RESPONSE_HEAD:
        must(run->has_status && !run->has_head && run->response.status >= 200);
        buf_putf(transcript, " | head %llu", (unsigned long long)h1_response_announced(&run->response));
        run->has_head = true;
        break;
    case H1_RESPONSE_BODY:
        must(run->has_head && piece->body.len > 0 && h1_transcript_is_in(input, piece->body));
        buf_put(&run->body, piece->body);
        break;
    case H1_RESPONSE_MORE:
    case H1_RESPONSE_END:
    case H1_RESPONSE_FAULT:
        break;
    }
}

/* *input becomes what was not consumed. */
static inline void h1_response_run_feed(struct h1_response_run *run, struct span *input, struct buf *transcript)
{
    do {
        struct h1_response_piece piece = { 0 };
        size_t                   used  = SIZE_MAX;
        run->event = h1_response_feed(&run->response, *input, &used, &piece);
        if (run->event == H1_RESPONSE_FAULT)
            return;
        must(used <= input->len);
        h1_response_tell(run, &piece, *input, transcript);
        if (!run->has_head)
            run->head_bytes += used;
        must(run->head_bytes <= run->response.limits.head_bytes_max);
        *input = span_skip(*input, used);
        must(run->event != H1_RESPONSE_MORE || input->len == 0 || !run->has_head);
    } while (run->event != H1_RESPONSE_MORE && run->event != H1_RESPONSE_END);
}

/* A teller for laws.h; `context` is a const struct h1_response_question *. */
static inline void h1_response_transcript(struct cuts *cuts, void *context, struct buf *transcript)
{
    const struct h1_response_question *question = context;
    struct h1_response_run             run      = { .event = H1_RESPONSE_MORE };
    struct span                        input    = { 0 };

    h1_response_init(&run.response, question->head_bytes_max, question->is_to_head);
    buf_init(&run.body, 1 << 20);
    while (run.event == H1_RESPONSE_MORE && cuts_next(cuts, input.len, &input))
        h1_response_run_feed(&run, &input, transcript);
    if (run.event == H1_RESPONSE_MORE)
        run.event = h1_response_close(&run.response);
    if (run.has_head)
        buf_putf(transcript, " | body %.*s", SPAN_ARG(buf_span(&run.body)));
    if (run.event == H1_RESPONSE_END)
        buf_putf(transcript, " | end %s", h1_response_may_follow(&run.response) ? "follow" : "close");
    if (run.event == H1_RESPONSE_END && run.response.says_kept_s)
        buf_putf(transcript, " %llu", (unsigned long long)run.response.kept_s);
    if (run.event != H1_RESPONSE_END)
        buf_putf(transcript, " | fault%s: %s", run.response.is_too_large ? " too large" : "", run.response.fault_reason);
    must(!buf_is_over(&run.body));
    buf_fini(&run.body);
}

#endif
