/* rocks_row.h - the format on disk of messages, ledger rows, and small records of numbers. Pure: bytes in, bytes out.
 *
 * A message row: the key is the channel number and the seq, big-endian, so that the rows of a channel are adjacent and
 * in order. Value, little-endian: checksum u32 | version << 4 and kind u8 | flags u8 | media length u8 | from length u8
 * | id u64 | time u64 | [expires_at u64] [target u64] [answer: id u64, time u64] [event length u8] [collapse key length u8] | media | from | [event] | [collapse key] | payload (the rest).
 * A row with an event has the version 2, so that a program that knows no events takes it for damaged, and never takes
 * the event for a part of the payload. Rows without one have the version 1, and those with a collapse
 * key the version 3.
 * A ledger row: the key is the kind u8 and the row's key. Value, little-endian: checksum u32 | version u8 | flags u8 |
 * generation u64 | [expires_at u64] | the row's value (the rest).
 * A record: checksum u32 | its numbers, u64 each.
 *
 * The checksum is keyed with the row's place, so a row that is stored in another row's place is detected like a flipped
 * bit. */
#ifndef STORE_ROCKS_ROW_H
#define STORE_ROCKS_ROW_H

#include "base/buf.h"
#include "message/message.h"

enum { ROW_KEY_BYTES = 16, RECORD_NUMBERS_MAX = 8, ROW_VERSION = 1, ROW_VERSION_EVENT = 2,
       ROW_VERSION_COLLAPSE = 3, LEDGER_VALUE_VERSION = 1 };

/* A kind beside those of enum message_kind: what compaction leaves of an expired message. Its `target` is the length of
 * the payload that it had. */
enum { ROW_EXPIRED = 3 };

struct row_key {
    char bytes[ROW_KEY_BYTES];
};

struct row {
    uint8_t     kind;
    uint64_t    id, target;
    msec        time, expires_at;
    uint64_t    answer_id;             /* of a recalled message: the answer that its recall got */
    msec        answer_time;
    struct span media, from, payload;  /* borrowed */
    struct span event, collapse_key;   /* borrowed; empty: none */
};

struct row_key row_key(uint64_t number, uint64_t seq);

static inline struct span row_key_span(const struct row_key *key)
{
    return (struct span){ key->bytes, ROW_KEY_BYTES };
}

/* False if the bytes are no row key. */
bool row_key_get(struct span key, uint64_t *ret_number, uint64_t *ret_seq);

void row_put(struct buf *buf, uint64_t number, uint64_t seq, const struct row *row);

/* False: the bytes are damaged, or of an unknown version. */
bool row_get(struct span value, uint64_t number, uint64_t seq, struct row *ret);

/* What the row counts for in its channel's bytes. */
static inline uint64_t row_kept_bytes(const struct row *row)
{
    return row->kind == ROW_EXPIRED ? row->target : row->payload.len;
}

struct row row_of_message(const struct message *message);

/* The caller owns one reference; the row doesn't store the epoch, so the caller hands it in. */
struct message *row_message(const struct row *row, struct channel_name *channel, uint64_t epoch, uint64_t seq);

/* What a ledger row stores beside its key. */
struct ledger_disk_value {
    uint64_t    generation;
    msec        expires_at;
    struct span value;  /* borrowed */
};

/* `key` begins with the kind. */
void ledger_value_put(struct buf *buf, struct span key, const struct ledger_disk_value *stored);

/* False: the bytes are damaged, or of an unknown version. */
bool ledger_value_get(struct span bytes, struct span key, struct ledger_disk_value *ret);

void record_put(struct buf *buf, struct span key, const uint64_t *numbers, size_t count);
bool record_get(struct span value, struct span key, uint64_t *ret_numbers, size_t count);

#endif
