/* http_head.h - the parts of an HTTP/1.1 response's head that a benchmark needs. */
#ifndef BENCH_HTTP_HEAD_H
#define BENCH_HTTP_HEAD_H

#include "base/span.h"

struct http_head {
    unsigned    status;
    struct span text;        /* status line and fields, the empty line included */
    uint64_t    body_bytes;  /* Content-Length; 0 without one */
};

enum http_head_verdict { HTTP_HEAD_PART, HTTP_HEAD_WHOLE, HTTP_HEAD_BAD };

enum http_head_verdict http_head_read(struct span bytes, struct http_head *ret_head);

/* The value of the field, trimmed; false if there is none. */
bool http_head_field(const struct http_head *head, struct span name, struct span *ret_value);

#endif
