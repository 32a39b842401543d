/* span_keep.h - for structs that keep texts at their own end: their owner allocates room for all, and keeps one behind the other. */
#ifndef BASE_SPAN_KEEP_H
#define BASE_SPAN_KEEP_H

#include "base/span.h"

/* Copies the bytes to *at, where they have room, and moves *at behind them. The copy. */
static inline struct span span_keep(struct span bytes, char **at)
{
    struct span kept = { *at, bytes.len };

    if (bytes.len > 0)
        memcpy(*at, bytes.at, bytes.len);
    *at += bytes.len;
    return kept;
}

#endif
