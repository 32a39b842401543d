/* request_row.h - the rows of requests (device/row_kind.h): their keys and their bytes. Pure.
 *
 *     REQUEST    user · device · id               the answer to the request with this id; for idempotency_window_s. The generation
 *                                                 is the seq of the response. Servers before 0104 also wrote one at the claim
 *     CALL       user · device · id               there while the request is under way: who calls
 *     CALL       user · device · id · 0001 …      of at_least_once: the request itself, in pieces
 *     CALLS      start of the node, number (u64 and u32, big-endian)
 *                                                 of a node alone: calls that began in one turn, of at_most_once. One of them is under
 *                                                 way as long as it has no REQUEST row; the row goes when none is
 *     RESPONSES  user · device                    bytes of all answers so far; the row's generation is that + 1
 *
 * A value that can't be read is damaged, or of a newer server. */
#ifndef UPLINK_REQUEST_ROW_H
#define UPLINK_REQUEST_ROW_H

#include "node/request_command.h"

enum {
    REQUEST_PIECE_BYTES     = 48 * 1024,  /* of a request, in one row */
    REQUEST_PIECES_MAX      = 56,         /* they commit with the other rows as one write */
    REQUEST_KEPT_BYTES_MAX  = REQUEST_PIECE_BYTES * REQUEST_PIECES_MAX,
    REQUEST_GENERATION      = 1,          /* of a new CALL row */
};

struct request_row {
    bool     is_answered;
    uint8_t  hash[16];
    uint64_t claim;          /* a random number of who wrote it first */
    /* is_answered: */
    uint64_t before, bytes;  /* of the answers before it, and of this one */
};

struct call_row {
    bool        is_at_least_once;
    uint8_t     hash[16];
    uint64_t    claim;
    msec        since;        /* wall clock: when the request came */
    struct span node;         /* who calls, borrowed from the value … */
    uint64_t    incarnation;  /* … and which start of it */
    uint32_t    pieces;       /* rows that hold the request; 0: it is not kept */
};

/* `id` empty: that of RESPONSES. */
void request_key_put(struct buf *buf, struct span user, struct span device, struct span id);
/* Of a piece, 1 and up. */
void request_piece_key_put(struct buf *buf, struct span user, struct span device, struct span id, uint32_t piece);
/* What stands in the key of a CALL row. False: it is not readable. *ret_piece is 0 for the row itself. */
bool request_key_get(struct span key, struct span *ret_user, struct span *ret_device, struct span *ret_id, uint32_t *ret_piece);

void request_row_put(struct buf *buf, const struct request_row *row);
bool request_row_get(struct span value, struct request_row *ret);
void call_row_put(struct buf *buf, const struct call_row *row);
bool call_row_get(struct span value, struct call_row *ret);

/* CALLS: the wall clock at which no id in it was used, then a hash and a key (request_key_put) for each call. */
struct calls_place {
    uint64_t incarnation;
    uint32_t number;
};

void calls_key_put(struct buf *buf, struct calls_place place);
bool calls_key_get(struct span key, struct calls_place *ret);
void calls_row_begin(struct buf *buf, msec wall);
void calls_row_add(struct buf *buf, const uint8_t hash[static 16], struct span key);
/* Takes the head off *value; what is left are calls. */
bool calls_row_open(struct span *value, msec *ret_wall);
/* False: that was the last one, or (if *rest is not empty) the row is not readable. */
bool calls_row_next(struct span *rest, uint8_t ret_hash[static 16], struct span *ret_key);

/* What has to be known of a request to send it again, as bytes that pieces are cut from. */
void                    request_bytes_put(struct buf *buf, const struct request_command *request);
/* A command without channel and id, which the caller fills in; NULL: it is not readable. */
struct request_command *request_bytes_get(struct span bytes, struct span user, struct span device, struct span id);

#endif
