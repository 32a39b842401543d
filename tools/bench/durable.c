/* Acknowledged publishes without subscribers. What an acknowledgement promises differs between servers: Longwire's
 * `topic:` and Redis with appendfsync=always have the message on disk, nchan and mosquitto in memory. */
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "base/rng.h"
#include "bench/clock.h"
#include "bench/die.h"
#include "bench/meter.h"
#include "bench/publisher.h"
#include "bench/scenario.h"

#define STALL_NS (10 * NS_PER_S)
#define TURN_NS  (100 * NS_PER_MS)

struct storing {
    const struct options *options;
    struct loop           loop;
    struct publisher      publisher;
    struct rng            rng;
};

static void store_on(struct storing *storing, unsigned line)
{
    uint32_t channels[PUBLISH_MAX];
    size_t   count = storing->options->batch;
    must(count <= PUBLISH_MAX);
    for (size_t i = 0; i < count; i++)
        channels[i] = (uint32_t)rng_below(&storing->rng, storing->publisher.channel_count);
    publisher_say(&storing->publisher, line, channels, count, clock_ns());
}

/* Every line keeps its share of the requests on the way. */
static void store_due(struct storing *storing)
{
    struct publisher *publisher = &storing->publisher;
    uint64_t          share     = storing->options->in_flight / publisher->line_count;
    for (unsigned i = 0; i < publisher->line_count; i++)
        while (publisher->lines[i].sent - publisher->lines[i].acked < share * storing->options->batch)
            store_on(storing, i);
}

/* Publishes for so long, then waits for the last acknowledgement; returns how many were published. */
static uint64_t store_for(struct storing *storing, uint64_t length_ns)
{
    struct publisher *publisher = &storing->publisher;
    uint64_t          before = publisher->published, seen = publisher->acked;
    uint64_t          moved = clock_ns(), until = moved + length_ns;
    while (clock_ns() < until || publisher->acked < publisher->published) {
        if (clock_ns() < until)
            store_due(storing);
        publisher_flush(publisher);
        loop_turn(&storing->loop, TURN_NS);
        if (publisher->acked != seen)
            moved = clock_ns();
        else if (clock_ns() - moved > STALL_NS)
            die("no acknowledgement for %llu s", STALL_NS / NS_PER_S);
        seen = publisher->acked;
    }
    return publisher->published - before;
}

static void store_report(const struct options *options, const struct meter *meter, uint64_t published)
{
    struct report report;
    report_begin(&report);
    report_text(&report, "scenario", "durable");
    report_text(&report, "peer", options->peer);
    report_count(&report, "publishers", options->publishers);
    report_count(&report, "in_flight", options->in_flight);
    report_count(&report, "batch", options->batch);
    report_count(&report, "channels", options->channels);
    report_count(&report, "published", published);
    meter_report(meter, &report, published);
    report_end(&report);
}

int scenario_durable(const struct options *options)
{
    struct storing storing = { .options = options, .rng = { 1 } };
    struct meter   meter;
    char           prefix[PREFIX_BYTES];
    if (options->in_flight < options->publishers)
        die("--in-flight must be at least --publishers");
    scenario_prefix(options, "topic:", prefix);
    const char           *transport = options->batch > 1 ? "batch" : "acked";
    struct target         target    = { .host = options->server, .prefix = prefix };
    struct publisher_plan plan      = { options, &target, transport, (uint32_t)options->channels };

    loop_open(&storing.loop);
    publisher_open(&storing.publisher, &storing.loop, &plan);
    store_for(&storing, options->warmup_ms * NS_PER_MS);
    meter_start(&meter, options);
    uint64_t published = store_for(&storing, options->seconds_ms * NS_PER_MS);
    meter_stop(&meter);
    store_report(options, &meter, published);

    int status = storing.publisher.acked == storing.publisher.published ? EXIT_SUCCESS : EXIT_INEXACT;
    if (status != EXIT_SUCCESS)
        fputs("longwire-bench: more acknowledgements than publishes\n", stderr);
    publisher_close(&storing.publisher);
    loop_close(&storing.loop);
    return status;
}
