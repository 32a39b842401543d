/* hpack.h - header blocks of HTTP/2 (RFC 7541): a block in, fields out; and fields of an answer, as a block.
 *
 * Reading keeps what a client has put into the dynamic table, at most HPACK_TABLE_BYTES_MAX as RFC 7541 4.1 counts them,
 * which is the size that nobody has to be told. Writing keeps nothing: names stand by their index in the static table, and
 * values as they are, so that an answer costs no memory of its connection and no search.
 *
 *     hpack_begin(&hpack, block, &text);
 *     while (hpack_next(&hpack, &field) == HPACK_FIELD)
 *         …                                          until HPACK_END, or HPACK_FAULT: COMPRESSION_ERROR
 *     hpack_end(&hpack);                             the fields are of no use any more
 *
 * A block has to be read to its end, because later blocks build on it. */
#ifndef CODEC_H2_HPACK_H
#define CODEC_H2_HPACK_H

#include "base/buf.h"

enum { HPACK_TABLE_BYTES_MAX = 4096, HPACK_ENTRY_BYTES = 32 };

/* Where names whose meaning is ours to judge stand in the static table (RFC 7541 appendix A), first. */
enum hpack_name {
    HPACK_UNKNOWN        = 0,  /* no name of the static table, or one that was spelt out */
    HPACK_AUTHORITY      = 1,
    HPACK_METHOD         = 2,
    HPACK_PATH           = 4,
    HPACK_SCHEME         = 6,
    HPACK_STATUS         = 8,
    HPACK_CONTENT_LENGTH = 28,
    HPACK_EXPECT         = 35,
    HPACK_HOST           = 38,
    HPACK_TRANSFER       = 57,
    HPACK_STATIC_COUNT   = 61,
};

/* The spans are valid until hpack_end(), and as long as the block and the text. */
struct hpack_field {
    struct span name, value;
    uint8_t     known;  /* where the name stands in the static table, first; HPACK_UNKNOWN: nowhere */
};

struct hpack_entry;

struct hpack {
    struct hpack_entry **ring;       /* the dynamic table; holds no memory until the first entry */
    uint32_t             room;       /* places of the ring; a power of two */
    uint32_t             newest;     /* place of the newest entry */
    uint32_t             count;
    uint32_t             bytes, bytes_max;  /* as RFC 7541 4.1 counts them */
    struct hpack_entry  *gone;       /* out of the table, but fields of this block may show them */
    struct span          rest;       /* of the block */
    struct buf          *text;       /* strings that were in Huffman's code */
    bool                 has_field;  /* … before which alone the size of the table may change */
};

void hpack_init(struct hpack *hpack);
void hpack_fini(struct hpack *hpack);

/* `block` and `text` are borrowed until the block has been read; `text` is emptied first. */
void hpack_begin(struct hpack *hpack, struct span block, struct buf *text);

enum hpack_step { HPACK_FIELD, HPACK_END, HPACK_FAULT };
enum hpack_step hpack_next(struct hpack *hpack, struct hpack_field *ret);
/* Lets go of what only the fields of this block still showed. */
void hpack_end(struct hpack *hpack);

/* --- writing; names in any letter case */

void hpack_put_status(struct buf *block, unsigned status);
void hpack_put_field(struct buf *block, struct span name, struct span value);
/* The name is one that the static table has. */
void hpack_put_indexed(struct buf *block, enum hpack_name name, struct span value);
/* At the beginning of a block: the table that the reader keeps for us is empty from now on (RFC 7541 4.2, 6.3). */
void hpack_put_no_table(struct buf *block);

#endif
