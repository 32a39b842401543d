#include "store/ring.h"

#include <stdlib.h>

#include "base/must.h"

enum { RING_FIRST_CAP = 4 };

void ring_fini(struct ring *ring)
{
    for (uint32_t i = 0; i < ring->count; i++)
        message_unref(ring_get(ring, i));
    free(ring->slots);
    *ring = (struct ring){ 0 };
}

static struct message **slot_at(const struct ring *ring, uint32_t at)
{
    uint64_t slot = (uint64_t)ring->start + at;

    return &ring->slots[slot < ring->cap ? slot : slot - ring->cap];
}

static void ring_grow(struct ring *ring)
{
    must(ring->cap < UINT32_MAX / 2);
    uint32_t         cap   = ring->cap == 0 ? RING_FIRST_CAP : ring->cap * 2;
    struct message **slots = malloc(cap * sizeof(struct message *));
    must(slots != NULL);
    for (uint32_t i = 0; i < ring->count; i++)
        slots[i] = *slot_at(ring, i);
    free(ring->slots);
    *ring = (struct ring){ .slots = slots, .cap = cap, .count = ring->count };
}

void ring_push(struct ring *ring, struct message **take)
{
    if (ring->count == ring->cap)
        ring_grow(ring);
    *slot_at(ring, ring->count) = *take;
    ring->count++;
    *take = NULL;
}

struct message *ring_pop(struct ring *ring)
{
    must(ring->count > 0);
    struct message *message = *slot_at(ring, 0);
    ring->start             = ring->start + 1 == ring->cap ? 0 : ring->start + 1;
    if (--ring->count == 0)
        ring_fini(ring);
    return message;
}

struct message *ring_get(const struct ring *ring, uint32_t at)
{
    must(at < ring->count);
    return *slot_at(ring, at);
}

struct message *ring_swap(struct ring *ring, uint32_t at, struct message **take)
{
    struct message *old = ring_get(ring, at);
    *slot_at(ring, at)  = *take;
    *take               = NULL;
    return old;
}
