/* The scenarios in which messages reach readers: fanout, rate, unicast. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "bench/clock.h"
#include "bench/crowd.h"
#include "bench/die.h"
#include "bench/meter.h"
#include "bench/publisher.h"
#include "bench/scenario.h"

#define STALL_NS (5 * NS_PER_S)  /* no message for so long: the missing ones count as lost */
#define TURN_NS  (100 * NS_PER_MS)
#define GREET_NS (1 * NS_PER_S)  /* a greeting that has not come after so long is sent again … */
#define GREET_ROUNDS 10          /* … so often */

struct delivery {
    const struct options *options;
    enum crowd_shape      shape;
    uint64_t              interval_ns;  /* between publishes at a fixed rate; 0: closed loop */
    uint64_t              given_up;     /* messages that nobody waits for any more: they were lost before what is measured */
    struct rng            rng;
    struct crowd          crowd;
    struct publisher      publisher;
};

struct books {
    uint64_t           published, expected;
    struct crowd_count count;
};

void scenario_prefix(const struct options *options, const char *normal_namespace, char *ret_prefix)
{
    const char *namespace = options->namespace;
    if (namespace == NULL)
        namespace = strncmp(options->peer, "longwire", 8) == 0 ? normal_namespace : "";
    if (options->name != NULL)
        snprintf(ret_prefix, PREFIX_BYTES, "%s%s", namespace, options->name);
    else
        snprintf(ret_prefix, PREFIX_BYTES, "%sbench-%d-%llx-", namespace, (int)getpid(), (unsigned long long)clock_ns());
}

static uint64_t in_flight(const struct delivery *delivery)
{
    const uint64_t over = delivery->given_up + atomic_load(&delivery->crowd.log.completed);

    return over > delivery->publisher.published ? 0 : delivery->publisher.published - over;
}

/* A channel uses one line, so that its messages stay in order. A single channel uses all lines in turn. */
static void publish_one(struct delivery *delivery, uint64_t time_ns)
{
    struct publisher *publisher = &delivery->publisher;
    uint32_t          channel   = 0;
    uint64_t          line      = publisher->published;
    if (delivery->shape == CROWD_APART)
        line = channel = (uint32_t)rng_below(&delivery->rng, publisher->channel_count);
    publisher_say(publisher, (unsigned)(line % publisher->line_count), &channel, 1, time_ns);
}

/* --- a message for each, before anything counts ------------------------------------------------------------------- */

/* Returns how many readers still wait for their first message. */
static uint32_t greet_once(struct delivery *delivery)
{
    struct publisher *publisher = &delivery->publisher;
    uint32_t          waiting   = 0;
    const uint64_t    until     = clock_ns() + GREET_NS;

    for (uint32_t channel = 0; channel < publisher->channel_count; channel++) {
        if (crowd_has_heard(&delivery->crowd, channel))
            continue;
        waiting++;
        while (in_flight(delivery) >= delivery->options->in_flight && clock_ns() < until) {
            publisher_flush(publisher);
            crowd_turn(&delivery->crowd, TURN_NS);
        }
        publisher_say(publisher, channel % publisher->line_count, &channel, 1, clock_ns());
    }
    publisher_flush(publisher);
    while (in_flight(delivery) > 0 && clock_ns() < until)
        crowd_turn(&delivery->crowd, TURN_NS);
    delivery->given_up += in_flight(delivery);
    return waiting;
}

/* A peer may confirm a subscription before all of its nodes know of it. What it loses then is not what is measured. */
static void greet(struct delivery *delivery)
{
    unsigned rounds = 0;

    while (greet_once(delivery) > 0)
        if (++rounds > GREET_ROUNDS)
            die("a reader got none of %d messages", GREET_ROUNDS);
    crowd_restart(&delivery->crowd);
}

/* --- the run ---------------------------------------------------------------------------------------------------------- */

/* Publishes what is due; returns the time until more is due. */
static uint64_t publish_due(struct delivery *delivery, uint64_t *next_ns)
{
    uint64_t now = clock_ns();
    if (delivery->interval_ns == 0) {
        while (in_flight(delivery) < delivery->options->in_flight)
            publish_one(delivery, now);
        return TURN_NS;
    }
    for (; *next_ns <= now; *next_ns += delivery->interval_ns) {
        if (in_flight(delivery) >= DELIVERY_LOG_SLOTS / 2)
            die("the server can't keep up with the rate");
        /* A message is stamped with the time at which it was due, so that a delay of the benchmark counts, too. */
        publish_one(delivery, *next_ns);
    }
    return *next_ns - now;
}

