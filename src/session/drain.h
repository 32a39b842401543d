/* drain.h - how a node lets go of its clients without a storm: in paced steps (threat 45). The pace is pure; what happens at
 * each step is session_worker_drain()'s. */
#ifndef SESSION_DRAIN_H
#define SESSION_DRAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/msec.h"
#include "base/wheel.h"

enum { DRAIN_STEP_MS = 100 };

struct drain {
    struct timer timer;         /* the next step */
    msec         began, ends;   /* ends 0: nothing is drained */
    size_t       total, told;   /* links at the beginning; links that were told to reconnect */
};

static inline bool drain_is_on(const struct drain *drain)
{
    return drain->ends != 0;
}

/* `total` links, all told within `within_ms`. A drain under way goes on with the new pace. */
void drain_begin(struct drain *drain, size_t total, msec within_ms, msec now);

/* How many are to be told now. All that are left: SIZE_MAX. */
size_t drain_due(const struct drain *drain, msec now);

#endif
