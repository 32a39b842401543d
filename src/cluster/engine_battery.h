/* engine_battery.h - one set of tests that every maker of engine.h passes, and the small test bench that they use.
 *
 * The bench opens engines for a few nodes on one service (a Redis, a database, a simulated one), submits calls and waits,
 * with a deadline, until they are done on whatever thread. */
#ifndef CLUSTER_ENGINE_BATTERY_H
#define CLUSTER_ENGINE_BATTERY_H

#include <pthread.h>

#include "cluster/engine.h"

struct engine_maker {
    const char *name;
    /* A new engine for this node, on the service that the test program keeps. */
    struct engine *(*open)(const struct node_id *self, const struct engine_events *events, void *ctx);
    void (*empty)(void);  /* the service loses all that it holds; before each test, and within some */
    void (*cut)(void);    /* the service goes away … */
    void (*heal)(void);   /* … and comes back, empty or not */
    /* Something of the service's time passes: a few ms at least. It also carries out what is due, if the maker has no
     * thread of its own. NULL: time passes by itself. */
    void (*step)(void);
    /* Its engines give up on an answer so soon that on a busy machine they take a service that is there for one that is away. Only the
     * test that cuts is run with it, and what may fail so is tried again. */
    bool is_impatient;
};

enum { BENCH_NODES_MAX = 4, BENCH_LEASE_MS = 60000 };

struct bench_frame {
    struct bench_frame *next;
    size_t              len;
    char                bytes[];
};

/* One node of the test. All but `id` and `engine` is under the lock. */
struct bench_node {
    struct engine_bench *bench;
    struct node_id       id;
    msec                 started;
    struct engine       *engine;
    uint64_t             life, since;
    size_t               up_count, down_count, silent_count, spoken_count, frame_count;
    bool                 is_up;         /* the last of `up` and `down` was that */
    struct bench_frame  *oldest, *newest;
    bool                 is_lease_new;  /* what bench_lease() was told last */
};

struct engine_bench {
    const struct engine_maker *maker;
    pthread_mutex_t            lock;
    pthread_cond_t             changed;
    struct bench_node          nodes[BENCH_NODES_MAX];
    size_t                     node_count;
    size_t                     order[ENGINE_SEND + 1];  /* calls done, by kind */
};

/* What the bench makes of the events; their ctx is a bench_node. */
extern const struct engine_events bench_events;

void engine_bench_open(struct engine_bench *bench, const struct engine_maker *maker);
void engine_bench_close(struct engine_bench *bench);

/* Opens an engine and waits until it is up. */
struct bench_node *bench_node_open(struct engine_bench *bench, const char *name, uint64_t incarnation, msec started);
void               bench_node_close(struct bench_node *node);

/* A call of the test's. */
struct bench_call {
    struct engine_call call;
    struct bench_node *node;
    size_t             done_count;
    size_t             rank;  /* how many of its kind and node were done before it */
    struct bench_call *then;  /* is put from within done(); NULL: nothing is */
};

void bench_submit(struct bench_node *node, struct bench_call *call);
void bench_await(struct bench_call *call);

/* Each submits, waits, and returns the rc. */
enum rc bench_lease(struct bench_node *node, const char *record, msec lease_ms);
enum rc bench_leave(struct bench_node *node);
enum rc bench_route(struct bench_node *node, const char *route, bool is_removed);
enum rc bench_send(struct bench_node *node, const struct node_id *to, struct span frame);

/* The leases as text, ordered by name: "a:1=record b:2=record". */
void bench_nodes(struct bench_node *node, char *ret_text, size_t size);
/* Who follows it, as text, each once, in order: "a:1 b:2". */
void bench_lookup(struct bench_node *node, const char *route, char *ret_text, size_t size);

/* Waits until the text is that; fails at a deadline. */
void bench_expect_nodes(struct bench_node *node, const char *text);
void bench_expect_lookup(struct bench_node *node, const char *route, const char *text);

/* The next frame that came, waited for; free() it. */
struct bench_frame *bench_take_frame(struct bench_node *node);
/* Waits until `up` came more than `count` times; returns the life. */
uint64_t bench_await_up(struct bench_node *node, size_t count);
uint64_t bench_life(struct bench_node *node);
size_t   bench_up_count(struct bench_node *node);
void     bench_await_down(struct bench_node *node, size_t count);
/* Waits until the engine was silent, or has spoken again, so often. */
void     bench_await_silence(struct bench_node *node, size_t silent_count, size_t spoken_count);

/* Runs all tests; returns the number of failures, as cmocka counts them. */
int engine_battery_run(const struct engine_maker *maker);

#endif
