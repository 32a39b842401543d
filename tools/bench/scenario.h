/* scenario.h - the scenarios. Each runs against a server that is up, prints its line of JSON and returns the program's
 * exit status: 0, or EXIT_INEXACT if any delivery was wrong. */
#ifndef BENCH_SCENARIO_H
#define BENCH_SCENARIO_H

#include "bench/options.h"

int scenario_fanout(const struct options *options);   /* one channel, --in-flight messages not yet with all readers */
int scenario_rate(const struct options *options);     /* one channel, --rate messages a second, whether or not the
                                                       * server keeps up */
int scenario_unicast(const struct options *options);  /* a channel for each reader, closed loop */
int scenario_durable(const struct options *options);  /* no readers: acknowledged publishes into --channels channels */
int scenario_requests(const struct options *options); /* requests to a back end, --rate a second over --publishers links */
int scenario_idle(const struct options *options);     /* memory of --connections readers with a channel each */
int scenario_connect(const struct options *options);  /* connect, subscribe, close, --connections times */
int scenario_storm(const struct options *options);    /* --connections sessions come back, each with --missed messages */

int scenario_hold(const struct options *options);    /* --connections sessions, until standard input ends */
int scenario_beat(const struct options *options);     /* --connections links beat */
int scenario_acks(const struct options *options);     /* durable publishes while --connections sessions acknowledge */

/* The prefix of this run's channel names: the namespace, and --name, or a name that no other run on this
 * machine has. */
enum { PREFIX_BYTES = 128 };
void scenario_prefix(const struct options *options, const char *normal_namespace, char *ret_prefix);

#endif
