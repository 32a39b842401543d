/* leave_counts.h - how often a loop was told that a user has left a group, by a hash of both. While it is looked up whether a user is a
 * member, such a notice finds no subscription yet, and the look-up may be older than the leave. So who has asked compares the counts when
 * the answer comes, and asks again if there was a notice meanwhile. Two pairs with one hash cost a question more. Private to this
 * module. */
#ifndef SESSION_LEAVE_COUNTS_H
#define SESSION_LEAVE_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "message/channel_name.h"

enum { LEAVE_COUNTS = 256 };

struct leave_counts {
    uint32_t of[LEAVE_COUNTS];
};

/* What was counted when somebody asked. */
struct leave_mark {
    uint32_t at, count;
};

/* user:U, group:G */
static inline uint32_t leave_counts_at(const struct channel_name *user, const struct channel_name *group)
{
    return (uint32_t)((user->hash ^ group->hash) % LEAVE_COUNTS);
}

static inline void leave_counts_note(struct leave_counts *counts, const struct channel_name *user, const struct channel_name *group)
{
    counts->of[leave_counts_at(user, group)]++;
}

static inline struct leave_mark leave_mark_of(const struct leave_counts *counts, const struct channel_name *user,
                                              const struct channel_name *group)
{
    uint32_t at = leave_counts_at(user, group);

    return (struct leave_mark){ at, counts->of[at] };
}

static inline bool leave_mark_is_old(const struct leave_counts *counts, struct leave_mark mark)
{
    return counts->of[mark.at] != mark.count;
}

#endif
