/* ring.h - the kept tail of one channel in memory, oldest first. Grows by need, shrinks only to nothing. */
#ifndef STORE_RING_H
#define STORE_RING_H

#include "message/message.h"

/* Slots are used from `start` on, around the end:
 *
 *     [d][e][ ][ ][a][b][c]      start = 4, count = 5, cap = 7 */
struct ring {
    struct message **slots;  /* each owns a reference */
    uint32_t         cap, start, count;
};

/* A zeroed ring is empty and holds no memory. */
void ring_fini(struct ring *ring);

void ring_push(struct ring *ring, struct message **take);

/* The oldest, taken out; the caller owns it. The last one out frees the slots. */
struct message *ring_pop(struct ring *ring);

/* Borrowed; at < count, 0 is the oldest. */
struct message *ring_get(const struct ring *ring, uint32_t at);

/* Takes the new one, gives the old one back. */
struct message *ring_swap(struct ring *ring, uint32_t at, struct message **take);

#endif
