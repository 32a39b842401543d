/* joining.h - links of sessions that wait for a moment with their first words.
 *
 * `connected` is known before the messages that the device has missed: these come from the writer. Written as they come, they
 * cost a system call and a packet each, and so does what is said of a channel that answers between them. So `connected`
 * waits for the first message, and for at most JOINING_MS: what is missed may be far away, and a store may not answer at
 * all. A session that has missed nothing waits for its channels alone.
 *
 * Belongs to the loop of its worker. */
#ifndef SESSION_JOINING_H
#define SESSION_JOINING_H

#include "base/wheel.h"

struct link;

enum {
    JOINING_MS              = 100, /* … and a tick of the wheel */
    JOINING_WORDS_BYTES_MAX = 32 * 1024,
};

struct joining {
    struct timer timer;   /* armed while there are any in worker.lists->joining */
};

void joining_init(struct joining *joining);

/* The link has nothing to draw, and waits until it is marked, or its time is up. Nothing happens if it is marked already. */
void joining_add(struct link *link);

#endif
