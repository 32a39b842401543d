/* One page of the channels: their rows stand in the order of their names. */
#include <stdlib.h>

#include "base/must.h"
#include "store/rocks_priv.h"

/* Bounded below, so that no row is met twice. */
static rocksdb_iterator_t *listing_iterator(struct rocks *rocks, const struct store_listing *listing)
{
    struct span from;
    bool        is_behind;
    struct buf  key;
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[FAMILY_CHANNELS]);

    store_listing_from(listing, &from, &is_behind);
    buf_init(&key, LISTING_TEXT_MAX + 1);
    buf_put(&key, from);
    if (is_behind)
        buf_putc(&key, '\0');  /* the least text behind `from` */
    rocksdb_iter_seek(iterator, key.len == 0 ? "" : key.at, key.len);
    buf_fini(&key);
    return iterator;
}

/* One seek for each namespace: behind the first of its channels, over all others. */
void listing_look_at_spaces(struct rocks *rocks)
{
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[FAMILY_CHANNELS]);
    struct buf          next;

    buf_init(&next, LISTING_TEXT_MAX + 2);
    rocksdb_iter_seek_to_first(iterator);
    for (size_t looks = 0; looks < STORE_STRANGE_LOOKS && rocksdb_iter_valid(iterator); looks++) {
        struct span text;
        text.at = rocksdb_iter_key(iterator, &text.len);
        store_look_at_space(&rocks->store, rocks->options.spaces, text, &next);
        rocksdb_iter_seek(iterator, next.at, next.len);
    }
    buf_fini(&next);
    rocksdb_iter_destroy(iterator);
}

/* A channel with damaged records is listed as such: it must not make the whole page fail. */
static enum rc listing_put(struct rocks *rocks, struct store_listing *listing, struct channel_name **take)
{
    struct store_read read = { .channel = *take, .wall = listing->wall };
    enum rc           rc   = read_serve(rocks, &read, rocks->db.get);

    if (rc != RC_OK && rc != RC_CORRUPT)
        return rc;
    struct listed_channel *listed = store_listing_add(listing, take);
    listed->rc                    = rc;
    listed->epoch                 = rocks->epoch;
    listed->first                 = 1;
    if (rc != RC_OK)
        return RC_OK;
    listed->first = read.first;
    listed->head  = read.head;
    listed->bytes = read.bytes;
    return RC_OK;
}

/* A namespace that is no longer configured has no policy: nobody can read its channels, and they are not listed. */
static enum rc listing_take_row(struct rocks *rocks, struct store_listing *listing, struct span text)
{
    struct channel_name *name = NULL;
    enum rc              rc   = RC_OK;

    if (channel_name_new(rocks->options.spaces, &rocks->options.hash_key, text, &name) == CHANNEL_NAME_OK)
        rc = listing_put(rocks, listing, &name);
    channel_name_unref(name);
    return rc;
}

enum rc listing_serve(struct rocks *rocks, struct store_listing *listing)
{
    rocksdb_iterator_t *iterator = listing_iterator(rocks, listing);
    enum rc             rc       = RC_OK;
    struct span         text;

    for (size_t rows = 0; rc == RC_OK && rocksdb_iter_valid(iterator); rows++) {
        text.at = rocksdb_iter_key(iterator, &text.len);
        if (!span_starts(text, listing->prefix))
            break;
        if (listing->count == listing->limit || rows == LISTING_ROWS_MAX)
            goto out;
        store_listing_end_at(listing, text);
        rc = listing_take_row(rocks, listing, text);
        rocksdb_iter_next(iterator);
    }
    buf_clear(&listing->reached);
    if (rc == RC_OK)
        rc = rocks_iterator_rc(&rocks->db, iterator);
out:
    if (rc != RC_OK) {
        store_listing_fini(listing);
        store_listing_begin(listing);
    }
    rocksdb_iter_destroy(iterator);
    return rc;
}
