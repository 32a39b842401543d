/* baseline.h - the baseline: a server that does the least that delivering a message takes, to compare others with.
 *
 * One thread, one epoll, no limits, no timers, no HTTP beyond a canned answer to a WebSocket handshake. Readers come
 * as WebSockets on /…-N and follow channel N; publishers send bare payloads (raw.c). Per delivery one send(), or,
 * coalesced, one send() per reader and turn of the loop. A reader whose socket is full ends the program: in the
 * bench's loops it never is. */
#ifndef BENCH_BASELINE_H
#define BENCH_BASELINE_H

#include "bench/options.h"

/* Serves until killed. */
_Noreturn void baseline_serve(const struct options *options);

#endif
