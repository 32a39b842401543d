/* worker.h - a worker: one loop on one thread, and all that stands on it: listeners, HTTP connections, sessions, API,
 * and the loop's shard of the node.
 *
 *   worker.c        open, accept, start, close
 *   worker_turn.c   what happens in a turn: mail, deliveries, the rest after a long turn, leaving
 *   worker_node.c   what the API tells of this node; its drain
 *   worker_hand_over.c   how it stands still while another process takes the server's place, and goes on in that one
 *   worker_ports.c  what shard, sessions and API ask of the server
 *   routes.c        which handler serves a request
 *
 * What a worker owns is touched by its own thread alone, from start to stop; counters may be read by any thread. */
#ifndef MAIN_WORKER_H
#define MAIN_WORKER_H

#include <pthread.h>

#include "api/api.h"
#include "auth/key_identifier.h"
#include "device/event_log.h"
#include "main/callers.h"
#include "main/clock_watch.h"
#include "main/control.h"
#include "main/memory_watch.h"
#include "main/snapshot.h"
#include "main/proxy_accept.h"
#include "main/store_watch.h"
#include "main/tls_host.h"
#include "main/usage_watch.h"
#include "reactor/listener.h"
#include "route/registry.h"
#include "session/session.h"

struct server;

enum { ALL_LISTENS = 4 * LISTENS_MAX };  /* of `http`, `https`, `tcp` and `tcps` */

struct worker {
    struct server        *server;
    unsigned              index;
    pthread_t             thread;
    bool                  is_started;
    struct loop           loop;
    struct proxy_accept   proxies;
    struct tls_accept     tls;
    struct tls_use        tls_http, tls_native;  /* of its listeners */
    struct http_server    http;
    struct shard          shard;
    struct callers        callers;     /* who asks */
    struct usage_limits   usage;       /* … and how often */
    struct revocations    revocations; /* the copy of this loop */
    struct control        control;
    struct session_worker sessions;
    struct event_log      events;
    struct api            api;
    struct bundle         to_writer;   /* commands that this turn sends */
    struct fetch         *fetch;       /* calls to back ends from this loop */
    msec                  calls_by;    /* monotonic, while the loop leaves: it waits so long for them; 0: not yet */
    struct listener      *listeners[ALL_LISTENS];  /* of server.listens */
    struct timer          tick;
    uint32_t              key_number;  /* of the next key of a connection */
    struct bundle         held;        /* commands about logs that came during a rest */
    msec                  rest_until;  /* monotonic; 0: the worker does not rest */
    msec                  leave_by;    /* monotonic, once stopping: then what is still open is closed; 0 before */
    uint64_t              drains_within_ms;  /* as server.drain_ms was seen last */
    struct registry       nodes;       /* of the cluster, as nodes_news.h told them last */
    bool                  has_nodes;   /* false: the node is in no cluster */
    struct admission      allocation;  /* when clients come that were sent to nodes of the cluster: this loop's part */
    struct moving        *moving;      /* what moves to another process (worker_hand_over.c); NULL: none is there */
    struct counter        ticked_at;   /* monotonic; any thread may look */
    struct counter        has_left;    /* 1: serves nobody any more, and has all its commands back */
    struct snapshot      *snapshot;    /* the configuration that this loop goes by; owns a reference */
    struct counter        adopted;     /* number of that snapshot */
    struct memory_watch   memory;
    uint64_t              shed_order;  /* server.shed_order as this loop carried it out last */
    struct store_watch    store_watch; /* worker 0 watches for all */
    struct clock_watch    clock_watch; /* … */
    struct usage_watch    usage_watch;
};

/* Opens the loop and the listeners; server->snapshot, namespaces, stores and addresses are in place. Not RC_OK: `why`
 * is a sentence for the operator, and worker_close() is due all the same. */
enum rc worker_open(struct worker *worker, struct server *server, unsigned index, char *why,
                    size_t why_size) RC_MUST_USE;
enum rc worker_start(struct worker *worker) RC_MUST_USE;

/* Returns when the thread has ended; at once if none was started. */
void worker_join(struct worker *worker);

/* The thread has ended. Closes what is left; a zeroed worker is fine. */
void worker_close(struct worker *worker);

#endif
