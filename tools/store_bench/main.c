/* store-bench - what the RocksDB maker costs, without a server around it.
 *
 *   store-bench DIR [--count N] [--batch B] [--flight F] [--channels C] [--payload P] [--buffer BYTES] [--keys]
 *               [--reads N]
 *
 * F batches of B appends each are always under way, to random channels. Prints appends a second and CPU (user and
 * system, all threads) per append; then closes, measures the directory, opens again and reads random pages. */
#include <ftw.h>
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/must.h"
#include "base/rng.h"
#include "store/rocks.h"

enum { KEY_BYTES = 24, PAGE_ENTRIES = 100, PAGE_BYTES_MAX = 1 << 20, WHY_BYTES = 400 };

struct settings {
    const char *path;
    uint64_t    count, batch, flight, channels, payload, reads, buffer_bytes;
    bool        has_keys;
};

struct flight;

struct bench {
    struct settings       settings;
    struct namespaces     spaces;
    struct hash_key       hash_key;
    struct store         *store;
    struct channel_name **names;
    struct rng            rng;
    pthread_mutex_t       lock;
    pthread_cond_t        landed;
    struct flight        *free_flights;
    uint64_t              keys_made;
};

struct flight {
    struct append_batch batch;
    struct bench       *bench;
    struct append      *appends;
    char              (*keys)[KEY_BYTES];
    struct flight      *next;
};

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static double cpu_seconds(void)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    return seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
}

static double wall_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static msec wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (msec)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- appends ---------------------------------------------------------------------------------------------------- */

static void on_landed(struct append_batch *batch)
{
    struct flight *flight = container_of(batch, struct flight, batch);
    struct bench  *bench  = flight->bench;

    pthread_mutex_lock(&bench->lock);
    flight->next        = bench->free_flights;
    bench->free_flights = flight;
    pthread_cond_signal(&bench->landed);
    pthread_mutex_unlock(&bench->lock);
}

static struct flight *flight_take(struct bench *bench)
{
    pthread_mutex_lock(&bench->lock);
    while (bench->free_flights == NULL)
        pthread_cond_wait(&bench->landed, &bench->lock);
    struct flight *flight = bench->free_flights;
    bench->free_flights   = flight->next;
    pthread_mutex_unlock(&bench->lock);
    return flight;
}

static void flight_clear(struct flight *flight)
{
    for (uint64_t i = 0; i < flight->batch.count; i++) {
        must(flight->appends[i].outcome == APPEND_DONE);
        message_unref(flight->appends[i].message);
    }
    flight->batch.count = 0;
}

/* Half random letters, so that it compresses about as text does. */
static void payload_fill(struct rng *rng, char *at, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++)
        at[i] = (char)(i % 2 == 0 ? 'a' + (int)rng_below(rng, 26) : ' ');
}

static void append_fill(struct bench *bench, struct flight *flight, uint64_t at)
{
    struct channel_name *name   = bench->names[rng_below(&bench->rng, bench->settings.channels)];
    struct append       *append = &flight->appends[at];

    *append         = (struct append){ 0 };
    append->message = message_new(name, MESSAGE_PLAIN, NULL, (uint32_t)bench->settings.payload, SPAN("text/plain"),
                                  (struct span){ 0 });
    payload_fill(&bench->rng, append->message->bytes, bench->settings.payload);
    append->message->time = flight->batch.wall;
    if (bench->settings.has_keys) {
        int len     = snprintf(flight->keys[at], KEY_BYTES, "key-%llu", (unsigned long long)bench->keys_made++);
        append->key = span_of(flight->keys[at], (size_t)len);
    }
    list_push(&flight->batch.appends, &append->link);
}

static void flight_send(struct bench *bench, struct flight *flight)
{
    flight_clear(flight);
    list_init(&flight->batch.appends);
    flight->batch.wall = wall_ms();
    for (uint64_t i = 0; i < bench->settings.batch; i++)
        append_fill(bench, flight, i);
    flight->batch.count = bench->settings.batch;
    bench->store->ops->append(bench->store, &flight->batch);
}

