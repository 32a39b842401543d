/* What a short connection costs: connect, subscribe, close, again and again, --at-once at a time. Each connection
 * follows one of CHANNEL_COUNT channels. It closes as soon as its subscription is confirmed, with a plain TCP close,
 * whatever the protocol. */
#include <stdlib.h>

#include "base/must.h"
#include "bench/clock.h"
#include "bench/die.h"
#include "bench/loop.h"
#include "bench/meter.h"
#include "bench/scenario.h"

enum { CHANNEL_COUNT = 1000 };
#define STALL_NS (10 * NS_PER_S)

struct visit {
    const struct options *options;
    const struct target  *target;
    const struct dialect *dialect;
    struct loop           loop;
    struct conn          *conns;
    unsigned             *free_conns;  /* a stack of indexes; an index that was closed is used again after the turn */
    unsigned              free_count;
    uint64_t              opened, done, wanted;
};

static void visit_on_heard(struct conn *conn, const struct note *note)
{
    struct visit *visit = conn->owner;
    if (note->heard != HEARD_READY)
        die("something came before the subscription was confirmed");
    conn->is_finished                       = true;
    visit->free_conns[visit->free_count++] = conn->index;
    visit->done++;
}

static void visit_open(struct visit *visit, const struct sockaddr_in *server)
{
    unsigned     index = visit->free_conns[--visit->free_count];
    struct conn *conn  = &visit->conns[index];
    *conn       = (struct conn){ .on_heard = visit_on_heard, .owner = visit, .index = index };
    conn->client = (struct client){ .dialect = visit->dialect, .target = visit->target, .id = (uint32_t)visit->opened,
                                  .channel = (uint32_t)(visit->opened % CHANNEL_COUNT) };
    visit->opened++;
    conn_open(conn, &visit->loop, server);
}

static void visit_times(struct visit *visit, uint64_t count)
{
    struct sockaddr_in server = options_server(visit->options);
    uint64_t           moved  = clock_ns();
    visit->wanted += count;
    while (visit->done < visit->wanted) {
        while (visit->free_count > 0 && visit->opened < visit->wanted)
            visit_open(visit, &server);
        uint64_t before = visit->done;
        loop_turn(&visit->loop, NS_PER_S);
        if (visit->done != before)
            moved = clock_ns();
        else if (clock_ns() - moved > STALL_NS)
            die("no subscription was confirmed for %llu s", STALL_NS / NS_PER_S);
    }
}

static void visit_report(const struct options *options, const struct meter *meter)
{
    struct report report;
    report_begin(&report);
    report_text(&report, "scenario", "connect");
    report_text(&report, "peer", options->peer);
    report_text(&report, "transport", options->transport);
    report_count(&report, "connections", options->connections);
    report_count(&report, "at_once", options->at_once);
    meter_report(meter, &report, options->connections);
    report_end(&report);
}

int scenario_connect(const struct options *options)
{
    char prefix[PREFIX_BYTES];
    scenario_prefix(options, "live:", prefix);
    struct target target = { .host = options->server, .prefix = prefix };
    struct visit  visit  = { .options = options, .target = &target, .free_count = (unsigned)options->at_once };
    struct meter  meter;

    visit.dialect = dialect_subscriber(options->peer, options->transport);
    if (visit.dialect == NULL || visit.dialect->is_ready_at_once)
        die("%s doesn't confirm %s subscriptions", options->peer, options->transport);
    visit.conns      = calloc(options->at_once, sizeof *visit.conns);
    visit.free_conns = calloc(options->at_once, sizeof *visit.free_conns);
    must(visit.conns != NULL && visit.free_conns != NULL);
    for (unsigned i = 0; i < visit.free_count; i++)
        visit.free_conns[i] = i;

    loop_open(&visit.loop);
    visit_times(&visit, options->connections / 10);
    meter_start(&meter, options);
    visit_times(&visit, options->connections);
    meter_stop(&meter);
    visit_report(options, &meter);
    loop_close(&visit.loop);
    free(visit.conns);
    free(visit.free_conns);
    return EXIT_SUCCESS;
}
