/* What acknowledgements cost those who publish: durable publishes, without and with --connections sessions of which each
 * acknowledges a message of its user's channel every second.
 *
 * Rounds of short phases, and of each kind the median counts, because the store halts some phases, for one when it merges tables
 * (decision 170). A phase begins with a part that is not counted: what was acknowledged in the phase before is stored up to a second
 * later. And it lasts a whole number of seconds, because places are stored once a second.
 * In a third kind of phase the sessions acknowledge nothing new (seq 0): it shows what sending and receiving the frames costs on
 * this machine, whatever is done with them. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "bench/clock.h"
#include "bench/die.h"
#include "bench/proc.h"
#include "bench/report.h"
#include "bench/scenario.h"
#include "bench/storing.h"

enum { ROUNDS = 5 };
#define SETTLE_NS (1250 * NS_PER_MS)
#define STALL_NS  (20 * NS_PER_S)

enum phase { PHASE_ALONE, PHASE_HEARD, PHASE_STORED, PHASE_COUNT };

struct acking {
    const struct options *options;
    struct storing        storing;     /* its loop is everybody's */
    struct target         users;
    struct conn          *conns;
    uint32_t              count;
    uint64_t              ready, got;  /* sessions, messages */
    uint64_t              said, moved; /* acknowledgements of all sessions in turn; of these with a new seq */
    uint64_t              since_ns, said_before;
    enum phase            phase;
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

static uint64_t acking_phase_ns(const struct acking *acking)
{
    uint64_t seconds = (acking->options->seconds_ms + 999) / 1000;

    return (seconds == 0 ? 1 : seconds) * NS_PER_S;
}

/* Enough messages for an acknowledgement a second. */
static void acking_fill(struct acking *acking)
{
    uint64_t              each = ROUNDS * (acking_phase_ns(acking) / NS_PER_S + 2);
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
    uint64_t    *said  = acking->phase == PHASE_STORED ? &acking->moved : &acking->said;
    uint32_t     index = (uint32_t)(*said % acking->count);
    struct conn *conn  = &acking->conns[index];
    char         channel[PREFIX_BYTES + 10];
    int          len = snprintf(channel, sizeof channel, "%s%u", acking->users.prefix, index);
    uint64_t     seq = acking->phase == PHASE_STORED ? acking->moved / acking->count + 1 : 0;

    must(len > 0 && len < 100 && seq < 128);  /* so that all lengths have one byte */
    char head[] = { (char)(5 + len), 6, '\x16', (char)len }, tail[] = { '\x21', (char)seq };
    buf_put(&conn->client.out, span_of(head, sizeof head));
    buf_put(&conn->client.out, span_of(channel, (size_t)len));
    buf_put(&conn->client.out, span_of(tail, sizeof tail));
    conn_flush(conn);
    *said += 1;
}

static void acking_on_turn(void *owner)
{
    struct acking *acking = owner;
    uint64_t       due    = (uint64_t)((double)(clock_ns() - acking->since_ns) / NS_PER_S * acking->count);

    while (acking->said + acking->moved - acking->said_before < due)
        acking_say(acking);
}

/* What a phase measured. */
struct measured {
    double published;  /* a second */
    double server_us;  /* processor time of the server: a publish; with acknowledgements what is above that, each of them */
};

static struct measured acking_phase(struct acking *acking, enum phase phase, const struct proc *server)
{
    acking->phase           = phase;
    acking->storing.on_turn = phase == PHASE_ALONE ? NULL : acking_on_turn;
    acking->storing.owner   = acking;
    acking->since_ns        = clock_ns();
    acking->said_before     = acking->said + acking->moved;
    store_for(&acking->storing, SETTLE_NS);

    uint64_t began = clock_ns(), cpu_ns = proc_cpu_ns(server);
    uint64_t published = store_for(&acking->storing, acking_phase_ns(acking));
    double   length_ns = (double)(clock_ns() - began);
    return (struct measured){ (double)published * NS_PER_S / length_ns,
                              (double)(proc_cpu_ns(server) - cpu_ns) / NS_PER_US * NS_PER_S / length_ns };
}

/* The order turns around every other round, so that what drifts hits all kinds of phases alike. */
static void acking_round(struct acking *acking, int round, const struct proc *server, struct measured ret[PHASE_COUNT])
{
    for (int i = 0; i < PHASE_COUNT; i++) {
        enum phase phase = round % 2 == 0 ? i : PHASE_COUNT - 1 - i;
        ret[phase]       = acking_phase(acking, phase, server);
    }
    struct measured *alone = &ret[PHASE_ALONE];
    alone->server_us /= alone->published;
    for (enum phase phase = PHASE_HEARD; phase < PHASE_COUNT; phase++)
        ret[phase].server_us = (ret[phase].server_us - alone->server_us * ret[phase].published) / acking->count;
}

static int compare_reals(const void *a, const void *b)
{
    double first = *(const double *)a, second = *(const double *)b;

    return (first > second) - (first < second);
}

/* The median over all rounds of one figure, which stands at `offset` in each struct measured. */
static double median_of(const struct measured rounds[ROUNDS][PHASE_COUNT], enum phase phase, size_t offset)
{
    double figures[ROUNDS];

    for (int i = 0; i < ROUNDS; i++)
        memcpy(&figures[i], (const char *)&rounds[i][phase] + offset, sizeof figures[i]);
    qsort(figures, ROUNDS, sizeof figures[0], compare_reals);
    return figures[ROUNDS / 2];
}

static void acking_report(const struct acking *acking, const struct measured rounds[ROUNDS][PHASE_COUNT])
{
    struct report report;

    report_begin(&report);
    report_text(&report, "scenario", "acks");
    report_text(&report, "peer", acking->options->peer);
    report_count(&report, "sessions", acking->count);
    report_count(&report, "acks", acking->moved);
    report_real(&report, "per_second_alone", median_of(rounds, PHASE_ALONE, offsetof(struct measured, published)));
    report_real(&report, "per_second", median_of(rounds, PHASE_STORED, offsetof(struct measured, published)));
    report_real(&report, "per_second_heard", median_of(rounds, PHASE_HEARD, offsetof(struct measured, published)));
    report_real(&report, "server_us_a_publish", median_of(rounds, PHASE_ALONE, offsetof(struct measured, server_us)));
    report_real(&report, "server_us_an_ack", median_of(rounds, PHASE_STORED, offsetof(struct measured, server_us)));
    report_real(&report, "server_us_an_ack_heard", median_of(rounds, PHASE_HEARD, offsetof(struct measured, server_us)));
    report_end(&report);
}

int scenario_acks(const struct options *options)
{
    char            topics[PREFIX_BYTES], users[PREFIX_BYTES];
    struct acking   acking = { .options = options, .storing = { .options = options, .rng = { 1 } },
                               .count = (uint32_t)options->connections };
    struct measured rounds[ROUNDS][PHASE_COUNT];
    struct proc     server = proc_family((pid_t)options->pid);

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
    for (int i = 0; i < ROUNDS; i++)
        acking_round(&acking, i, &server, rounds[i]);
    acking_report(&acking, rounds);
    publisher_close(&acking.storing.publisher);
    for (uint32_t i = 0; i < acking.count; i++)
        conn_close(&acking.conns[i]);
    loop_close(&acking.storing.loop);
    free(acking.conns);
    return EXIT_SUCCESS;
}
