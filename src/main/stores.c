#include "main/stores.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "device/row_kind.h"
#include "main/random.h"
#include "reactor/log.h"
#include "reactor/loop.h"
#include "settings/url_list.h"
#include "store/mem.h"
#include "store/pg.h"
#include "store/redis.h"
#include "store/rocks.h"
#include "store/store_copy.h"
#include "store/shard_table.h"
#include "store/shards.h"

enum { URL_WHY_BYTES = 512, COPY_TELL_EACH = 100000, VOLATILE_WRITERS = 2, VOLATILE_READERS = 1 };

_Static_assert((int)STORE_URLS_MAX <= (int)SHARDS_MAX, "each database is a shard");

static struct rocks_store_options rocks_options_of(const struct settings *settings, struct namespaces *namespaces,
                                                   struct hash_key hash_key)
{
    return (struct rocks_store_options){
        .path               = settings->data,
        .epoch_new          = random_u64(),
        .spaces             = namespaces,
        .hash_key           = hash_key,
        .key_keep_ms        = settings->idempotency_window_s * 1000,
        .write_buffer_bytes = settings->write_buffer_bytes,
        .block_cache_bytes  = settings->store_memory_bytes,
        .reserve_bytes      = settings->disk_reserve_bytes,
        .is_reserve_default = settings->source_of[SETTING_disk_reserve_bytes] == FROM_DEFAULT,
    };
}

static void tell_strange(const struct store *store)
{
    if (store->strange[0] != '\0')
        LOG(LOG_WARN, "namespaces_not_configured", log_str("names", store->strange),
            log_str("notice", "there are channels of these namespaces, but no section [namespace NAME]: they are answered 404, and what they hold "
                              "stays where it is, for as long as they are not configured"));
}

static enum rc open_rocks(struct stores *stores, const struct settings *settings, struct namespaces *namespaces,
                          struct hash_key hash_key, char *why, size_t why_size)
{
    const struct rocks_store_options options = rocks_options_of(settings, namespaces, hash_key);
    enum rc                          rc      = rocks_store_open(&options, &stores->durable, why, why_size);

    if (rc == RC_OK && why[0] != '\0')
        LOG(LOG_WARN, "store_notice", log_str("notice", why));
    if (rc == RC_OK)
        tell_strange(stores->durable);
    return rc;
}

/* --- PostgreSQL ----------------------------------------------------------------------------------------------- */

/* The databases of the setting `store`, each a shard. */
struct databases {
    size_t             count;
    char               urls[STORE_URLS_MAX][STORE_URL_BYTES_MAX + 1];
    struct shard_place places[STORE_URLS_MAX];
    bool               are_made[STORE_URLS_MAX];  /* they have a place */
};

size_t stores_shard_count(const struct settings *settings)
{
    struct span rest = span_str(settings->store), url;
    size_t      count = 0;

    while (settings->store_kind == STORE_POSTGRES && url_list_next(&rest, &url))
        count++;
    return count == 0 ? 1 : count;
}

static void databases_init(struct databases *databases, const struct settings *settings)
{
    struct span rest = span_str(settings->store), url;

    *databases = (struct databases){ 0 };
    while (url_list_next(&rest, &url)) {
        must(databases->count < STORE_URLS_MAX);
        snprintf(databases->urls[databases->count++], sizeof databases->urls[0], "%.*s", SPAN_ARG(url));
    }
}

static void databases_fini(struct databases *databases)
{
    explicit_bzero(databases, sizeof *databases);
}

/* "postgres://longwire@db1/push: the database …" */
static void say_of_database(const char *url, const char *what, char *why, size_t why_size)
{
    struct buf shown;

    buf_init(&shown, STORE_URL_BYTES_MAX + 4096);
    url_put_shown(&shown, span_str(url));
    snprintf(why, why_size, "%.*s: %s", SPAN_ARG(buf_span(&shown)), what);
    buf_fini(&shown);
}

