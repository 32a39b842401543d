#include "store/ledger_mem.h"

#include <stdlib.h>

#include "base/must.h"
#include "store/ledger_page.h"
#include "store/ledger_rule.h"

struct mem_row {
    uint64_t        generation;
    msec            expires_at;
    char           *value;
    uint32_t        value_len;
    uint16_t        key_len;
    uint8_t         kind, height;
    struct mem_row *next[];  /* the next row on each level below its height; the key's bytes follow */
};

static struct ledger_mem *ledger_mem_of(struct ledger *ledger)
{
    return container_of(ledger, struct ledger_mem, ledger);
}

/* --- the skip list ---------------------------------------------------------------------------------------------- */

/* On each level the pointer that leads to the first row from a key on. */
struct mem_path {
    struct mem_row **to[LEDGER_MEM_HEIGHT_MAX];
};

static char *mem_row_key_bytes(const struct mem_row *row)
{
    return (char *)(uintptr_t)&row->next[row->height];
}

static struct span mem_row_key_of(const struct mem_row *row)
{
    return span_of(mem_row_key_bytes(row), row->key_len);
}

static int mem_row_order(const struct mem_row *row, const struct ledger_key *key)
{
    if (row->kind != key->kind)
        return row->kind > key->kind ? 1 : -1;
    return ledger_key_order(mem_row_key_of(row), key->bytes);
}

/* The first row whose key is not below this one; NULL: there is none. */
static struct mem_row *mem_path_find(struct ledger_mem *mem, const struct ledger_key *key, struct mem_path *ret)
{
    struct mem_row **level = mem->first;

    for (size_t i = LEDGER_MEM_HEIGHT_MAX; i-- > 0;) {
        while (level[i] != NULL && mem_row_order(level[i], key) < 0)
            level = level[i]->next;
        ret->to[i] = &level[i];
    }
    return *ret->to[0];
}

static struct mem_row *mem_row_find(struct ledger_mem *mem, const struct ledger_key *key, struct mem_path *ret)
{
    struct mem_row *row = mem_path_find(mem, key, ret);

    return row != NULL && mem_row_order(row, key) == 0 ? row : NULL;
}

static size_t mem_row_bytes(size_t key_len, size_t value_len)
{
    return sizeof(struct mem_row) + 2 * sizeof(struct mem_row *) + key_len + value_len;
}

/* Half of all rows have a height above 1, a quarter above 2, and so on. */
static uint8_t mem_row_height(const struct ledger_mem *mem, const struct ledger_key *key)
{
    uint64_t hash   = hash_bytes(&mem->hash_key, key->bytes);
    int      height = hash == 0 ? LEDGER_MEM_HEIGHT_MAX : __builtin_ctzll(hash) + 1;

    return (uint8_t)(height < LEDGER_MEM_HEIGHT_MAX ? height : LEDGER_MEM_HEIGHT_MAX);
}

static struct mem_row *mem_row_add(struct ledger_mem *mem, const struct ledger_key *key, const struct mem_path *path)
{
    uint8_t         height = mem_row_height(mem, key);
    struct mem_row *row    = calloc(1, sizeof *row + height * sizeof row->next[0] + key->bytes.len);

    must(row != NULL);
    row->kind    = key->kind;
    row->height  = height;
    row->key_len = (uint16_t)key->bytes.len;
    memcpy(mem_row_key_bytes(row), key->bytes.at, key->bytes.len);
    for (size_t i = 0; i < height; i++) {
        row->next[i]  = *path->to[i];
        *path->to[i] = row;
    }
    mem->row_count++;
    mem->bytes += mem_row_bytes(row->key_len, 0);
    return row;
}

static void mem_row_take(struct ledger_mem *mem, struct mem_row *row, const struct mem_path *path)
{
    if (mem->tick_from == row)
        mem->tick_from = row->next[0];
    for (size_t i = 0; i < row->height; i++)
        *path->to[i] = row->next[i];
    must(mem->row_count > 0 && mem->bytes >= mem_row_bytes(row->key_len, row->value_len));
    mem->row_count--;
    mem->bytes -= mem_row_bytes(row->key_len, row->value_len);
    free(row->value);
    free(row);
}

