/* crowd.h - the readers of a run: it connects and subscribes them and records every delivery to each of them.
 *
 * The readers are divided among reader threads. The first of them is the caller's own thread: it runs in crowd_turn(),
 * and the publisher shares its loop. So with one reader thread no data crosses threads. */
#ifndef BENCH_CROWD_H
#define BENCH_CROWD_H

#include <pthread.h>

#include "bench/delivery_log.h"
#include "bench/loop.h"
#include "bench/options.h"

struct reader_thread {
    struct crowd *crowd;
    struct loop   loop;
    struct tally  tally;
    struct conn  *conns;
    struct track *tracks;  /* streams of the first connection, streams of the second, … */
    unsigned      conn_count;
    unsigned      ready_count;
    pthread_t     thread;
};

struct crowd {
    struct delivery_log   log;
    struct reader_thread *threads;
    unsigned              thread_count;
    uint32_t              streams;
    atomic_bool           is_over;
};

enum crowd_shape {
    CROWD_TOGETHER,  /* all follow channel 0 */
    CROWD_APART,     /* reader n follows channel n */
};

struct crowd_plan {
    const struct options *options;
    const struct target  *target;
    enum crowd_shape      shape;
    uint32_t              reader_count;
    uint32_t              streams;  /* publisher connections: each is a stream of its own */
};

/* Returns when every reader is subscribed. */
void crowd_open(struct crowd *crowd, const struct crowd_plan *plan);
void crowd_close(struct crowd *crowd);

/* Has reader `index` of the first reader thread got anything yet? */
bool crowd_has_heard(const struct crowd *crowd, uint32_t index);

/* One turn of the first reader thread. */
void crowd_turn(struct crowd *crowd, uint64_t wait_ns);

/* Sums over all reader threads; only while no message is on the way. */
struct crowd_count {
    uint64_t received, doubled, late, strayed;
};
struct crowd_count crowd_count(const struct crowd *crowd);
void               crowd_latency(const struct crowd *crowd, struct histogram *ret_latency);
void               crowd_restart(struct crowd *crowd);

#endif
