/* hpack_priv.h - what the files of HPACK share. */
#ifndef CODEC_H2_HPACK_PRIV_H
#define CODEC_H2_HPACK_PRIV_H

#include "codec/h2/hpack.h"

struct hpack_row {
    struct span name, value;
};

/* RFC 7541 appendix A; the first row is its index 1. */
extern const struct hpack_row hpack_static[HPACK_STATIC_COUNT];

/* Appends what the code stands for (RFC 7541 5.2). False: it is not Huffman's. `text` has room for 8/5 as many bytes. */
bool hpack_put_decoded(struct buf *text, struct span code);

#endif
