/* admission.h - at which rate links are let in, and when those come again that were not (threat 35). Pure.
 *
 * When many links are lost at once, all their clients come back at once. Here each of them is let in as long as the rate
 * holds, and the others are told a time: the next free one, one after the other. So the crowd comes back spread, in the
 * order in which it came, and nobody tries in vain more than a few times.
 *
 *     room      0 ────────────── burst / 2 ────────────── burst      refills at `per_s`
 *               known are let in │ known and strangers
 *
 * Known are those that name a place or a ticket: they were here before, and what they ask for is cheap to give. Times are
 * given at nine tenths of the rate, so that whoever comes for the first time does not take the room of one who was told to
 * come. One admission belongs to one loop. */
#ifndef SESSION_ADMISSION_H
#define SESSION_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/msec.h"

enum { ADMISSION_WAIT_MS_MAX = 300000 };  /* nobody is told to wait longer; whoever comes then may be told again */

struct admission_limits {
    double   per_s;  /* 0: everybody is let in */
    uint32_t burst;  /* so many may come at once after a quiet time; at least 2 */
};

struct admission {
    int64_t empty_until;            /* µs: when all room that is taken would be free again */
    int64_t known_at, strangers_at; /* µs: the last time that was told */
};

void admission_init(struct admission *admission);

/* Other limits hold from now on. What is taken stands for as many clients as before, of whom no more count than have room
 * now: so a higher rate helps at once, and a lower one doesn't let a second burst in. */
void admission_change(struct admission *admission, const struct admission_limits *before, const struct admission_limits *after, msec now);

/* 0: it is let in. Else it is told to come again in so many ms. */
msec admission_ask(struct admission *admission, const struct admission_limits *limits, bool is_known, msec now);

#endif
