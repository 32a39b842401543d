/* jwt.h - takes tokens apart: signed JWTs in their compact form (RFC 7515 7.1, RFC 7519). Pure.
 *
 *     eyJhbGciOi…  .  eyJzdWIiOi…  .  c2lnbmF0dXJl
 *     header          claims          signature
 *     `------ signed_part ------'
 *
 * It says what stands in a token, and never whether it is true: whoever reads one checks the signature, and only then goes
 * by the claims. Of the header, alg and kid count; keys and addresses of keys that stand there (jwk, jku, x5c, x5u) are
 * never looked at (threat 101). */
#ifndef CODEC_JWT_JWT_H
#define CODEC_JWT_JWT_H

#include "base/msec.h"
#include "codec/json/json.h"
#include "message/grant.h"
#include "message/jwt_algorithm.h"

struct jwt {
    /* Borrowed from the token or the reader, until the next jwt_read(). */
    enum jwt_algorithm  algorithm;
    struct span         kid;         /* empty: none */
    struct span         signed_part;
    struct span         signature;
    struct span         issuer;      /* `iss`; empty: none */
    struct span         user;        /* `sub`, a user's name */
    struct span         device;      /* a device's name; empty: none */
    struct span         jti;         /* empty: none */
    msec                expires_at;  /* `exp`, wall */
    msec                not_before;  /* `nbf`; 0: not said */
    msec                issued_at;   /* `iat`; 0: not said */
    const struct grant *grants;      /* `channels` */
    size_t              grant_count;
    const struct json_token *audience;  /* for jwt_is_for() */
};

enum { JWT_ID_BYTES_MAX = 128 };  /* of kid and jti */

/* Where tokens are taken apart; one at a time. */
struct jwt_reader {
    struct json_doc doc;
    struct buf      header, claims, signature, strings;
    struct grant   *grants;
};

void jwt_reader_init(struct jwt_reader *reader);  /* holds no memory until the first token */
void jwt_reader_fini(struct jwt_reader *reader);

/* Has it the form of one: three parts with dots between? Then it can't be an API key that was mistyped. */
bool jwt_is_like(struct span token);

/* NULL: *ret is what the token says. Else why it is none that can be used here, a sentence (static). */
const char *jwt_read(struct jwt_reader *reader, struct span token, struct jwt *ret);

/* Is this one of the token's audiences (RFC 7519 4.1.3)? */
bool jwt_is_for(struct jwt_reader *reader, const struct jwt *jwt, struct span audience);

/* [{"match":"topic:*","can":["subscribe"]}, …], as it stands in tokens and in answers of the connect hook. `list` belongs
 * to `doc`, with three levels kept below it; NULL or `null` is an empty list. What it says may point into `strings`, whose
 * memory must not move meanwhile. `ret` has room for GRANTS_MAX. NULL: done. Else why not, a sentence (static). */
const char *grants_read(const struct json_doc *doc, const struct json_token *list, struct buf *strings, struct grant *ret,
                        size_t *ret_count);

#endif
