/* writer_lock.h - whose turn it is at the writer: its own thread's, or for a moment a loop's.
 *
 * A publish into a namespace without a log on the disk needs nothing that another thread does. While the writer rests, the loop that
 * has such publishes makes them itself: it is spared two wakes and the wait for them (docs/decisions/0138).
 *
 * A loop never waits for the lock: where it does not get it, its commands go to the writer's mailbox. */
#ifndef MAIN_WRITER_LOCK_H
#define MAIN_WRITER_LOCK_H

#include <pthread.h>

#include "node/writer.h"
#include "reactor/wake.h"

struct writer_lock {
    pthread_mutex_t mutex;
    struct writer  *writer;   /* borrowed; touched under the lock alone */
    struct mailbox *mailbox;  /* borrowed; the writer's */
};

void writer_lock_init(struct writer_lock *lock, struct writer *writer, struct mailbox *mailbox);
void writer_lock_fini(struct writer_lock *lock);

/* The writer's thread: its turn, from before it takes its mail until what it says is in the loops' mailboxes. */
void writer_lock_take(struct writer_lock *lock);
void writer_lock_give(struct writer_lock *lock);

/* A loop's thread. Makes all publishes of the bundle, if it has nothing else, and nobody has said anything to the writer that it has not
 * carried out; then post() gives the loops what the writer says to them. False: the bundle is as it was. */
bool writer_lock_publish(struct writer_lock *lock, struct bundle *bundle, msec wall, void (*post)(void *ctx), void *ctx);

#endif
