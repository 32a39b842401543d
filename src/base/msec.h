/* msec.h - time as a number. Dry rooms never ask for it: `now` is read once a turn and handed down.
 * Monotonic where it measures how long, wall clock (since 1970) where it stands in a message. */
#ifndef BASE_MSEC_H
#define BASE_MSEC_H

#include <stdint.h>

typedef int64_t msec;

#endif
