/* publisher.h - sends the run's messages over one or more connections, each stamped and numbered.
 *
 * What is published in one turn of the loop leaves in one write a connection: publisher_flush(). Acknowledgements are
 * counted where the protocol has them. */
#ifndef BENCH_PUBLISHER_H
#define BENCH_PUBLISHER_H

#include "bench/loop.h"
#include "bench/options.h"

struct publisher_line {
    struct publisher *publisher;
    struct conn       conn;
    uint64_t          sent, acked;  /* messages */
};

struct publisher {
    struct publisher_line *lines;
    unsigned               line_count;
    uint32_t               channel_count;
    uint32_t              *seqs;  /* by channel and line: the next */
    struct outgoing       *messages;  /* room for those being said */
    unsigned               ready_count;
    uint64_t               published, acked;
};

struct publisher_plan {
    const struct options *options;
    const struct target  *target;
    const char           *transport;  /* "single", "acked" or "batch" */
    uint32_t              channel_count;
};

/* Returns when every connection may publish. Turns the loop meanwhile. */
void publisher_open(struct publisher *publisher, struct loop *loop, const struct publisher_plan *plan);
void publisher_close(struct publisher *publisher);

/* Publishes `count` messages on that line, one into each of the channels, all stamped with time_ns. count <=
 * PUBLISH_MAX. */
enum { PUBLISH_MAX = 10000 };
void publisher_say(struct publisher *publisher, unsigned line, const uint32_t *channels, size_t count,
                   uint64_t time_ns);
void publisher_flush(struct publisher *publisher);

#endif
