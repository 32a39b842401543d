/* backend_host.h - back ends as the writer's thread has them: the settings name them, fetch carries their calls, and their
 * answers come back as mail of the writer's loop.
 *
 *     uplink ──backend_host_send()──▶ uplink/backends.h ──▶ fetch's thread, or a loop ──mail──▶ backends_take() ──▶ call->done()
 *
 * A call whose asker names a loop is made on that loop, if it can be: there the answer is wanted. All else is on the writer's thread, or a
 * loop's that makes its turn (writer_lock.h). */
#ifndef MAIN_BACKEND_HOST_H
#define MAIN_BACKEND_HOST_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "reactor/wake.h"
#include "settings/settings.h"
#include "uplink/backends.h"

struct backend_host {
    struct backends  set;
    struct fetch    *fetch;    /* borrowed */
    struct mailbox  *mailbox;  /* of the writer's loop; borrowed */
    pthread_mutex_t  lock;     /* which back ends there are: a reload changes it, /metrics reads it */
    bool             is_open;
    struct writer   *writer;      /* its port reaches the loops; borrowed */
    atomic_uint      on_loops;    /* calls that loops have, or are being sent … */
    atomic_bool      no_loops;    /* … and get no more of */
};

void backend_host_open(struct backend_host *host, struct fetch *fetch, struct writer *writer, struct mailbox *mailbox,
                       const struct settings *settings);
/* A reload: which back ends there are from now on. */
void backend_host_adopt(struct backend_host *host, const struct settings *settings);
void backend_host_close(struct backend_host *host);  /* all calls are back; a zeroed host is fine */

/* Do these settings name a back end or a webhook, so that fetch is needed? */
bool backend_host_is_needed(const struct settings *settings);
/* What they leave of so many descriptors for clients: connections to back ends take some. */
uint64_t backend_host_leaves(const struct settings *settings, uint64_t descriptors);

/* Takes the call. `name`: of a [backend], or "webhook:NAME", whose URL is whole and takes no target. It comes back by
 * call->done(), never within this call; as BACKEND_STOPPED, if there is none with this name. `ctx` is the host. */
void backend_host_send(void *ctx, struct span name, struct backend_call *call);
void backend_host_cancel(void *ctx, struct backend_call *call);

/* The time of this turn. */
void backend_host_turn_begin(struct backend_host *host, msec now);
/* Before the writer's turn ends: calls done() of what came back, and sends. */
void backend_host_turn(struct backend_host *host);
/* After it: sends what was asked for meanwhile. */
void backend_host_turn_end(struct backend_host *host);
bool backend_host_is_idle(const struct backend_host *host);

/* Any thread. Loops are about to end: from now on calls are fetch's own thread's. Then, on a loop: are those that loops had back? */
void backend_host_leave_loops(struct backend_host *host);
bool backend_host_has_left_loops(const struct backend_host *host);

/* Any thread: lines of /metrics. */
void backend_host_put_metrics(struct backend_host *host, struct buf *out);

#endif
