/* The compaction filter: RocksDB asks it, row by row, what to drop. RocksDB's threads call it, several at a time. */
#include <stdlib.h>

#include "base/must.h"
#include "store/rocks_priv.h"

struct filter_floor {
    struct map_node node;  /* its hash is the channel's number */
    uint64_t        floor;
};

void filter_floors_init(struct filter_floors *floors, size_t count_max)
{
    *floors = (struct filter_floors){ .count_max = count_max };
    pthread_mutex_init(&floors->lock, NULL);
    map_init(&floors->map);
}

static bool is_any(const struct map_node *node, const void *key)
{
    (void)node, (void)key;
    return true;
}

void filter_floors_clear(struct filter_floors *floors)
{
    pthread_mutex_lock(&floors->lock);
    for (size_t slot = 0; slot < floors->map.slot_count; slot++) {
        for (struct map_node *node = floors->map.slots[slot], *next; node != NULL; node = next) {
            next = node->next;
            free(container_of(node, struct filter_floor, node));
        }
    }
    map_fini(&floors->map);
    pthread_mutex_unlock(&floors->lock);
}

void filter_floors_fini(struct filter_floors *floors)
{
    filter_floors_clear(floors);
    pthread_mutex_destroy(&floors->lock);
}

void filter_floors_set_wall(struct filter_floors *floors, msec wall)
{
    pthread_mutex_lock(&floors->lock);
    floors->wall = wall;
    if (floors->ledger_from == 0)
        floors->ledger_from = wall + LEDGER_REST_MS;
    pthread_mutex_unlock(&floors->lock);
}

/* The time by which rows of the ledger have expired; 0: none are dropped. */
static msec ledger_wall(struct filter_floors *floors)
{
    pthread_mutex_lock(&floors->lock);
    msec wall = floors->ledger_from != 0 && floors->wall >= floors->ledger_from ? floors->wall : 0;
    pthread_mutex_unlock(&floors->lock);
    return wall;
}

void filter_floors_set(struct filter_floors *floors, uint64_t number, uint64_t floor)
{
    pthread_mutex_lock(&floors->lock);
    struct map_node *node = map_find(&floors->map, number, is_any, NULL);
    if (node != NULL) {
        struct filter_floor *entry = container_of(node, struct filter_floor, node);
        entry->floor               = floor > entry->floor ? floor : entry->floor;
    } else if (floors->map.count < floors->count_max) {
        struct filter_floor *entry = malloc(sizeof *entry);
        must(entry != NULL);
        entry->floor = floor;
        map_add(&floors->map, &entry->node, number);
    }
    pthread_mutex_unlock(&floors->lock);
}

uint64_t filter_floors_get(struct filter_floors *floors, uint64_t number, msec *ret_wall)
{
    uint64_t floor = 0;

    pthread_mutex_lock(&floors->lock);
    struct map_node *node = map_find(&floors->map, number, is_any, NULL);
    if (node != NULL)
        floor = container_of(node, struct filter_floor, node)->floor;
    *ret_wall = floors->wall;
    pthread_mutex_unlock(&floors->lock);
    return floor;
}

/* --- the filter of one compaction ------------------------------------------------------------------------------- */

struct filter {
    struct filter_floors *floors;
    uint64_t              number, floor;  /* of the current channel: the rows of a channel come one after the other */
    msec                  wall;
    struct buf            value;
};

static void filter_free(void *context)
{
    struct filter *filter = context;

    buf_fini(&filter->value);
    free(filter);
}

static const char *filter_name(void *context)
{
    (void)context;
    return "longwire";
}

static void filter_enter(struct filter *filter, uint64_t number)
{
    if (number == filter->number)
        return;
    filter->number = number;
    filter->floor  = filter_floors_get(filter->floors, number, &filter->wall);
}

