/* What acknowledgements cost those who publish: durable publishes, without and with --connections sessions of which each
 * acknowledges one more message of its user's channel every second. Turns alternate, because the machine does other work too. */
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "bench/clock.h"
#include "bench/die.h"
#include "bench/meter.h"
#include "bench/scenario.h"
#include "bench/storing.h"

enum { TURNS = 2 };
#define STALL_NS (20 * NS_PER_S)

struct acking {
    const struct options *options;
    struct storing        storing;     /* its loop is everybody's */
    struct target         users;
    struct conn          *conns;
    uint32_t              count;
    uint64_t              ready, got;  /* sessions, messages */
    uint64_t              said;        /* acknowledgements, of all sessions in turn */
    uint64_t              since_ns, said_before;
};

static void acking_on_heard(struct conn *conn, const struct note *note)
{
    struct acking *acking = conn->owner;

    if (note->heard == HEARD_READY)
        acking->ready++;
    else if (note->heard == HEARD_PAYLOAD)
        acking->got++;
}

static void acking_wait(struct acking *acking, const uint64_t *counter, uint64_t wanted)
{
    uint64_t moved = clock_ns();

    while (*counter < wanted) {
        uint64_t before = *counter;
        loop_turn(&acking->storing.loop, NS_PER_S);
        if (*counter != before)
            moved = clock_ns();
        else if (clock_ns() - moved > STALL_NS)
            die("%llu of %llu, and nothing happened for %llu s", (unsigned long long)*counter, (unsigned long long)wanted,
                STALL_NS / NS_PER_S);
    }
}

static void acking_open(struct acking *acking)
{
    struct sockaddr_in    server  = options_server(acking->options);
    const struct dialect *dialect = dialect_subscriber(acking->options->peer, "session");

    if (dialect == NULL)
        die("%s has no sessions here", acking->options->peer);
    for (uint32_t i = 0; i < acking->count; i++) {
        struct conn *conn = &acking->conns[i];
        if (i >= acking->options->at_once)
            acking_wait(acking, &acking->ready, i + 1 - acking->options->at_once);
        *conn = (struct conn){ .on_heard = acking_on_heard, .owner = acking, .index = i };
        conn->client = (struct client){ .dialect = dialect, .target = &acking->users, .id = i, .channel = i };
        conn_open(conn, &acking->storing.loop, &server);
    }
    acking_wait(acking, &acking->ready, acking->count);
}

/* Enough messages for an acknowledgement a second. */
static void acking_fill(struct acking *acking)
{
    uint64_t              each = TURNS * (acking->options->seconds_ms / 1000 + 1);
    struct publisher_plan plan = { acking->options, &acking->users, "acked", acking->count };
    struct publisher      publisher;

    publisher_open(&publisher, &acking->storing.loop, &plan);
    for (uint64_t i = 0; i < each * acking->count; i++) {
        uint32_t channel = (uint32_t)(i % acking->count);
        publisher_say(&publisher, 0, &channel, 1, clock_ns());
        while (publisher.published - publisher.acked >= acking->options->in_flight) {
            publisher_flush(&publisher);
            loop_turn(&acking->storing.loop, NS_PER_S);
        }
    }
    publisher_flush(&publisher);
    acking_wait(acking, &publisher.acked, publisher.published);
    acking_wait(acking, &acking->got, each * acking->count);
    publisher_close(&publisher);
}

static void acking_say(struct acking *acking)
{
    uint32_t     index = (uint32_t)(acking->said % acking->count);
    struct conn *conn  = &acking->conns[index];
    char         channel[PREFIX_BYTES + 10];
    int          len = snprintf(channel, sizeof channel, "%s%u", acking->users.prefix, index);
    uint64_t     seq = acking->said / acking->count + 1;

    must(len > 0 && len < 100 && seq < 128);  /* so that all lengths have one byte */
    char head[] = { (char)(5 + len), 6, '\x16', (char)len }, tail[] = { '\x21', (char)seq };
    buf_put(&conn->client.out, span_of(head, sizeof head));
    buf_put(&conn->client.out, span_of(channel, (size_t)len));
    buf_put(&conn->client.out, span_of(tail, sizeof tail));
    conn_flush(conn);
    acking->said++;
}

static void acking_on_turn(void *owner)
{
    struct acking *acking = owner;
    uint64_t       due    = (uint64_t)((double)(clock_ns() - acking->since_ns) / NS_PER_S * acking->count);

    while (acking->said - acking->said_before < due)
        acking_say(acking);
}

static double stored_per_second(struct acking *acking, bool is_acking)
{
    uint64_t began = clock_ns();

    acking->storing.on_turn = is_acking ? acking_on_turn : NULL;
    acking->storing.owner   = acking;
    acking->since_ns        = began;
    acking->said_before     = acking->said;
    uint64_t published      = store_for(&acking->storing, acking->options->seconds_ms * NS_PER_MS);
    return (double)published * NS_PER_S / (double)(clock_ns() - began);
}

static void acking_report(const struct acking *acking, double alone, double beside)
{
    struct report report;

    report_begin(&report);
    report_text(&report, "scenario", "acks");
    report_text(&report, "peer", acking->options->peer);
    report_count(&report, "sessions", acking->count);
    report_count(&report, "acks", acking->said);
    report_real(&report, "per_second_alone", alone);
    report_real(&report, "per_second", beside);
    report_end(&report);
}

int scenario_acks(const struct options *options)
{
    char          topics[PREFIX_BYTES], users[PREFIX_BYTES];
    struct acking acking = { .options = options, .storing = { .options = options, .rng = { 1 } },
                             .count = (uint32_t)options->connections };
    double        alone = 0, beside = 0;

    scenario_prefix(options, "topic:", topics);
    scenario_prefix(options, "user:", users);
    acking.users        = (struct target){ .host = options->server, .prefix = users };
    struct target         target = { .host = options->server, .prefix = topics };
    struct publisher_plan plan   = { options, &target, "acked", (uint32_t)options->channels };
    acking.conns        = calloc(acking.count, sizeof *acking.conns);
    must(acking.conns != NULL);

    loop_open(&acking.storing.loop);
    acking_open(&acking);
    acking_fill(&acking);
    publisher_open(&acking.storing.publisher, &acking.storing.loop, &plan);
    store_for(&acking.storing, options->warmup_ms * NS_PER_MS);
    for (int i = 0; i < TURNS; i++) {
        alone += stored_per_second(&acking, false) / TURNS;
        beside += stored_per_second(&acking, true) / TURNS;
    }
    acking_report(&acking, alone, beside);
    publisher_close(&acking.storing.publisher);
    for (uint32_t i = 0; i < acking.count; i++)
        conn_close(&acking.conns[i]);
    loop_close(&acking.storing.loop);
    free(acking.conns);
    return EXIT_SUCCESS;
}
