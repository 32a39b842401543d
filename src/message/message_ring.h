/* message_ring.h - messages in a row, oldest first: pushed at the end, popped at the front. It is what the memory store
 * keeps of a channel, the writer's tail of a log, and a hub's window.
 *
 * NULL is the empty ring and holds no memory: most channels have none most of the time. A ring grows by need, and
 * gives half of it back when a quarter is used: a burst leaves nothing behind. It has no maximum of its own: its owner
 * pops what is too much. One thread at a time.
 *
 *     [d][e][ ][ ][ ][a][b][c]      start = 5, count = 5, cap = 8 */
#ifndef MESSAGE_MESSAGE_RING_H
#define MESSAGE_MESSAGE_RING_H

#include "message/message.h"

struct message_ring {
    uint32_t        cap;      /* a power of two */
    uint32_t        start;    /* slot of the oldest */
    uint32_t        count;    /* at least 1 */
    size_t          bytes;    /* message_size() of all of them */
    struct message *slots[];  /* each used slot owns a reference */
};

static inline uint32_t message_ring_count(const struct message_ring *ring)
{
    return ring == NULL ? 0 : ring->count;
}

/* May move the ring. */
void message_ring_push(struct message_ring **ring, struct message **take);

/* The oldest, taken out; the caller owns it. May move the ring; the last one out frees it. */
struct message *message_ring_pop(struct message_ring **ring);

/* Borrowed; index < count, 0 is the oldest. */
struct message *message_ring_at(const struct message_ring *ring, uint32_t index);

/* Puts the new one into the place of the old one, which is given back. */
struct message *message_ring_swap(struct message_ring *ring, uint32_t index, struct message **take);

/* Gives all back. An empty ring is fine. */
void message_ring_clear(struct message_ring **ring);

#endif
