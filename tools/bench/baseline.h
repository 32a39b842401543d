/* baseline.h - the baseline: a server that does only what delivering a message takes, to compare other servers with.
 *
 * One thread, one epoll, no limits, no timers; its only HTTP is a fixed answer to a WebSocket handshake. Readers
 * connect as WebSockets on /…-N and follow channel N; publishers send bare payloads (raw.c). Each delivery is one
 * send(); coalesced, there is one send() per reader and turn of the loop. A reader whose socket is full ends the
 * program: in the benchmark's loops that never happens. */
#ifndef BENCH_BASELINE_H
#define BENCH_BASELINE_H

#include "bench/options.h"

/* Serves until killed. */
_Noreturn void baseline_serve(const struct options *options);

#endif
