/* ledger_page.h - the answer of a ledger's read while it is being filled, the same for all makers.
 *
 * Rows and their bytes are copied in the order in which they are met; ledger_page_finish() hands them to the read. */
#ifndef STORE_LEDGER_PAGE_H
#define STORE_LEDGER_PAGE_H

#include "base/buf.h"
#include "store/ledger.h"

struct ledger_page {
    struct ledger_read *read;
    struct ledger_row  *rows;
    size_t              row_count, row_cap;
    size_t              skip_count;
    size_t              next_len;  /* of the continuation, the last thing in `bytes` */
    struct buf          bytes;
};

void ledger_page_init(struct ledger_page *page, struct ledger_read *read);

/* True once no further row is taken: the limit or bytes_max is reached, or 10,000 rows were skipped. Such a page is
 * short, and the scan goes on with the next one. */
bool ledger_page_is_full(const struct ledger_page *page);

/* Copies the row's key and value; only while the page is not full. */
void ledger_page_put(struct ledger_page *page, const struct ledger_row *row);

/* A scan met a row that has expired. */
void ledger_page_skip(struct ledger_page *page);

/* The scan goes on above this key. Last of all, at most once. */
void ledger_page_continue(struct ledger_page *page, struct span key);

/* The read owns all of it now. With another rc than RC_OK it has no rows. */
void ledger_page_finish(struct ledger_page *page, enum rc rc);

/* It can't be answered: no rows. */
void ledger_read_refuse(struct ledger_read *read, enum rc rc);

#endif
