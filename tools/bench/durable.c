/* Acknowledged publishes without subscribers. What an acknowledgement promises differs between servers: Longwire's
 * `topic:` and Redis with appendfsync=always have the message on disk, nchan and mosquitto in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/clock.h"
#include "bench/die.h"
#include "bench/meter.h"
#include "bench/scenario.h"
#include "bench/storing.h"

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
    bool                  is_named  = strncmp(options->transport, "request", 7) == 0 || strcmp(options->transport, "h2") == 0;
    const char           *transport = is_named ? options->transport : options->batch > 1 ? "batch" : "acked";
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
