/* house.h - everything put together: the stores, the writer's thread, a worker for each loop.
 *
 *   worker 0 … n-1   a loop, its listeners, HTTP connections, sessions, API, shard     one thread each
 *   writer           a loop without streams; owns the tails                            one thread
 *   stores           rocks with threads of its own; mem inside the writer's thread
 *
 * Between them go only letters. */
#ifndef MAIN_HOUSE_H
#define MAIN_HOUSE_H

#include <pthread.h>

#include "api/api.h"
#include "main/guard.h"
#include "node/writer.h"
#include "reactor/listener.h"
#include "session/session.h"

struct house;

struct worker {
    struct house      *house;
    unsigned           index;
    pthread_t          thread;
    bool               is_started;
    struct loop        loop;
    struct http_server http;
    struct shard       shard;
    struct desk        desk;
    struct api         api;
    struct bundle      to_writer;
    struct listener   *listeners[LISTENS_MAX];
    struct timer       tick;
    uint64_t           key_state;   /* of new_key: random at start */
    struct bundle      held;        /* deliveries that came while it rests from a long turn */
    msec               rest_until;  /* 0: it doesn't */
    msec               leave_by;    /* once stopping: when patience ends; 0 before */
    struct counter     has_left;    /* … 1 when it serves nobody any more and has all its letters back */
    struct counter     refused;     /* connections above connections_max */
};

struct house {
    const struct settings *settings;
    struct guard           guard;
    struct namespaces     *namespaces;
    struct hash_key        hash_key;
    struct store          *durable, *memory;
    struct writer          writer;
    struct loop            writer_loop;
    struct timer           writer_tick;
    pthread_t              writer_thread;
    bool                   is_writer_started;
    struct bundle          to_workers[LOOPS_MAX];
    struct worker         *workers;
    unsigned               worker_count;
    struct counter         is_stopping;
    struct counter         is_writer_stopping;
    msec                   started_at;  /* monotonic */
    bool                   was_store_full, was_store_broken;  /* as last logged; worker 0's */
    msec                   was_clock_off;                     /* … */
    struct listen_address  listens[LISTENS_MAX];  /* as in settings, with the ports that were got */
    unsigned               ports[LISTENS_MAX];
};

/* Opens stores and sockets and starts all threads. Not RC_OK: `why` is a sentence for the operator; house_close() is
 * due all the same. The settings outlive the house. */
enum rc house_open(struct house *house, struct settings *settings, char *why, size_t why_size) RC_MUST_USE;

/* Tells clients to come back, finishes writes, ends the threads; within stop_timeout_s and a little. */
void house_stop(struct house *house);
void house_close(struct house *house);

/* Prometheus text; metrics.c. */
void house_put_metrics(struct house *house, const struct writer_stats *stats, struct buf *out);

size_t house_connection_count(const struct house *house);

#endif
