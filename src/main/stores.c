#include "main/stores.h"

#include <stdio.h>
#include <unistd.h>

#include "main/random.h"
#include "reactor/log.h"
#include "reactor/loop.h"
#include "settings/url_list.h"
#include "store/mem.h"
#include "store/pg.h"
#include "store/rocks.h"

enum { URL_WHY_BYTES = 512 };

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

static enum rc open_rocks(struct stores *stores, const struct settings *settings, struct namespaces *namespaces,
                          struct hash_key hash_key, char *why, size_t why_size)
{
    const struct rocks_store_options options = rocks_options_of(settings, namespaces, hash_key);
    enum rc                          rc      = rocks_store_open(&options, &stores->durable, why, why_size);

    if (rc == RC_OK && why[0] != '\0')
        LOG(LOG_WARN, "store_notice", log_str("notice", why));
    return rc;
}

/* --- PostgreSQL ----------------------------------------------------------------------------------------------- */

/* "postgres://longwire@db1/push: the database …" */
static void say_of_database(struct span url, const char *what, char *why, size_t why_size)
{
    struct buf shown;

    buf_init(&shown, STORE_URL_BYTES_MAX + 4096);
    url_put_shown(&shown, url);
    snprintf(why, why_size, "%.*s: %s", SPAN_ARG(buf_span(&shown)), what);
    buf_fini(&shown);
}

static enum rc open_database(struct store **ret, const struct settings *settings, struct span url,
                             struct namespaces *namespaces, struct hash_key hash_key, char *why, size_t why_size)
{
    char                          text[STORE_URL_BYTES_MAX + 1], what[URL_WHY_BYTES] = "";
    const struct pg_store_options options = {
        .url = text, .spaces = namespaces, .hash_key = hash_key, .key_keep_ms = settings->idempotency_window_s * 1000,
    };

    snprintf(text, sizeof text, "%.*s", SPAN_ARG(url));
    enum rc rc = pg_store_open(&options, ret, what, sizeof what);
    if (rc != RC_OK)
        say_of_database(url, what, why, why_size);
    explicit_bzero(text, sizeof text);
    return rc;
}

static enum rc init_database(struct span url, char *why, size_t why_size)
{
    char text[STORE_URL_BYTES_MAX + 1], what[URL_WHY_BYTES] = "the schema is there";

    snprintf(text, sizeof text, "%.*s", SPAN_ARG(url));
    enum rc rc = pg_store_init(text, what, sizeof what);
    say_of_database(url, what, why, why_size);
    explicit_bzero(text, sizeof text);
    return rc;
}

enum rc stores_init(const struct settings *settings, char *why, size_t why_size)
{
    if (settings->store_kind != STORE_POSTGRES) {
        snprintf(why, why_size, "--init makes the schema of a PostgreSQL database: --store must be postgres://…; other stores need none");
        return RC_BAD;
    }
    return init_database(span_str(settings->store), why, why_size);
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

enum rc stores_open(struct stores *stores, const struct settings *settings, struct namespaces *namespaces,
                    struct hash_key hash_key, char *why, size_t why_size)
{
    const struct mem_store_options memory = {
        .epoch_first = random_u64() >> 1,
        .id_first    = (uint64_t)clock_wall() << 10,  /* above all ids of earlier runs, below 2^53 */
        .hash_key    = { random_u64(), random_u64() },
        .key_keep_ms = settings->idempotency_window_s * 1000,
    };

    stores->memory = mem_store_new(&memory);
    if (settings->store_kind == STORE_POSTGRES)
        return open_database(&stores->durable, settings, span_str(settings->store), namespaces, hash_key, why, why_size);
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

void stores_close_durable(struct stores *stores)
{
    close_store(&stores->durable);
}

void stores_close_memory(struct stores *stores)
{
    close_store(&stores->memory);
}
