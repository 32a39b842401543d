/* backends.h - the back ends of a node by their names: those of the settings, and one for each webhook. Pure; the writer's
 * thread. */
#ifndef UPLINK_BACKENDS_H
#define UPLINK_BACKENDS_H

#include "uplink/backend.h"

enum { BACKEND_NAMES_MAX = 64 };

struct backends {
    const struct backend_port *port;
    void                      *ctx;
    struct rng                 random;
    struct backend            *at[BACKEND_NAMES_MAX];
    size_t                     count;
    struct backend           **leaving;   /* no longer named, until their calls are back; owned */
    size_t                     leaving_count;
    struct list                lost;      /* calls to a name that there is not */
    msec                       now;
};

/* What is to be. Copied. */
struct backend_setup {
    struct span           name;
    struct span           urls[BACKEND_URLS_MAX];
    size_t                url_count;
    struct backend_limits limits;
};

void backends_init(struct backends *set, const struct backend_port *port, void *ctx, uint64_t seed);
void backends_fini(struct backends *set);  /* backends_are_idle() */

/* Those that are named no longer bring back their calls, as BACKEND_STOPPED. */
void backends_set(struct backends *set, const struct backend_setup *setups, size_t count);

/* Takes the call. It comes back by done(), never within this call; as BACKEND_STOPPED, if there is no such back end. */
void backends_send(struct backends *set, struct span name, struct backend_call *call);
struct backend *backends_find(const struct backends *set, struct span name);

/* The time of what follows. */
void backends_turn_begin(struct backends *set, msec now);
/* After each turn of the thread, and a few times a second. True: some call has ended. */
bool backends_turn_end(struct backends *set);
/* All calls come back soon. */
void backends_stop(struct backends *set);
bool backends_are_idle(const struct backends *set);

#endif
