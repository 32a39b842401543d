#include "bench/storing.h"

#include "base/must.h"
#include "bench/clock.h"
#include "bench/die.h"

#define STALL_NS (10 * NS_PER_S)
#define TURN_NS  (100 * NS_PER_MS)

static void store_on(struct storing *storing, unsigned line)
{
    uint32_t channels[PUBLISH_MAX];
    size_t   count = storing->options->batch;
    must(count <= PUBLISH_MAX);
    for (size_t i = 0; i < count; i++)
        channels[i] = (uint32_t)rng_below(&storing->rng, storing->publisher.channel_count);
    publisher_say(&storing->publisher, line, channels, count, clock_ns());
}

/* Every line keeps its share of the requests on the way. */
static void store_due(struct storing *storing)
{
    struct publisher *publisher = &storing->publisher;
    uint64_t          share     = storing->options->in_flight / publisher->line_count;
    for (unsigned i = 0; i < publisher->line_count; i++)
        while (publisher->lines[i].sent - publisher->lines[i].acked < share * storing->options->batch)
            store_on(storing, i);
}

uint64_t store_for(struct storing *storing, uint64_t length_ns)
{
    struct publisher *publisher = &storing->publisher;
    uint64_t          before = publisher->published, seen = publisher->acked;
    uint64_t          moved = clock_ns(), until = moved + length_ns;
    while (clock_ns() < until || publisher->acked < publisher->published) {
        if (clock_ns() < until)
            store_due(storing);
        if (storing->on_turn != NULL)
            storing->on_turn(storing->owner);
        publisher_flush(publisher);
        loop_turn(&storing->loop, TURN_NS);
        if (publisher->acked != seen)
            moved = clock_ns();
        else if (clock_ns() - moved > STALL_NS)
            die("no acknowledgement for %llu s", STALL_NS / NS_PER_S);
        seen = publisher->acked;
    }
    return publisher->published - before;
}
