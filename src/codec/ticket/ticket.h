/* ticket.h - a signed word that resumes a session without asking anybody: who the user is, which device, which
 * generation of its session, and until when. Pure.
 *
 * base64url (no padding) of
 *
 *   2 · generation · since · issued · ends · token_issued · connection 8 · token_mark 8 · user · device · jti
 *     · count · count × { can 1, pattern }                                                             · HMAC 32
 *
 * Form 1 has no token_mark. It is read, and no longer written: a node of the release before gives it out.
 *
 * Numbers are varints (seven bits a byte, lowest first, the shortest form only); texts have their length before them, as a
 * varint. The HMAC is HMAC-SHA-256 of all that stands before it, with a key that the nodes share. Whoever holds a ticket
 * is who it says: treat it like a password. It can't be made longer or changed, and it ends by itself. */
#ifndef CODEC_TICKET_TICKET_H
#define CODEC_TICKET_TICKET_H

#include "base/buf.h"
#include "base/msec.h"

enum {
    TICKET_SECRET_BYTES_LEAST = 32,
    TICKET_GRANTS_MAX         = 100,
    TICKET_TEXT_BYTES_MAX     = 64 * 1024,  /* what is longer is no ticket */
};

struct ticket_grant {
    uint8_t     can;
    struct span pattern;
};

struct ticket {
    uint64_t    generation;    /* of the session … */
    msec        since;         /* … that began then (wall clock) */
    uint64_t    issued_s, ends_s;
    uint64_t    token_issued_s;  /* `iat` of the token that the user came with; 0: it said none */
    uint64_t    connection;    /* the key of the connection that the ticket was given to */
    uint64_t    token_mark;    /* ticket_mark() of the token that the user came with; 0: it came without one */
    struct span user, device;
    struct span jti;           /* of that token; empty: none */
    size_t      grant_count;
    struct ticket_grant grants[TICKET_GRANTS_MAX];
};

struct hmac;  /* codec/hmac/hmac.h */

/* One thread at a time. */
struct ticket_key {
    struct hmac *hmac;
};

/* At least TICKET_SECRET_BYTES_LEAST bytes of it should be random; the bytes are copied. */
void ticket_key_init(struct ticket_key *key, struct span secret);
void ticket_key_fini(struct ticket_key *key);  /* a zeroed key is fine */

/* What a ticket remembers of a token: the ticket does not tell the token, and another token has the same mark in one of 2^64 cases.
 * Never 0. */
uint64_t ticket_mark(const struct ticket_key *key, struct span token);

/* Appends. */
void ticket_put(struct buf *buf, const struct ticket *ticket, const struct ticket_key *key);

/* False: it is no ticket, or was signed with another key. What *ret borrows lies in `bytes`, which is emptied first. Whether
 * it has ended is the caller's to check. */
bool ticket_get(struct span text, const struct ticket_key *key, struct buf *bytes, struct ticket *ret);

#endif
