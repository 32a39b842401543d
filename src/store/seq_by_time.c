#include "store/seq_by_time.h"

/* The first of low … high whose message is `time` or later; high + 1: none is. */
static enum rc first_not_before(const struct time_source *source, uint64_t low, uint64_t high, msec time,
                                bool is_damage_older, uint64_t *ret)
{
    uint64_t end = high + 1;

    while (low < end) {
        uint64_t middle = low + (end - low) / 2;
        msec     found  = 0;
        enum rc  rc     = source->time_at(source->ctx, middle, &found);
        if (rc != RC_OK && rc != RC_CORRUPT)
            return rc;
        if (rc == RC_OK ? found < time : is_damage_older)
            low = middle + 1;
        else
            end = middle;
    }
    *ret = low;
    return RC_OK;
}

enum rc read_set_times(struct store_read *read, const struct time_source *source)
{
    uint64_t from = read->first, seq = 0;
    enum rc  rc   = RC_OK;

    if (read->since != 0) {
        rc = first_not_before(source, from, read->head, read->since, false, &from);
        if (rc != RC_OK)
            return rc;
        read->bound = from - 1;
    }
    if (read->until != 0) {
        rc = first_not_before(source, from, read->head, read->until + 1, true, &seq);
        if (rc == RC_OK)
            read->end = seq;
    }
    return rc;
}
