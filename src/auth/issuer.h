/* issuer.h - who issues tokens to users, as the [jwt NAME] sections say: whose user is this token's? Pure.
 *
 * Of all keys of all issuers those are tried whose algorithm is the token's, whose kid is the token's (where both have
 * one), and whose section names the token's `iss` or none. Only when the signature of one fits, what the token says is
 * believed; then its times and audience are checked. So `alg`, `kid` and `iss` of a token choose among keys that the
 * operator has configured, and nothing else (threats 101, 102).
 *
 * Belongs to one loop. */
#ifndef AUTH_ISSUER_H
#define AUTH_ISSUER_H

#include "auth/may.h"
#include "auth/verify_key.h"
#include "codec/jwt/jwt.h"
#include "settings/settings.h"

enum { SIGNATURES_TRIED_MAX = 16 };  /* for one token */

struct issuer {
    const struct jwt_section *section;    /* borrowed from the settings */
    struct authority         *authority;  /* above those of its keys */
    struct verify_keys        keys;
};

struct issuers {
    const struct settings *settings;      /* borrowed */
    struct issuer         *at;
    size_t                 count;
    struct jwt_reader      reader;
    bool                   is_signed;     /* one of the keys has signed the last token; what it says may still be refused */
};

/* False: `why` is a sentence that names the section and what does not fit; issuers_fini() is due all the same. */
bool issuers_init(struct issuers *issuers, const struct settings *settings, struct buf *why);
void issuers_fini(struct issuers *issuers);

/* Do all sections of these settings fit together with their keys? */
bool issuers_check(const struct settings *settings, struct buf *why);

/* Goes by new settings, which issuers_check() has passed; the ones before may go afterwards. Users stay whose section and
 * key are still there; those of all others are revoked (docs/decisions/0015). A section whose keys come from an address
 * keeps those that it has. */
void issuers_adopt(struct issuers *issuers, const struct settings *settings);

/* For a section whose keys come from an address: `document` (RFC 7517) has them now. False: `why` says what is wrong, and
 * the keys stay as they were. Users whose key is gone stay until their tokens end: issuers change keys as a matter of
 * course, and withdraw tokens by other means. */
bool issuer_adopt_jwks(struct issuer *issuer, struct span document, struct buf *why);

enum issuers_verdict {
    ISSUERS_KNOWN,      /* *ret_identity is the user, a reference for the caller */
    ISSUERS_REFUSED,    /* an issuer's token, which does not hold now or here; *ret_refusal says why */
    ISSUERS_WRONG,      /* no issuer's token: broken, or its signature is wrong */
    ISSUERS_NO_KEY,     /* the same; but a section whose keys come from an address may have one by now */
};

/* `token` has the form of one: jwt_is_like(). `wall`: now. */
enum issuers_verdict issuers_identify(struct issuers *issuers, struct span token, msec wall,
                                      struct identity **ret_identity, struct verdict *ret_refusal);

#endif
