/* identity.h - who asks, and what policy allows them. Made from a request's credentials by main, judged here. */
#ifndef MESSAGE_IDENTITY_H
#define MESSAGE_IDENTITY_H

#include "message/namespace.h"

/* What the holder of an API key may do: bits. */
enum key_right { RIGHT_PUBLISH = 1, RIGHT_SUBSCRIBE = 2, RIGHT_ADMIN = 4 };

enum { KEY_NAME_BYTES_MAX = 32 };

struct identity {
    unsigned rights;                        /* of its key; all of them while no key is configured */
    uint32_t number;                        /* by which it is found again as long as it holds, see main/guard.h */
    char     name[KEY_NAME_BYTES_MAX + 1];  /* of its key; "": no key was shown */
};

static inline bool identity_may(const struct identity *identity, enum allowed allowed, enum key_right right)
{
    switch (allowed) {
    case ALLOW_ANYONE: return true;
    case ALLOW_KEY: return (identity->rights & right) != 0;
    case ALLOW_NOBODY: return false;
    }
    return false;
}

/* The HTTP status for whom identity_may() said no to: 401 if a key could change that, else 403. */
static inline unsigned identity_refusal(const struct identity *identity, enum allowed allowed)
{
    return identity->name[0] == '\0' && allowed != ALLOW_NOBODY ? 401 : 403;
}

#endif