static struct flight *flight_new(struct bench *bench)
{
    struct flight *flight = calloc(1, sizeof *flight);

    must(flight != NULL);
    flight->bench      = bench;
    flight->batch.done = on_landed;
    flight->appends    = calloc(bench->settings.batch, sizeof *flight->appends);
    flight->keys       = calloc(bench->settings.batch, sizeof *flight->keys);
    must(flight->appends != NULL && flight->keys != NULL);
    return flight;
}

static void flight_free(struct flight *flight)
{
    flight_clear(flight);
    free(flight->appends);
    free(flight->keys);
    free(flight);
}

static void appends_run(struct bench *bench)
{
    for (uint64_t i = 0; i < bench->settings.flight; i++)
        on_landed(&flight_new(bench)->batch);
    double cpu = cpu_seconds(), wall = wall_seconds();
    for (uint64_t done = 0; done < bench->settings.count; done += bench->settings.batch)
        flight_send(bench, flight_take(bench));
    for (uint64_t i = 0; i < bench->settings.flight; i++)
        flight_free(flight_take(bench));
    cpu  = cpu_seconds() - cpu;
    wall = wall_seconds() - wall;

    struct store_stats stats;
    bench->store->ops->stats(bench->store, &stats);
    printf("append   %.0f a second, %.2f us CPU each, %.0f a sync, %.0f us a sync\n",
           (double)bench->settings.count / wall, cpu * 1e6 / (double)bench->settings.count,
           (double)stats.append_count / (double)stats.sync_count, (double)stats.sync_us_sum / (double)stats.sync_count);
}

/* --- reads ------------------------------------------------------------------------------------------------------ */

struct reading {
    struct store_read read;
    struct bench     *bench;
    bool              is_done;
};

static void on_read(struct store_read *read)
{
    struct reading *reading = container_of(read, struct reading, read);

    pthread_mutex_lock(&reading->bench->lock);
    reading->is_done = true;
    pthread_cond_signal(&reading->bench->landed);
    pthread_mutex_unlock(&reading->bench->lock);
}

static void read_one(struct bench *bench, uint32_t limit, const char *channel)
{
    struct reading       reading = { .bench = bench };
    struct channel_name *name    = NULL;

    must(channel_name_new(&bench->spaces, &bench->hash_key, span_str(channel), &name) == CHANNEL_NAME_OK);
    reading.read = (struct store_read){ .channel = name, .way = READ_BEFORE, .limit = limit,
                                        .bytes_max = PAGE_BYTES_MAX, .wall = wall_ms(), .done = on_read };
    bench->store->ops->read(bench->store, &reading.read);
    pthread_mutex_lock(&bench->lock);
    while (!reading.is_done)
        pthread_cond_wait(&bench->landed, &bench->lock);
    pthread_mutex_unlock(&bench->lock);
    if (reading.read.rc != RC_OK)
        fprintf(stderr, "read of %s: %s\n", channel, rc_text(reading.read.rc));
    store_read_fini(&reading.read);
    channel_name_unref(name);
}

static void reads_run(struct bench *bench, const char *what, uint32_t limit, const char *format)
{
    double cpu = cpu_seconds(), wall = wall_seconds();

    for (uint64_t i = 0; i < bench->settings.reads; i++) {
        char channel[64];
        snprintf(channel, sizeof channel, format, (unsigned long long)rng_below(&bench->rng, bench->settings.channels));
        read_one(bench, limit, channel);
    }
    printf("%-8s %.1f us each, %.1f us CPU\n", what, (wall_seconds() - wall) * 1e6 / (double)bench->settings.reads,
           (cpu_seconds() - cpu) * 1e6 / (double)bench->settings.reads);
}

/* --- all of it -------------------------------------------------------------------------------------------------- */

static uint64_t directory_bytes;

static int add_bytes(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)path, (void)where;
    directory_bytes += kind == FTW_F ? (uint64_t)about->st_blocks * 512 : 0;
    return 0;
}

