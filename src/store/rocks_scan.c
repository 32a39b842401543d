/* One page, read from the rows of a channel. */
#include "store/page.h"
#include "store/rocks_priv.h"
#include "store/rocks_walk.h"

enum { SCAN_ROWS_MAX = 10000 };  /* rows read for one page: many expired rows make a short page, not a long wait */

/* False once the page takes no more. */
static bool page_put_row(struct page *page, const struct walk_step *step, uint64_t number)
{
    struct row row;

    if (!row_get(step->value, number, step->from, &row))
        return page_put_gap(page, (struct gap){ step->from, step->to, GAP_CORRUPT });
    if (row.kind == ROW_EXPIRED || (row.expires_at != 0 && row.expires_at <= page->read->wall))
        return page_put_gap(page, (struct gap){ step->from, step->to, GAP_EXPIRED });
    if (page_is_full(page))
        return false;
    struct message *message = row_message(&row, page->read->channel, page->read->epoch, step->from);
    page_put_message(page, &message);
    return true;
}

/* Puts rows and gaps until the page is full or the range ends. RC_FULL: the page is full. */
static enum rc page_walk(struct page *page, struct row_walk *walk)
{
    bool has_room = true;

    for (size_t i = 0; has_room && i < SCAN_ROWS_MAX; i++) {
        const struct walk_step step = row_walk_next(walk);
        switch (step.what) {
        case WALK_ROW: has_room = page_put_row(page, &step, walk->number); break;
        /* Every seq from the floor to the head was written, so a missing one was lost. */
        case WALK_MISSING:
        case WALK_UNREADABLE:
            has_room = page_put_gap(page, (struct gap){ step.from, step.to, GAP_CORRUPT });
            break;
        case WALK_END: return RC_OK;
        case WALK_FAILED: return walk->rc;
        }
    }
    return RC_FULL;
}

/* Puts the part of the page that is kept: seqs low … high, none below the floor. */
static enum rc page_scan(struct rocks *rocks, struct page *page, const struct channel_state *state, uint64_t low,
                         uint64_t high)
{
    struct row_walk walk;

    row_walk_open(&walk, &rocks->db, state->number, low, high, page->read->way == READ_AFTER ? WALK_UP : WALK_DOWN);
    enum rc rc = page_walk(page, &walk);
    row_walk_close(&walk);
    return rc;
}

enum rc page_fill_rows(struct rocks *rocks, struct page *page, const struct channel_state *state)
{
    uint64_t   low, high;
    struct gap gone = { .why = GAP_TRIMMED };
    enum rc    rc   = RC_OK;

    if (!page_range(page->read, &low, &high))
        return RC_OK;
    if (low < state->floor) {
        gone.from = low;
        gone.to   = high < state->floor ? high : state->floor - 1;
        low       = state->floor;
    }
    if (gone.from != 0 && page->read->way == READ_AFTER && !page_put_gap(page, gone))
        return RC_OK;
    if (low <= high)
        rc = page_scan(rocks, page, state, low, high);
    if (rc == RC_OK && gone.from != 0 && page->read->way == READ_BEFORE)
        page_put_gap(page, gone);
    page_finish(page);
    return rc == RC_FULL ? RC_OK : rc;
}
