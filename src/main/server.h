/* server.h - everything put together: the stores, the writer's thread, a worker for each loop.
 *
 *   worker 0 … n-1   a loop, its listeners, HTTP connections, sessions, API, shard     one thread each
 *   writer           a loop without streams; owns the tails                            one thread
 *   stores           rocks with threads of its own; mem inside the writer's thread
 *
 * Between them go only commands. */
#ifndef MAIN_HOUSE_H
#define MAIN_HOUSE_H

#include <pthread.h>

#include "api/api.h"
#include "main/snapshot.h"
#include "node/writer.h"
#include "reactor/listener.h"
#include "session/session.h"

struct server;

struct worker {
    struct server      *server;
    unsigned           index;
    pthread_t          thread;
    bool               is_started;
    struct loop        loop;
    struct http_server http;
    struct shard       shard;
    struct session_worker        sessions;
    struct api         api;
    struct bundle      to_writer;
    struct listener   *listeners[LISTENS_MAX];
    struct timer       tick;
    uint64_t           key_state;   /* of new_key: random at start */
    struct bundle      held;        /* what came of logs while it rests from a long turn */
    msec               rest_until;  /* 0: it doesn't */
    msec               leave_by;    /* once stopping: when patience ends; 0 before */
    struct counter     has_left;    /* … 1 when it serves nobody any more and has all its commands back */
    struct counter     refused;     /* connections above connections_max */
    struct snapshot   *snapshot;    /* owns a reference */
    struct counter     adopted;     /* its number */
};

struct server {
    struct snapshot       *snapshot;    /* the newest; main's thread alone */
    struct namespaces      namespaces;  /* as at the start: channel names point into them */
    struct hash_key        hash_key;
    struct store          *durable, *memory;
    struct writer          writer;
    struct loop            writer_loop;
    struct timer           writer_tick;
    struct counter         writer_adopted;
    pthread_t              writer_thread;
    bool                   is_writer_started;
    struct bundle          to_workers[LOOPS_MAX];
    struct worker         *workers;
    unsigned               worker_count;
    struct counter         is_stopping;
    struct counter         is_writer_stopping;
    msec                   started_at;  /* monotonic */
    bool                   was_store_full, is_store_failed;   /* as last logged; worker 0's */
    uint64_t               failures_told;                     /* … */
    msec                   was_clock_off;                     /* … */
    struct listen_address  listens[LISTENS_MAX];  /* as in settings, with the ports that were got */
    unsigned               ports[LISTENS_MAX];
    struct counter         reloads_done, reloads_failed;
    struct counter         snapshot_at;  /* when the configuration in force was read; wall clock */
};

/* Opens stores and sockets and starts all threads. Not RC_OK: `why` is a sentence for the operator; server_close() is
 * due all the same. The settings are copied. */
enum rc server_open(struct server *server, const struct settings *settings, char *why, size_t why_size) RC_MUST_USE;

/* What is in force; main's thread. */
const struct settings *server_settings(const struct server *server);

/* Sends all loops a new configuration that settings_reload() made of the one in force; main's thread. In force it is
 * once all have adopted it. Not before they have adopted the last one, and not after server_stop(). */
void server_reload(struct server *server, const struct settings *settings);
bool server_has_adopted(const struct server *server);

/* For the metrics. */
void server_count_failed_reload(struct server *server);

/* Tells clients to come back, finishes writes, ends the threads; within stop_timeout_s and a little. */
void server_stop(struct server *server);
void server_close(struct server *server);

/* Prometheus text; metrics.c. */
void server_put_metrics(struct server *server, const struct writer_stats *stats, struct buf *out);

size_t server_connection_count(const struct server *server);

#endif
