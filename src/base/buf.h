/* buf.h - a row of bytes that grows, up to a maximum that is fixed at its start.
 *
 * An overflow stays: after a put that did not fit, the buffer takes nothing more, and buf_is_over() is true. So a
 * writer checks once, at the end. A failed malloc ends the process (docs/decisions/0013). */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/span.h"

enum { BUF_KEPT_BYTES = 64 * 1024 };

struct buf {
    char  *at;
    size_t len;
    size_t cap;
    size_t max;
    bool   is_over;
};

/* Holds no memory until the first put. */
void buf_init(struct buf *buf, size_t bytes_max);
void buf_fini(struct buf *buf);

void buf_put(struct buf *buf, struct span bytes);
void buf_putc(struct buf *buf, char byte);
void buf_put_u64(struct buf *buf, uint64_t value);
void buf_putf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Room for so many more bytes at once, where the writer knows how many come: growing by steps copies what is there. Too many: the maximum. */
void buf_make_room(struct buf *buf, size_t count);

/* `count` writable bytes at the end; they belong to the buffer from now on. NULL, and the buffer is over, if they do
 * not fit. */
char *buf_extend(struct buf *buf, size_t count);

/* Empties the buffer, keeps its memory, forgets an overflow. */
void buf_clear(struct buf *buf);

/* Drops the first `count` bytes; count <= len. A buffer of which less than half is left gives memory back, so that it holds no
 * more than twice of what is in it, or BUF_KEPT_BYTES. */
void buf_drop(struct buf *buf, size_t count);

static inline struct span buf_span(const struct buf *buf)
{
    return (struct span){ buf->at, buf->len };
}

static inline bool buf_is_over(const struct buf *buf)
{
    return buf->is_over;
}

/* For literals: buf_put_lit(buf, "data: ") */
#define buf_put_lit(buf, literal) buf_put(buf, SPAN(literal))

#endif
