/* seq_by_time.h - finds the place of a log that belongs to a time, by bisection; the same code for all makers.
 *
 * It looks at O(log n) messages. Times rise with the seq, except where the clock was set back. Whatever the times are,
 * this holds: the message at the seq that is found is not older than the time that was asked for, and the one before it
 * is older; or there is none before it, or none at it. Pure. */
#ifndef STORE_SEQ_BY_TIME_H
#define STORE_SEQ_BY_TIME_H

#include "store/store.h"

/* Where the times come from. RC_CORRUPT: the message is damaged, so its time is not known. Any other failure ends the
 * search. */
struct time_source {
    enum rc (*time_at)(void *ctx, uint64_t seq, msec *ret);
    void *ctx;
};

/* Sets the bound of a read from its `since`, and its end from its `until`. read->head and read->first are set. A
 * damaged message counts so that the page becomes longer, not shorter. */
enum rc read_set_times(struct store_read *read, const struct time_source *source) RC_MUST_USE;

#endif
