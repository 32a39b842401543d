/* gather.h - may more be gathered of what many senders have begun and not sent to its end? They share one maximum of bytes.
 *
 * An eighth more is kept for what is short. So whoever sends the beginnings of long bodies, and never their ends, does not shut out a
 * client whose line comes in two pieces. */
#ifndef BASE_GATHER_H
#define BASE_GATHER_H

#include <stdbool.h>
#include <stddef.h>

enum { GATHER_SHORT_BYTES = 4096, GATHER_SHORT_PART = 8 };

/* `total`: bytes that are gathered of all senders, at most `bytes_max` and its eighth. `gathered`: of this one; it gets `more`. */
static inline bool gather_has_room(size_t total, size_t bytes_max, size_t gathered, size_t more)
{
    const size_t kept = more <= GATHER_SHORT_BYTES && gathered <= GATHER_SHORT_BYTES - more ? bytes_max / GATHER_SHORT_PART : 0;

    return more <= bytes_max && total <= bytes_max - more + kept;
}

#endif
