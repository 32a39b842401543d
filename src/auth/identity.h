/* identity.h - who sent a request, or opened a link: the holder of an API key, or somebody who showed none.
 *
 * An identity belongs to one loop, so its count needs no atomics: requests and links of that loop hold references, and
 * so does the identifier that made it. What it may do can change while it is held: a reload gives a key more rights, or
 * revokes the identity. Whoever holds one for longer than a call looks at is_revoked before using it again. */
#ifndef AUTH_IDENTITY_H
#define AUTH_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "message/key_right.h"

struct identity {
    uint32_t refs;
    bool     is_revoked;                    /* its key is gone, has another secret, or lost a right: for good */
    unsigned rights;                        /* of its key; all of them while no key is configured */
    char     name[KEY_NAME_BYTES_MAX + 1];  /* of its key; "": no key was shown */
};

/* The caller owns the one reference. */
struct identity *identity_new(const char *name, unsigned rights);
struct identity *identity_ref(struct identity *identity);
void             identity_unref(struct identity *identity);  /* NULL is fine */

/* Takes the reference. */
void identity_revoke(struct identity *identity);

#endif
