/* postgres-loop - the raw batched loop on PostgreSQL, against which durable publishes are measured.
 *
 *   postgres-loop URL [--connections 4] [--batch 64] [--channels 10000] [--payload 128] [--seconds-ms 3000] [--warmup-ms 500]
 *
 * The least that numbers messages densely and stores them: each connection has one transaction under way, which is one
 * statement. It raises the heads of the channels of a batch in the order of their numbers, inserts the messages and
 * returns their seqs. The client draws the channels, sends the payloads, and reads every seq. The tables hold no more than
 * that, and are kept from run to run, as a server's are; connections share no channel, so none waits for another one. Prints a line of JSON:
 * messages a second, the client's own processor time a message, and how many messages there were with those of the time before. */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/must.h"
#include "base/rng.h"
#include "base/span.h"
#include "store/pg_args.h"

enum { CONNECTIONS_MAX = 64, PAYLOAD_MAX = 65536, EXIT_USAGE = 2, WAIT_MS = 10000 };

struct loop_settings {
    const char *url;
    uint64_t    connections, batch, channels, payload, seconds_ms, warmup_ms;
};

struct loop_link {
    PGconn        *conn;
    struct pg_args args;
    uint64_t       number;  /* its channels are number, number + connections, … */
};

static const char TABLES[] =
    "set client_min_messages = error; create table if not exists raw_head (channel bigint primary key, head bigint not null) with (fillfactor = 70);"
    "create table if not exists raw_message (channel bigint not null, seq bigint not null, payload bytea not null,"
    " primary key (channel, seq));";

static const char HEADS[] = "insert into raw_head select i, 0 from generate_series(0, %llu) i on conflict do nothing; analyze raw_head";

static const char BATCH[] =
    "with given as materialized (select channel, payload, row_number() over (partition by channel) as at,"
    " count(*) over (partition by channel) as count from unnest($1::bigint[], $2::bytea[]) u(channel, payload)),"
    " raised as (insert into raw_head as h (channel, head) select channel, count from given where at = 1 order by channel"
    " on conflict (channel) do update set head = h.head + excluded.head returning channel, head)"
    " insert into raw_message select g.channel, r.head - g.count + g.at, g.payload from given g join raised r using (channel)"
    " returning channel, seq";

