/* access.h - who may come in: API keys and browser origins, as the settings say. Immutable once made; any thread.
 *
 * Identities are numbered for the life of the process. A key keeps its number over reloads as long as its name and
 * secret stay and it loses no right; then whoever came in by it need not be judged anew. No number is given twice. */
#ifndef AUTH_ACCESS_H
#define AUTH_ACCESS_H

#include "auth/identity.h"
#include "codec/h1/h1.h"
#include "settings/settings.h"

struct access {
    const struct settings *settings;  /* borrowed */
    struct identity        open;      /* everyone, while there are no keys */
    struct identity        stranger;  /* no key shown, while there are some */
    struct identity        holders[KEYS_MAX];
    uint32_t               next_number;
};

/* `before`: the access that this one replaces; NULL: it is the first. */
void access_init(struct access *access, const struct settings *settings, const struct access *before);

/* The one with this number, with the rights it has by now; NULL: what let it in is gone. */
const struct identity *access_find(const struct access *access, uint32_t number);

/* By `Authorization: Bearer` or, for browsers that can't set headers, ?access_token= (RFC 6750 2.1, 2.3). NULL: a
 * credential that is none of ours. */
const struct identity *access_identify(const struct access *access, const struct h1_head *head, struct span query);
const struct identity *access_identify_token(const struct access *access, struct span token);

bool access_allows_origin(const struct access *access, struct span origin, struct span host);

#endif
