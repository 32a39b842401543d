/* The compaction filter: RocksDB asks, row by row, what may go. Its threads call it, several at a time. */
#include <stdlib.h>

#include "base/must.h"
#include "store/rocks_priv.h"

struct dead_floor {
    struct map_node node;  /* its hash is the channel's number */
    uint64_t        floor;
};

void dead_floors_init(struct dead_floors *dead, size_t count_max)
{
    *dead = (struct dead_floors){ .count_max = count_max };
    pthread_mutex_init(&dead->lock, NULL);
    map_init(&dead->map);
}

static bool is_any(const struct map_node *node, const void *key)
{
    (void)node, (void)key;
    return true;
}

void dead_floors_clear(struct dead_floors *dead)
{
    pthread_mutex_lock(&dead->lock);
    for (size_t slot = 0; slot < dead->map.slot_count; slot++) {
        for (struct map_node *node = dead->map.slots[slot], *next; node != NULL; node = next) {
            next = node->next;
            free(container_of(node, struct dead_floor, node));
        }
    }
    map_fini(&dead->map);
    pthread_mutex_unlock(&dead->lock);
}

void dead_floors_fini(struct dead_floors *dead)
{
    dead_floors_clear(dead);
    pthread_mutex_destroy(&dead->lock);
}

void dead_floors_set(struct dead_floors *dead, uint64_t number, uint64_t floor)
{
    pthread_mutex_lock(&dead->lock);
    struct map_node *node = map_find(&dead->map, number, is_any, NULL);
    if (node != NULL) {
        container_of(node, struct dead_floor, node)->floor = floor;
    } else if (dead->map.count < dead->count_max) {
        struct dead_floor *entry = malloc(sizeof *entry);
        must(entry != NULL);
        entry->floor = floor;
        map_add(&dead->map, &entry->node, number);
    }
    pthread_mutex_unlock(&dead->lock);
}

uint64_t dead_floors_get(struct dead_floors *dead, uint64_t number, msec *ret_wall)
{
    uint64_t floor = 0;

    pthread_mutex_lock(&dead->lock);
    struct map_node *node = map_find(&dead->map, number, is_any, NULL);
    if (node != NULL)
        floor = container_of(node, struct dead_floor, node)->floor;
    *ret_wall = dead->wall;
    pthread_mutex_unlock(&dead->lock);
    return floor;
}

/* --- the filter of one compaction ------------------------------------------------------------------------------- */

struct filter {
    struct dead_floors *dead;
    uint64_t            number, floor;  /* of the channel we are in: its rows come one after the other */
    msec                wall;
    struct buf          value;
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
    filter->floor  = dead_floors_get(filter->dead, number, &filter->wall);
}

/* What is expired leaves a small row behind, so that a missing row always means damage. */
static bool row_wither(struct filter *filter, uint64_t seq, struct span value)
{
    struct row row;

    if (!row_get(value, filter->number, seq, &row) || row.kind == ROW_EXPIRED)
        return false;
    if (row.expires_at == 0 || row.expires_at > filter->wall)
        return false;
    struct row husk = { .kind = ROW_EXPIRED, .id = row.id, .time = row.time, .expires_at = row.expires_at,
                        .target = row.payload.len };
    buf_clear(&filter->value);
    row_put(&filter->value, filter->number, seq, &husk);
    return true;
}

/* True: drop it. */
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
    if (row_wither(filter, seq, span_of(value, value_len))) {
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

/* A row of the ledger that has expired. What can't be read stays, and is found damaged by whoever asks. */
static unsigned char filter_ledger_row(void *context, int level, const char *key, size_t key_len, const char *value,
                                       size_t value_len, char **ret_value, size_t *ret_len,
                                       unsigned char *ret_is_changed)
{
    struct filter *filter = context;
    struct cell    cell;

    (void)level, (void)ret_value, (void)ret_len, (void)ret_is_changed;
    if (!cell_get(span_of(value, value_len), span_of(key, key_len), &cell))
        return 0;
    return cell.expires_at != 0 && cell.expires_at <= filter->wall;
}

static struct filter *filter_new(struct dead_floors *dead)
{
    struct filter *filter = calloc(1, sizeof *filter);

    must(filter != NULL);
    filter->dead = dead;
    dead_floors_get(dead, 0, &filter->wall);
    buf_init(&filter->value, 256);
    return filter;
}

static rocksdb_compactionfilter_t *make_message_filter(void *dead, rocksdb_compactionfiltercontext_t *context)
{
    (void)context;
    return rocksdb_compactionfilter_create(filter_new(dead), filter_free, filter_message, filter_name);
}

static rocksdb_compactionfilter_t *make_key_filter(void *dead, rocksdb_compactionfiltercontext_t *context)
{
    (void)context;
    return rocksdb_compactionfilter_create(filter_new(dead), filter_free, filter_key, filter_name);
}

static rocksdb_compactionfilter_t *make_ledger_filter(void *dead, rocksdb_compactionfiltercontext_t *context)
{
    (void)context;
    return rocksdb_compactionfilter_create(filter_new(dead), filter_free, filter_ledger_row, filter_name);
}

static void factory_free(void *context)
{
    (void)context;  /* the floors are the store's */
}

rocksdb_compactionfilterfactory_t *rocks_make_filter(void *dead, enum family family)
{
    if (family == FAMILY_MESSAGES)
        return rocksdb_compactionfilterfactory_create(dead, factory_free, make_message_filter, filter_name);
    if (family == FAMILY_KEYS)
        return rocksdb_compactionfilterfactory_create(dead, factory_free, make_key_filter, filter_name);
    if (family == FAMILY_LEDGER)
        return rocksdb_compactionfilterfactory_create(dead, factory_free, make_ledger_filter, filter_name);
    return NULL;
}
