/* writer_lock.h - whose turn it is at the writer: its own thread's, or for a moment that of a loop, of the store or of the cluster's engine.
 *
 * A publish into a namespace without a log on the disk needs nothing that another thread does. While the writer rests, the loop that
 * has such publishes makes them itself: it is spared two wakes and the wait for them (docs/decisions/0138).
 *
 * So does a request to a back end, or the answer of one, where the node is alone: what it asks of the store goes to the store's thread, and
 * what it asks of the back end to a loop (docs/decisions/0151). For these the loop makes a whole turn of the writer.
 *
 * A thread of the store makes the turn that its own commit leads to, and that of a cluster's engine the turn for a frame of another node,
 * or for the answer of a look-up (docs/decisions/0157).
 *
 * None of them waits for the lock for longer than a turn of another one takes, about 10 µs (docs/decisions/0160): where they do not get it,
 * their commands go to the writer's mailbox. */
#ifndef MAIN_WRITER_LOCK_H
#define MAIN_WRITER_LOCK_H

#include <pthread.h>
#include <stdatomic.h>

#include "node/writer.h"
#include "reactor/wake.h"

struct writer_lock {
    pthread_mutex_t mutex;
    struct writer  *writer;   /* borrowed; touched under the lock alone */
    struct mailbox *mailbox;  /* borrowed; the writer's */
    atomic_int      leave;    /* so many publishes more need not wake the writer (writer_leave_count()) */
};

void writer_lock_init(struct writer_lock *lock, struct writer *writer, struct mailbox *mailbox);
void writer_lock_fini(struct writer_lock *lock);

/* The writer's thread: its turn, from before it takes its mail until what it says is in the loops' mailboxes. */
void writer_lock_take(struct writer_lock *lock);
void writer_lock_give(struct writer_lock *lock);

/* At the end of a turn, whoever makes it, before the writer's thread may sleep: from now on loops know what need not wake it. */
void writer_lock_note(struct writer_lock *lock);

/* A loop's thread. Puts the bundle into the writer's mailbox, and wakes its thread unless all of it are publishes that would only wait there
 * (docs/decisions/0161). */
void writer_lock_tell(struct writer_lock *lock, struct bundle *bundle);

/* A thread of the store or of the engine. True: nobody has a turn, nor has anybody said anything to the writer that it has not carried out; the turn is the
 * caller's, until writer_lock_give(). */
bool writer_lock_try(struct writer_lock *lock);

/* What the writer's thread does in its turn with commands, oldest first. It takes them. */
struct writer_turn {
    void (*publish)(void *ctx, struct mail *commands, msec now, msec wall);  /* they are publishes that end at once */
    void (*whole)(void *ctx, struct mail *commands, msec now, msec wall);
};

/* A loop's thread. Carries out the bundle, if it has nothing but such commands, and nobody has said anything to the writer that it has
 * not carried out. What it says to the loops is then on its way. False: the bundle is as it was. */
bool writer_lock_visit(struct writer_lock *lock, struct bundle *bundle, const struct writer_turn *turn, void *ctx, msec now, msec wall);

#endif
