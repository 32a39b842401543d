/* store_battery.h - one set of tests that every maker of store.h passes, and the small test bench that they use.
 *
 * The bench submits a request and waits, with a deadline, for its completion on whatever thread. It writes pages as
 * text: "1 2 [3-5 trimmed] 6(recalled) 7(recalls 6)". */
#ifndef STORE_STORE_BATTERY_H
#define STORE_STORE_BATTERY_H

#include <pthread.h>

#include "base/buf.h"
#include "store/store.h"

struct bench;

struct store_maker {
    const char *name;
    /* A new, empty store; bench->spaces and bench->hash_key are ready. */
    struct store *(*open)(struct bench *bench);
    void (*clean)(struct bench *bench);  /* after the store was closed; may be NULL */
    bool is_spread;                      /* the ids of two channels have no order */
};

struct bench {
    const struct store_maker *maker;
    struct store             *store;
    struct namespaces         spaces;   /* the built-in ones, and few: (3 messages), brief: (1 s), light: (100 bytes) */
    struct hash_key           hash_key;
    msec                      wall;     /* the time that every call gets; tests change it */
    void                     *context;  /* the maker's */
    pthread_mutex_t           lock;
    pthread_cond_t            done;
};

/* Initialises everything but the store; bench_open() opens that too. */
void bench_prepare(struct bench *bench, const struct store_maker *maker);
void bench_open(struct bench *bench, const struct store_maker *maker);
void bench_shut(struct bench *bench);   /* closes the store alone; bench->store is NULL then */
void bench_close(struct bench *bench);

/* For tests that submit by themselves: waits until some thread calls bench_say_done(is_done); ends the process at a
 * deadline. */
void bench_wait(struct bench *bench, const bool *is_done);
void bench_say_done(struct bench *bench, bool *is_done);

/* What to publish; zero means: plain, no key, no expiry, time = bench->wall. */
struct publish {
    const char *channel, *payload, *key, *publisher;
    uint64_t    recall;          /* recall this seq instead */
    bool        is_purge;        /* purge the channel instead */
    msec        ttl_ms;
    struct ledger_write *write;  /* carried; NULL: none */
    const char *event;           /* NULL: none */
    bool        has_no_sender;   /* else it is "ann" */
};

struct published {
    enum append_outcome  outcome;
    struct append_answer answer;  /* of APPEND_DONE and APPEND_REPLAYED */
    struct purge_answer  purged;  /* of APPEND_PURGED */
};

struct published bench_publish(struct bench *bench, struct publish publish);

/* As one batch; ret_published has room for `count`. */
void bench_publish_all(struct bench *bench, const struct publish *publishes, size_t count,
                       struct published *ret_published);

/* Reads and waits; free with store_read_fini(). */
struct store_read bench_read(struct bench *bench, const char *channel, enum read_way way, uint64_t bound,
                             uint32_t limit, size_t bytes_max);

/* Asserts that the page as text equals `transcript`. A macro, so that the failure names the test's line. */
#define expect_page(bench, channel, way, bound, limit, transcript) \
    bench_expect_page(bench, channel, way, bound, limit, transcript, __FILE__, __LINE__)
void bench_expect_page(struct bench *bench, const char *channel, enum read_way way, uint64_t bound, uint32_t limit,
                       const char *transcript, const char *file, int line);

/* Calls tick() until the channel's first kept seq is `first`; fails at a deadline. */
void bench_tend_until_first(struct bench *bench, const char *channel, uint64_t first);

/* Runs all tests; returns the number of failures, as cmocka counts them. */
int store_battery_run(const struct store_maker *maker);

#endif
