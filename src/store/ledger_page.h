/* ledger_page.h - the answer to a ledger read while a maker fills it; the same code for all makers.
 *
 * Rows and their bytes are copied in the order in which the maker finds them; ledger_page_finish() hands them to the
 * read. */
#ifndef STORE_LEDGER_PAGE_H
#define STORE_LEDGER_PAGE_H

#include "base/buf.h"
#include "store/ledger.h"

struct ledger_page {
    struct ledger_read *read;
    struct ledger_row  *rows;
    size_t              row_count, row_cap;
    size_t              skip_count;
    size_t              next_len;  /* of the continuation, which is last in `bytes` */
    struct buf          bytes;
};

void ledger_page_init(struct ledger_page *page, struct ledger_read *read);

/* True once the page takes no further row: the limit or bytes_max is reached, or 10,000 rows were skipped. Such a page
 * is short, and the next page continues the scan. */
bool ledger_page_is_full(const struct ledger_page *page);

/* Copies the row's key and value; only while the page is not full. */
void ledger_page_put(struct ledger_page *page, const struct ledger_row *row);

/* Counts an expired row that a scan met. */
void ledger_page_skip(struct ledger_page *page);

/* The next page begins above this key. Called last, at most once. */
void ledger_page_continue(struct ledger_page *page, struct span key);

/* Hands everything to the read. With another rc than RC_OK the read has no rows. */
void ledger_page_finish(struct ledger_page *page, enum rc rc);

/* Answers the read with a failure and no rows. */
void ledger_read_refuse(struct ledger_read *read, enum rc rc);

#endif
