/* h2_flood.h - how much the client of an HTTP/2 connection may send that brings nothing: pure counts, told the time.
 *
 * Two budgets. *Resets* are streams that ended before their time, by the client's RST_STREAM or by one of ours that the
 * client has caused: it makes us begin work that nobody will see. *Idle frames* carry no request and no byte of a body:
 * SETTINGS, PING, PRIORITY, empty DATA, WINDOW_UPDATE and unknown ones. Each budget has a size and fills up again with
 * time; what the client does in earnest, and DATA frames of ours, which it answers by WINDOW_UPDATE, fill up the second
 * one too. Private to this module. */
#ifndef HTTP_H2_FLOOD_H
#define HTTP_H2_FLOOD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/msec.h"

enum {
    H2_RESETS_MAX        = 500,
    H2_RESETS_PER_S      = 50,
    H2_IDLE_FRAMES_MAX   = 2000,
    H2_IDLE_FRAMES_PER_S = 100,
    H2_IDLE_FRAMES_A_REQUEST = 5,
    H2_IDLE_FRAMES_A_DATA    = 2,
};

struct h2_flood {
    msec     at;           /* when they were filled up last */
    uint16_t resets;       /* used of the budget */
    uint16_t idle_frames;
};

/* Each takes one from a budget. False: there is none left. */
bool h2_flood_reset(struct h2_flood *flood, msec now);
bool h2_flood_idle(struct h2_flood *flood, msec now);

/* A request came, or a frame of DATA was sent. */
void h2_flood_request(struct h2_flood *flood);
void h2_flood_data(struct h2_flood *flood);

#endif
