/* sim_engine.h - an engine in one process and on simulated time, for tests. Pure: time is handed in, and so is the chance by
 * which faults fall.
 *
 *     node ──sim_engine──┐
 *     node ──sim_engine──┼── sim_server: leases, routes, frames on their way
 *     node ──sim_engine──┘
 *
 * Without faults a call is carried out and answered in the next steps, after at most answer_ms_max, and frames come in the
 * order in which they were sent. Events are told within sim_server_step() alone.
 *
 * Lost on its way: what is lost between a node and the server is sent again by TCP, so that it is late and not lost,
 * until the connection is given up after `timeout_ms`: then what was under way is RC_IO, carried out or not, frames to that node
 * are lost, and `down` is told. A connection comes back, with `up`, once both ways are open. */
#ifndef CLUSTER_SIM_ENGINE_H
#define CLUSTER_SIM_ENGINE_H

#include "base/rng.h"
#include "cluster/engine.h"

/* Each is drawn once in so many times; 0: never. */
struct sim_engine_faults {
    unsigned lost_frames, doubled_frames, late_frames;
    unsigned lost_calls;    /* not carried out, and RC_IO */
    unsigned lost_answers;  /* carried out, and RC_IO */
    unsigned slow_answers;
    unsigned lost_kinds;    /* a bit an engine_call_kind: only such calls and answers are lost; 0: all */
};

struct sim_server_options {
    struct rng chance;
    msec       answer_ms_max;   /* a way there and back takes up to so long */
    msec       late_ms_max;     /* what is late or slow takes up to so much longer */
    msec       timeout_ms;      /* what is not answered for so long is given up, with the connection */
    msec       silent_ms;       /* … and is told as silence before that; 0: never */
    msec       reconnect_ms;    /* so long after the ways are open again a connection stands */
    unsigned   clock_permille;  /* how fast the server's clock runs; 1,000: as that of everybody */
    bool       sweeps;          /* routes of a lease that has run out are gone; else they count again if it is renewed */
    bool       prefers_heads;
    size_t     frame_bytes_max;
};

struct sim_server;

struct sim_server *sim_server_new(const struct sim_server_options *options);
void               sim_server_free(struct sim_server *server);  /* all engines are closed */

/* From now on. NULL: none. */
void sim_server_set_faults(struct sim_server *server, const struct sim_engine_faults *faults);

/* Time goes on: carries out, answers and delivers what is due. */
void sim_server_step(struct sim_server *server, msec now);

/* Its clock leaps. */
void sim_server_leap(struct sim_server *server, msec by);
/* All that it held is gone, and nobody is told: its life is another one, which a node notices with its next lease. */
void sim_server_empty(struct sim_server *server);
/* Ends, with all connections. */
void sim_server_stop(struct sim_server *server);
/* … and begins again, with what it held or without. */
void sim_server_start(struct sim_server *server, bool is_emptied);

/* Nothing is under way. */
bool sim_server_is_idle(const struct sim_server *server);
/* Does the lease of this incarnation run? */
bool sim_server_has_lease(const struct sim_server *server, const struct node_id *id);

/* How many routes this incarnation has. */
size_t sim_server_route_count(const struct sim_server *server, const struct node_id *id);

/* One node's connection. `self`: whose lease and routes it carries. `up` is told in one of the next steps. */
struct engine *sim_engine_open(struct sim_server *server, const struct node_id *self, const struct engine_events *events,
                               void *ctx);

/* Whether the ways from the node to the server, and back, are open. */
void sim_engine_set_ways(struct engine *engine, bool is_open_to, bool is_open_from);
/* The node's process stands: what comes for it waits, in the buffers of its sockets. */
void sim_engine_hold(struct engine *engine, bool is_held);
/* The connection is lost at once. */
void sim_engine_break(struct engine *engine);

#endif
