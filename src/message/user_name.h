/* user_name.h - names of users and of their devices. Pure.
 *
 * UTF-8 without control characters and without `/`, which stands between the two in a device's channel:
 * `device:USER/DEVICE`. */
#ifndef MESSAGE_USER_NAME_H
#define MESSAGE_USER_NAME_H

#include <stdbool.h>

#include "base/span.h"

enum { USER_NAME_BYTES_MAX = 128, DEVICE_NAME_BYTES_MAX = 64 };

#define USER_NAMES_ARE                                                                                                 \
    "a user's name is 1 to 128 bytes and a device's 1 to 64, of UTF-8 without control characters and /"

bool user_name_is_valid(struct span name);    /* 1 to USER_NAME_BYTES_MAX bytes */
bool device_name_is_valid(struct span name);  /* 1 to DEVICE_NAME_BYTES_MAX bytes */

#endif
