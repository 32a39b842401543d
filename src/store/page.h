/* page.h - the page of a read while it is being filled, the same for all makers.
 *
 * A maker walks the log away from the bound, up (READ_AFTER) or down (READ_BEFORE), and puts what it meets; each
 * thing touches the one before it. Gaps that touch and have the same reason become one entry. */
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

/* True once no further message would be taken: the limit or bytes_max is reached. */
bool page_is_full(const struct page *page);

/* Takes the message; only while the page is not full. */
void page_put_message(struct page *page, struct message **take);

/* False if it did not fit; it always fits where it only lengthens the last gap. */
bool page_put_gap(struct page *page, struct gap gap);

/* Turns a page that was walked down, so that it ascends. */
void page_finish(struct page *page);

/* Which seqs a read means: [*ret_low, *ret_high] among 1 … head; false if none. */
bool page_range(const struct store_read *read, uint64_t *ret_low, uint64_t *ret_high);

#endif
