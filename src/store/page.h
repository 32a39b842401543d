/* page.h - the page of a read while a maker fills it; the same code for all makers.
 *
 * A maker goes through the log away from the bound, up (READ_AFTER) or down (READ_BEFORE), and puts each message and
 * gap that it meets; each entry touches the one before it. Adjacent gaps of the same reason become one entry. */
#ifndef STORE_PAGE_H
#define STORE_PAGE_H

#include "store/store.h"

struct page {
    struct store_read *read;
    size_t             cap;
    size_t             bytes;
};

/* Nothing is allocated before the first put. */
void page_init(struct page *page, struct store_read *read);

/* True once the page takes no further message: the limit or bytes_max is reached. */
bool page_is_full(const struct page *page);

/* Takes the message; only while the page is not full. */
void page_put_message(struct page *page, struct message **take);

/* False if the gap did not fit. A gap that only lengthens the last one always fits. */
bool page_put_gap(struct page *page, struct gap gap);

/* Reverses a page that was filled downwards, so that it ascends. */
void page_finish(struct page *page);

/* Which seqs a read asks for: [*ret_low, *ret_high] among 1 … head; false if none. */
bool page_range(const struct store_read *read, uint64_t *ret_low, uint64_t *ret_high);

#endif
