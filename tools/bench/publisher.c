#include "bench/publisher.h"

#include <stdlib.h>

#include "base/must.h"
#include "bench/clock.h"
#include "bench/die.h"

enum { PUBLISHER_ID_FIRST = 1u << 24 };

static void publisher_on_heard(struct conn *conn, const struct note *note)
{
    struct publisher_line *line = conn->owner;
    if (note->heard == HEARD_READY)
        line->publisher->ready_count++;
    if (note->heard == HEARD_ACK) {
        line->acked += note->count;
        line->publisher->acked += note->count;
    }
}

static void line_open(struct publisher_line *line, struct publisher *publisher, unsigned number, struct loop *loop,
                      const struct publisher_plan *plan)
{
    struct sockaddr_in    server  = options_publish_server(plan->options);
    const struct dialect *dialect = dialect_publisher(plan->options->peer, plan->transport);
    if (dialect == NULL)
        die("%s has no \"%s\" publisher here", plan->options->peer, plan->transport);
    *line      = (struct publisher_line){ .publisher = publisher };
    line->conn = (struct conn){ .on_heard = publisher_on_heard, .owner = line, .index = number };
    line->conn.client = (struct client){ .dialect = dialect, .target = plan->target,
                                         .id = PUBLISHER_ID_FIRST + number };
    conn_open(&line->conn, loop, &server);
    publisher->ready_count += dialect->is_ready_at_once;
}

void publisher_open(struct publisher *publisher, struct loop *loop, const struct publisher_plan *plan)
{
    *publisher = (struct publisher){ .line_count    = (unsigned)plan->options->publishers,
                                     .channel_count = plan->channel_count };
    publisher->lines = calloc(publisher->line_count, sizeof *publisher->lines);
    publisher->seqs  = calloc((size_t)publisher->line_count * plan->channel_count, sizeof *publisher->seqs);
    publisher->messages = calloc(PUBLISH_MAX, sizeof *publisher->messages);
    must(publisher->lines != NULL && publisher->seqs != NULL && publisher->messages != NULL);
    for (unsigned i = 0; i < publisher->line_count; i++)
        line_open(&publisher->lines[i], publisher, i, loop, plan);

    uint64_t until = clock_ns() + 10 * NS_PER_S;
    while (publisher->ready_count < publisher->line_count && clock_ns() < until)
        loop_turn(loop, NS_PER_S);
    if (publisher->ready_count < publisher->line_count)
        die("a publisher connection was never accepted");
}

void publisher_close(struct publisher *publisher)
{
    for (unsigned i = 0; i < publisher->line_count; i++)
        conn_close(&publisher->lines[i].conn);
    free(publisher->lines);
    free(publisher->seqs);
    free(publisher->messages);
}

void publisher_say(struct publisher *publisher, unsigned line, const uint32_t *channels, size_t count,
                   uint64_t time_ns)
{
    struct outgoing *messages = publisher->messages;
    must(count <= PUBLISH_MAX);
    for (size_t i = 0; i < count; i++) {
        must(channels[i] < publisher->channel_count);
        struct stamp stamp = { .stream  = line,
                               .channel = channels[i],
                               .seq     = publisher->seqs[(size_t)channels[i] * publisher->line_count + line]++,
                               .number  = (uint32_t)publisher->published++,
                               .time_ns = time_ns };
        messages[i].channel = channels[i];
        payload_write(&stamp, messages[i].payload);
    }
    struct client *client = &publisher->lines[line].conn.client;
    client->dialect->publish(client, messages, count);
    publisher->lines[line].sent += count;
}

void publisher_flush(struct publisher *publisher)
{
    for (unsigned i = 0; i < publisher->line_count; i++)
        if (!publisher->lines[i].conn.waits_for_room)
            conn_flush(&publisher->lines[i].conn);
}
