/* identity.h - who sent a request, or opened a link: the holder of an API key, a user, or somebody who showed nothing.
 *
 * An identity belongs to one loop, so its count needs no atomics: requests and links of that loop hold references, and
 * so does the identifier that made it, if it gives the same one to many. What it may do can change while it is held: a
 * reload gives a key more rights, or revokes the identity; a user's token ends. Whoever holds one for longer than a call
 * asks identity_is_revoked() before using it again, and looks at expires_at.
 *
 *     who                         rights        user   from
 *     nobody, with keys           0             ""     ""
 *     holder of an API key        of the key    ""     the key's name
 *     user                        0             "ann"  "user:ann"
 *     anybody, without keys and   all           ""     ""
 *     issuers (is_open) ...                     "ann"  "user:ann"       with ?user=ann
 */
#ifndef AUTH_IDENTITY_H
#define AUTH_IDENTITY_H

#include "message/grant.h"
#include "base/msec.h"
#include "message/key_right.h"

/* Who vouches for users: the key of an issuer, below the section of that issuer; or the configuration without keys and
 * issuers, which believes everybody. Its end is the end of all identities that it has vouched for. Counted within a
 * loop. */
struct authority {
    uint32_t          refs;
    bool              is_revoked;
    struct authority *above;       /* owns a reference; NULL: none. Its end is the end of this one too */
};

struct identity {
    uint32_t          refs;
    uint16_t          from_len;
    uint16_t          jti_len;
    msec              issued_at : 48;  /* wall; 0: not said */
    uint64_t          device_len : 8;
    uint64_t          rights : 6;      /* of its key; all of them if is_open */
    uint64_t          is_revoked : 1;  /* for good; ask identity_is_revoked() */
    uint64_t          is_open : 1;     /* neither keys nor issuers: what it says about itself is believed */
    msec              expires_at : 48; /* wall; 0: never */
    uint64_t          grant_count : 8;
    uint64_t          follow_count : 8; /* the first so many grants name channels that the link follows by itself */
    struct authority *authority;    /* owns a reference; NULL: none of its own */
    /* The grants, then without anything between: from, device, jti, what the grants match. Idle links pay for it: the texts
     * are found by their lengths, not by pointers. */
    _Alignas(struct grant) char text[];
};

_Static_assert(sizeof(struct identity) == 32, "every idle link of a user pays for one");

#define IDENTITY_TIME_MAX ((msec)((UINT64_C(1) << 47) - 1))  /* in the year 6429 */

/* What an identity is made of; all is copied. */
struct identity_facts {
    struct span         key;      /* the API key's name; empty: none */
    unsigned            rights;
    bool                is_open;
    struct span         user, device, jti;  /* empty: none */
    msec                issued_at, expires_at;  /* up to IDENTITY_TIME_MAX; what is later counts as that */
    const struct grant *grants;
    size_t              grant_count;        /* at most GRANTS_MAX */
    size_t              follow_count;       /* of them, the first: single channels */
    struct authority   *authority;          /* shared; NULL: none */
};

/* The caller owns the one reference. */
struct identity *identity_new(const struct identity_facts *facts);
struct identity *identity_ref(struct identity *identity);
void             identity_unref(struct identity *identity);  /* NULL is fine */

/* Takes the reference. */
void identity_revoke(struct identity *identity);

static inline bool authority_is_revoked(const struct authority *authority)
{
    return authority != NULL &&
           (authority->is_revoked || (authority->above != NULL && authority->above->is_revoked));
}

static inline bool identity_is_revoked(const struct identity *identity)
{
    return identity->is_revoked || authority_is_revoked(identity->authority);
}

/* Of a user: what is allowed beside the defaults. Of a key: the channels where its rights hold; none: everywhere. */
static inline const struct grant *identity_grants(const struct identity *identity)
{
    return (const struct grant *)(const void *)identity->text;
}

static inline const char *identity_texts(const struct identity *identity)
{
    return (const char *)&identity_grants(identity)[identity->grant_count];
}

/* What its messages say, and whose idempotency keys they are: "user:ann", the key's name, or empty. */
static inline struct span identity_from(const struct identity *identity)
{
    return span_of(identity_texts(identity), identity->from_len);
}

/* Empty: it is no user. */
static inline struct span identity_user(const struct identity *identity)
{
    struct span from = identity_from(identity), head = SPAN("user:");
    return span_starts(from, head) ? span_skip(from, head.len) : SPAN("");
}

/* Empty: its token names none. */
static inline struct span identity_device(const struct identity *identity)
{
    return span_of(identity_texts(identity) + identity->from_len, identity->device_len);
}

/* Of its token; empty: it has none. */
static inline struct span identity_jti(const struct identity *identity)
{
    return span_of(identity_texts(identity) + identity->from_len + identity->device_len, identity->jti_len);
}

/* Has it shown nothing that is known? */
static inline bool identity_is_stranger(const struct identity *identity)
{
    return identity->from_len == 0;
}

/* Does one of its grants fit the channel, with one of these rights? */
bool identity_is_granted(const struct identity *identity, struct span channel, unsigned can);

/* There are two levels: `above` has none above it. NULL: there is none. */
struct authority *authority_new(struct authority *above);
void              authority_move(struct authority *authority, struct authority *above);
void              authority_unref(struct authority *authority);   /* NULL is fine */
void              authority_revoke(struct authority *authority);  /* takes the reference */

#endif
