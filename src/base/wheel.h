/* wheel.h - timers by the hundred thousand: arm, disarm and fire in constant time.
 *
 * Four rings of 64 slots, 16 ms a tick. A timer fires up to 16 ms late, and never early. A timer that is due in more
 * than three days is placed again when three days are over. The caller hands the time in; it only goes forward. One
 * thread. */
#ifndef BASE_WHEEL_H
#define BASE_WHEEL_H

#include "base/list.h"
#include "base/msec.h"

struct timer {
    struct list link;
    msec        at;
    void (*fire)(struct timer *timer, msec now);  /* may arm or disarm any timer, this one too */
};

enum { WHEEL_RINGS = 4, WHEEL_SLOTS = 64, WHEEL_TICK_MS = 16 };

struct wheel {
    uint64_t    tick;   /* all timers due by this tick have fired */
    size_t      count;
    struct list slots[WHEEL_RINGS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel, msec now);

/* Arms at `at`, or moves it there if it is armed already. */
void wheel_arm(struct wheel *wheel, struct timer *timer, msec at);
void wheel_disarm(struct wheel *wheel, struct timer *timer);  /* fine if it is not armed */

static inline bool timer_is_armed(const struct timer *timer)
{
    return list_is_linked(&timer->link);
}

/* Fires all that is due. */
void wheel_turn(struct wheel *wheel, msec now);

/* How long the loop may sleep before wheel_turn() has work: 0 or more, or -1 if there is no timer. The answer is
 * never too long. It may be too short when the next timer is far ahead. */
int wheel_sleep_ms(const struct wheel *wheel, msec now);

#endif
