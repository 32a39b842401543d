/* verify_key.h - the keys of an issuer: is this its signature? On OpenSSL; pure.
 *
 * A key is read once and has one algorithm, fixed by what the key is and by the configuration. So a token can't choose
 * how its signature is checked: the text of a public key is never taken for a secret (threat 101). Where one RSA key
 * serves two algorithms it is here twice.
 *
 * Keys belong to the thread of one loop: OpenSSL's contexts are used again for each signature. */
#ifndef AUTH_VERIFY_KEY_H
#define AUTH_VERIFY_KEY_H

#include <openssl/types.h>

#include "auth/identity.h"
#include "base/buf.h"
#include "message/jwt_algorithm.h"

enum { VERIFY_KEYS_MAX = 32, VERIFY_KID_BYTES_MAX = 128, KEY_PRINT_BYTES = 32 };

struct verify_key {
    enum jwt_algorithm algorithm;
    char               kid[VERIFY_KID_BYTES_MAX + 1];  /* "": it has none */
    unsigned char      print[KEY_PRINT_BYTES];         /* a hash of the key: equal keys have equal ones */
    struct authority  *authority;                      /* vouches for the users whose tokens it has signed */
    void              *context;                        /* OpenSSL's */
};

struct verify_keys {
    struct verify_key at[VERIFY_KEYS_MAX];
    size_t            count;
};

enum key_sort { KEY_OF_SECRET, KEY_OF_RSA, KEY_OF_P256, KEY_OF_P384, KEY_OF_ED25519 };

/* What a key is made of; borrowed. */
struct key_material {
    enum key_sort sort;
    struct span   secret;
    EVP_PKEY     *public;
    struct span   kid;     /* at most VERIFY_KID_BYTES_MAX bytes; empty: none */
};

/* Each adds keys whose authorities stand below `above`. `algorithms`: a bit each; 0: the one that fits the key best (HS256,
 * RS256, ES256, ES384, EdDSA, or what a JWK says). False: `why` says in a sentence what does not fit. */
bool verify_keys_of_secret(struct verify_keys *keys, struct authority *above, unsigned algorithms, struct span secret,
                           struct buf *why);
/* Public keys and certificates, one or several. */
bool verify_keys_of_pem(struct verify_keys *keys, struct authority *above, unsigned algorithms, struct span text,
                        struct buf *why);
/* RFC 7517 5: a document with `keys`. Keys of other kinds and other algorithms are passed over, and secrets too unless
 * the document is `is_secret`; none that can be used is a fault. */
bool verify_keys_of_jwks(struct verify_keys *keys, struct authority *above, unsigned algorithms, bool is_secret,
                         struct span document, struct buf *why);

/* For makers of keys: adds one for each of the algorithms that it serves; and what sort is it? */
bool     verify_keys_add(struct verify_keys *keys, struct authority *above, unsigned algorithms,
                         const struct key_material *material, struct buf *why);
bool     verify_key_sort(EVP_PKEY *public, enum key_sort *ret, struct buf *why);
unsigned verify_algorithms_of(enum key_sort sort);

/* Unrefs the authorities that are still there. */
void verify_keys_fini(struct verify_keys *keys);

bool verify_key_fits(const struct verify_key *key, struct span signed_part, struct span signature);

/* Each key of `now` that was in `before` gets the authority that it had there. */
void verify_keys_take_over(struct verify_keys *now, struct verify_keys *before);

#endif
