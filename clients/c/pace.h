/* pace.h - how often frames of one kind are sent, once the server has said that they come too often (`error` 429 with
 * `after`). Pure: the time is handed in.
 *
 * Before that, they leave at once. From then on there is a gap between two: as long as the server said, a quarter longer after each
 * further refusal, 1/32 shorter with each answer that is none. So the sender finds the rate that it is allowed, and few frames
 * are refused on the way. What was learnt on one link holds on the next. */
#ifndef CLIENT_PACE_H
#define CLIENT_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/msec.h"

/* A zeroed one is fine. */
struct pace {
    int64_t gap_us;  /* 0: none */
    msec    next;    /* nothing is sent before */
    msec    rest;    /* what is refused before belongs to the last refusal */
};

bool pace_allows(const struct pace *pace, msec now);
void pace_sent(struct pace *pace, msec now);
void pace_answered(struct pace *pace);
/* One was refused, and the server says how long to wait. */
void pace_refused(struct pace *pace, msec after_ms, msec now);

#endif
