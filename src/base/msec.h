/* msec.h - time as a number of milliseconds. Pure modules never ask for it: the loop reads the clock once a turn and
 * hands `now` down. A duration is measured by the monotonic clock; a message carries wall clock time (since 1970). */
#ifndef BASE_MSEC_H
#define BASE_MSEC_H

#include <stdint.h>

typedef int64_t msec;

#endif
