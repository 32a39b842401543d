/* identify.h - who shows this credential? A port: the answer may be known at once, or take time.
 *
 * A request is identified once, before its body is gathered, and a link once, or again when a `connect` frame brings a
 * token. Who asks goes on with other work meanwhile: nothing here waits. Each loop has an identifier of its own.
 *
 *     identify() -+-> the answer                            what the maker knows at once
 *                 +-> 503, Retry-After                      count_max are under way already
 *                 +-> under way -+-> identify_end()         the maker has an answer
 *                                +-> 503, Retry-After       timeout_ms have passed
 *                                +-> identify_cancel()      nobody wants the answer any more
 */
#ifndef AUTH_IDENTIFY_H
#define AUTH_IDENTIFY_H

#include "auth/credential.h"
#include "auth/may.h"
#include "base/list.h"
#include "base/wheel.h"

struct identifier;
struct identification;  /* one that is under way */

/* The identity, or why there is none. */
struct identified {
    struct identity *identity;  /* a reference for whoever gets the answer; NULL: see refusal */
    struct verdict   refusal;   /* 401: the credential is nobody's; 503: it is not known in time */
    uint64_t         connection;  /* the key by which the application knows this connection; 0: it was not asked */
    /* Of a refusal, between makers: */
    bool             awaits_keys; /* an issuer whose keys come from an address may have the key by now */
    bool             is_final;    /* the token is an issuer's, and refused: nobody else is asked */
};

struct identifier_ops {
    /* True: *ret is the answer. False: it takes time. */
    bool (*look)(struct identifier *identifier, const struct credential *credential, struct identified *ret);
    /* After look() said false: begins to find out, and calls identify_end() later, never within this call. The
     * credential is borrowed until it returns. */
    void (*begin)(struct identifier *identifier, struct identification *identification,
                  const struct credential *credential);
    /* Gives up: identify_end() is not called any more. */
    void (*cancel)(struct identifier *identifier, struct identification *identification);
};

struct identifier_limits {
    uint32_t count_max;   /* under way at once */
    msec     timeout_ms;
};

struct identifier {
    const struct identifier_ops *ops;
    struct wheel                *wheel;
    struct identifier_limits     limits;
    struct list                  under_way;
    uint32_t                     count;      /* of them */
};

void identifier_init(struct identifier *identifier, const struct identifier_ops *ops, struct wheel *wheel,
                     const struct identifier_limits *limits);
void identifier_fini(struct identifier *identifier);  /* none is under way */

/* NULL: *ret is the answer. Else it will be given to done(owner) once, unless it is cancelled before. The answer's
 * reference is the asker's in both cases. */
struct identification *identify(struct identifier *identifier, const struct credential *credential, msec now,
                                void (*done)(void *owner, const struct identified *answer), void *owner,
                                struct identified *ret);
void identify_cancel(struct identification *identification);

/* For makers: a pointer of theirs. */
void  identification_set_work(struct identification *identification, void *work);
void *identification_work(const struct identification *identification);

/* For makers. Ends it; takes the answer's reference. */
void identify_end(struct identification *identification, const struct identified *answer);

#endif
