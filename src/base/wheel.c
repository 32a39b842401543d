#include "base/wheel.h"

#include "base/must.h"

/* A timer stands in the innermost ring that can tell its tick from now:
 *
 *   ring 0   the next 64 ticks            one slot a tick          (1 s)
 *   ring 1   the next 64 * 64             one slot 64 ticks        (65 s)
 *   ring 2   …                            one slot 4,096 ticks     (70 min)
 *   ring 3   …                            one slot 262,144 ticks   (75 h)
 *
 * When a ring has gone round once, the timers of the next slot of the ring above are placed again in the rings
 * below. */

enum { SLOT_BITS = 6, SLOT_MASK = WHEEL_SLOTS - 1 };

static uint64_t tick_of(msec at)  /* rounded up: never early */
{
    return at <= 0 ? 0 : ((uint64_t)at + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;
}

void wheel_init(struct wheel *wheel, msec now)
{
    must(now >= 0);
    wheel->tick  = (uint64_t)now / WHEEL_TICK_MS;
    wheel->count = 0;
    for (int ring = 0; ring < WHEEL_RINGS; ring++)
        for (int slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&wheel->slots[ring][slot]);
}

static void wheel_place(struct wheel *wheel, struct timer *timer)
{
    uint64_t tick = tick_of(timer->at);
    if (tick <= wheel->tick)
        tick = wheel->tick + 1;

    uint64_t farthest = wheel->tick + (1u << SLOT_BITS * WHEEL_RINGS) - (1u << SLOT_BITS * (WHEEL_RINGS - 1));
    if (tick > farthest)
        tick = farthest;

    int ring = 0;
    while (ring + 1 < WHEEL_RINGS && (tick >> SLOT_BITS * ring) - (wheel->tick >> SLOT_BITS * ring) >= WHEEL_SLOTS)
        ring++;
    list_push(&wheel->slots[ring][tick >> SLOT_BITS * ring & SLOT_MASK], &timer->link);
}

void wheel_arm(struct wheel *wheel, struct timer *timer, msec at)
{
    must(timer->fire != NULL);
    wheel_disarm(wheel, timer);
    timer->at = at;
    wheel_place(wheel, timer);
    wheel->count++;
}

void wheel_disarm(struct wheel *wheel, struct timer *timer)
{
    if (!timer_is_armed(timer))
        return;
    must(wheel->count > 0);
    list_take(&timer->link);
    wheel->count--;
}

static void wheel_deal(struct wheel *wheel, int ring)
{
    struct list  moved;
    struct list *link;

    list_init(&moved);
    list_move(&moved, &wheel->slots[ring][wheel->tick >> SLOT_BITS * ring & SLOT_MASK]);
    while ((link = list_pop(&moved)) != NULL) {
        struct timer *timer = container_of(link, struct timer, link);
        /* A timer that is due at this tick goes into the slot that wheel_turn() empties next. */
        if (tick_of(timer->at) <= wheel->tick)
            list_push(&wheel->slots[0][wheel->tick & SLOT_MASK], &timer->link);
        else
            wheel_place(wheel, timer);
    }
}

static void wheel_fire(struct wheel *wheel, msec now)
{
    struct list  due;
    struct list *link;

    list_init(&due);
    list_move(&due, &wheel->slots[0][wheel->tick & SLOT_MASK]);
    while ((link = list_pop(&due)) != NULL) {
        struct timer *timer = container_of(link, struct timer, link);
        if (tick_of(timer->at) > wheel->tick) {  /* it was due later than the outer ring reaches */
            wheel_place(wheel, timer);
            continue;
        }
        must(wheel->count > 0);
        wheel->count--;
        timer->fire(timer, now);
    }
}

void wheel_turn(struct wheel *wheel, msec now)
{
    uint64_t until = now <= 0 ? 0 : (uint64_t)now / WHEEL_TICK_MS;

    while (wheel->tick < until) {
        if (wheel->count == 0) {
            wheel->tick = until;
            return;
        }
        wheel->tick++;
        for (int ring = 1; ring < WHEEL_RINGS; ring++) {
            if ((wheel->tick & ((1u << SLOT_BITS * ring) - 1)) != 0)
                break;
            wheel_deal(wheel, ring);
        }
        wheel_fire(wheel, now);
    }
}

int wheel_sleep_ms(const struct wheel *wheel, msec now)
{
    if (wheel->count == 0)
        return -1;
    /* Look one ring ahead. If it is empty, sleep until it has gone round and is filled from the ring above. */
    uint64_t tick = wheel->tick + 1;
    while ((tick & SLOT_MASK) != 0 && list_is_empty(&wheel->slots[0][tick & SLOT_MASK]))
        tick++;
    msec sleep = (msec)(tick * WHEEL_TICK_MS) - now;
    return sleep < 0 ? 0 : (int)sleep;
}
