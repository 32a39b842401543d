#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"

enum { BUF_FIRST_BYTES = 256 };

void buf_init(struct buf *buf, size_t bytes_max)
{
    *buf = (struct buf){ .max = bytes_max };
}

void buf_fini(struct buf *buf)
{
    free(buf->at);
    *buf = (struct buf){ .max = buf->max };
}

void buf_clear(struct buf *buf)
{
    buf->len     = 0;
    buf->is_over = false;
}

static bool buf_grow(struct buf *buf, size_t more)
{
    if (buf->is_over || more > buf->max - buf->len) {
        buf->is_over = true;
        return false;
    }
    must(buf->len <= buf->cap && buf->cap <= buf->max);
    size_t want = buf->len + more;
    size_t cap = buf->cap == 0 ? BUF_FIRST_BYTES : buf->cap;
    while (cap < want)
        cap *= 2;
    if (cap > buf->max)
        cap = buf->max;
    char *at = realloc(buf->at, cap);
    must(at != NULL);
    buf->at  = at;
    buf->cap = cap;
    return true;
}

/* Nearly all puts fit into the memory that is there; an answer is dozens of them. */
static inline bool buf_reserve(struct buf *buf, size_t more)
{
    return (more <= buf->cap - buf->len && !buf->is_over) || buf_grow(buf, more);
}

void buf_make_room(struct buf *buf, size_t count)
{
    const size_t left = buf->max - buf->len;

    buf_reserve(buf, count < left ? count : left);
}

char *buf_extend(struct buf *buf, size_t count)
{
    if (!buf_reserve(buf, count))
        return NULL;
    char *scratch = buf->at + buf->len;
    buf->len += count;
    return scratch;
}

void buf_put(struct buf *buf, struct span bytes)
{
    if (bytes.len == 0)
        return;
    char *scratch = buf_extend(buf, bytes.len);
    if (scratch != NULL)
        memcpy(scratch, bytes.at, bytes.len);
}

void buf_putc(struct buf *buf, char byte)
{
    char *scratch = buf_extend(buf, 1);
    if (scratch != NULL)
        *scratch = byte;
}

void buf_put_u64(struct buf *buf, uint64_t value)
{
    char  digits[20];
    char *at = digits + sizeof digits;

    /* Two digits a division. */
    while (value >= 10) {
        unsigned two = (unsigned)(value % 100);
        value /= 100;
        *--at = (char)('0' + two % 10);
        *--at = (char)('0' + two / 10);
    }
    if (value > 0 || at == digits + sizeof digits)
        *--at = (char)('0' + value);
    buf_put(buf, span_of(at, (size_t)(digits + sizeof digits - at)));
}

void buf_putf(struct buf *buf, const char *format, ...)
{
    char    small[256];
    va_list args;

    va_start(args, format);
    int len = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    must(len >= 0);
    if ((size_t)len < sizeof small) {
        buf_put(buf, span_of(small, (size_t)len));
        return;
    }
    /* One byte more than the buffer keeps: vsnprintf always writes a NUL. */
    if (!buf_reserve(buf, (size_t)len + 1))
        return;
    va_start(args, format);
    vsnprintf(buf->at + buf->len, (size_t)len + 1, format, args);
    va_end(args);
    buf->len += (size_t)len;
}

/* What is left is copied at most once for each time that it halves. */
static void buf_shrink(struct buf *buf)
{
    const size_t cap = buf->len > BUF_KEPT_BYTES ? buf->len : BUF_KEPT_BYTES;
    char        *at  = realloc(buf->at, cap);

    must(at != NULL);
    buf->at  = at;
    buf->cap = cap;
}

void buf_drop(struct buf *buf, size_t count)
{
    must(count <= buf->len);
    buf->len -= count;
    if (buf->len > 0 && count > 0)
        memmove(buf->at, buf->at + count, buf->len);
    if (buf->cap > BUF_KEPT_BYTES && buf->len < buf->cap / 2)
        buf_shrink(buf);
}
