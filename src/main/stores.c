#include "main/stores.h"

#include <stdio.h>
#include <unistd.h>

#include "main/random.h"
#include "reactor/log.h"
#include "reactor/loop.h"
#include "store/mem.h"
#include "store/rocks.h"

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

enum rc stores_repair(struct settings *settings, char *why, size_t why_size)
{
    const struct hash_key      hash_key = { random_u64(), random_u64() };
    struct rocks_store_options options  = rocks_options_of(settings, &settings->namespaces, hash_key);
    struct store              *store    = NULL;

    options.may_repair = true;
    if (settings->store == STORE_MEMORY || access(settings->data, F_OK) != 0) {
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
    if (settings->store != STORE_MEMORY)
        return open_rocks(stores, settings, namespaces, hash_key, why, why_size);
    stores->durable = mem_store_new(&memory);
    return RC_OK;
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
