/* What a heartbeat costs: --connections links, of which each sends a ping and waits for the pong, again and again. All links
 * beat in turn, --at-once pings are on the way, and no link beats more often than the server allows. */
#include <stdlib.h>

#include "base/must.h"
#include "bench/clock.h"
#include "bench/die.h"
#include "bench/loop.h"
#include "bench/meter.h"
#include "bench/scenario.h"

enum { BEATS_A_SECOND_MAX = 50 };  /* of a link */
#define STALL_NS (10 * NS_PER_S)

struct beating {
    const struct options *options;
    struct loop           loop;
    struct conn          *conns;
    uint32_t              count;
    uint64_t              ready, sent, answered;
};

static void beating_on_heard(struct conn *conn, const struct note *note)
{
    struct beating *beating = conn->owner;

    if (note->heard == HEARD_READY)
        beating->ready++;
    else if (note->heard == HEARD_ACK)
        beating->answered += note->count;
}

/* Turns the loop until the counter has reached `wanted`. */
static void beating_wait(struct beating *beating, const uint64_t *counter, uint64_t wanted)
{
    uint64_t moved = clock_ns();

    while (*counter < wanted) {
        uint64_t before = *counter;
        loop_turn(&beating->loop, NS_PER_S);
        if (*counter != before)
            moved = clock_ns();
        else if (clock_ns() - moved > STALL_NS)
            die("no answer for %llu s", STALL_NS / NS_PER_S);
    }
}

static void beating_open(struct beating *beating, const struct target *target)
{
    struct sockaddr_in    server  = options_server(beating->options);
    const struct dialect *dialect = dialect_subscriber(beating->options->peer, "beat");

    if (dialect == NULL)
        die("%s has no heartbeats here", beating->options->peer);
    for (uint32_t i = 0; i < beating->count; i++) {
        struct conn *conn = &beating->conns[i];
        *conn = (struct conn){ .on_heard = beating_on_heard, .owner = beating, .index = i };
        conn->client = (struct client){ .dialect = dialect, .target = target, .id = i, .channel = i };
        conn_open(conn, &beating->loop, &server);
        if (i >= beating->options->at_once)
            beating_wait(beating, &beating->ready, i - beating->options->at_once);
    }
    beating_wait(beating, &beating->ready, beating->count);
}

/* Returns how many beats were answered. */
static uint64_t beat_for(struct beating *beating, uint64_t length_ns)
{
    static const char ping[] = { 1, 8 };
    uint64_t          before = beating->answered, began = clock_ns(), until = began + length_ns;

    while (clock_ns() < until) {
        uint64_t due = (clock_ns() - began) / (NS_PER_S / BEATS_A_SECOND_MAX) * beating->count;
        if (beating->answered - before > due) {
            loop_turn(&beating->loop, NS_PER_MS);
            continue;
        }
        for (uint64_t i = 0; i < beating->options->at_once; i++) {
            struct conn *conn = &beating->conns[beating->sent++ % beating->count];
            buf_put(&conn->client.out, span_of(ping, sizeof ping));
            conn_flush(conn);
        }
        beating_wait(beating, &beating->answered, beating->sent);
    }
    return beating->answered - before;
}

static void beating_report(const struct beating *beating, const struct meter *meter, uint64_t beats)
{
    struct report report;

    report_begin(&report);
    report_text(&report, "scenario", "beat");
    report_text(&report, "peer", beating->options->peer);
    report_count(&report, "connections", beating->count);
    report_count(&report, "beats", beats);
    meter_report(meter, &report, beats);
    report_end(&report);
}

int scenario_beat(const struct options *options)
{
    struct target  target  = { .host = options->server, .prefix = "" };
    struct beating beating = { .options = options, .count = (uint32_t)options->connections };
    struct meter   meter;

    beating.conns = calloc(beating.count, sizeof *beating.conns);
    must(beating.conns != NULL);
    loop_open(&beating.loop);
    beating_open(&beating, &target);
    beat_for(&beating, options->warmup_ms * NS_PER_MS);
    meter_start(&meter, options);
    uint64_t beats = beat_for(&beating, options->seconds_ms * NS_PER_MS);
    meter_stop(&meter);
    beating_report(&beating, &meter, beats);
    for (uint32_t i = 0; i < beating.count; i++)
        conn_close(&beating.conns[i]);
    loop_close(&beating.loop);
    free(beating.conns);
    return EXIT_SUCCESS;
}
