/* server.h - everything put together: the stores, the writer's thread, a worker for each loop.
 *
 *   worker 0 … n-1   a loop, its listeners, HTTP connections, sessions, API, shard     one thread each
 *   writer           a loop without streams; owns the tails                            one thread
 *   stores           rocks with threads of its own; mem inside the writer's thread
 *   cluster          beside the writer; its engine has a thread of its own
 *
 * Between threads go only commands. */
#ifndef MAIN_SERVER_H
#define MAIN_SERVER_H

#include <signal.h>

#include "main/addresses.h"
#include "main/cluster_host.h"
#include "main/hand_over_gate.h"
#include "main/service_manager.h"
#include "main/ticket_secret.h"
#include "main/worker.h"
#include "main/writer_thread.h"
#include "node/connection_key.h"

struct server {
    struct snapshot      *snapshot;    /* the newest configuration; main's thread alone */
    msec                  wall_seen;   /* before this process began; 0: not known */
    struct namespaces     namespaces;  /* as at the start: channel names point into them */
    struct hash_key       hash_key;    /* secret and random; the same for all channel names */
    struct revocations    revocations;    /* as the store told them at the start; each worker has a copy */
    struct start          control_start;  /* where workers follow sys:control from */
    struct fetch         *fetch;          /* calls to other servers; its thread runs if the settings need it */
    struct stores         stores;
    struct addresses      addresses;      /* of connections */
    struct usage_tables   usage;          /* how often connections, users and keys did something lately */
    struct tls_tickets   *tls_tickets;    /* keys of TLS session tickets */
    struct span           ticket_secret;                 /* signs tickets; in … */
    char                  ticket_bytes[KEY_SECRET_BYTES_MAX + 1];
    struct writer_thread  writer;
    struct cluster_host   cluster;
    struct worker        *workers;
    unsigned              worker_count;
    struct counter        is_stopping;
    struct counter        shed_order;            /* the number of the last order, times two; 1 more: it is for all */
    struct hand_over_gate gate;                  /* another process takes this one's place */
    struct take_over     *take_over;             /* this process takes the place of another one; NULL: it does not */
    struct counter        drain_ms;              /* its clients are let go within so many ms; 0: they stay */
    uint64_t              incarnation;           /* of this start: random; or that of the process whose place it took */
    uint64_t              calls_incarnation;     /* of requests to back ends, which end with their process: random */
    struct connection_keys connection_keys;
    msec                  started_at;            /* monotonic */
    msec                  started_wall;          /* the same moment by the wall clock */
    char                  node[NODE_NAME_BYTES_MAX + 1];  /* what this node is called */
    uint64_t              memory_cgroup;         /* bytes that its memory cgroup may have, as at the start; 0: any number */
    struct counter        memory_most;           /* bytes that the process may hold now; 0: any number */
    uint64_t              descriptors;           /* that the process may have, as at the start */
    /* those of `http`, `https`, `tcp` and `tcps`, in this order and as in the settings, with the ports that the system gave */
    struct listen_address listens[ALL_LISTENS];
    size_t                listen_count;
    const int            *offered[ALL_LISTENS];  /* sockets of the process whose place this one takes; see is_asked */
    bool                  is_asked[ALL_LISTENS];
    unsigned              ports[ALL_LISTENS];
    struct counter        reloads_done, reloads_failed;
    struct counter        snapshot_at;           /* when the configuration in force was read; wall clock */
};

/* Opens stores and sockets and starts all threads; while it waits for a store (start_wait.h), the manager is told. takes_over: those of the server that runs (take_over.h), which waits for
 * server_let_predecessor_go(). Not RC_OK: `why` is a sentence for the operator; server_stop() and
 * server_close() are due all the same. The settings are copied. */
enum rc server_open(struct server *server, const struct settings *settings, const struct service_manager *manager, bool takes_over,
                    char *why, size_t why_size) RC_MUST_USE;

/* If this process has taken the place of another one: that one may end now. */
void server_let_predecessor_go(struct server *server);

/* Has each thread had a turn within that time? They have one a second, but not while another process takes their place. */
bool server_is_alive(const struct server *server, msec now, msec within_ms);

/* The settings in force; main's thread. */
const struct settings *server_settings(const struct server *server);

/* Reads the certificates of new settings, for server_reload(). *ret is NULL if there are none. False: `why` says what is
 * wrong. */
bool server_read_tls(const struct server *server, const struct settings *settings, struct tls_sections **ret, struct buf *why);

/* Sends all loops a new configuration, which settings_reload() made of the one in force; main's thread. Takes the
 * reference `tls`. The new one is
 * in force once all loops have adopted it. Not to be called before all have adopted the last one, nor after
 * server_stop(). */
void server_reload(struct server *server, const struct settings *settings, struct tls_sections *tls);
bool server_has_adopted(const struct server *server);

/* For the metrics. */
void server_count_failed_reload(struct server *server);

/* Tells clients to come back, finishes writes, ends the threads; within stop_timeout_s and a little. */
void server_stop(struct server *server);
void server_close(struct server *server);

/* Another process serves by now (hand_over.h): waits until the clients that it did not get have left, for stop_timeout_s at most, or
 * a signal comes. The process ends behind it, without server_stop(): what its threads hold is the other one's. */
void server_await_leaving(struct server *server, const sigset_t *signals);

/* Prometheus text; metrics.c. */
void server_put_metrics(struct server *server, const struct writer_stats *stats, struct buf *out);

/* --- for workers; any thread ---------------------------------------------------------------------------------- */

/* Open connections of all workers. */
size_t server_connection_count(const struct server *server);

/* Each worker looks up, though it has no mail. */
void server_wake_workers(struct server *server);

/* Each worker closes some of its newest connections: of those whom nobody knows, or, with `is_for_all`, of others too where
 * none of these is left. `number` is another one than before. */
void server_order_shed(struct server *server, uint64_t number, bool is_for_all);
static inline bool shed_order_is_for_all(uint64_t order)
{
    return order % 2 == 1;
}

/* Does nobody follow anything here any more? Echoes don't count. */
bool server_is_deserted(const struct server *server);

/* Has every worker left? */
bool server_has_left(const struct server *server);

/* While opening in the place of another process: its sockets that listen at listens[at], one a loop; NULL: there are none. */
const int *server_offered_sockets(struct server *server, size_t at);

/* While opening: the port that the first worker's socket of listens[at] has got. With port 0 the system chose it, and
 * the other workers must share it. */
void server_learn_port(struct server *server, size_t at, unsigned port);

#endif
