/* usage_watch.h - says in the log which limits refuse something: a line for each limit and loop in USAGE_LINE_MS at most, with
 * how much was refused since the last one. */
#ifndef MAIN_USAGE_WATCH_H
#define MAIN_USAGE_WATCH_H

#include "auth/usage_limits.h"

enum { USAGE_LINE_MS = 10000 };

struct usage_watch {
    uint64_t told[USAGE_LIMIT_COUNT];
    msec     told_at[USAGE_LIMIT_COUNT];  /* 0: never */
};

/* About once a second. */
void usage_watch_look(struct usage_watch *watch, const struct usage_limits *limits, msec now);

#endif
