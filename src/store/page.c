#include "store/page.h"

#include <stdlib.h>

#include "base/must.h"

enum { PAGE_FIRST_CAP = 16 };

void page_init(struct page *page, struct store_read *read)
{
    *page             = (struct page){ .read = read };
    read->entries     = NULL;
    read->entry_count = 0;
}

bool page_is_full(const struct page *page)
{
    const struct store_read *read = page->read;

    return read->entry_count >= read->limit || (read->entry_count > 0 && page->bytes >= read->bytes_max);
}

static struct entry *page_room(struct page *page)
{
    struct store_read *read = page->read;

    if (read->entry_count == page->cap) {
        page->cap     = page->cap == 0 ? PAGE_FIRST_CAP : page->cap * 2;
        read->entries = reallocarray(read->entries, page->cap, sizeof *read->entries);
        must(read->entries != NULL);
    }
    struct entry *entry = &read->entries[read->entry_count++];
    *entry              = (struct entry){ 0 };
    return entry;
}

static struct gap entry_range(const struct entry *entry)
{
    return entry->message == NULL ? entry->gap : (struct gap){ .from = entry->message->seq, .to = entry->message->seq };
}

/* Whether [from, to] continues what the page holds, away from the bound. */
static bool page_touches(const struct page *page, uint64_t from, uint64_t to)
{
    const struct store_read *read = page->read;

    if (from > to)
        return false;
    if (read->entry_count == 0)
        return read->way == READ_BEFORE || from == read->bound + 1;
    struct gap last = entry_range(&read->entries[read->entry_count - 1]);
    return read->way == READ_AFTER ? from == last.to + 1 : to + 1 == last.from;
}

void page_put_message(struct page *page, struct message **take)
{
    must(!page_is_full(page));
    must(page_touches(page, (*take)->seq, (*take)->seq));
    page->bytes += message_size(*take);
    page_room(page)->message = *take;
    *take                    = NULL;
}

static bool gap_lengthen(struct gap *last, struct gap gap)
{
    if (last->why != gap.why)
        return false;
    if (last->to + 1 == gap.from)
        last->to = gap.to;
    else if (gap.to + 1 == last->from)
        last->from = gap.from;
    else
        return false;
    return true;
}

bool page_put_gap(struct page *page, struct gap gap)
{
    struct store_read *read = page->read;
    struct entry      *last = read->entry_count == 0 ? NULL : &read->entries[read->entry_count - 1];

    must(page_touches(page, gap.from, gap.to));
    if (last != NULL && last->message == NULL && gap_lengthen(&last->gap, gap))
        return true;
    if (page_is_full(page))
        return false;
    page_room(page)->gap = gap;
    return true;
}

void page_finish(struct page *page)
{
    struct store_read *read = page->read;

    if (read->way == READ_AFTER)
        return;
    for (size_t low = 0, high = read->entry_count; low + 1 < high; low++) {
        struct entry entry  = read->entries[low];
        read->entries[low]  = read->entries[--high];
        read->entries[high] = entry;
    }
}

bool page_range(const struct store_read *read, uint64_t *ret_low, uint64_t *ret_high)
{
    uint64_t low = 1, high = read->head;

    if (read->limit == 0)
        return false;
    if (read->way == READ_AFTER) {
        if (read->bound >= read->head)
            return false;
        low = read->bound + 1;
    } else if (read->bound != 0 && read->bound <= read->head) {
        high = read->bound - 1;
    }
    if (read->end != 0 && high >= read->end)
        high = read->end - 1;
    if (low > high)
        return false;
    *ret_low  = low;
    *ret_high = high;
    return true;
}