/* Replaces an expired row with a small one, so that a missing row always means damage. */
static bool row_expire(struct filter *filter, uint64_t seq, struct span value)
{
    struct row row;

    if (!row_get(value, filter->number, seq, &row) || row.kind == ROW_EXPIRED)
        return false;
    if (row.expires_at == 0 || row.expires_at > filter->wall)
        return false;
    struct row expired = {
        .kind = ROW_EXPIRED, .id = row.id, .time = row.time, .expires_at = row.expires_at, .target = row.payload.len
    };
    buf_clear(&filter->value);
    row_put(&filter->value, filter->number, seq, &expired);
    return true;
}

/* True: drop the row. */
static unsigned char filter_message(void *context, int level, const char *key, size_t key_len, const char *value,
                                    size_t value_len, char **ret_value, size_t *ret_len, unsigned char *ret_is_changed)
{
    struct filter *filter = context;
    uint64_t       number, seq;

    (void)level;
    if (!row_key_get(span_of(key, key_len), &number, &seq))
        return 0;
    filter_enter(filter, number);
    if (seq < filter->floor)
        return 1;
    if (row_expire(filter, seq, span_of(value, value_len))) {
        *ret_value      = filter->value.at;
        *ret_len        = filter->value.len;
        *ret_is_changed = 1;
    }
    return 0;
}

static unsigned char filter_key(void *context, int level, const char *key, size_t key_len, const char *value,
                                size_t value_len, char **ret_value, size_t *ret_len, unsigned char *ret_is_changed)
{
    struct filter *filter = context;
    uint64_t       seen[KEY_COUNT];

    (void)level, (void)ret_value, (void)ret_len, (void)ret_is_changed;
    if (!record_get(span_of(value, value_len), span_of(key, key_len), seen, KEY_COUNT))
        return 0;
    return (msec)seen[KEY_FORGET_AT] <= filter->wall;
}

/* Drops a ledger row that has expired. A row that can't be read stays, so that its reader finds the damage. */
static unsigned char filter_ledger_row(void *context, int level, const char *key, size_t key_len, const char *value,
                                       size_t value_len, char **ret_value, size_t *ret_len,
                                       unsigned char *ret_is_changed)
{
    struct filter           *filter = context;
    struct ledger_disk_value stored;

    (void)level, (void)ret_value, (void)ret_len, (void)ret_is_changed;
    if (!ledger_value_get(span_of(value, value_len), span_of(key, key_len), &stored))
        return 0;
    return stored.expires_at != 0 && stored.expires_at <= filter->wall;
}

static struct filter *filter_new(struct filter_floors *floors)
{
    struct filter *filter = calloc(1, sizeof *filter);

    must(filter != NULL);
    filter->floors = floors;
    filter_floors_get(floors, 0, &filter->wall);
    buf_init(&filter->value, 256);
    return filter;
}

static rocksdb_compactionfilter_t *make_message_filter(void *floors, rocksdb_compactionfiltercontext_t *context)
{
    (void)context;
    return rocksdb_compactionfilter_create(filter_new(floors), filter_free, filter_message, filter_name);
}

static rocksdb_compactionfilter_t *make_key_filter(void *floors, rocksdb_compactionfiltercontext_t *context)
{
    (void)context;
    return rocksdb_compactionfilter_create(filter_new(floors), filter_free, filter_key, filter_name);
}

static rocksdb_compactionfilter_t *make_ledger_filter(void *floors, rocksdb_compactionfiltercontext_t *context)
{
    struct filter *filter = filter_new(floors);

    (void)context;
    filter->wall = ledger_wall(floors);
    return rocksdb_compactionfilter_create(filter, filter_free, filter_ledger_row, filter_name);
}

static void factory_free(void *context)
{
    (void)context;  /* the store owns the floors */
}

rocksdb_compactionfilterfactory_t *rocks_make_filter(void *floors, enum family family)
{
    if (family == FAMILY_MESSAGES)
        return rocksdb_compactionfilterfactory_create(floors, factory_free, make_message_filter, filter_name);
    if (family == FAMILY_KEYS)
        return rocksdb_compactionfilterfactory_create(floors, factory_free, make_key_filter, filter_name);
    if (family == FAMILY_LEDGER)
        return rocksdb_compactionfilterfactory_create(floors, factory_free, make_ledger_filter, filter_name);
    return NULL;
}
