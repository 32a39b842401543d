/* store_watch.h - tells the log when the durable store begins and ceases to refuse publishes, what is found damaged on
 * the disk, and when the clock of its engine is another one.
 *
 * One notice for each change, however often it looks. A failure may be repaired between two looks, so failures are
 * recognised by their count. One thread. */
#ifndef MAIN_STORE_WATCH_H
#define MAIN_STORE_WATCH_H

#include "store/store.h"

/* What was logged last. Zeroed: the store works, and nothing was logged. */
struct store_watch {
    bool     was_full;
    bool     was_failed;
    uint64_t failures_seen;   /* as of the last look */
    uint64_t failures_ended;  /* before the one that was logged last */
    uint64_t damages_told;
    uint64_t epochs_told;
    bool     is_clock_told;  /* that clocks differ */
};

/* `engine`: store_ops.engine of the store. */
void store_watch_look(struct store_watch *watch, const struct store_stats *stats, const char *engine);

#endif
