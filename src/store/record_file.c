#include "store/record_file.h"

#include <string.h>

enum {
    BLOCK_BYTES       = 32 * 1024,
    HEAD_BYTES        = 7,
    NUMBER_BYTES      = 4,  /* of the log's number, in records of the types 5 to 8 */
    TYPE_AT           = 6,
    TYPE_WHOLE        = 1,
    TYPE_FIRST_PIECE,
    TYPE_MIDDLE_PIECE,
    TYPE_LAST_PIECE,
    TYPE_NUMBER_FIRST = 5,
    TYPE_NUMBER_LAST  = 8,
    TYPE_KNOWN_LAST   = 9,
};

#define CRC32C_POLYNOMIAL 0x82f63b78u
#define MASK_MORE         0xa282ead8u

/* Bit by bit: this runs once, over a file that RocksDB has refused, or over a record of some bytes. */
static uint32_t crc32c(struct span bytes)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < bytes.len; i++) {
        crc ^= (uint8_t)bytes.at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (CRC32C_POLYNOMIAL & -(crc & 1));
    }
    return ~crc;
}

/* As stored: so that the checksum of bytes that hold checksums is of use. */
static uint32_t crc_masked(struct span bytes)
{
    const uint32_t crc = crc32c(bytes);

    return ((crc >> 15) | (crc << 17)) + MASK_MORE;
}

static uint64_t little_endian(const char *at, size_t len)
{
    uint64_t value = 0;

    while (len-- > 0)
        value = value << 8 | (uint8_t)at[len];
    return value;
}

static size_t piece_head_bytes(uint8_t type)
{
    return type >= TYPE_NUMBER_FIRST && type <= TYPE_NUMBER_LAST ? HEAD_BYTES + NUMBER_BYTES : HEAD_BYTES;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

enum piece_found { PIECE_WHOLE, PIECE_NONE, PIECE_BAD };

struct piece {
    uint8_t     type;  /* TYPE_WHOLE to TYPE_LAST_PIECE; any other is not of records */
    struct span bytes;
};

/* The piece where `block` begins, and passes it. PIECE_NONE: there are no more in this block. */
static enum piece_found piece_take(struct span *block, struct piece *ret)
{
    if (block->len < HEAD_BYTES)
        return PIECE_NONE;
    const uint8_t type = (uint8_t)block->at[TYPE_AT];
    const size_t  head = piece_head_bytes(type), len = head + little_endian(block->at + 4, 2);
    if (type == 0 && little_endian(block->at, HEAD_BYTES) == 0)
        return PIECE_NONE;
    if (type == 0 || type > TYPE_KNOWN_LAST || len > block->len)
        return PIECE_BAD;
    if (crc_masked(span_of(block->at + TYPE_AT, len - TYPE_AT)) != little_endian(block->at, 4))
        return PIECE_BAD;
    ret->type  = head == HEAD_BYTES ? type : (uint8_t)(type - TYPE_NUMBER_FIRST + TYPE_WHOLE);
    ret->bytes = span_of(block->at + head, len - head);
    *block     = span_skip(*block, len);
    return PIECE_WHOLE;
}

bool record_file_damage(struct span file, size_t *ret_at)
{
    for (size_t from = 0; from < file.len; from += BLOCK_BYTES) {
        struct span      block = span_head(span_skip(file, from), BLOCK_BYTES);
        struct piece     piece;
        enum piece_found found;
        while ((found = piece_take(&block, &piece)) == PIECE_WHOLE)
            continue;
        if (found == PIECE_BAD) {
            *ret_at = (size_t)(block.at - file.at);
            return true;
        }
    }
    return false;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void put_little_endian(char *at, uint64_t value, size_t len)
{
    for (; len > 0; len--, value >>= 8)
        *at++ = (char)(value & 0xff);
}

static bool piece_put(const struct record_sink *sink, struct span bytes, uint8_t type)
{
    char piece[BLOCK_BYTES];

    piece[TYPE_AT] = (char)type;
    if (bytes.len > 0)
        memcpy(piece + HEAD_BYTES, bytes.at, bytes.len);
    put_little_endian(piece, crc_masked(span_of(piece + TYPE_AT, 1 + bytes.len)), 4);
    put_little_endian(piece + 4, bytes.len, 2);
    return sink->put(sink->context, span_of(piece, HEAD_BYTES + bytes.len));
}

/* *at is where it begins in its file, and then where it ends. */
static bool pieces_put(const struct record_sink *sink, uint64_t *at, struct span record)
{
    static const char zeros[HEAD_BYTES] = { 0 };
    bool              is_first = true, is_last = false, is_taken = true;

    while (is_taken && !is_last) {
        size_t left = BLOCK_BYTES - (size_t)(*at % BLOCK_BYTES);
        if (left < HEAD_BYTES) {
            is_taken = sink->put(sink->context, span_of(zeros, left));
            *at += left;
            left = BLOCK_BYTES;
        }
        const struct span bytes = span_head(record, left - HEAD_BYTES);
        is_last                 = bytes.len == record.len;
        is_taken &= piece_put(sink, bytes, is_first && is_last ? TYPE_WHOLE
                                           : is_first          ? TYPE_FIRST_PIECE
                                           : is_last           ? TYPE_LAST_PIECE
                                                               : TYPE_MIDDLE_PIECE);
        *at += HEAD_BYTES + bytes.len;
        record   = span_skip(record, bytes.len);
        is_first = false;
    }
    return is_taken;
}

bool record_file_put(const struct record_sink *sink, uint64_t at, struct span record)
{
    return pieces_put(sink, &at, record);
}

/* --- cleaning ----------------------------------------------------------------------------------------------------- */

struct record_cleaner {
    const struct record_sink *sink;
    uint64_t                  at;      /* in the new file */
    struct buf                record;  /* the pieces of the record so far */
    bool                      is_open; /* it has its first piece, and all behind it */
};

static bool cleaner_take(struct record_cleaner *cleaner, const struct piece *piece)
{
    if (piece->type == TYPE_WHOLE)
        return pieces_put(cleaner->sink, &cleaner->at, piece->bytes);
    if (piece->type == TYPE_FIRST_PIECE) {
        buf_clear(&cleaner->record);
        cleaner->is_open = true;
    }
    if (!cleaner->is_open)
        return true;
    buf_put(&cleaner->record, piece->bytes);
    if (piece->type != TYPE_LAST_PIECE)
        return true;
    cleaner->is_open = false;
    return pieces_put(cleaner->sink, &cleaner->at, buf_span(&cleaner->record));
}

bool record_file_clean(struct span file, const struct record_sink *sink)
{
    struct record_cleaner cleaner  = { .sink = sink };
    bool                  is_taken = true;

    buf_init(&cleaner.record, RECORD_BYTES_MAX);
    for (size_t from = 0; is_taken && from < file.len; from += BLOCK_BYTES) {
        struct span      block = span_head(span_skip(file, from), BLOCK_BYTES);
        struct piece     piece;
        enum piece_found found = PIECE_NONE;
        while (is_taken && (found = piece_take(&block, &piece)) == PIECE_WHOLE)
            is_taken = cleaner_take(&cleaner, &piece);
        if (found == PIECE_BAD)
            cleaner.is_open = false;
    }
    buf_fini(&cleaner.record);
    return is_taken;
}