_Noreturn static void loop_die(const char *what, const char *why)
{
    fprintf(stderr, "postgres-loop: %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void loop_run(PGconn *conn, const char *text)
{
    PGresult *result = PQexec(conn, text);

    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        loop_die("PostgreSQL", PQerrorMessage(conn));
    PQclear(result);
}

static void link_open(struct loop_link *link, const char *url)
{
    link->conn = PQconnectdb(url);
    if (PQstatus(link->conn) != CONNECTION_OK)
        loop_die("PostgreSQL", PQerrorMessage(link->conn));
    loop_run(link->conn, "set jit = off");
    pg_args_init(&link->args);
}

static void link_prepare(struct loop_link *link)
{
    PGresult *result = PQprepare(link->conn, "batch", BATCH, 0, NULL);

    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        loop_die("prepare", PQerrorMessage(link->conn));
    PQclear(result);
    must(PQenterPipelineMode(link->conn) == 1);
}

static uint64_t link_channel(const struct loop_link *link, const struct loop_settings *settings, struct rng *rng)
{
    return rng_below(rng, settings->channels / settings->connections) * settings->connections + link->number;
}

static void link_send(struct loop_link *link, const struct loop_settings *settings, struct rng *rng)
{
    static char bytes[PAYLOAD_MAX];

    memset(bytes, 'l', settings->payload);
    pg_args_clear(&link->args);
    pg_args_arrays(&link->args, "ib");
    for (uint64_t i = 0; i < settings->batch; i++) {
        pg_push_i64(&link->args, 0, (int64_t)link_channel(link, settings, rng));
        pg_push_bytes(&link->args, 1, span_of(bytes, settings->payload));
    }
    if (!pg_args_send(&link->args, link->conn, "batch") || PQpipelineSync(link->conn) != 1 || PQflush(link->conn) < 0)
        loop_die("PostgreSQL", PQerrorMessage(link->conn));
}

/* The messages of an answer; 0: it is the end of a statement, or of the transaction. */
static uint64_t link_take(struct loop_link *link, bool *ret_is_over)
{
    PGresult *result = PQgetResult(link->conn);
    uint64_t  count  = 0;

    if (result == NULL)
        return 0;
    if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
        *ret_is_over = true;
    else if (PQresultStatus(result) != PGRES_TUPLES_OK)
        loop_die("batch", PQresultErrorMessage(result));
    for (int i = 0; i < PQntuples(result); i++)
        count += pg_i64(result, i, 1) > 0;
    PQclear(result);
    return count;
}

/* Takes what has come; and sends the next batch, if this one is over. */
static uint64_t link_go(struct loop_link *link, const struct loop_settings *settings, struct rng *rng)
{
    uint64_t count   = 0;
    bool     is_over = false;

    if (PQflush(link->conn) < 0 || PQconsumeInput(link->conn) != 1)
        loop_die("PostgreSQL", PQerrorMessage(link->conn));
    while (!is_over && !PQisBusy(link->conn))
        count += link_take(link, &is_over);
    if (is_over)
        link_send(link, settings, rng);
    return count;
}

static uint64_t links_go(struct loop_link *links, const struct loop_settings *settings, struct rng *rng)
{
    struct pollfd fds[CONNECTIONS_MAX];
    uint64_t      count = 0;

    for (uint64_t i = 0; i < settings->connections; i++)
        fds[i] = (struct pollfd){ .fd = PQsocket(links[i].conn), .events = POLLIN };
    if (poll(fds, settings->connections, WAIT_MS) <= 0)
        loop_die("PostgreSQL", "no answer in 10 s");
    for (uint64_t i = 0; i < settings->connections; i++)
        if (fds[i].revents != 0)
            count += link_go(&links[i], settings, rng);
    return count;
}

static uint64_t loop_for(struct loop_link *links, const struct loop_settings *settings, struct rng *rng, double seconds)
{
    uint64_t count = 0;

    for (double until = seconds_now() + seconds; seconds_now() < until;)
        count += links_go(links, settings, rng);
    return count;
}

static void settings_read(struct loop_settings *settings, int argc, char **argv)
{
    static const struct option options[] = {
        { "connections", required_argument, NULL, 'c' }, { "batch", required_argument, NULL, 'b' },
        { "channels", required_argument, NULL, 'n' },    { "payload", required_argument, NULL, 'p' },
        { "seconds-ms", required_argument, NULL, 's' },  { "warmup-ms", required_argument, NULL, 'w' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t *numbers['w' + 1] = { ['c'] = &settings->connections, ['b'] = &settings->batch, ['n'] = &settings->channels,
                                   ['p'] = &settings->payload,     ['s'] = &settings->seconds_ms,
                                   ['w'] = &settings->warmup_ms };
    int at;

    while ((at = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (at == '?' || !span_u64(span_str(optarg), numbers[at]) || *numbers[at] == 0)
            exit(EXIT_USAGE);
    }
    if (optind + 1 != argc || settings->connections > CONNECTIONS_MAX || settings->channels < settings->connections ||
        settings->payload > PAYLOAD_MAX)
        exit(EXIT_USAGE);
    settings->url = argv[optind];
}

int main(int argc, char **argv)
{
    struct loop_settings settings = { NULL, 4, 64, 10000, 128, 3000, 500 };
    struct loop_link     links[CONNECTIONS_MAX];
    struct rng           rng = { 1 };
    char                 heads[sizeof HEADS + 20];

    settings_read(&settings, argc, argv);
    for (uint64_t i = 0; i < settings.connections; i++)
        link_open(&links[i], settings.url);
    loop_run(links[0].conn, TABLES);
    snprintf(heads, sizeof heads, HEADS, (unsigned long long)settings.channels - 1);
    loop_run(links[0].conn, heads);
    for (uint64_t i = 0; i < settings.connections; i++) {
        links[i].number = i;
        link_prepare(&links[i]);
        link_send(&links[i], &settings, &rng);
    }
    uint64_t before = loop_for(links, &settings, &rng, (double)settings.warmup_ms / 1000);
    double   begun = seconds_now(), cpu = cpu_seconds();
    uint64_t count   = loop_for(links, &settings, &rng, (double)settings.seconds_ms / 1000);
    double   elapsed = seconds_now() - begun;

    printf("{\"per_second\":%.0f,\"messages\":%llu,\"client_cpu_us\":%.2f,\"with_warmup\":%llu}\n", (double)count / elapsed,
           (unsigned long long)count, (cpu_seconds() - cpu) / (double)count * 1e6, (unsigned long long)(before + count));
    for (uint64_t i = 0; i < settings.connections; i++) {
        PQfinish(links[i].conn);
        pg_args_fini(&links[i].args);
    }
    return EXIT_SUCCESS;
}
