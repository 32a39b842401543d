/* rocks_row.h - how things lie on disk: messages, rows of the ledger, and small records of numbers. Pure: bytes in,
 * bytes out.
 *
 * A message row: key = channel number and seq, big-endian, so that a channel lies together and in order. Value,
 * little-endian: checksum u32 | version << 4 and kind u8 | flags u8 | media length u8 | from length u8 | id u64 |
 * time u64 | [expires_at u64] [target u64] [answer: id u64, time u64] | media | from | payload (the rest).
 * A row of the ledger: key = kind u8 and the row's key. Value, little-endian: checksum u32 | version u8 | flags u8 |
 * generation u64 | [expires_at u64] | the row's value (the rest).
 * A record: checksum u32 | its numbers, u64 each.
 *
 * The checksum is keyed with the place: a row that lies in another's place is found out like a flipped bit. */
#ifndef STORE_ROCKS_ROW_H
#define STORE_ROCKS_ROW_H

#include "base/buf.h"
#include "message/message.h"

enum { ROW_KEY_BYTES = 16, RECORD_NUMBERS_MAX = 8, ROW_VERSION = 1, CELL_VERSION = 1 };

/* Beside the kinds of enum message_kind: what compaction leaves of a message whose time to live ran out. Its `target`
 * is the length of the payload that was. */
enum { ROW_EXPIRED = 3 };

struct row_key {
    char bytes[ROW_KEY_BYTES];
};

struct row {
    uint8_t     kind;
    uint64_t    id, target;
    msec        time, expires_at;
    uint64_t    answer_id;    /* of a message taken back: the answer its recall got */
    msec        answer_time;
    struct span media, from, payload;  /* borrowed */
};

struct row_key row_key(uint64_t number, uint64_t seq);

static inline struct span row_key_span(const struct row_key *key)
{
    return (struct span){ key->bytes, ROW_KEY_BYTES };
}

/* False if it is no row key. */
bool row_key_get(struct span key, uint64_t *ret_number, uint64_t *ret_seq);

void row_put(struct buf *buf, uint64_t number, uint64_t seq, const struct row *row);

/* False: damaged, or of a version we don't know. */
bool row_get(struct span value, uint64_t number, uint64_t seq, struct row *ret);

/* What the row counts for in its channel's bytes. */
static inline uint64_t row_weight(const struct row *row)
{
    return row->kind == ROW_EXPIRED ? row->target : row->payload.len;
}

struct row row_of_message(const struct message *message);

/* Owns one reference; the channel's epoch is handed in. */
struct message *row_message(const struct row *row, struct channel_name *channel, uint64_t epoch, uint64_t seq);

/* A row of the ledger beside its key. */
struct cell {
    uint64_t    generation;
    msec        expires_at;
    struct span value;  /* borrowed */
};

/* `key` begins with the kind. */
void cell_put(struct buf *buf, struct span key, const struct cell *cell);

/* False: damaged, or of a version we don't know. */
bool cell_get(struct span bytes, struct span key, struct cell *ret);

void record_put(struct buf *buf, struct span key, const uint64_t *numbers, size_t count);
bool record_get(struct span value, struct span key, uint64_t *ret_numbers, size_t count);

#endif
