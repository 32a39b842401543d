/* loop.h - This module does the I/O: one thread's epoll, its streams, timers and mail. It doesn't know what the bytes
 * mean.
 *
 * A turn: wait, handle the kernel's events, read the mail, fire timers, then turn_end(), where everything that the turn
 * has gathered for a stream leaves in one write. Descriptors are watched once, edge-triggered, for both directions; no
 * write changes what epoll watches.
 *
 * The turn and its time (loop.c) need no kernel. loop_epoll.c makes a loop that waits in epoll. loop_sim.h makes a loop
 * that a test or the simulator turns by hand, with its own clock. Code on a loop can't tell the two apart, as long as
 * it takes the time from `now` and `wall`. */
#ifndef REACTOR_LOOP_H
#define REACTOR_LOOP_H

#include <pthread.h>

#include "base/counter.h"
#include "base/list.h"
#include "base/msec.h"
#include "base/wheel.h"
#include "reactor/named_peers.h"
#include "reactor/stream.h"
#include "reactor/stream_pace.h"
#include "reactor/wake.h"
#include "reactor/wall_clock.h"

enum { LOOP_INPUT_BYTES = 64 * 1024 };

/* What a loop does besides its streams. Any may be NULL. */
struct loop_hooks {
    void (*turn_begin)(void *ctx);
    void (*mail)(void *ctx, struct mail *mail);  /* takes it */
    void (*turn_end)(void *ctx);
    void (*closing)(void *ctx, int fd);  /* the descriptor of a connection, while it is still its own */
};

struct loop {
    struct wheel             wheel;
    msec                     now;     /* monotonic, of this turn */
    msec                     wall;    /* since 1970, of this turn, from wall_clock */
    const struct loop_hooks *hooks;
    void                    *ctx;
    struct stream           *again;   /* streams that have more to read than one turn gives them */
    struct stream_paces      paces;   /* how fast its sockets are read */
    struct stream           *closed;  /* streams to free at the end of the turn: events may still name them */
    char                    *input;   /* LOOP_INPUT_BYTES, shared by all reads of a turn; NULL: not open */
    struct mailbox           mailbox;
    struct counter           turn_count;
    struct named_peers       named_peers;  /* of streams that came through a proxy (stream_name_peer()) */
    pthread_t                thread;  /* of loop_run(), while it runs */
    bool                     is_running;
    bool                     is_stopping;
    bool                     is_busy;  /* there is work for the next turn: do not wait for events */
    bool                     was_late; /* the last turn came after a pause of the process, and fired no timer */
    bool                     is_held;  /* by loop_hold() */

    /* Of loop_epoll.c: */
    int                      epoll;
    struct source            bell;
    struct wall_clock        wall_clock;
    /* sleep no longer than until then, to the millisecond; 0: as long as timers let */
    msec                     wake_at;
    struct stream_maker      tcp;
};

/* A loop over epoll. */
enum rc loop_init(struct loop *loop, const struct loop_hooks *hooks, void *ctx) RC_MUST_USE;
void    loop_fini(struct loop *loop);

/* Turns until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);  /* from within */

/* Reads what is in the mailbox now, as each turn does before turn_end(). In turn_end(). */
void loop_read_mail(struct loop *loop);

/* Nothing is read any more, until loop_release(): what comes waits in the sockets, and nobody is told of it. Writes, mail
 * and timers go on. */
void loop_hold(struct loop *loop);
void loop_release(struct loop *loop);

/* May this thread touch what belongs to the loop? While the loop runs, only its own may. */
static inline bool loop_is_here(const struct loop *loop)
{
    return !loop->is_running || pthread_equal(loop->thread, pthread_self());
}

/* Closes the descriptor of a connection, after hooks->closing(). */
void loop_close(struct loop *loop, int fd);

enum rc loop_watch(struct loop *loop, int fd, uint32_t events, struct source *source) RC_MUST_USE;
void    loop_unwatch(struct loop *loop, int fd);

/* Compares the wall clock with the newest time that was seen before (wall_clock_compare()); before the loop runs. */
void loop_compare_clock(struct loop *loop, msec seen);

/* The system's monotonic and wall clock, in ms. No other function reads the system's clocks. */
msec clock_now(void);
msec clock_wall(void);

/* --- what the makers of loops share (loop.c) ----------------------------------------------------------------- */

/* Sets up all that needs no kernel. */
void loop_begin(struct loop *loop, const struct loop_hooks *hooks, void *ctx, msec now, msec wall);
void loop_end(struct loop *loop);

/* The two halves of a turn. Between them the maker tells its streams what has become of them. */
void loop_turn_begin(struct loop *loop, msec now, msec wall);
void loop_turn_end(struct loop *loop, bool fires_timers);

/* Calls on_readable() for all streams that asked for it (stream.c). */
void loop_read_again(struct loop *loop);
/* Gives back streams that were closed in this turn; all, when nobody owns one any more. */
void loop_bury(struct loop *loop);
void loop_bury_all(struct loop *loop);

#endif
