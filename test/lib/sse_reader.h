/* sse_reader.h - reads an event stream as a browser does (WHATWG HTML 9.2.6); it shares no code with our writer. For
 * the unit test and the fuzzer.
 *
 * It is stricter in one thing: a field may occur once in an event, because our writer never needs it twice. */
#ifndef LIB_SSE_READER_H
#define LIB_SSE_READER_H

#include "base/must.h"
#include "base/span.h"

struct sse_event {
    struct span id, type, data;  /* `at` is NULL if there is no such field */
};

/* A line ends with CR LF, LF or CR. */
static inline struct span sse_line_next(struct span *rest)
{
    size_t len = 0;

    while (len < rest->len && rest->at[len] != '\r' && rest->at[len] != '\n')
        len++;
    struct span line = span_head(*rest, len);
    bool is_pair     = len + 1 < rest->len && rest->at[len] == '\r' && rest->at[len + 1] == '\n';
    *rest            = span_skip(*rest, len + (len < rest->len) + is_pair);
    return line;
}

static inline void sse_field_take(struct span line, struct span name, struct span *ret_value)
{
    if (!span_starts(line, name))
        return;
    must(ret_value->at == NULL);
    *ret_value = span_skip(line, name.len);
}

/* Gives the next event, and skips comments, `retry:` and unknown fields. False at the end. Each empty line must end an
 * event with data: many readers outside of browsers take every empty line as an event. */
static inline bool sse_event_next(struct span *rest, struct sse_event *ret)
{
    struct sse_event event = { 0 };

    while (rest->len > 0) {
        struct span line = sse_line_next(rest);
        if (line.len == 0) {
            must(event.data.at != NULL);
            *ret = event;
            return true;
        }
        sse_field_take(line, SPAN("id: "), &event.id);
        sse_field_take(line, SPAN("event: "), &event.type);
        sse_field_take(line, SPAN("data: "), &event.data);
    }
    return false;
}

#endif