/* Which slots each has. Those that have no schema yet are noted. */
static enum rc databases_ask(struct databases *databases, char *why, size_t why_size)
{
    char what[URL_WHY_BYTES] = "";

    for (size_t i = 0; i < databases->count; i++) {
        enum rc rc = pg_store_ask(databases->urls[i], &databases->places[i], what, sizeof what);
        if (rc != RC_OK && rc != RC_GONE) {
            say_of_database(databases->urls[i], what, why, why_size);
            return rc;
        }
        databases->are_made[i] = rc == RC_OK;
    }
    return RC_OK;
}

/* The cluster that one of them belongs to already, or a new one. */
static uint64_t databases_cluster(const struct databases *databases)
{
    for (size_t i = 0; i < databases->count; i++)
        if (databases->are_made[i])
            return databases->places[i].cluster;
    return random_u64();
}

static enum rc databases_make(struct databases *databases, char *why, size_t why_size)
{
    uint64_t cluster             = databases_cluster(databases);
    char     what[URL_WHY_BYTES] = "";

    for (size_t i = 0; i < databases->count; i++)
        if (databases->are_made[i] &&
            !shard_place_fits(&databases->places[i], cluster, i, databases->count, why, why_size))
            return RC_BAD;
    for (size_t i = 0; i < databases->count; i++) {
        struct shard_place place = shard_place_new(cluster, i, databases->count);
        enum rc            rc    = pg_store_init(databases->urls[i], &place, i, databases->count, what,
                                                         sizeof what);
        say_of_database(databases->urls[i], rc == RC_OK ? "the schema is there" : what, why, why_size);
        if (rc != RC_OK)
            return rc;
        size_t len = strlen(why);
        if (i + 1 < databases->count && len + 2 < why_size) {
            why[len] = '\n';
            why += len + 1;
            why_size -= len + 1;
        }
    }
    return RC_OK;
}

/* A database that the list names twice, under two URLs, had no place yet when it was asked, and was made only once. */
static enum rc databases_check(struct databases *databases, char *why, size_t why_size)
{
    uint8_t shard_of_slot[SLOT_COUNT];
    enum rc rc = databases_ask(databases, why, why_size);

    if (rc == RC_OK && !shard_table_make(databases->places, databases->count, shard_of_slot, why, why_size))
        rc = RC_BAD;
    return rc;
}

enum rc stores_init(const struct settings *settings, char *why, size_t why_size)
{
    struct databases databases;

    if (settings->store_kind != STORE_POSTGRES) {
        snprintf(why, why_size, "--init makes the schema of a PostgreSQL database: --store must be postgres://…; other stores need none");
        return RC_BAD;
    }
    databases_init(&databases, settings);
    enum rc rc = databases_ask(&databases, why, why_size);
    if (rc == RC_OK)
        rc = databases_make(&databases, why, why_size);
    if (rc == RC_OK)
        rc = databases_check(&databases, why, why_size);
    databases_fini(&databases);
    return rc;
}

/* A row lies in the slot of the name that it begins with. Those of nobody lie beside `sys:control`, so that a revocation
 * is one commit. */
static unsigned slot_of_ledger_key(const struct ledger_key *key)
{
    bool is_of_nobody = key->kind == ROW_REVOCATION || key->kind == ROW_SECRET;

    return is_of_nobody ? slot_of_channel(SPAN("sys:control")) : slot_of_row(key->bytes);
}

/* --- the copy ------------------------------------------------------------------------------------------------- */

/* On a terminal, and once in a while elsewhere. */
static void copy_told(void *ctx, const struct store_copied *copied)
{
    uint64_t *told = ctx;

    if (copied->messages + copied->rows < *told + COPY_TELL_EACH)
        return;
    *told = copied->messages + copied->rows;
    printf("%llu channels, %llu messages, %llu keys, %llu rows\n", (unsigned long long)copied->channels,
           (unsigned long long)copied->messages, (unsigned long long)copied->keys, (unsigned long long)copied->rows);
    fflush(stdout);
}

