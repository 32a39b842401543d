/* The ledger's reads, answered by the reader threads. */
#include "base/must.h"
#include "store/ledger_page.h"
#include "store/ledger_rule.h"
#include "store/rocks_priv.h"

/* --- by key ----------------------------------------------------------------------------------------------------- */

static enum rc page_put_key(struct rocks *rocks, struct ledger_page *page, const struct ledger_key *key, msec wall)
{
    rocksdb_pinnableslice_t *slice = NULL;
    struct ledger_disk_key   place;
    struct span              bytes;
    struct ledger_disk_value stored = { 0 };

    ledger_disk_key_set(&place, key->kind, key->bytes);
    enum rc rc = rocks_db_get(&rocks->db, FAMILY_LEDGER, rocks->db.get, ledger_disk_key_span(&place), &slice);
    if (rc == RC_OK && slice != NULL) {
        bytes.at = rocksdb_pinnableslice_value(slice, &bytes.len);
        rc       = ledger_value_get(bytes, ledger_disk_key_span(&place), &stored) ? RC_OK : RC_CORRUPT;
    }
    if (rc == RC_OK && ledger_generation(stored.generation, stored.expires_at, wall) != 0)
        ledger_page_put(page, &(struct ledger_row){ key->bytes, stored.value, stored.generation, stored.expires_at });
    else if (rc == RC_OK)
        ledger_page_put(page, &(struct ledger_row){ .key = key->bytes });
    rocksdb_pinnableslice_destroy(slice);
    return rc;
}

static enum rc read_get(struct rocks *rocks, struct ledger_page *page, const struct ledger_read *read)
{
    enum rc rc = RC_OK;

    while (rc == RC_OK && !ledger_page_is_full(page))
        rc = page_put_key(rocks, page, &read->keys[page->row_count], read->wall);
    return rc == RC_CORRUPT && page->row_count > 0 ? RC_OK : rc;
}

/* --- by prefix -------------------------------------------------------------------------------------------------- */

/* The first key above all keys that begin with this one; false: there is none. */
static bool prefix_end(struct ledger_disk_key *key)
{
    while (key->len > 0 && (uint8_t)key->bytes[key->len - 1] == 0xff)
        key->len--;
    if (key->len > 0)
        key->bytes[key->len - 1]++;
    return key->len > 0;
}

static struct span iterator_key(const rocksdb_iterator_t *iterator)
{
    struct span key;

    key.at = rocksdb_iter_key(iterator, &key.len);
    return key;
}

/* Seeks the first row of the page: at the prefix, or above `after`. */
static void scan_begin(rocksdb_iterator_t *iterator, const struct ledger_read *read)
{
    bool                   is_behind = read->after.len > 0 && ledger_key_order(read->after, read->prefix) >= 0;
    struct ledger_disk_key from;

    ledger_disk_key_set(&from, read->kind, is_behind ? read->after : read->prefix);
    rocksdb_iter_seek(iterator, from.bytes, from.len);
    if (is_behind && rocksdb_iter_valid(iterator) && span_eq(iterator_key(iterator), ledger_disk_key_span(&from)))
        rocksdb_iter_next(iterator);
}

/* False: the row is damaged. */
static bool scan_put(struct ledger_page *page, const rocksdb_iterator_t *iterator, msec wall)
{
    struct span              key = iterator_key(iterator), bytes;
    struct ledger_disk_value stored;

    bytes.at = rocksdb_iter_value(iterator, &bytes.len);
    if (!ledger_value_get(bytes, key, &stored))
        return false;
    if (ledger_generation(stored.generation, stored.expires_at, wall) == 0)
        ledger_page_skip(page);
    else
        ledger_page_put(page,
                        &(struct ledger_row){ span_skip(key, 1), stored.value, stored.generation, stored.expires_at });
    return true;
}

/* Puts rows until the page is full or the rows end; `last` is the key of the last row that was read. RC_CORRUPT: the
 * first row is damaged or unreadable. Damage further on ends the page before it, and begins the next page, so that it
 * hides no row. */
static enum rc scan_fill(struct rocks *rocks, struct ledger_page *page, rocksdb_iterator_t *iterator,
                         const struct ledger_read *read, struct buf *last)
{
    enum rc rc = RC_OK;

    scan_begin(iterator, read);
    for (; rocksdb_iter_valid(iterator) && !ledger_page_is_full(page); rocksdb_iter_next(iterator)) {
        if (!scan_put(page, iterator, read->wall))
            rc = RC_CORRUPT;
        if (rc != RC_OK && last->len > 0)
            return RC_OK;
        buf_clear(last);
        buf_put(last, iterator_key(iterator));
        if (rc != RC_OK)
            return rc;
    }
    rc = rocks_iterator_rc(&rocks->db, iterator);
    return rc == RC_CORRUPT && last->len > 0 ? RC_OK : rc;
}

/* True unless the iterator has come to the end of the prefix. */
static bool scan_has_next(struct rocks *rocks, const rocksdb_iterator_t *iterator)
{
    return rocksdb_iter_valid(iterator) || rocks_iterator_rc(&rocks->db, iterator) != RC_OK;
}

static enum rc read_scan(struct rocks *rocks, struct ledger_page *page, const struct ledger_read *read)
{
    rocksdb_readoptions_t *how = rocksdb_readoptions_create();
    struct ledger_disk_key end;
    struct buf             last;

    buf_init(&last, 1 + LEDGER_KEY_BYTES_MAX);
    ledger_disk_key_set(&end, read->kind, read->prefix);
    if (prefix_end(&end))
        rocksdb_readoptions_set_iterate_upper_bound(how, end.bytes, end.len);
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(rocks->db.db, how, rocks->db.families[FAMILY_LEDGER]);
    enum rc             rc       = scan_fill(rocks, page, iterator, read, &last);
    if (last.len > 0 && scan_has_next(rocks, iterator))
        ledger_page_continue(page, span_skip(buf_span(&last), 1));
    buf_fini(&last);
    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(how);
    return rc;
}

/* --- both ------------------------------------------------------------------------------------------------------- */

void ledger_read_serve(struct rocks *rocks, struct ledger_read *read)
{
    struct ledger_page page;
    enum rc            rc = RC_IO;

    must(rocks_thread == ROCKS_READER);
    ledger_page_init(&page, read);
    if (rocks->db.db != NULL && !rocks->db.is_read_only)  /* its rows may be of a write whose outcome nobody knows */
        rc = read->way == LEDGER_GET ? read_get(rocks, &page, read) : read_scan(rocks, &page, read);
    ledger_page_finish(&page, rc);
}
