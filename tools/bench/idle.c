/* What an idle connection costs: the server's memory before and after, divided by the number of connections. */
#include <stdlib.h>
#include <time.h>

#include "bench/clock.h"
#include "bench/crowd.h"
#include "bench/proc.h"
#include "bench/report.h"
#include "bench/scenario.h"

/* Answers pings meanwhile: a connection that the server drops would seem to cost nothing. */
static void idle_for(struct crowd *crowd, uint64_t length_ns)
{
    uint64_t until = clock_ns() + length_ns;
    for (uint64_t now = clock_ns(); now < until; now = clock_ns())
        crowd_turn(crowd, until - now);
}

/* What the server still does with what came before (members that joined groups) is not a connection's. */
static void rest_for(uint64_t length_ns)
{
    struct timespec length = { (time_t)(length_ns / NS_PER_S), (long)(length_ns % NS_PER_S) };

    nanosleep(&length, NULL);
}

static double bytes_each(uint64_t before, uint64_t after, uint64_t count)
{
    return ((double)after - (double)before) / (double)count;
}

int scenario_idle(const struct options *options)
{
    char prefix[PREFIX_BYTES];
    scenario_prefix(options, "live:", prefix);
    struct target     target = { .host = options->server, .prefix = prefix };
    struct crowd_plan plan   = { options, &target, CROWD_APART, (uint32_t)options->connections, 1 };
    struct proc       server = proc_family((pid_t)options->pid);
    struct crowd      crowd;
    struct report     report;

    rest_for(options->settle_ms * NS_PER_MS);
    struct proc_memory before = proc_memory(&server);
    crowd_open(&crowd, &plan);
    idle_for(&crowd, options->settle_ms * NS_PER_MS);
    struct proc_memory after = proc_memory(&server);
    crowd_close(&crowd);

    report_begin(&report);
    report_text(&report, "scenario", "idle");
    report_text(&report, "peer", options->peer);
    report_text(&report, "transport", options->transport);
    report_count(&report, "connections", options->connections);
    report_count(&report, "pss_before_bytes", before.pss_bytes);
    report_count(&report, "pss_after_bytes", after.pss_bytes);
    report_real(&report, "bytes_per_connection", bytes_each(before.pss_bytes, after.pss_bytes, plan.reader_count));
    report_real(&report, "heap_per_connection", bytes_each(before.anon_bytes, after.anon_bytes, plan.reader_count));
    report_end(&report);
    return EXIT_SUCCESS;
}
