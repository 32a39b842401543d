/* loop.h - This module touches the world: one thread's epoll, its streams, timers and mail. It refuses to know what the
 * bytes mean.
 *
 * A turn: wait, handle what the kernel says, read the mail, fire timers, then turn_end(), where everything that
 * the turn has gathered for a stream leaves in one write. Descriptors are watched once, edge-triggered, for both
 * directions; nothing ever touches epoll around a write. */
#ifndef REACTOR_LOOP_H
#define REACTOR_LOOP_H

#include <sys/types.h>

#include "base/counter.h"
#include "base/list.h"
#include "base/msec.h"
#include "base/pool.h"
#include "base/wheel.h"
#include "reactor/wake.h"
#include "reactor/wall_clock.h"

enum { LOOP_INPUT_BYTES = 64 * 1024 };

struct loop;

/* What a loop does besides its streams. Any may be NULL. */
struct loop_hooks {
    void (*turn_begin)(void *ctx);
    void (*mail)(void *ctx, struct mail *mail);  /* takes it */
    void (*turn_end)(void *ctx);
};

/* Something with a descriptor. `events` are those of epoll(7). */
struct source;
struct source_kind {
    void (*ready)(struct source *source, uint32_t events);
};
struct source {
    const struct source_kind *kind;
};

struct loop {
    int                      epoll;
    struct source            bell;
    struct mailbox           mailbox;
    struct wheel             wheel;
    msec                     now;     /* monotonic, of this turn */
    msec                     wall;    /* since 1970, of this turn, as wall_clock has it */
    struct wall_clock        wall_clock;
    msec                     wake_at; /* sleep no longer than until then, to the millisecond; 0: as long as timers let */
    const struct loop_hooks *hooks;
    void                    *ctx;
    struct pool              streams;
    struct stream           *again;   /* streams that have more to read than one turn gives them */
    struct stream           *closed;  /* streams to free at the end of the turn: events may still name them */
    bool                     was_late; /* the last turn came after a pause of the process, and fired no timer */
    bool                     is_stopping;
    char                    *input;   /* LOOP_INPUT_BYTES, for whoever reads in this turn; NULL: not open */
    struct counter           turn_count;
};

enum rc loop_init(struct loop *loop, const struct loop_hooks *hooks, void *ctx) RC_MUST_USE;
void    loop_fini(struct loop *loop);

/* Turns until loop_stop(). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);  /* from within */

enum rc loop_watch(struct loop *loop, int fd, uint32_t events, struct source *source) RC_MUST_USE;
void    loop_unwatch(struct loop *loop, int fd);

/* Monotonic and wall clock, in ms, as the system has them. The only place that asks. */
msec clock_now(void);
msec clock_wall(void);
uint64_t clock_now_us(void);

#endif