static void bench_open(struct bench *bench)
{
    const struct rocks_store_options options = {
        .path = bench->settings.path, .epoch_new = 1, .spaces = &bench->spaces, .hash_key = bench->hash_key,
        .write_buffer_bytes = bench->settings.buffer_bytes,
    };
    char   why[WHY_BYTES];
    double wall = wall_seconds();

    if (rocks_store_open(&options, &bench->store, why, sizeof why) != RC_OK) {
        fprintf(stderr, "store-bench: %s\n", why);
        exit(1);
    }
    printf("open     %.2f s\n", wall_seconds() - wall);
}

static void names_make(struct bench *bench)
{
    bench->names = calloc(bench->settings.channels, sizeof *bench->names);
    must(bench->names != NULL);
    for (uint64_t i = 0; i < bench->settings.channels; i++) {
        char text[64];
        snprintf(text, sizeof text, "topic:channel-%llu", (unsigned long long)i);
        must(channel_name_new(&bench->spaces, &bench->hash_key, span_str(text), &bench->names[i]) == CHANNEL_NAME_OK);
    }
}

static struct settings settings_read(int argc, char **argv)
{
    struct settings settings = { .count = 2000000, .batch = 128, .flight = 2, .channels = 10000, .payload = 200,
                                 .reads = 2000 };
    static const struct option long_options[] = {
        { "count", 1, NULL, 'n' },    { "batch", 1, NULL, 'b' }, { "flight", 1, NULL, 'f' },
        { "channels", 1, NULL, 'c' }, { "payload", 1, NULL, 'p' }, { "reads", 1, NULL, 'r' },
        { "buffer", 1, NULL, 'w' },   { "keys", 0, NULL, 'k' },  { 0 },
    };

    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        uint64_t value = optarg == NULL ? 0 : strtoull(optarg, NULL, 10);
        switch (option) {
        case 'n': settings.count = value; break;
        case 'b': settings.batch = value; break;
        case 'f': settings.flight = value; break;
        case 'c': settings.channels = value; break;
        case 'p': settings.payload = value; break;
        case 'r': settings.reads = value; break;
        case 'w': settings.buffer_bytes = value; break;
        case 'k': settings.has_keys = true; break;
        default: exit(2);
        }
    }
    settings.path = optind < argc ? argv[optind] : NULL;
    return settings;
}

int main(int argc, char **argv)
{
    struct bench bench = { .settings = settings_read(argc, argv), .hash_key = { 1, 2 }, .rng = { 42 } };

    if (bench.settings.path == NULL || bench.settings.batch == 0 || bench.settings.flight == 0) {
        fprintf(stderr, "usage: store-bench DIR [--count N] [--batch B] [--flight F] [--channels C] [--payload P] "
                        "[--buffer BYTES] [--keys] [--reads N]\n");
        return 2;
    }
    pthread_mutex_init(&bench.lock, NULL);
    pthread_cond_init(&bench.landed, NULL);
    namespaces_init(&bench.spaces);
    names_make(&bench);
    bench_open(&bench);
    appends_run(&bench);

    double wall = wall_seconds();
    bench.store->ops->close(bench.store);
    printf("close    %.2f s\n", wall_seconds() - wall);
    nftw(bench.settings.path, add_bytes, 16, FTW_PHYS);
    printf("disk     %.0f bytes a message\n", (double)directory_bytes / (double)bench.settings.count);
    bench_open(&bench);
    if (bench.settings.reads > 0) {
        reads_run(&bench, "page", PAGE_ENTRIES, "topic:channel-%llu");
        reads_run(&bench, "info", 0, "topic:channel-%llu");
        reads_run(&bench, "fresh", 0, "topic:fresh-%llu");
    }
    bench.store->ops->close(bench.store);
    for (uint64_t i = 0; i < bench.settings.channels; i++)
        channel_name_unref(bench.names[i]);
    free(bench.names);
    return 0;
}
