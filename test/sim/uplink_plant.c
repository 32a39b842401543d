#include "base/must.h"
#include "device/row_kind.h"
#include "uplink_world.h"

const char *uplink_plant_text(unsigned plant)
{
    static const char *const texts[UPLINK_PLANT_COUNT] = {
        [UPLINK_PLANT_NONE] = "none",
        [UPLINK_PLANT_NO_FENCE] = "no-fence",
        [UPLINK_PLANT_EARLY_CALL] = "early-call",
        [UPLINK_PLANT_FORGET_ROW] = "forget-row",
        [UPLINK_PLANT_EARLY_GONE] = "early-gone",
    };
    return texts[plant];
}

unsigned uplink_plant_seeds_max(unsigned plant)
{
    (void)plant;
    return 100;
}

static struct uplink_world *uplink_world_of(struct world *world)
{
    return container_of(world, struct uplink_world, world);
}

static void plant_write(struct world *world, struct ledger_write *write)
{
    for (size_t i = 0; i < write->count; i++)
        if (uplink_world_of(world)->plant == UPLINK_PLANT_NO_FENCE &&
            ((write->changes[i].key.kind == ROW_CALL && write->changes[i].op == LEDGER_DELETE) ||
             (write->changes[i].key.kind == ROW_REQUEST && write->changes[i].op == LEDGER_PUT)))
            write->changes[i].is_conditional = false;
}

static bool plant_rows(struct world *world, const struct message *message, struct ledger_write *rows)
{
    bool is_claim = message == NULL && (rows->changes[0].key.kind == ROW_REQUEST || rows->changes[0].key.kind == ROW_CALLS);

    return !is_claim || uplink_world_of(world)->plant != UPLINK_PLANT_EARLY_CALL || !one_in(world, OF_DISK, 4);
}

static void plant_read(struct world *world, struct ledger_read *read)
{
    if (uplink_world_of(world)->plant == UPLINK_PLANT_FORGET_ROW && read->way == LEDGER_SCAN &&
        (read->kind == ROW_CALL || read->kind == ROW_CALLS) && read->row_count > 0)
        read->row_count--;
}

bool uplink_plant_hides(struct uplink_world *all)
{
    return all->plant == UPLINK_PLANT_EARLY_GONE && one_in(&all->world, OF_PLAN, 6);
}

void uplink_plant_init(struct uplink_world *all)
{
    if (all->plant == UPLINK_PLANT_NONE)
        return;
    all->world.plant_write = plant_write;
    all->world.plant_rows  = plant_rows;
    all->world.plant_read  = plant_read;
}
