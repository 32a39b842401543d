/* What a crowd that comes back costs: --connections sessions are opened and cut off, --missed messages are published to
 * each one's user meanwhile, and all come back with their tickets, --at-once at a time. A session is complete once it
 * has every message once, in order. */
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "bench/clock.h"
#include "bench/die.h"
#include "bench/loop.h"
#include "bench/meter.h"
#include "bench/publisher.h"
#include "bench/scenario.h"

enum { TICKET_BYTES_MAX = 1000 };
#define STALL_NS (20 * NS_PER_S)

struct storm_session {
    struct conn conn;
    uint32_t    got;     /* messages since it came back */
    uint32_t    ticket_len;
    char        ticket[TICKET_BYTES_MAX];
};

struct storm {
    const struct options *options;
    struct target         target;
    struct loop           loop;
    struct storm_session *sessions;
    uint32_t              count;
    uint32_t              ready, complete;
};

static void storm_take_ticket(struct storm_session *session, struct span ticket)
{
    if (ticket.len == 0 || ticket.len > sizeof session->ticket)
        die("`connected` has no ticket, or one of more than %d bytes", TICKET_BYTES_MAX);
    memcpy(session->ticket, ticket.at, ticket.len);
    session->ticket_len = (uint32_t)ticket.len;
}

static void storm_take_payload(struct storm *storm, struct storm_session *session, struct span payload)
{
    struct stamp stamp;
    if (payload.len < PAYLOAD_BYTES || !payload_read(payload, &stamp))
        die("a payload came garbled: %.*s", SPAN_ARG(payload));
    if (stamp.channel != session->conn.client.channel || stamp.seq != session->got)
        die("session %u, behind message %u, was given message %u of %u", session->conn.client.channel, session->got,
            stamp.seq, stamp.channel);
    if (++session->got == storm->options->missed)
        storm->complete++;
}

static void storm_on_heard(struct conn *conn, const struct note *note)
{
    struct storm         *storm   = conn->owner;
    struct storm_session *session = &storm->sessions[conn->index];

    if (note->heard == HEARD_READY) {
        storm_take_ticket(session, note->payload);
        storm->ready++;
    } else if (note->heard == HEARD_PAYLOAD) {
        storm_take_payload(storm, session, note->payload);
    }
}

static void storm_open_one(struct storm *storm, uint32_t index, const struct dialect *dialect,
                           const struct sockaddr_in *server)
{
    struct storm_session *session = &storm->sessions[index];

    session->conn = (struct conn){ .on_heard = storm_on_heard, .owner = storm, .index = index };
    session->conn.client = (struct client){ .dialect = dialect, .target = &storm->target, .id = index, .channel = index,
                                            .ticket  = span_of(session->ticket, session->ticket_len) };
    conn_open(&session->conn, &storm->loop, server);
}

/* Turns the loop until the counter has reached `wanted`. */
static void storm_wait(struct storm *storm, const uint32_t *counter, uint32_t wanted)
{
    uint64_t moved = clock_ns();

    while (*counter < wanted) {
        uint32_t before = *counter;
        loop_turn(&storm->loop, NS_PER_S);
        if (*counter != before)
            moved = clock_ns();
        else if (clock_ns() - moved > STALL_NS)
            die("%u of %u sessions, and nothing happened for %llu s", *counter, wanted, STALL_NS / NS_PER_S);
    }
}

/* At most --at-once of them are under way: not yet counted by *counter. */
static void storm_open_all(struct storm *storm, const uint32_t *counter)
{
    struct sockaddr_in    server  = options_server(storm->options);
    const struct dialect *dialect = dialect_subscriber(storm->options->peer, "session");

    if (dialect == NULL)
        die("%s has no sessions here", storm->options->peer);
    for (uint32_t i = 0; i < storm->count; i++) {
        if (i >= storm->options->at_once)
            storm_wait(storm, counter, i + 1 - (uint32_t)storm->options->at_once);
        storm_open_one(storm, i, dialect, &server);
    }
    storm_wait(storm, counter, storm->count);
}

static void storm_cut_all(struct storm *storm)
{
    for (uint32_t i = 0; i < storm->count; i++)
        conn_close(&storm->sessions[i].conn);
}

static void storm_publish(struct storm *storm)
{
    struct publisher_plan plan = { storm->options, &storm->target, "acked", storm->count };
    struct publisher      publisher;

    publisher_open(&publisher, &storm->loop, &plan);
    for (uint64_t i = 0; i < storm->options->missed * storm->count; i++) {
        uint32_t channel = (uint32_t)(i % storm->count);
        publisher_say(&publisher, 0, &channel, 1, clock_ns());
        while (publisher.published - publisher.acked >= storm->options->in_flight) {
            publisher_flush(&publisher);
            loop_turn(&storm->loop, NS_PER_S);
        }
    }
    publisher_flush(&publisher);
    while (publisher.acked < publisher.published)
        loop_turn(&storm->loop, NS_PER_S);
    publisher_close(&publisher);
}

static void storm_report(const struct storm *storm, const struct meter *meter)
{
    struct report report;

    report_begin(&report);
    report_text(&report, "scenario", "storm");
    report_text(&report, "peer", storm->options->peer);
    report_count(&report, "sessions", storm->count);
    report_count(&report, "missed", storm->options->missed);
    report_count(&report, "at_once", storm->options->at_once);
    meter_report(meter, &report, storm->count);
    report_end(&report);
}

int scenario_storm(const struct options *options)
{
    char         prefix[PREFIX_BYTES];
    struct storm storm = { .options = options, .count = (uint32_t)options->connections };
    struct meter meter;

    scenario_prefix(options, "user:", prefix);
    storm.target   = (struct target){ .host = options->server, .prefix = prefix };
    storm.sessions = calloc(storm.count, sizeof *storm.sessions);
    must(storm.sessions != NULL);

    loop_open(&storm.loop);
    storm_open_all(&storm, &storm.ready);
    storm_cut_all(&storm);
    storm_publish(&storm);
    meter_start(&meter, options);
    storm_open_all(&storm, &storm.complete);
    meter_stop(&meter);
    storm_report(&storm, &meter);
    storm_cut_all(&storm);
    loop_close(&storm.loop);
    free(storm.sessions);
    return EXIT_SUCCESS;
}