enum rc stores_copy(struct settings *settings, char *why, size_t why_size)
{
    const struct hash_key hash_key = { random_u64(), random_u64() };
    struct databases      databases;
    const char           *urls[STORE_URLS_MAX];
    struct store_copied   copied;
    uint64_t              told = 0;

    if (settings->store_kind != STORE_POSTGRES) {
        snprintf(why, why_size, "--copy fills PostgreSQL databases: --store must be postgres://…");
        return RC_BAD;
    }
    if (access(settings->data, F_OK) != 0) {
        snprintf(why, why_size, "there is no data directory %s to copy", settings->data);
        return RC_GONE;
    }
    databases_init(&databases, settings);
    for (size_t i = 0; i < databases.count; i++)
        urls[i] = databases.urls[i];
    const struct store_copy_options options = {
        .from = rocks_options_of(settings, &settings->namespaces, hash_key), .to = urls, .to_count = databases.count,
        .slot_of = slot_of_ledger_key, .wall = clock_wall(), .told = copy_told, .ctx = &told,
    };
    const enum rc rc = store_copy(&options, &copied, why, why_size);
    databases_fini(&databases);
    if (rc == RC_OK)
        snprintf(why, why_size, "copied and compared: %llu channels, %llu messages, %llu keys, %llu rows",
                 (unsigned long long)copied.channels, (unsigned long long)copied.messages, (unsigned long long)copied.keys,
                 (unsigned long long)copied.rows);
    return rc;
}

/* --- several databases ---------------------------------------------------------------------------------------- */

/* Opens them one after the other; those that are open already are closed if one can't be. */
static enum rc databases_open_each(const struct databases *databases, struct pg_store_options *options,
                                   struct store *ret_shards[STORE_URLS_MAX], char *why, size_t why_size)
{
    char   what[URL_WHY_BYTES] = "";
    size_t count               = 0;

    for (; count < databases->count; count++) {
        options->url = databases->urls[count];
        enum rc rc   = pg_store_open(options, &ret_shards[count], what, sizeof what);
        if (rc == RC_OK)
            continue;
        say_of_database(options->url, what, why, why_size);
        while (count-- > 0)
            ret_shards[count]->ops->close(ret_shards[count]);
        return rc;
    }
    return RC_OK;
}

static enum rc databases_open(const struct databases *databases, struct pg_store_options *options, struct store **ret,
                              char *why, size_t why_size)
{
    struct store         *stores[STORE_URLS_MAX];
    struct shards_options shards = { .stores = stores, .count = databases->count, .slot_of = slot_of_ledger_key };

    for (size_t i = 0; i < databases->count; i++)
        if (!databases->are_made[i]) {
            say_of_database(databases->urls[i], "the database has no schema for Longwire yet: run longwired with the same "
                            "--store and --init once", why, why_size);
            return RC_GONE;
        }
    if (!shard_table_make(databases->places, databases->count, shards.shard_of_slot, why, why_size))
        return RC_BAD;
    enum rc rc = databases_open_each(databases, options, stores, why, why_size);
    for (size_t i = 0; rc == RC_OK && i < databases->count; i++)
        tell_strange(stores[i]);
    if (rc == RC_OK)
        *ret = databases->count == 1 ? stores[0] : shards_new(&shards);
    return rc;
}

static enum rc open_postgres(struct stores *stores, const struct settings *settings, struct namespaces *namespaces,
                             struct hash_key hash_key, char *why, size_t why_size)
{
    struct pg_store_options options = {
        .spaces = namespaces, .hash_key = hash_key, .key_keep_ms = settings->idempotency_window_s * 1000,
    };
    struct databases        databases;

