/* jwt_algorithm.h - the signatures of tokens that are known here (RFC 7518 3.1, RFC 8037). `none` is not one of them. Pure. */
#ifndef MESSAGE_JWT_ALGORITHM_H
#define MESSAGE_JWT_ALGORITHM_H

#include <stdbool.h>

#include "base/span.h"

enum jwt_algorithm {
    JWT_HS256, JWT_HS384, JWT_HS512,  /* a secret that both sides know */
    JWT_RS256, JWT_RS384, JWT_RS512,  /* RSA, PKCS #1 */
    JWT_PS256,                        /* RSA, PSS */
    JWT_ES256, JWT_ES384,             /* ECDSA on P-256, P-384 */
    JWT_EDDSA,                        /* Ed25519 */
    JWT_ALGORITHM_COUNT
};

/* By its name, letter by letter: `hs256` is none. */
bool        jwt_algorithm_find(struct span name, enum jwt_algorithm *ret);
const char *jwt_algorithm_name(enum jwt_algorithm algorithm);

#endif
