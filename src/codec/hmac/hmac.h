/* hmac.h - HMAC (RFC 2104) with one key, for many texts.
 *
 * HMAC begins with one block that is made from the secret, inside and outside. What the hash has of it is kept in place of the
 * secret, which OpenSSL's own HMAC would keep in memory: a core dump shows no secret (threat 108). And nothing is
 * allocated for a text, where copying a context of OpenSSL's HMAC takes as long as the hashing.
 *
 * One thread at a time. */
#ifndef CODEC_HMAC_HMAC_H
#define CODEC_HMAC_HMAC_H

#include "base/span.h"

enum { HMAC_BYTES_LONGEST = 64 };

struct hmac;

/* `digest` as OpenSSL calls it: "SHA256", "SHA384" or "SHA512". */
struct hmac *hmac_new(const char *digest, struct span secret);
void         hmac_free(struct hmac *hmac);  /* NULL is fine */

/* Returns how many bytes there are: those of the digest. */
size_t hmac_make(const struct hmac *hmac, struct span text, unsigned char ret[static HMAC_BYTES_LONGEST]);

#endif
