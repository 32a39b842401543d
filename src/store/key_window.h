/* key_window.h - recent idempotency keys, in memory.
 *
 * A key is remembered for a fixed time after its first use, or until key_count_max younger keys came: then the oldest
 * is forgotten early. The caller hands in the time. */
#ifndef STORE_KEY_WINDOW_H
#define STORE_KEY_WINDOW_H

#include "base/map.h"
#include "store/store.h"

struct key_window {
    struct map      map;
    struct list     oldest_first;
    struct hash_key hash_key;
    msec            keep_ms;
    size_t          count_max;
};

/* count_max > 0. */
void key_window_init(struct key_window *window, const struct hash_key *hash_key, msec keep_ms, size_t count_max);
void key_window_fini(struct key_window *window);

/* True if the append's key was used within the window: outcome and first are then set. */
bool key_window_decides(struct key_window *window, struct append *append, msec wall);

/* Remembers the answer of an append that carries a key and was just numbered. */
void key_window_add(struct key_window *window, const struct append *append, msec wall);

/* Forgets up to count_max keys whose time is over. */
void key_window_tick(struct key_window *window, msec wall, size_t count_max);

#endif
