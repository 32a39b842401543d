/* key_identifier.h - a maker of identify.h: the API keys of the settings. Its answers are known at once.
 *
 * Without any key, everybody is the same identity with all rights, or a user with all rights if they say that they are
 * one. With keys, who shows none is an identity without rights, and a token that is no key's secret is refused. */
#ifndef AUTH_KEY_IDENTIFIER_H
#define AUTH_KEY_IDENTIFIER_H

#include "auth/identify.h"
#include "settings/settings.h"

struct key_identifier {
    struct identifier      identifier;
    const struct settings *settings;           /* borrowed */
    struct identity       *nobody;             /* who shows no key */
    struct authority      *open;               /* vouches for everybody while there is no key; else NULL */
    struct identity       *holders[KEYS_MAX];  /* of the settings' keys, in their order */
};

void key_identifier_init(struct key_identifier *keys, struct wheel *wheel, const struct identifier_limits *limits,
                         const struct settings *settings);
void key_identifier_fini(struct key_identifier *keys);

/* Goes by new settings; the ones before may go afterwards. A key keeps its identity, with the rights that it has now,
 * if its name and secret are as before and it lost no right; the identities of all others are revoked. So are those of
 * everybody when the first key comes (docs/decisions/0015). */
void key_identifier_adopt(struct key_identifier *keys, const struct settings *settings);

#endif
