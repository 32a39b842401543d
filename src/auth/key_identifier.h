/* key_identifier.h - a maker of identify.h: the API keys and the issuers of the settings. Its answers are known at once.
 *
 * Who shows no token, but a certificate in the TLS handshake, is the user whom it names (docs/decisions/0112).
 * Without any key and issuer, everybody is the same identity with all rights, or a user with all rights if they say that
 * they are one. With some, who shows nothing is an identity without rights. A token is that of an API key; else, if it has
 * the form of a JWT, its user's; else nobody's, and refused. An address that sends many of the last kind is refused for the
 * rest of a minute, without a look at API keys: users' tokens can't be guessed, and many users may share an address. */
#ifndef AUTH_KEY_IDENTIFIER_H
#define AUTH_KEY_IDENTIFIER_H

#include "auth/identify.h"
#include "auth/issuer.h"
#include "auth/usage_limits.h"

struct key_identifier {
    struct identifier      identifier;
    const struct settings *settings;           /* borrowed */
    const msec            *wall;               /* what time it is; borrowed */
    struct issuers         issuers;
    struct usage_limits   *usage;              /* says who has sent many wrong ones; borrowed */
    struct identity       *nobody;             /* who shows no key */
    struct authority      *open;               /* vouches for everybody while all is open; else NULL */
    struct identity       *holders[KEYS_MAX];  /* of the settings' keys, in their order */
};

void key_identifier_init(struct key_identifier *keys, struct wheel *wheel, const struct identifier_limits *limits,
                         const struct settings *settings, struct usage_limits *usage, const msec *wall);
void key_identifier_fini(struct key_identifier *keys);

/* Goes by new settings, which issuers_check() has passed; the ones before may go afterwards. A key keeps its identity, with the rights that it has now,
 * if its name, secret and channels are as before and it lost no right; the identities of all others are revoked. Users:
 * issuers_adopt(). So are those of everybody when the first key or issuer comes (docs/decisions/0015). */
void key_identifier_adopt(struct key_identifier *keys, const struct settings *settings);

/* A token from there was refused by somebody who was asked beside the keys: it counts as a wrong one. */
void key_identifier_note_wrong(struct key_identifier *keys, uint64_t address);

#endif
