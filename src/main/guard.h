/* guard.h - who may come in: API keys and browser origins, as the settings say. Immutable once made; any thread. */
#ifndef MAIN_GUARD_H
#define MAIN_GUARD_H

#include "codec/h1/h1.h"
#include "main/settings.h"

struct guard {
    const struct settings *settings;  /* borrowed */
    struct identity        open;      /* everyone, while there are no keys */
    struct identity        stranger;  /* no key shown, while there are some */
    struct identity        holders[KEYS_MAX];
};

void guard_init(struct guard *guard, const struct settings *settings);

/* By `Authorization: Bearer` or, for browsers that can't set headers, ?access_token= (RFC 6750 2.1, 2.3). NULL: a
 * credential that is none of ours. */
const struct identity *guard_identify(const struct guard *guard, const struct h1_head *head, struct span query);
const struct identity *guard_identify_token(const struct guard *guard, struct span token);

bool guard_allows_origin(const struct guard *guard, struct span origin, struct span host);

#endif
