/* The ledger of all shards: writes by shard, gets and scans merged. */
#include <stdlib.h>

#include "base/must.h"
#include "store/ledger_page.h"
#include "store/ledger_round.h"
#include "store/shards_priv.h"

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* A batch whose writes lie in several shards. They go back into it in their order. */
struct write_split {
    struct ledger_batch  *whole;
    struct parts          parts;
    size_t                count;
    struct ledger_write **writes;
    struct write_part {
        struct ledger_batch batch;
        struct write_split *split;
    } of[SHARDS_MAX];
};

static size_t shard_of_write(const struct shards *shards, const struct ledger_write *write)
{
    size_t shard = shard_of_row(shards, &write->changes[0].key);

    for (size_t i = 1; i < write->count; i++)
        must(shard_of_row(shards, &write->changes[i].key) == shard);
    return shard;
}

static bool writes_are_of_one(const struct shards *shards, const struct ledger_batch *batch, size_t *ret_shard)
{
    size_t shard = SIZE_MAX;

    for (const struct list *at = batch->writes.next; at != &batch->writes; at = at->next) {
        size_t home = shard_of_write(shards, container_of(at, struct ledger_write, link));
        if (shard != SIZE_MAX && home != shard)
            return false;
        shard = home;
    }
    *ret_shard = shard == SIZE_MAX ? 0 : shard;
    return true;
}

static void write_split_end(struct write_split *split)
{
    struct ledger_batch *whole = split->whole;

    for (size_t i = 0; i < split->count; i++) {
        list_take(&split->writes[i]->link);
        list_push(&whole->writes, &split->writes[i]->link);
    }
    free(split->writes);
    free(split);
    whole->done(whole);
}

static void write_on_part(struct ledger_batch *batch)
{
    struct write_split *split = container_of(batch, struct write_part, batch)->split;

    if (parts_end(&split->parts))
        write_split_end(split);
}

static void write_split_fill(struct shards *shards, struct write_split *split)
{
    struct ledger_batch *whole = split->whole;
    struct list         *link;

    split->writes = calloc(whole->change_count, sizeof *split->writes);
    must(split->writes != NULL);
    for (size_t i = 0; i < shards->count; i++) {
        split->of[i] = (struct write_part){ .split = split, .batch = { .wall = whole->wall, .is_lazy = whole->is_lazy, .done = write_on_part } };
        list_init(&split->of[i].batch.writes);
    }
    while ((link = list_pop(&whole->writes)) != NULL) {
        struct ledger_write *write = container_of(link, struct ledger_write, link);
        struct ledger_batch *part  = &split->of[shard_of_write(shards, write)].batch;
        list_push(&part->writes, &write->link);
        part->change_count += write->count;
        split->writes[split->count++] = write;
    }
}

