/* identity.h - who sent a request, or opened a link: the holder of an API key, or somebody who showed none. */
#ifndef AUTH_IDENTITY_H
#define AUTH_IDENTITY_H

#include <stdint.h>

#include "message/key_right.h"

struct identity {
    unsigned rights;                        /* of its key; all of them while no key is configured */
    uint32_t number;                        /* by which it is found again as long as it holds, see auth/access.h */
    char     name[KEY_NAME_BYTES_MAX + 1];  /* of its key; "": no key was shown */
};

#endif