    databases_init(&databases, settings);
    enum rc rc = databases_ask(&databases, why, why_size);
    if (rc == RC_OK)
        rc = databases_open(&databases, &options, &stores->durable, why, why_size);
    if (rc == RC_OK && settings->cluster_kind == CLUSTER_POSTGRES) {
        options.is_volatile  = true;
        options.writer_count = VOLATILE_WRITERS;
        options.reader_count = VOLATILE_READERS;
        rc = databases_open(&databases, &options, &stores->memory, why, why_size);
    }
    if (rc == RC_OK)
        stores->cluster = databases.places[0].cluster;
    for (size_t i = 0; rc == RC_OK && i < databases.count; i++)
        if (databases.places[i].first_slot == 0)
            stores->first = i;
    databases_fini(&databases);
    return rc;
}

/* --- all ------------------------------------------------------------------------------------------------------ */

enum rc stores_repair(struct settings *settings, char *why, size_t why_size)
{
    const struct hash_key      hash_key = { random_u64(), random_u64() };
    struct rocks_store_options options  = rocks_options_of(settings, &settings->namespaces, hash_key);
    struct store              *store    = NULL;

    options.may_repair = true;
    if (settings->store_kind == STORE_POSTGRES) {
        snprintf(why, why_size, "a PostgreSQL store is not repaired from here: restore the database from a backup");
        return RC_BAD;
    }
    if (settings->store_kind == STORE_MEMORY || access(settings->data, F_OK) != 0) {
        snprintf(why, why_size, "there is no data directory %s to repair", settings->data);
        return RC_GONE;
    }
    const enum rc rc = rocks_store_open(&options, &store, why, why_size);
    if (rc == RC_OK)
        store->ops->close(store);
    return rc;
}

/* The channels of a cluster that are not durable lie where all nodes reach them. */
static enum rc open_shared_memory(struct stores *stores, const struct settings *settings, struct namespaces *namespaces,
                                  struct hash_key hash_key, char *why, size_t why_size)
{
    const struct redis_store_options options = {
        .url = settings->cluster, .spaces = namespaces, .hash_key = hash_key, .key_keep_ms = settings->idempotency_window_s * 1000,
    };

    return redis_store_open(&options, &stores->memory, why, why_size);
}

enum rc stores_open(struct stores *stores, const struct settings *settings, struct namespaces *namespaces,
                    struct hash_key hash_key, char *why, size_t why_size)
{
    const struct mem_store_options memory = {
        .epoch_first = random_u64() >> 1,
        .id_first    = (uint64_t)clock_wall() << 10,  /* above all ids of earlier runs, below 2^53 */
        .hash_key    = { random_u64(), random_u64() },
        .key_keep_ms = settings->idempotency_window_s * 1000,
    };

    enum rc rc = RC_OK;
    if (settings->cluster_kind == CLUSTER_REDIS)
        rc = open_shared_memory(stores, settings, namespaces, hash_key, why, why_size);
    else if (settings->cluster_kind != CLUSTER_POSTGRES)
        stores->memory = mem_store_new(&memory);
    if (rc != RC_OK)
        return rc;
    if (settings->store_kind == STORE_POSTGRES)
        return open_postgres(stores, settings, namespaces, hash_key, why, why_size);
    if (settings->store_kind != STORE_MEMORY)
        return open_rocks(stores, settings, namespaces, hash_key, why, why_size);
    stores->durable = mem_store_new(&memory);
    return RC_OK;
}

struct shard_engines stores_engines(const struct stores *stores)
{
    return (struct shard_engines){ stores->durable->ops->engine, stores->memory->ops->engine };
}

msec stores_wall_seen(const struct stores *stores, const struct settings *settings)
{
    return settings->believe_clock ? 0 : stores->durable->wall_seen;
}

static void close_store(struct store **store)
{
    if (*store != NULL)
        (*store)->ops->close(*store);
    *store = NULL;
}

void stores_close_threaded(struct stores *stores)
{
    close_store(&stores->durable);
    if (stores->memory != NULL && !stores->memory->is_inline)
        close_store(&stores->memory);
}

void stores_close_inline(struct stores *stores)
{
    close_store(&stores->memory);
}
