#include "message/message_ring.h"

#include <stdlib.h>

#include "base/must.h"

enum { RING_FIRST_CAP = 4 };

static void must_be_whole(const struct message_ring *ring)
{
    must(ring->count > 0 && ring->count <= ring->cap && ring->start < ring->cap);
}

static uint32_t ring_slot(const struct message_ring *ring, uint32_t index)
{
    return (ring->start + index) & (ring->cap - 1);
}

static struct message_ring *ring_new(uint32_t cap)
{
    struct message_ring *ring = malloc(sizeof *ring + cap * sizeof ring->slots[0]);

    must(ring != NULL);
    *ring = (struct message_ring){ .cap = cap };
    return ring;
}

static void ring_resize(struct message_ring **ring, uint32_t cap)
{
    struct message_ring *old = *ring, *other = ring_new(cap);

    must(old->count <= cap);
    for (uint32_t i = 0; i < old->count; i++)
        other->slots[i] = old->slots[ring_slot(old, i)];
    other->count = old->count;
    other->bytes = old->bytes;
    free(old);
    *ring = other;
}

static void ring_grow(struct message_ring **ring)
{
    must((*ring)->cap <= UINT32_MAX / 2);
    ring_resize(ring, (*ring)->cap * 2);
}

static void ring_shrink(struct message_ring **ring)
{
    if ((*ring)->cap > RING_FIRST_CAP && (*ring)->count <= (*ring)->cap / 4)
        ring_resize(ring, (*ring)->cap / 2);
}

void message_ring_push(struct message_ring **ring, struct message **take)
{
    if (*ring == NULL)
        *ring = ring_new(RING_FIRST_CAP);
    else if ((*ring)->count == (*ring)->cap)
        ring_grow(ring);

    struct message_ring *to            = *ring;
    to->slots[ring_slot(to, to->count++)] = *take;
    to->bytes += message_size(*take);
    *take = NULL;
    must_be_whole(to);
}

struct message *message_ring_pop(struct message_ring **ring)
{
    struct message_ring *from = *ring;

    must(from != NULL);
    must_be_whole(from);
    struct message *message = from->slots[from->start];
    from->start             = ring_slot(from, 1);
    from->bytes -= message_size(message);
    if (--from->count > 0) {
        ring_shrink(ring);
        return message;
    }
    must(from->bytes == 0);
    free(from);
    *ring = NULL;
    return message;
}

struct message *message_ring_at(const struct message_ring *ring, uint32_t index)
{
    must(index < message_ring_count(ring));
    must_be_whole(ring);
    return ring->slots[ring_slot(ring, index)];
}

struct message *message_ring_swap(struct message_ring *ring, uint32_t index, struct message **take)
{
    struct message *old = message_ring_at(ring, index);

    ring->slots[ring_slot(ring, index)] = *take;
    ring->bytes += message_size(*take);
    ring->bytes -= message_size(old);
    *take = NULL;
    return old;
}

void message_ring_clear(struct message_ring **ring)
{
    while (*ring != NULL)
        message_unref(message_ring_pop(ring));
}
