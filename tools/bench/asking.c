/* Requests to a back end at a fixed rate, whether or not the server keeps up. A time begins when the request was due, so that one
 * which had to wait for its turn counts with its wait. Each line has one request on the way. */
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "bench/clock.h"
#include "bench/die.h"
#include "bench/histogram.h"
#include "bench/meter.h"
#include "bench/publisher.h"
#include "bench/scenario.h"

#define TURN_NS  NS_PER_MS
#define STALL_NS (10 * NS_PER_S)

struct asking {
    const struct options *options;
    struct loop           loop;
    struct publisher      publisher;
    uint64_t             *due;        /* by line: when its request was due; 0: it has none on the way */
    unsigned              on_the_way;
    unsigned              next_line;
    uint64_t              next_due;
    struct histogram      times;
};

/* False: every line has a request on the way. */
static bool ask_once(struct asking *asking)
{
    struct publisher *publisher = &asking->publisher;

    for (unsigned tries = 0; tries < publisher->line_count; tries++) {
        unsigned line     = asking->next_line;
        asking->next_line = (line + 1) % publisher->line_count;
        if (asking->due[line] != 0)
            continue;
        asking->due[line] = asking->next_due;
        asking->on_the_way++;
        publisher_say(publisher, line, &(uint32_t){ 0 }, 1, asking->next_due);
        return true;
    }
    return false;
}

static void ask_due(struct asking *asking, uint64_t until)
{
    uint64_t interval = NS_PER_S / asking->options->rate;

    while (asking->next_due < until && asking->next_due <= clock_ns() && ask_once(asking))
        asking->next_due += interval;
    publisher_flush(&asking->publisher);
}

static void note_answers(struct asking *asking)
{
    uint64_t now = clock_ns();

    for (unsigned i = 0; i < asking->publisher.line_count; i++) {
        const struct publisher_line *line = &asking->publisher.lines[i];
        if (asking->due[i] == 0 || line->acked < line->sent)
            continue;
        histogram_record(&asking->times, now - asking->due[i]);
        asking->due[i] = 0;
        asking->on_the_way--;
    }
}

static uint64_t turn_wait(const struct asking *asking)
{
    uint64_t now = clock_ns();

    if (asking->next_due <= now)
        return TURN_NS;
    return asking->next_due - now < TURN_NS ? asking->next_due - now : TURN_NS;
}

static uint64_t ask_for(struct asking *asking, uint64_t length_ns)
{
    uint64_t before = asking->publisher.published, until = clock_ns() + length_ns;

    asking->times    = (struct histogram){ 0 };
    asking->next_due = clock_ns();
    while (asking->next_due < until || asking->on_the_way > 0) {
        ask_due(asking, until);
        loop_turn(&asking->loop, turn_wait(asking));
        note_answers(asking);
        if (clock_ns() > until + STALL_NS)
            die("the server can't keep up with the rate");
    }
    return asking->publisher.published - before;
}

static void ask_report(const struct asking *asking, const struct meter *meter, uint64_t count)
{
    const struct options *options = asking->options;
    struct report         report;

    report_begin(&report);
    report_text(&report, "scenario", "requests");
    report_text(&report, "peer", options->peer);
    report_count(&report, "rate", options->rate);
    report_count(&report, "published", count);
    report_real(&report, "p50_us", (double)histogram_quantile(&asking->times, 0.5) / NS_PER_US);
    report_real(&report, "p99_us", (double)histogram_quantile(&asking->times, 0.99) / NS_PER_US);
    meter_report(meter, &report, count);
    report_end(&report);
}

int scenario_requests(const struct options *options)
{
    struct asking         asking = { .options = options };
    struct meter          meter;
    struct target         target = { .host = options->server, .prefix = "" };
    struct publisher_plan plan   = { options, &target, "request", 1 };

    asking.due = calloc(options->publishers, sizeof asking.due[0]);
    must(asking.due != NULL);
    loop_open(&asking.loop);
    publisher_open(&asking.publisher, &asking.loop, &plan);
    ask_for(&asking, options->warmup_ms * NS_PER_MS);
    meter_start(&meter, options);
    uint64_t count = ask_for(&asking, options->seconds_ms * NS_PER_MS);
    meter_stop(&meter);
    ask_report(&asking, &meter, count);
    publisher_close(&asking.publisher);
    loop_close(&asking.loop);
    free(asking.due);
    return EXIT_SUCCESS;
}
