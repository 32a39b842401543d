/* span.h - borrowed bytes: an address and a length.
 *
 * A span owns nothing. It is valid as long as the memory that it points into. It may hold any byte, NUL included.
 * An empty span may point anywhere, and to NULL too. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/must.h"

struct span {
    const char *at;
    size_t      len;
};

#define SPAN(literal) ((struct span){ "" literal, sizeof(literal) - 1 })
/* For printf: printf("%.*s", SPAN_ARG(span)) */
#define SPAN_ARG(span) (int)(span).len, (span).at

static inline struct span span_of(const void *at, size_t len)
{
    return (struct span){ at, len };
}

static inline struct span span_str(const char *text)
{
    return (struct span){ text, text == NULL ? 0 : strlen(text) };
}

static inline bool span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* By the bytes, without their sign: below 0, 0 or above 0, as memcmp() says it. What begins another span comes before
 * it. */
static inline int span_order(struct span a, struct span b)
{
    size_t both  = a.len < b.len ? a.len : b.len;
    int    order = both == 0 ? 0 : memcmp(a.at, b.at, both);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static inline bool span_starts(struct span span, struct span head)
{
    return span.len >= head.len && (head.len == 0 || memcmp(span.at, head.at, head.len) == 0);
}

/* What is left after the first `count` bytes; count <= span.len. */
static inline struct span span_skip(struct span span, size_t count)
{
    must(count <= span.len);
    return (struct span){ span.at + count, span.len - count };
}

static inline struct span span_head(struct span span, size_t count)
{
    return (struct span){ span.at, count < span.len ? count : span.len };
}

/* ASCII letters are compared without their case, all other bytes as they are. */
bool span_eq_nocase(struct span a, struct span b);

/* Without spaces and tabs at both ends (the OWS of RFC 9110 5.6.3). */
struct span span_trim(struct span span);

/* Is there a control character of ASCII (U+0000 to U+001F, U+007F)? The bytes need not be UTF-8. */
bool span_has_control(struct span span);

/* Cuts at the first `mark`: *ret_head is what stands before it, and *rest becomes what follows. Without a mark, all
 * of it is the head and *rest becomes empty. False, and nothing changes, if *rest is empty already. */
bool span_cut(struct span *rest, char mark, struct span *ret_head);

/* One or more decimal digits and nothing else; false on overflow. *ret_value changes only on success. */
bool span_u64(struct span span, uint64_t *ret_value);

#endif
