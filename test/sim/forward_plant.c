#include <string.h>

#include "base/must.h"
#include "forward_world.h"
#include "uplink/forwarder_priv.h"

const char *forward_plant_text(unsigned plant)
{
    static const char *const texts[FORWARD_PLANT_COUNT] = {
        [FORWARD_PLANT_NONE] = "none",
        [FORWARD_PLANT_EARLY_CURSOR] = "early-cursor",
        [FORWARD_PLANT_NO_LEASE] = "no-lease",
        [FORWARD_PLANT_UNFIXED] = "unfixed",
        [FORWARD_PLANT_LOST_HALF] = "lost-half",
        [FORWARD_PLANT_DEAD_STAYS] = "dead-stays",
        [FORWARD_PLANT_NO_LETTER] = "no-letter",
        [FORWARD_PLANT_NO_SWEEP] = "no-sweep",
        [FORWARD_PLANT_FLOOD] = "flood",
    };
    return texts[plant];
}

unsigned forward_plant_seeds_max(unsigned plant)
{
    (void)plant;
    return 100;
}

static struct forward_world *forward_world_of(struct world *world)
{
    return container_of(world, struct forward_world, world);
}

static struct ledger_change *change_of_kind(struct ledger_write *write, uint8_t kind)
{
    for (size_t i = 0; i < write->count; i++)
        if (write->changes[i].key.kind == kind)
            return &write->changes[i];
    return NULL;
}

/* --- at the disk ---------------------------------------------------------------------------------------------------- */

/* Another row instead; it is copied before the next write is looked at. */
static void put_instead(struct ledger_change *change, const struct cursor_row *row)
{
    static char bytes[CURSOR_ROW_BYTES];
    struct buf  value;

    buf_init(&value, sizeof bytes);
    cursor_row_put(&value, row);
    must(value.len <= sizeof bytes);
    memcpy(bytes, value.at, value.len);
    change->value = span_of(bytes, value.len);
    buf_fini(&value);
}

static bool moves_over_the_dead(const struct forward_world *all, const struct ledger_change *change, const struct cursor_row *row)
{
    for (unsigned i = 0; i < all->carried_count; i++) {
        struct span name = channel_name_span(all->world.channels[i]), key = change->key.bytes;
        bool        is_it = key.len > name.len && span_eq(span_skip(key, key.len - name.len), name);
        for (uint64_t seq = all->channels[i].cursor + 1; is_it && seq <= row->seq && seq <= all->channels[i].head; seq++)
            if (all->channels[i].places[seq].is_dead)
                return true;
    }
    return false;
}

static void plant_write(struct world *world, struct ledger_write *write)
{
    struct forward_world *all    = forward_world_of(world);
    struct ledger_change *cursor = change_of_kind(write, ROW_CURSOR), *lease = change_of_kind(write, ROW_LEASE);
    struct cursor_row     row;

    if (cursor == NULL || !cursor_row_get(cursor->value, &row))
        return;
    if (all->plant == FORWARD_PLANT_EARLY_CURSOR && row.last != 0) {
        row.seq  = row.last;
        row.last = 0;
        put_instead(cursor, &row);
    } else if (all->plant == FORWARD_PLANT_UNFIXED) {
        row.last = 0;
        put_instead(cursor, &row);
    } else if (all->plant == FORWARD_PLANT_NO_LEASE && lease != NULL) {
        lease->is_conditional = cursor->is_conditional = false;
    } else if (all->plant == FORWARD_PLANT_DEAD_STAYS && moves_over_the_dead(all, cursor, &row)) {
        cursor->if_generation++;  /* it is stale each time */
    }
}

/* --- in memory ------------------------------------------------------------------------------------------------------ */

static bool is_second_half_left(const struct forwarder_channel *channel)
{
    return channel->limit != 0 && channel->split_end > channel->cursor.last;
}

void forward_plant_answer(struct forward_world *all, struct carried_call *got)
{
    struct forwarder_batch   *batch   = container_of(got->call, struct forwarder_batch, call);
    struct forwarder_channel *channel = batch->channel;

    if (got->outcome != BACKEND_ANSWERED || channel->is_gone)
        return;
    if (all->plant == FORWARD_PLANT_LOST_HALF && got->status == 200 && is_second_half_left(channel))
        channel->cursor.last = channel->split_end;
    if (all->plant == FORWARD_PLANT_NO_LETTER && got->status == 422 && channel->refusals + 1 >= all->tries && batch->count == 1)
        got->status = 200;
}

void forward_plant_turn(struct forward_node *node)
{
    for (size_t i = 0; i < node->forwarders.count; i++) {
        struct forwarder *forwarder = node->forwarders.at[i];
        if (node->all->plant == FORWARD_PLANT_NO_SWEEP) {
            forwarder->needs_sweep = false;
            forwarder->sweep_at    = INT64_MAX;
        }
        if (node->all->plant == FORWARD_PLANT_FLOOD) {
            forwarder->window       = FORWARDER_WINDOW_MAX;
            forwarder->paused_until = 0;
        }
    }
}

void forward_plant_init(struct forward_world *all)
{
    if (all->plant != FORWARD_PLANT_NONE)
        all->world.plant_write = plant_write;
}
