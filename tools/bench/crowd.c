#include "bench/crowd.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/must.h"
#include "bench/clock.h"
#include "bench/die.h"

static void crew_on_payload(struct crew *crew, const struct conn *conn, struct span payload)
{
    struct stamp stamp;
    if (payload.len < PAYLOAD_BYTES || !payload_read(payload, &stamp) || stamp.stream >= crew->crowd->streams)
        die("a payload came garbled: %.*s", SPAN_ARG(payload));
    struct track *track = &crew->tracks[(size_t)conn->index * crew->crowd->streams + stamp.stream];
    tally_take(&crew->tally, &crew->crowd->log, track, conn->voice.channel, &stamp, crew->loop.now_ns);
}

static void crew_on_heard(struct conn *conn, const struct note *note)
{
    struct crew *crew = conn->owner;
    if (note->heard == HEARD_PAYLOAD)
        crew_on_payload(crew, conn, note->payload);
    else if (note->heard == HEARD_READY)
        crew->ready_count++;
}

static void crew_connect(struct crew *crew, const struct crowd_plan *plan, uint32_t first)
{
    const struct options *options = plan->options;
    struct sockaddr_in    server  = options_server(options);
    const struct dialect *dialect = dialect_subscriber(options->peer, options->transport);
    if (dialect == NULL)
        die("%s has no %s subscribers here", options->peer, options->transport);

    for (unsigned i = 0; i < crew->conn_count; i++) {
        struct conn *conn = &crew->conns[i];
        uint32_t     id   = first + i;
        *conn = (struct conn){ .on_heard = crew_on_heard, .owner = crew, .index = i };
        conn->voice = (struct voice){ .dialect = dialect, .naming = plan->naming, .id = id,
                                      .channel = plan->shape == CROWD_APART ? id : 0 };
        conn_open(conn, &crew->loop, &server);
        crew->ready_count += dialect->is_ready_at_once;
        while (i + 1 - crew->ready_count >= options->at_once)
            loop_turn(&crew->loop, NS_PER_S);
    }
    uint64_t until = clock_ns() + 30 * NS_PER_S;
    while (crew->ready_count < crew->conn_count && clock_ns() < until)
        loop_turn(&crew->loop, NS_PER_S);
    if (crew->ready_count < crew->conn_count)
        die("only %u of %u subscriptions were confirmed", crew->ready_count, crew->conn_count);
}

static void crew_open(struct crew *crew, struct crowd *crowd, const struct crowd_plan *plan, uint32_t first,
                      uint32_t count)
{
    crew->crowd         = crowd;
    crew->conn_count    = count;
    crew->tally.readers = plan->shape == CROWD_APART ? 1 : count;
    crew->conns         = calloc(count, sizeof *crew->conns);
    crew->tracks        = calloc((size_t)count * plan->streams, sizeof *crew->tracks);
    must(crew->conns != NULL && crew->tracks != NULL);
    loop_open(&crew->loop);
    crew_connect(crew, plan, first);
}

static void crew_turn(struct crew *crew, uint64_t wait_ns)
{
    loop_turn(&crew->loop, wait_ns);
    struct crew *first = &crew->crowd->crews[0];
    if (crew->tally.has_completed && crew != first)
        loop_wake(&first->loop);
    crew->tally.has_completed = false;
}

static void *crew_main(void *argument)
{
    struct crew *crew = argument;
    while (!atomic_load(&crew->crowd->is_over))
        crew_turn(crew, NS_PER_S);
    return NULL;
}

void crowd_open(struct crowd *crowd, const struct crowd_plan *plan)
{
    unsigned crews = (unsigned)plan->options->threads;
    if (crews > plan->reader_count)
        crews = plan->reader_count;
    *crowd = (struct crowd){ .crew_count = crews, .streams = plan->streams };
    crowd->log.finishers = plan->shape == CROWD_APART ? 1 : crews;
    crowd->crews            = calloc(crews, sizeof *crowd->crews);
    must(crowd->crews != NULL);

    for (unsigned i = 0; i < crews; i++) {
        uint32_t first = (uint32_t)((uint64_t)plan->reader_count * i / crews);
        uint32_t next  = (uint32_t)((uint64_t)plan->reader_count * (i + 1) / crews);
        crew_open(&crowd->crews[i], crowd, plan, first, next - first);
    }
    for (unsigned i = 1; i < crews; i++)
        if (pthread_create(&crowd->crews[i].thread, NULL, crew_main, &crowd->crews[i]) != 0)
            die("no more threads");
}

void crowd_close(struct crowd *crowd)
{
    atomic_store(&crowd->is_over, true);
    for (unsigned i = 1; i < crowd->crew_count; i++) {
        loop_wake(&crowd->crews[i].loop);
        pthread_join(crowd->crews[i].thread, NULL);
    }
    for (unsigned i = 0; i < crowd->crew_count; i++) {
        struct crew *crew = &crowd->crews[i];
        for (unsigned c = 0; c < crew->conn_count; c++)
            conn_close(&crew->conns[c]);
        loop_close(&crew->loop);
        free(crew->conns);
        free(crew->tracks);
    }
    free(crowd->crews);
}

void crowd_turn(struct crowd *crowd, uint64_t wait_ns)
{
    crew_turn(&crowd->crews[0], wait_ns);
}

struct crowd_count crowd_count(const struct crowd *crowd)
{
    struct crowd_count sum = { 0 };
    for (unsigned i = 0; i < crowd->crew_count; i++) {
        const struct tally *tally = &crowd->crews[i].tally;
        sum.received += tally->received;
        sum.doubled += tally->doubled;
        sum.late += tally->late;
        sum.strayed += tally->strayed;
    }
    return sum;
}

void crowd_latency(const struct crowd *crowd, struct histogram *ret_latency)
{
    *ret_latency = (struct histogram){ 0 };
    for (unsigned i = 0; i < crowd->crew_count; i++)
        histogram_add(ret_latency, &crowd->crews[i].tally.latency);
}

void crowd_restart(struct crowd *crowd)
{
    for (unsigned i = 0; i < crowd->crew_count; i++)
        tally_restart(&crowd->crews[i].tally);
}