/* Publishes for so long, then waits until all messages have arrived or none arrives any more. */
static struct books deliver_for(struct delivery *delivery, uint64_t length_ns)
{
    uint64_t before = delivery->publisher.published, seen = atomic_load(&delivery->crowd.log.completed);
    uint64_t next = clock_ns(), until = next + length_ns, moved = next;
    while (clock_ns() < until || in_flight(delivery) > 0) {
        uint64_t wait = clock_ns() < until ? publish_due(delivery, &next) : TURN_NS;
        publisher_flush(&delivery->publisher);
        crowd_turn(&delivery->crowd, wait);

        uint64_t now = clock_ns(), completed = atomic_load(&delivery->crowd.log.completed);
        if (completed != seen || in_flight(delivery) == 0)
            moved = now;
        else if (now - moved > STALL_NS)
            break;
        seen = completed;
    }
    struct books books = { .count = crowd_count(&delivery->crowd) };
    books.published    = delivery->publisher.published - before;
    books.expected     = books.published * (delivery->shape == CROWD_APART ? 1 : delivery->options->subscribers);
    return books;
}

static bool books_are_exact(const struct books *books)
{
    const struct crowd_count *count = &books->count;
    return count->received == books->expected && count->doubled == 0 && count->late == 0 && count->strayed == 0;
}

static uint64_t books_lost(const struct books *books)
{
    return books->expected > books->count.received ? books->expected - books->count.received : 0;
}

/* Exact, or at least as exact as this peer has to be. */
static bool books_will_do(const struct books *books, const struct options *options)
{
    return books_are_exact(books) || (options->may_lose && books->count.received > 0);
}

static void report_books(struct report *report, const struct books *books)
{
    report_count(report, "published", books->published);
    report_count(report, "deliveries", books->count.received);
    report_count(report, "lost", books_lost(books));
    report_count(report, "doubled", books->count.doubled);
    report_count(report, "out_of_order", books->count.late);
    report_count(report, "strayed", books->count.strayed);
}

static void report_latency(struct report *report, const struct crowd *crowd)
{
    struct histogram latency;
    crowd_latency(crowd, &latency);
    report_real(report, "p50_us", (double)histogram_quantile(&latency, 0.5) / NS_PER_US);
    report_real(report, "p99_us", (double)histogram_quantile(&latency, 0.99) / NS_PER_US);
    report_real(report, "p999_us", (double)histogram_quantile(&latency, 0.999) / NS_PER_US);
    report_real(report, "max_us", (double)latency.max_ns / NS_PER_US);
}

static void report_setting(struct report *report, const char *scenario, const struct options *options)
{
    report_begin(report);
    report_text(report, "scenario", scenario);
    report_text(report, "peer", options->peer);
    report_text(report, "transport", options->transport);
    report_count(report, "subscribers", options->subscribers);
    report_count(report, "publishers", options->publishers);
}

/* The warm-up is recorded, too: its faults count. */
static int deliver(struct delivery *delivery, const char *scenario)
{
    const struct options *options = delivery->options;
    struct meter          meter;
    struct report         report;
    if (options->is_greeted)
        greet(delivery);
    struct books          books = deliver_for(delivery, options->warmup_ms * NS_PER_MS);
    if (books_will_do(&books, options)) {
        delivery->given_up += in_flight(delivery);
        crowd_restart(&delivery->crowd);
        meter_start(&meter, options);
        books = deliver_for(delivery, options->seconds_ms * NS_PER_MS);
        meter_stop(&meter);
    } else {
        meter = (struct meter){ 0 };
    }
    report_setting(&report, scenario, options);
    report_count(&report, delivery->interval_ns > 0 ? "rate" : "in_flight",
                 delivery->interval_ns > 0 ? options->rate : options->in_flight);
    report_books(&report, &books);
    if (meter.wall_ns > 0)
        meter_report(&meter, &report, books.count.received);
    report_latency(&report, &delivery->crowd);
    report_end(&report);
    if (books_will_do(&books, options))
        return EXIT_SUCCESS;
    fputs("longwire-bench: the run was NOT exact\n", stderr);
    return EXIT_INEXACT;
}

static int deliver_to(const struct options *options, const char *scenario, enum crowd_shape shape, uint64_t interval_ns)
{
    struct delivery delivery = { .options = options, .shape = shape, .interval_ns = interval_ns, .rng = { 1 } };
    char            prefix[PREFIX_BYTES];
    scenario_prefix(options, "live:", prefix);
    struct target     target  = { .host = options->server, .prefix = prefix };
    struct crowd_plan readers = { .options      = options,
                                  .target       = &target,
                                  .shape        = shape,
                                  .reader_count = (uint32_t)options->subscribers,
                                  .streams      = (uint32_t)options->publishers };
    struct publisher_plan writers = { options, &target, "single", shape == CROWD_APART ? readers.reader_count : 1 };

    crowd_open(&delivery.crowd, &readers);
    publisher_open(&delivery.publisher, &delivery.crowd.threads[0].loop, &writers);
    int status = deliver(&delivery, scenario);
    publisher_close(&delivery.publisher);
    crowd_close(&delivery.crowd);
    return status;
}

int scenario_fanout(const struct options *options)
{
    return deliver_to(options, "fanout", CROWD_TOGETHER, 0);
}

int scenario_rate(const struct options *options)
{
    return deliver_to(options, "rate", CROWD_TOGETHER, NS_PER_S / options->rate);
}

int scenario_unicast(const struct options *options)
{
    return deliver_to(options, "unicast", CROWD_APART, 0);
}