static void mem_row_set(struct ledger_mem *mem, struct mem_row *row, const struct ledger_change *change, uint64_t seq)
{
    char *value = malloc(change->value.len + 1);

    must(value != NULL);
    if (change->value.len > 0)
        memcpy(value, change->value.at, change->value.len);
    free(row->value);
    mem->bytes += change->value.len;
    mem->bytes -= row->value_len;
    row->value      = value;
    row->value_len  = (uint32_t)change->value.len;
    row->generation = ledger_change_generation(change, seq);
    row->expires_at = change->expires_at;
}

static uint64_t mem_row_generation(const struct mem_row *row, msec wall)
{
    return row == NULL ? 0 : ledger_generation(row->generation, row->expires_at, wall);
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

/* Adds to *rows and *bytes what the change needs, less what it frees. */
static void mem_change_cost(const struct ledger_change *change, const struct mem_row *row, int64_t *rows,
                             int64_t *bytes)
{
    size_t before = row == NULL ? 0 : mem_row_bytes(row->key_len, row->value_len), after = before;

    if (change->op == LEDGER_PUT || change->op == LEDGER_RAISE)
        after = mem_row_bytes(change->key.bytes.len, change->value.len);
    if (change->op == LEDGER_DELETE)
        after = 0;
    *rows += (after > 0) - (before > 0);
    *bytes += (int64_t)after - (int64_t)before;
}

static bool is_within(size_t now, int64_t more, size_t max)
{
    return more <= 0 || ((size_t)more <= max && now <= max - (size_t)more);
}

enum ledger_outcome ledger_mem_judge(struct ledger_mem *mem, struct ledger_write *write, msec wall)
{
    int64_t rows = 0, bytes = 0;

    for (size_t i = 0; i < write->count; i++) {
        const struct ledger_change *change = &write->changes[i];
        struct mem_path             path;
        const struct mem_row       *row = mem_row_find(mem, &change->key, &path);
        uint64_t                    now = mem_row_generation(row, wall);
        if (!ledger_change_holds(change, now)) {
            struct span value = now == 0 ? (struct span){ 0 } : span_of(row->value, row->value_len);
            ledger_write_refuse(write, i, now, now == 0 ? 0 : row->expires_at, value);
            return LEDGER_STALE;
        }
        mem_change_cost(change, row, &rows, &bytes);
    }
    bool is_fitting = is_within(mem->row_count, rows, mem->row_count_max) &&
                      is_within(mem->bytes, bytes, mem->bytes_max);
    return is_fitting ? LEDGER_DONE : LEDGER_NO_SPACE;
}

static void mem_change_apply(struct ledger_mem *mem, const struct ledger_change *change, uint64_t seq, msec wall)
{
    struct mem_path path;
    struct mem_row *row = mem_row_find(mem, &change->key, &path);

    if (ledger_change_puts(change, seq, mem_row_generation(row, wall))) {
        if (row == NULL)
            row = mem_row_add(mem, &change->key, &path);
        mem_row_set(mem, row, change, seq);
    } else if (change->op == LEDGER_DELETE && row != NULL) {
        mem_row_take(mem, row, &path);
    }
}

void ledger_mem_apply(struct ledger_mem *mem, const struct ledger_write *write, uint64_t seq, msec wall)
{
    for (size_t i = 0; i < write->count; i++)
        mem_change_apply(mem, &write->changes[i], seq, wall);
}

static void ledger_mem_write(struct ledger *ledger, struct ledger_batch *batch)
{
    struct ledger_mem *mem = ledger_mem_of(ledger);

    ledger_batch_check(batch);
    for (struct list *link = batch->writes.next; link != &batch->writes; link = link->next) {
        struct ledger_write *write = container_of(link, struct ledger_write, link);
        write->outcome             = ledger_mem_judge(mem, write, batch->wall);
        if (write->outcome == LEDGER_DONE)
            ledger_mem_apply(mem, write, 0, batch->wall);
    }
    batch->done(batch);
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static void mem_put_row(struct ledger_page *page, const struct mem_row *row)
{
    const struct ledger_row found = {
        .key = mem_row_key_of(row), .value = span_of(row->value, row->value_len), .generation = row->generation,
        .expires_at = row->expires_at,
    };

    ledger_page_put(page, &found);
}

static void mem_get(struct ledger_mem *mem, struct ledger_page *page, const struct ledger_read *read)
{
    struct mem_path path;

    while (!ledger_page_is_full(page)) {
        const struct ledger_key *key = &read->keys[page->row_count];
        const struct mem_row    *row = mem_row_find(mem, key, &path);
        if (mem_row_generation(row, read->wall) != 0)
            mem_put_row(page, row);
        else
            ledger_page_put(page, &(struct ledger_row){ .key = key->bytes });
    }
}

static bool mem_row_is_meant(const struct mem_row *row, const struct ledger_read *read)
{
    return row != NULL && row->kind == read->kind && span_starts(mem_row_key_of(row), read->prefix);
}

static void mem_scan(struct ledger_mem *mem, struct ledger_page *page, const struct ledger_read *read)
{
    bool              is_behind = ledger_key_order(read->after, read->prefix) > 0;
    struct ledger_key from      = { read->kind, is_behind ? read->after : read->prefix };
    struct mem_path   path;
    struct span       last = { 0 };
    struct mem_row   *row  = mem_path_find(mem, &from, &path);

    if (row != NULL && read->after.len > 0 && row->kind == read->kind && span_eq(mem_row_key_of(row), read->after))
        row = row->next[0];
    for (; mem_row_is_meant(row, read) && !ledger_page_is_full(page); row = row->next[0]) {
        if (mem_row_generation(row, read->wall) != 0)
            mem_put_row(page, row);
        else
            ledger_page_skip(page);
        last = mem_row_key_of(row);
    }
    if (mem_row_is_meant(row, read))
        ledger_page_continue(page, last);
}

static void ledger_mem_read(struct ledger *ledger, struct ledger_read *read)
{
    struct ledger_page page;

    ledger_read_check(read);
    ledger_page_init(&page, read);
    if (read->way == LEDGER_GET)
        mem_get(ledger_mem_of(ledger), &page, read);
    else
        mem_scan(ledger_mem_of(ledger), &page, read);
    ledger_page_finish(&page, RC_OK);
    read->done(read);
}

/* --- its life --------------------------------------------------------------------------------------------------- */

static void mem_row_drop(struct ledger_mem *mem, struct mem_row *row)
{
    const struct ledger_key key = { row->kind, mem_row_key_of(row) };
    struct mem_path         path;

    must(mem_path_find(mem, &key, &path) == row);
    mem_row_take(mem, row, &path);
}

void ledger_mem_tick(struct ledger_mem *mem, msec wall, size_t count_max)
{
    struct mem_row *row = mem->tick_from != NULL ? mem->tick_from : mem->first[0];

    for (size_t i = 0; i < count_max && row != NULL; i++) {
        struct mem_row *next = row->next[0];
        if (mem_row_generation(row, wall) == 0)
            mem_row_drop(mem, row);
        row = next;
    }
    mem->tick_from = row;
}

static const struct ledger_ops ledger_mem_ops = {
    .name  = "mem",
    .write = ledger_mem_write,
    .read  = ledger_mem_read,
};

void ledger_mem_init(struct ledger_mem *mem, const struct hash_key *hash_key, size_t row_count_max, size_t bytes_max)
{
    *mem = (struct ledger_mem){
        .ledger = { &ledger_mem_ops }, .hash_key = *hash_key, .row_count_max = row_count_max, .bytes_max = bytes_max,
    };
}

void ledger_mem_fini(struct ledger_mem *mem)
{
    while (mem->first[0] != NULL)
        mem_row_drop(mem, mem->first[0]);
    must(mem->row_count == 0 && mem->bytes == 0);
}
