#include "store/ledger_page.h"

#include <stdlib.h>

#include "base/must.h"

enum {
    ROWS_FIRST      = 8,
    LEDGER_SKIP_MAX = 10000,
    /* all rows at their largest, and the continuation */
    LEDGER_PAGE_BYTES_MAX =
        LEDGER_READ_COUNT_MAX * (LEDGER_KEY_BYTES_MAX + LEDGER_VALUE_BYTES_MAX) + LEDGER_KEY_BYTES_MAX,
};

void ledger_read_refuse(struct ledger_read *read, enum rc rc)
{
    struct ledger_page page;

    ledger_page_init(&page, read);
    ledger_page_finish(&page, rc);
}

void ledger_page_init(struct ledger_page *page, struct ledger_read *read)
{
    *page = (struct ledger_page){ .read = read };
    buf_init(&page->bytes, LEDGER_PAGE_BYTES_MAX);
}

bool ledger_page_is_full(const struct ledger_page *page)
{
    const struct ledger_read *read = page->read;
    size_t                    max  = read->way == LEDGER_GET ? read->key_count : read->limit;

    return page->row_count >= max || page->skip_count >= LEDGER_SKIP_MAX ||
           (page->row_count > 0 && page->bytes.len >= read->bytes_max);
}

void ledger_page_skip(struct ledger_page *page)
{
    page->skip_count++;
}

/* The buffer may move while it grows, so the rows store only lengths until the end. */
void ledger_page_put(struct ledger_page *page, const struct ledger_row *row)
{
    must(!ledger_page_is_full(page));
    if (page->row_count == page->row_cap) {
        page->row_cap = page->row_cap == 0 ? ROWS_FIRST : page->row_cap * 2;
        page->rows    = reallocarray(page->rows, page->row_cap, sizeof *page->rows);
        must(page->rows != NULL);
    }
    page->rows[page->row_count++] = *row;
    buf_put(&page->bytes, row->key);
    buf_put(&page->bytes, row->value);
}

void ledger_page_continue(struct ledger_page *page, struct span key)
{
    must(page->next_len == 0 && key.len > 0);
    page->next_len = key.len;
    buf_put(&page->bytes, key);
}

void ledger_page_finish(struct ledger_page *page, enum rc rc)
{
    struct ledger_read *read = page->read;
    const char         *at   = page->bytes.at;

    must(!buf_is_over(&page->bytes));
    for (size_t i = 0; i < page->row_count; i++) {
        page->rows[i].key.at   = at;
        page->rows[i].value.at = at + page->rows[i].key.len;
        at += page->rows[i].key.len + page->rows[i].value.len;
    }
    read->rc        = rc;
    read->rows      = page->rows;
    read->row_count = rc == RC_OK ? page->row_count : 0;
    read->next      = span_of(at, page->next_len);
    read->bytes     = page->bytes.at;
}
