/* part_reader.h - reads the parts of a multipart stream (RFC 2046 5.1). It counts bytes and never searches a body for
 * the boundary; it shares no code with our writer. For the unit test and the fuzzer. */
#ifndef LIB_PART_READER_H
#define LIB_PART_READER_H

#include "base/must.h"
#include "base/span.h"

struct part {
    struct span head, body;  /* the head's lines with their CR LF, without the empty line */
    bool        is_last;
};

/* Reads the next line of a head: *ret_name is a token, *ret_value printable. False at the end. */
static inline bool part_field_next(struct span *head, struct span *ret_name, struct span *ret_value)
{
    if (head->len == 0)
        return false;

    const char *end = memmem(head->at, head->len, "\r\n", 2);
    must(end != NULL);
    struct span line  = span_head(*head, (size_t)(end - head->at));
    const char *colon = memmem(line.at, line.len, ": ", 2);
    must(colon != NULL && colon > line.at);
    for (size_t i = 0; i < line.len; i++)
        must(line.at[i] >= 0x20 && line.at[i] < 0x7f);
    *ret_name  = span_head(line, (size_t)(colon - line.at));
    *ret_value = span_skip(line, ret_name->len + 2);
    *head      = span_skip(*head, line.len + 2);
    return true;
}

/* { NULL, 0 } if the head doesn't have it; never twice */
static inline struct span part_field(const struct part *part, struct span wanted)
{
    struct span head = part->head, found = { 0 }, name, value;

    while (part_field_next(&head, &name, &value)) {
        if (!span_eq_nocase(name, wanted))
            continue;
        must(found.at == NULL);
        found = value;
    }
    return found;
}

static inline struct span part_take(struct span *rest, size_t len)
{
    must(len <= rest->len);
    struct span taken = span_head(*rest, len);
    *rest = span_skip(*rest, len);
    return taken;
}

/* `*rest` begins behind the delimiter's line. */
static inline struct part part_next(struct span *rest, struct span boundary)
{
    const char *end  = memmem(rest->at, rest->len, "\r\n\r\n", 4);
    struct part part = { 0 };
    uint64_t    len  = 0;

    must(end != NULL);
    part.head = part_take(rest, (size_t)(end - rest->at) + 2);
    part_take(rest, 2);
    must(span_u64(part_field(&part, SPAN("Content-Length")), &len));
    part.body = part_take(rest, len);
    must(span_eq(part_take(rest, 4), SPAN("\r\n--")) && span_eq(part_take(rest, boundary.len), boundary));
    part.is_last = span_starts(*rest, SPAN("--"));
    must(span_eq(part_take(rest, part.is_last ? 4 : 2), part.is_last ? SPAN("--\r\n") : SPAN("\r\n")));
    return part;
}

#endif
