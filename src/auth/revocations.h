/* revocations.h - what was revoked: a user, a device, a token or a connection, and when. Pure.
 *
 * A revocation refuses what was issued before it, and in its second: whoever comes with a younger token is let in. So a
 * user whose phone was stolen is revoked once, and logs in anew on the others. It is kept as long as a token may live that
 * it refuses (token_life_s_max), then it is forgotten.
 *
 * Each loop has a copy. What is in it was durable before: rows of the ledger tell it at the start, messages of
 * `sys:control` from then on (main/control.h). One thread. */
#ifndef AUTH_REVOCATIONS_H
#define AUTH_REVOCATIONS_H

#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/msec.h"

enum revoked_kind { REVOKED_USER, REVOKED_DEVICE, REVOKED_JTI, REVOKED_CONNECTION, REVOKED_KIND_COUNT };

enum { REVOKED_NAME_BYTES_MAX = 256, REVOCATION_REASON_BYTES_MAX = 200 };

/* Borrowed. */
struct revocation {
    enum revoked_kind kind;
    struct span       name;    /* "ann", "ann/phone", a jti, the 16 digits of a connection's key */
    uint64_t          second;  /* since 1970 */
};

/* What a token, a ticket or a link says of itself; empty: nothing. */
struct revocable {
    struct span user, device;  /* device without its user */
    struct span jti;
    struct span connection;    /* that it was issued on */
    uint64_t    issued_at;     /* second; 0: not said, which any revocation refuses */
};

struct revocations {
    struct map             map;
    struct list            all;       /* the one that ends first is the first, nearly: they are looked at in this order */
    const struct hash_key *key;       /* borrowed */
    size_t                 count;
};

void revocations_init(struct revocations *revocations, const struct hash_key *key);
void revocations_fini(struct revocations *revocations);

void revocations_copy(struct revocations *revocations, const struct revocations *from);

/* Later ones of the same name stand for earlier ones. Copied. */
void revocations_add(struct revocations *revocations, const struct revocation *revocation);
/* Forgets those of this second and before. */
void revocations_forget(struct revocations *revocations, uint64_t second);

/* Is it refused by one of them? */
bool revocations_refuse(const struct revocations *revocations, const struct revocable *what);
/* Is it refused by this one? */
bool revocation_refuses(const struct revocation *revocation, const struct revocable *what);

/* "user", "device", "jti", "connection". */
const char *revoked_kind_text(enum revoked_kind kind);
/* False: it is none of them. */
bool revoked_kind_read(struct span text, enum revoked_kind *ret);

#endif