static void shards_write(struct ledger *ledger, struct ledger_batch *batch)
{
    struct shards *shards = shards_of_ledger(ledger);
    size_t         shard;

    ledger_batch_check(batch);
    if (writes_are_of_one(shards, batch, &shard)) {
        shards->stores[shard]->ledger->ops->write(shards->stores[shard]->ledger, batch);
        return;
    }
    struct write_split *split = calloc(1, sizeof *split);
    must(split != NULL);
    split->whole = batch;
    write_split_fill(shards, split);
    parts_begin(&split->parts);
    for (size_t i = 0; i < shards->count; i++) {
        if (split->of[i].batch.change_count == 0)
            continue;
        parts_add(&split->parts);
        shards->stores[i]->ledger->ops->write(shards->stores[i]->ledger, &split->of[i].batch);
    }
    if (parts_end(&split->parts))
        write_split_end(split);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

struct rows_ask {
    struct ledger_read *whole;
    struct shards      *shards;
    struct parts        parts;
    struct ledger_key  *keys;   /* GET: by shard */
    struct rows_part {
        struct ledger_read read;
        struct rows_ask   *ask;
        size_t             taken;  /* of its rows */
        bool               is_asked;
    } of[SHARDS_MAX];
};

/* False: a shard could not be read. */
static bool rows_are_there(const struct rows_ask *ask, enum rc *ret_rc)
{
    *ret_rc = RC_OK;
    for (size_t i = 0; i < ask->shards->count; i++)
        if (ask->of[i].is_asked && ask->of[i].read.rc != RC_OK)
            *ret_rc = ask->of[i].read.rc;
    return *ret_rc == RC_OK;
}

/* In the order of the keys; it ends at the first one whose row has not come. */
static void rows_by_key(struct rows_ask *ask, struct ledger_page *page)
{
    const struct ledger_read *whole = ask->whole;

    for (size_t i = 0; i < whole->key_count && !ledger_page_is_full(page); i++) {
        struct rows_part *part = &ask->of[shard_of_row(ask->shards, &whole->keys[i])];
        if (part->taken == part->read.row_count)
            return;
        ledger_page_put(page, &part->read.rows[part->taken++]);
    }
}

/* The part whose next row comes first, or NULL. */
static struct rows_part *rows_first(struct rows_ask *ask)
{
    struct rows_part *first = NULL;

    for (size_t i = 0; i < ask->shards->count; i++) {
        struct rows_part *part = &ask->of[i];
        if (part->taken < part->read.row_count &&
            (first == NULL || span_order(part->read.rows[part->taken].key, first->read.rows[first->taken].key) < 0))
            first = part;
    }
    return first;
}

/* The earliest end of a page that is not the last one; empty: all are the last. */
static struct span rows_bound(const struct rows_ask *ask)
{
    struct span bound = SPAN("");

    for (size_t i = 0; i < ask->shards->count; i++) {
        struct span next = ask->of[i].read.next;
        if (next.len > 0 && (bound.len == 0 || span_order(next, bound) < 0))
            bound = next;
    }
    return bound;
}

static void rows_merge(struct rows_ask *ask, struct ledger_page *page)
{
    struct span       bound = rows_bound(ask), last = SPAN("");
    struct rows_part *part;

    while ((part = rows_first(ask)) != NULL) {
        const struct ledger_row *row = &part->read.rows[part->taken];
        if (bound.len > 0 && span_order(row->key, bound) > 0)
            break;
        if (ledger_page_is_full(page)) {
            bound = last;
            break;
        }
        part->taken++;
        last = row->key;
        ledger_page_put(page, row);
    }
    if (bound.len > 0)
        ledger_page_continue(page, bound);
}

static void rows_end(struct rows_ask *ask)
{
    struct ledger_read *whole = ask->whole;
    struct ledger_page  page;
    enum rc             rc;

    ledger_page_init(&page, whole);
    if (rows_are_there(ask, &rc) && whole->way == LEDGER_GET)
        rows_by_key(ask, &page);
    else if (rc == RC_OK)
        rows_merge(ask, &page);
    ledger_page_finish(&page, rc);
    for (size_t i = 0; i < ask->shards->count; i++)
        if (ask->of[i].is_asked)
            ledger_read_fini(&ask->of[i].read);
    free(ask->keys);
    free(ask);
    whole->done(whole);
}

static void rows_on_part(struct ledger_read *read)
{
    struct rows_ask *ask = container_of(read, struct rows_part, read)->ask;

    if (parts_end(&ask->parts))
        rows_end(ask);
}

static void rows_lay_keys(struct rows_ask *ask)
{
    const struct ledger_read *whole = ask->whole;
    size_t                    from  = 0;

    ask->keys = calloc(whole->key_count, sizeof *ask->keys);
    must(ask->keys != NULL);
    for (size_t shard = 0; shard < ask->shards->count; shard++) {
        struct ledger_read *part = &ask->of[shard].read;
        part->keys               = ask->keys + from;
        for (size_t i = 0; i < whole->key_count; i++)
            if (shard_of_row(ask->shards, &whole->keys[i]) == shard)
                ask->keys[from + part->key_count++] = whole->keys[i];
        from += part->key_count;
        ask->of[shard].is_asked = part->key_count > 0;
    }
}

static void rows_ask_all(struct shards *shards, struct ledger_read *whole)
{
    struct rows_ask *ask = calloc(1, sizeof *ask);

    must(ask != NULL);
    ask->whole  = whole;
    ask->shards = shards;
    for (size_t i = 0; i < shards->count; i++) {
        ask->of[i] = (struct rows_part){ .ask = ask, .is_asked = true, .read = {
            .way = whole->way, .kind = whole->kind, .prefix = whole->prefix, .after = whole->after, .limit = whole->limit,
            .bytes_max = whole->bytes_max, .wall = whole->wall, .done = rows_on_part,
        } };
    }
    if (whole->way == LEDGER_GET)
        rows_lay_keys(ask);
    parts_begin(&ask->parts);
    for (size_t i = 0; i < shards->count; i++) {
        struct ledger *ledger = shards->stores[i]->ledger;
        if (!ask->of[i].is_asked)
            continue;
        parts_add(&ask->parts);
        ledger->ops->read(ledger, &ask->of[i].read);
    }
    if (parts_end(&ask->parts))
        rows_end(ask);
}

/* The one shard that a read concerns, or SIZE_MAX. */
static size_t shard_of_read(const struct shards *shards, const struct ledger_read *read)
{
    size_t shard = SIZE_MAX;

    if (read->way == LEDGER_SCAN)
        return read->prefix.len > 0 && memchr(read->prefix.at, '\0', read->prefix.len) != NULL
                   ? shard_of_row(shards, &(struct ledger_key){ read->kind, read->prefix })
                   : SIZE_MAX;
    for (size_t i = 0; i < read->key_count; i++) {
        size_t home = shard_of_row(shards, &read->keys[i]);
        if (shard != SIZE_MAX && home != shard)
            return SIZE_MAX;
        shard = home;
    }
    return shard == SIZE_MAX ? 0 : shard;
}

static void shards_ledger_read(struct ledger *ledger, struct ledger_read *read)
{
    struct shards *shards = shards_of_ledger(ledger);
    size_t         shard;

    ledger_read_check(read);
    shard = shards->count == 1 ? 0 : shard_of_read(shards, read);
    if (shard == SIZE_MAX)
        rows_ask_all(shards, read);
    else
        shards->stores[shard]->ledger->ops->read(shards->stores[shard]->ledger, read);
}

/* The one shard that a round concerns, or SIZE_MAX. */
static size_t shard_of_round(const struct shards *shards, const struct ledger_round *round)
{
    size_t shard = shard_of_read(shards, &round->of[0].read);

    for (size_t i = 1; i < round->read_count; i++)
        if (shard_of_read(shards, &round->of[i].read) != shard)
            return SIZE_MAX;
    for (size_t i = 0; i < round->heads.count; i++)
        if (shard_of_name(shards, round->heads.names[i]) != shard)
            return SIZE_MAX;
    return shard;
}

static void shards_round(struct ledger *ledger, struct ledger_round *round)
{
    struct shards *shards = shards_of_ledger(ledger);
    size_t         shard  = shards->count == 1 ? 0 : shard_of_round(shards, round);

    if (shard == SIZE_MAX)
        ledger_round_in_turn(&shards->store, round);
    else
        ledger_round_ask(shards->stores[shard], round);
}

const struct ledger_ops shards_ledger_ops = {
    .name = "shards", .write = shards_write, .read = shards_ledger_read, .round = shards_round,
};
