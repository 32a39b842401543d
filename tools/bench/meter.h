/* meter.h - processor time and wall time between two moments, of the server and of the bench itself. */
#ifndef BENCH_METER_H
#define BENCH_METER_H

#include "bench/options.h"
#include "bench/proc.h"
#include "bench/report.h"

struct meter {
    struct proc server;
    uint64_t    settle_ns;
    uint64_t    server_ns, client_ns, wall_ns;  /* readings at the start; differences after the stop */
};

/* Finds the server's processes, waits a moment, and reads. */
void meter_start(struct meter *meter, const struct options *options);

/* The wall time ends at once. The server's processor time is read a moment later, so that its remaining work is
 * counted, too. */
void meter_stop(struct meter *meter);

/* The fields common to all scenarios: what one of `count` things (deliveries, publishes, connections) took.
 * `client_busy` is the bench's processor time by wall time: near --threads, the bench is what limits the rate. */
void meter_report(const struct meter *meter, struct report *report, uint64_t count);

#endif
