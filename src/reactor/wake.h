/* wake.h - a mailbox between threads: many put mail into it and one thread empties it; and the bell beside it.
 *
 * Putting takes one atomic exchange for a whole bundle, and rings (one eventfd write) only if the owner sleeps. */
#ifndef REACTOR_WAKE_H
#define REACTOR_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/mail.h"
#include "base/rc.h"

struct mailbox {
    _Atomic(struct mail *) newest;
    atomic_bool            is_asleep;  /* the owner waits, or is about to */
    int                    bell;       /* an eventfd; edge-triggered in the owner's epoll, so it's never read */
};

enum rc mailbox_init(struct mailbox *mailbox) RC_MUST_USE;
void    mailbox_fini(struct mailbox *mailbox);  /* empty by now */

/* Takes all of the bundle, in its order; wakes the owner. Any thread. */
void mailbox_put(struct mailbox *mailbox, struct bundle *bundle);

/* The same, but the owner is not woken: it finds the mail when it wakes for something else. For what nobody waits for. */
void mailbox_leave(struct mailbox *mailbox, struct bundle *bundle);

/* Wakes the owner, if it sleeps, for what was left. Any thread. */
void mailbox_wake(struct mailbox *mailbox);

/* All mail, oldest first, or NULL. The owner's thread. */
struct mail *mailbox_take(struct mailbox *mailbox);

/* Nothing was put into it that was not taken. Any thread; another may put something at any time. */
bool mailbox_is_empty(const struct mailbox *mailbox);

/* Before the owner waits. True: it may wait; false: there is mail. After waiting the owner calls mailbox_is_awake(). */
bool mailbox_may_sleep(struct mailbox *mailbox);
void mailbox_is_awake(struct mailbox *mailbox);
/* Wakes the owner without mail. Any thread, signal handlers too. */
void mailbox_ring(struct mailbox *mailbox);

#endif
