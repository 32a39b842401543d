#include "bench/crowd.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/must.h"
#include "bench/clock.h"
#include "bench/die.h"

static void reader_thread_on_payload(struct reader_thread *thread, const struct conn *conn, struct span payload)
{
    struct stamp stamp;
    if (payload.len < PAYLOAD_BYTES || !payload_read(payload, &stamp) || stamp.stream >= thread->crowd->streams)
        die("a payload came garbled: %.*s", SPAN_ARG(payload));
    struct track *track = &thread->tracks[(size_t)conn->index * thread->crowd->streams + stamp.stream];
    tally_take(&thread->tally, &thread->crowd->log, track, conn->client.channel, &stamp, thread->loop.now_ns);
}

static void reader_thread_on_heard(struct conn *conn, const struct note *note)
{
    struct reader_thread *thread = conn->owner;
    if (note->heard == HEARD_PAYLOAD)
        reader_thread_on_payload(thread, conn, note->payload);
    else if (note->heard == HEARD_READY)
        thread->ready_count++;
}

static void reader_thread_connect(struct reader_thread *thread, const struct crowd_plan *plan, uint32_t first)
{
    const struct options *options = plan->options;
    const struct dialect *dialect = dialect_subscriber(options->peer, options->transport);
    if (dialect == NULL)
        die("%s has no %s subscribers here", options->peer, options->transport);

    for (unsigned i = 0; i < thread->conn_count; i++) {
        struct conn *conn = &thread->conns[i];
        uint32_t     id   = first + i;
        *conn = (struct conn){ .on_heard = reader_thread_on_heard, .owner = thread, .index = i };
        conn->client = (struct client){ .dialect = dialect, .target = plan->target, .id = id,
                                      .channel = plan->shape == CROWD_APART ? id : 0 };
        struct sockaddr_in server = options_server_at(options, id);
        conn_open(conn, &thread->loop, &server);
        thread->ready_count += dialect->is_ready_at_once;
        while (i + 1 - thread->ready_count >= options->at_once)
            loop_turn(&thread->loop, NS_PER_S);
    }
    uint64_t until = clock_ns() + 30 * NS_PER_S;
    while (thread->ready_count < thread->conn_count && clock_ns() < until)
        loop_turn(&thread->loop, NS_PER_S);
    if (thread->ready_count < thread->conn_count)
        die("only %u of %u subscriptions were confirmed", thread->ready_count, thread->conn_count);
}

static void reader_thread_open(struct reader_thread *thread, struct crowd *crowd, const struct crowd_plan *plan,
                               uint32_t first, uint32_t count)
{
    thread->crowd         = crowd;
    thread->conn_count    = count;
    thread->tally.readers = plan->shape == CROWD_APART ? 1 : count;
    thread->conns         = calloc(count, sizeof *thread->conns);
    thread->tracks        = calloc((size_t)count * plan->streams, sizeof *thread->tracks);
    must(thread->conns != NULL && thread->tracks != NULL);
    loop_open(&thread->loop);
    reader_thread_connect(thread, plan, first);
}

static void reader_thread_turn(struct reader_thread *thread, uint64_t wait_ns)
{
    loop_turn(&thread->loop, wait_ns);
    struct reader_thread *first = &thread->crowd->threads[0];
    if (thread->tally.has_completed && thread != first)
        loop_wake(&first->loop);
    thread->tally.has_completed = false;
}

static void *reader_thread_main(void *argument)
{
    struct reader_thread *thread = argument;
    while (!atomic_load(&thread->crowd->is_over))
        reader_thread_turn(thread, NS_PER_S);
    return NULL;
}

void crowd_open(struct crowd *crowd, const struct crowd_plan *plan)
{
    unsigned threads = (unsigned)plan->options->threads;
    if (threads > plan->reader_count)
        threads = plan->reader_count;
    *crowd = (struct crowd){ .thread_count = threads, .streams = plan->streams };
    crowd->log.finishers = plan->shape == CROWD_APART ? 1 : threads;
    crowd->threads       = calloc(threads, sizeof *crowd->threads);
    must(crowd->threads != NULL);

    for (unsigned i = 0; i < threads; i++) {
        uint32_t first = (uint32_t)((uint64_t)plan->reader_count * i / threads);
        uint32_t next  = (uint32_t)((uint64_t)plan->reader_count * (i + 1) / threads);
        reader_thread_open(&crowd->threads[i], crowd, plan, first, next - first);
    }
    for (unsigned i = 1; i < threads; i++)
        if (pthread_create(&crowd->threads[i].thread, NULL, reader_thread_main, &crowd->threads[i]) != 0)
            die("no more threads");
}

void crowd_close(struct crowd *crowd)
{
    atomic_store(&crowd->is_over, true);
    for (unsigned i = 1; i < crowd->thread_count; i++) {
        loop_wake(&crowd->threads[i].loop);
        pthread_join(crowd->threads[i].thread, NULL);
    }
    for (unsigned i = 0; i < crowd->thread_count; i++) {
        struct reader_thread *thread = &crowd->threads[i];
        for (unsigned c = 0; c < thread->conn_count; c++)
            conn_close(&thread->conns[c]);
        loop_close(&thread->loop);
        free(thread->conns);
        free(thread->tracks);
    }
    free(crowd->threads);
}

bool crowd_has_heard(const struct crowd *crowd, uint32_t index)
{
    const struct reader_thread *thread = &crowd->threads[0];
    const struct track         *tracks = &thread->tracks[(size_t)index * crowd->streams];

    must(index < thread->conn_count);
    for (uint32_t i = 0; i < crowd->streams; i++)
        if (tracks[i].next > 0)
            return true;
    return false;
}

void crowd_turn(struct crowd *crowd, uint64_t wait_ns)
{
    reader_thread_turn(&crowd->threads[0], wait_ns);
}

struct crowd_count crowd_count(const struct crowd *crowd)
{
    struct crowd_count sum = { 0 };
    for (unsigned i = 0; i < crowd->thread_count; i++) {
        const struct tally *tally = &crowd->threads[i].tally;
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
    for (unsigned i = 0; i < crowd->thread_count; i++)
        histogram_add(ret_latency, &crowd->threads[i].tally.latency);
}

void crowd_restart(struct crowd *crowd)
{
    for (unsigned i = 0; i < crowd->thread_count; i++)
        tally_restart(&crowd->threads[i].tally);
}
