/* What a short connection costs: connect, subscribe, close, again and again, --at-once at a time. Each connection
 * follows one of CHANNEL_COUNT channels. It closes as soon as its subscription is confirmed, with a plain TCP close,
 * whatever the protocol. */
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "bench/clock.h"
#include "bench/die.h"
#include "bench/loop.h"
#include "bench/meter.h"
#include "bench/scenario.h"

enum { CHANNEL_COUNT = 1000, TOKENS_BYTES_MAX = 64 << 20 };
#define STALL_NS (10 * NS_PER_S)

struct visit {
    const struct options *options;
    const struct target  *target;
    const struct dialect *dialect;
    struct loop           loop;
    struct buf            tokens;      /* the whole file … */
    struct span           tokens_left; /* … and what of it this round has not used */
    struct conn          *conns;
    unsigned             *free_conns;  /* a stack of indexes; an index that was closed is used again after the turn */
    unsigned              free_count;
    uint64_t              opened, done, wanted;
};

static void visit_on_heard(struct conn *conn, const struct note *note)
{
    struct visit *visit = conn->owner;
    if (note->heard != HEARD_READY)
        die("something came before the subscription was confirmed");
    conn->is_finished                       = true;
    visit->free_conns[visit->free_count++] = conn->index;
    visit->done++;
}

static void visit_read_tokens(struct visit *visit)
{
    char   part[65536];
    FILE  *file = fopen(visit->options->tokens, "r");
    size_t got;

    if (file == NULL)
        die("--tokens %s: %m", visit->options->tokens);
    while ((got = fread(part, 1, sizeof part, file)) > 0)
        buf_put(&visit->tokens, span_of(part, got));
    fclose(file);
    if (visit->tokens.len == 0 || buf_is_over(&visit->tokens))
        die("--tokens %s: it is empty or too long", visit->options->tokens);
}

/* Empty: there are none. */
static struct span visit_next_token(struct visit *visit)
{
    struct span token = SPAN("");

    if (visit->tokens_left.len == 0)
        visit->tokens_left = buf_span(&visit->tokens);
    span_cut(&visit->tokens_left, '\n', &token);
    return token;
}

static void visit_open(struct visit *visit, const struct sockaddr_in *server)
{
    unsigned     index = visit->free_conns[--visit->free_count];
    struct conn *conn  = &visit->conns[index];
    *conn       = (struct conn){ .on_heard = visit_on_heard, .owner = visit, .index = index };
    conn->client = (struct client){ .dialect = visit->dialect, .target = visit->target, .id = (uint32_t)visit->opened,
                                  .channel = (uint32_t)(visit->opened % CHANNEL_COUNT),
                                  .token   = visit_next_token(visit) };
    visit->opened++;
    conn_open(conn, &visit->loop, server);
}

static void visit_times(struct visit *visit, uint64_t count)
{
    struct sockaddr_in server = options_server(visit->options);
    uint64_t           moved  = clock_ns();
    visit->wanted += count;
    while (visit->done < visit->wanted) {
        while (visit->free_count > 0 && visit->opened < visit->wanted)
            visit_open(visit, &server);
        uint64_t before = visit->done;
        loop_turn(&visit->loop, NS_PER_S);
        if (visit->done != before)
            moved = clock_ns();
        else if (clock_ns() - moved > STALL_NS)
            die("no subscription was confirmed for %llu s", STALL_NS / NS_PER_S);
    }
}

static void visit_report(const struct options *options, const struct meter *meter)
{
    struct report report;
    report_begin(&report);
    report_text(&report, "scenario", "connect");
    report_text(&report, "peer", options->peer);
    report_text(&report, "transport", options->transport);
    report_count(&report, "connections", options->connections);
    report_count(&report, "at_once", options->at_once);
    meter_report(meter, &report, options->connections);
    report_end(&report);
}

int scenario_connect(const struct options *options)
{
    char prefix[PREFIX_BYTES];
    scenario_prefix(options, "live:", prefix);
    struct target target = { .host = options->server, .prefix = prefix };
    struct visit  visit  = { .options = options, .target = &target, .free_count = (unsigned)options->at_once };
    struct meter  meter;

    visit.dialect = dialect_subscriber(options->peer, options->transport);
    if (visit.dialect == NULL || visit.dialect->is_ready_at_once)
        die("%s doesn't confirm %s subscriptions", options->peer, options->transport);
    visit.conns      = calloc(options->at_once, sizeof *visit.conns);
    visit.free_conns = calloc(options->at_once, sizeof *visit.free_conns);
    must(visit.conns != NULL && visit.free_conns != NULL);
    for (unsigned i = 0; i < visit.free_count; i++)
        visit.free_conns[i] = i;

    buf_init(&visit.tokens, TOKENS_BYTES_MAX);
    if (options->tokens != NULL)
        visit_read_tokens(&visit);
    loop_open(&visit.loop);
    visit_times(&visit, options->connections / 10);
    meter_start(&meter, options);
    visit_times(&visit, options->connections);
    meter_stop(&meter);
    visit_report(options, &meter);
    loop_close(&visit.loop);
    buf_fini(&visit.tokens);
    free(visit.conns);
    free(visit.free_conns);
    return EXIT_SUCCESS;
}
