/* Holds --connections sessions of the users from --first on, until its standard input ends, and says each second how many there are and
 * what they were given: one line of JSON. For tools/bench/million, which runs many of these beside each other.
 *
 * Each session follows the channel of its user, that of its device, and all:NAME. A stamp of a message says for which of
 * the two it is, by its channel: the number of a user, or EVERYONE. Messages of either kind come in order, each once. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/must.h"
#include "bench/clock.h"
#include "bench/die.h"
#include "bench/histogram.h"
#include "bench/loop.h"
#include "bench/report.h"
#include "bench/scenario.h"

enum { EVERYONE = UINT32_MAX };
#define STALL_NS (60 * NS_PER_S)

struct held_session {
    struct conn conn;
    uint32_t    own, everyone;  /* messages that came: the seqs that the next ones have */
};

struct hold {
    const struct options *options;
    struct target         target;
    struct loop           loop;
    struct held_session  *sessions;
    uint32_t              count, ready;
    uint64_t              own, everyone, wrong;
    uint64_t              newest_ns;   /* when the last message came */
    struct histogram      own_ns, everyone_ns;  /* from the stamp to its arrival */
};

static void hold_take(struct hold *hold, struct held_session *session, struct span payload)
{
    struct stamp stamp;

    if (payload.len < PAYLOAD_BYTES || !payload_read(payload, &stamp))
        die("a payload came garbled: %.*s", SPAN_ARG(payload));
    bool      is_own = stamp.channel == session->conn.client.channel;
    uint32_t *next   = is_own ? &session->own : &session->everyone;
    uint64_t  now    = clock_ns();

    hold->wrong += stamp.seq != *next || !(is_own || stamp.channel == EVERYONE);
    *next = stamp.seq + 1;
    hold->own += is_own;
    hold->everyone += !is_own;
    hold->newest_ns = now;
    histogram_record(is_own ? &hold->own_ns : &hold->everyone_ns, now - stamp.time_ns);
}

static void hold_on_heard(struct conn *conn, const struct note *note)
{
    struct hold *hold = conn->owner;

    if (note->heard == HEARD_READY)
        hold->ready++;
    else if (note->heard == HEARD_PAYLOAD)
        hold_take(hold, &hold->sessions[conn->index], note->payload);
}

static void hold_open_one(struct hold *hold, uint32_t index, const struct dialect *dialect)
{
    struct sockaddr_in   server  = options_server(hold->options);
    struct held_session *session = &hold->sessions[index];
    uint32_t             user    = index + (uint32_t)hold->options->first;

    session->conn        = (struct conn){ .on_heard = hold_on_heard, .owner = hold, .index = index };
    session->conn.client = (struct client){ .dialect = dialect, .target = &hold->target, .id = user, .channel = user };
    conn_open(&session->conn, &hold->loop, &server);
}

static void hold_open_all(struct hold *hold)
{
    const struct dialect *dialect = dialect_subscriber(hold->options->peer, "session-all");
    uint64_t              moved   = clock_ns();

    if (dialect == NULL)
        die("%s has no sessions here", hold->options->peer);
    for (uint32_t opened = 0; hold->ready < hold->count;) {
        uint32_t before = hold->ready;
        for (; opened < hold->count && opened - hold->ready < hold->options->at_once; opened++)
            hold_open_one(hold, opened, dialect);
        loop_turn(&hold->loop, NS_PER_S);
        if (hold->ready != before)
            moved = clock_ns();
        else if (clock_ns() - moved > STALL_NS)
            die("%u of %u sessions, and nothing happened for %llu s", hold->ready, hold->count, STALL_NS / NS_PER_S);
    }
}

static void hold_report(const struct hold *hold)
{
    struct report report;

    report_begin(&report);
    report_text(&report, "scenario", "hold");
    report_count(&report, "sessions", hold->ready);
    report_count(&report, "own", hold->own);
    report_count(&report, "everyone", hold->everyone);
    report_count(&report, "wrong", hold->wrong);
    report_count(&report, "newest_ns", hold->newest_ns);
    report_count(&report, "own_p50_us", histogram_quantile(&hold->own_ns, 0.5) / NS_PER_US);
    report_count(&report, "own_p99_us", histogram_quantile(&hold->own_ns, 0.99) / NS_PER_US);
    report_count(&report, "everyone_p50_us", histogram_quantile(&hold->everyone_ns, 0.5) / NS_PER_US);
    report_count(&report, "everyone_p99_us", histogram_quantile(&hold->everyone_ns, 0.99) / NS_PER_US);
    report_end(&report);
    fflush(stdout);
}

static bool input_has_ended(void)
{
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
    char          byte;

    return poll(&input, 1, 0) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

static void hold_all(struct hold *hold)
{
    for (uint64_t told = 0; !input_has_ended();) {
        loop_turn(&hold->loop, NS_PER_S / 5);
        if (clock_ns() - told < NS_PER_S)
            continue;
        told = clock_ns();
        hold_report(hold);
    }
}

int scenario_hold(const struct options *options)
{
    char        prefix[PREFIX_BYTES];
    struct hold hold = { .options = options, .count = (uint32_t)options->connections };

    scenario_prefix(options, "user:", prefix);
    hold.target   = (struct target){ .host = options->server, .prefix = prefix };
    hold.sessions = calloc(hold.count, sizeof *hold.sessions);
    must(hold.sessions != NULL);
    loop_open(&hold.loop);
    hold_open_all(&hold);
    hold_all(&hold);
    hold_report(&hold);
    for (uint32_t i = 0; i < hold.count; i++)
        conn_close(&hold.sessions[i].conn);
    loop_close(&hold.loop);
    free(hold.sessions);
    return hold.wrong == 0 ? EXIT_SUCCESS : EXIT_INEXACT;
}
