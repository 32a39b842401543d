/* member_check.h - is who follows a group's channel without a session still a member? Such a connection learns by a notice that its
 * user has left the group (device/membership_left.h). Between nodes a notice may be lost, and of a leave of which nobody knew whether it was
 * written there is none. So each loop of a cluster, and of a node that had such a leave, asks the ledger for each of them, once in
 * limits.member_check_ms, and who is no member any more leaves as if the notice had come. Private to this module.
 *
 * A round asks at most MEMBER_CHECKS_A_TICK questions a second, so one over very many connections takes longer. */
#ifndef SESSION_MEMBER_CHECK_H
#define SESSION_MEMBER_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/msec.h"

struct session_worker;

enum { MEMBER_CHECKS_A_TICK = 200 };

/* Zeroed: the first round begins with the first tick. */
struct member_check {
    msec     next_round;
    bool     is_under_way;  /* a round; then it stands … */
    size_t   slot;          /* … at this one of the hub … */
    size_t   passed;        /* … behind so many of its subscriptions */
    uint32_t away;          /* questions under way */
};

/* About once a second. */
void member_check_tick(struct session_worker *worker);

#endif
