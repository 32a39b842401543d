#include "device_plant.h"

#include "base/must.h"
#include "device/group_spans.h"
#include "device/peer_fence.h"
#include "device/row.h"
#include "device_phone.h"
#include "wire_device.h"

const char *device_plant_text(unsigned plant)
{
    static const char *const texts[DEVICE_PLANT_COUNT] = {
        [DEVICE_PLANT_NONE] = "none",
        [DEVICE_PLANT_NO_FENCE] = "no-fence",
        [DEVICE_PLANT_FAR_PLACE] = "far-place",
        [DEVICE_PLANT_LOST_MEMBER] = "lost-member",
        [DEVICE_PLANT_GROUP_PLACE] = "group-place",
        [DEVICE_PLANT_STALE_ACK] = "stale-ack",
        [DEVICE_PLANT_OLD_TICKET] = "old-ticket",
        [DEVICE_PLANT_FORGET_REVOKED] = "forget-revoked",
        [DEVICE_PLANT_LOST_KEEP] = "lost-keep",
        [DEVICE_PLANT_SAME_GENERATION] = "same-generation",
        [DEVICE_PLANT_LOST_ROWS] = "lost-rows",
        [DEVICE_PLANT_OLD_GROUPS] = "old-groups",
        [DEVICE_PLANT_OLD_ANSWERS] = "old-answers",
    };
    return texts[plant];
}

unsigned device_plant_seeds_max(unsigned plant)
{
    (void)plant;
    return 100;
}

/* It takes a leave while a link without a session asks. */
unsigned device_plant_seed_first(unsigned plant)
{
    return plant == DEVICE_PLANT_OLD_ANSWERS ? 380 : 1;
}

static enum device_plant plant_of(struct wire_world *wire)
{
    return device_world_of(wire)->plant;
}

/* --- commands to the devices --- */

static void plant_open(enum device_plant plant, struct session_open *open)
{
    if (plant == DEVICE_PLANT_STALE_ACK && open->way == OPEN_ACK)
        open->generation = 0;
    if (plant == DEVICE_PLANT_OLD_TICKET && open->way == OPEN_TICKET)
        open->way = OPEN_NEWER;
}

static void plant_acks(enum device_plant plant, struct session_acks *acks)
{
    for (size_t i = 0; plant == DEVICE_PLANT_LOST_KEEP && i < acks->count; i++)
        if (acks->acks[i].kind == ACK_KEEP)
            acks->acks[i].kind = ACK_PLACE;
}

static void plant_send(struct wire_world *wire, struct command *command)
{
    if (strcmp(command->kind->name, "session_open") == 0)
        plant_open(plant_of(wire), container_of(command, struct session_open, command));
    if (strcmp(command->kind->name, "session_acks") == 0)
        plant_acks(plant_of(wire), container_of(command, struct session_acks, command));
}

/* --- a loop, and a process, as they begin --- */

static void fence_nobody(struct device_home *home, uint64_t key, enum fence_reason reason)
{
    (void)home, (void)key, (void)reason;
}

static void plant_loop(struct wire_world *wire, struct session_worker *sessions)
{
    if (plant_of(wire) == DEVICE_PLANT_NO_FENCE)
        sessions->home.fence = fence_nobody;
    if (plant_of(wire) == ROAM_PLANT_LOST_LEFT)
        sessions->limits.member_check_ms = 0;
}

static void plant_start(struct wire_devices *devices)
{
    if (plant_of(devices->node->wire) == DEVICE_PLANT_OLD_GROUPS)
        devices->memberships.devices = NULL;
    if (plant_of(devices->node->wire) != DEVICE_PLANT_FORGET_REVOKED)
        return;
    revocations_fini(&devices->revoked);
    revocations_init(&devices->revoked, &devices->node->wire->world.hash_key);
}

/* --- rows on their way to the disk --- */

/* The copy of the change is the disk's own. */
static void plant_group_place(struct ledger_change *change)
{
    struct group_spans spans;
    struct buf         value;

    if (change->op != LEDGER_PUT || !group_spans_get(change->value, &spans) || !group_spans_is_member(&spans))
        return;
    spans.spans[spans.count - 1].after++;
    buf_init(&value, GROUP_SPANS_BYTES_MAX);
    group_spans_put(&spans, &value);
    must(value.len == change->value.len);
    memcpy((char *)(uintptr_t)change->value.at, value.at, value.len);
    buf_fini(&value);
}

static void plant_change(enum device_plant plant, struct ledger_change *change)
{
    bool is_put = change->op == LEDGER_PUT || change->op == LEDGER_RAISE;

    if (plant == DEVICE_PLANT_FAR_PLACE && change->key.kind == ROW_PLACE && is_put)
        change->generation++;
    if (plant == DEVICE_PLANT_GROUP_PLACE && change->key.kind == ROW_GROUP)
        plant_group_place(change);
    if (plant == DEVICE_PLANT_SAME_GENERATION && change->key.kind == ROW_SESSION && is_put && change->if_generation != 0)
        change->generation = change->if_generation;
}

static bool plant_rows(struct world *world, const struct message *message, struct ledger_write *rows)
{
    enum device_plant plant = plant_of(container_of(world, struct wire_world, world));

    for (size_t i = 0; i < rows->count; i++)
        plant_change(plant, &rows->changes[i]);
    if (plant == DEVICE_PLANT_LOST_MEMBER && message != NULL)
        return rows->changes[0].key.kind != ROW_GROUP || !one_in(world, OF_DISK, 3);
    return plant != DEVICE_PLANT_LOST_ROWS || message != NULL || !one_in(world, OF_DISK, 5);
}

/* --- of nodes in a cluster --- */

enum device_plant roam_plant_of(unsigned plant)
{
    return plant == 0 ? DEVICE_PLANT_NONE : (enum device_plant)(DEVICE_PLANT_COUNT + plant - 1);
}

const char *roam_plant_text(unsigned plant)
{
    static const char *const texts[ROAM_PLANT_END - DEVICE_PLANT_COUNT + 1] = {
        "none", "lost-fence", "stale-write", "place-back", "lost-acks", "lost-left", "lost-unsure",
    };
    return texts[plant];
}

unsigned roam_plant_seeds_max(unsigned plant)
{
    (void)plant;
    return 500;
}

/* Nobody is asked. */
static void ask_nobody(void *ctx, struct peer_fence_ask *ask)
{
    (void)ctx;
    device_peer_settled(ask, false);
}

/* What is answered is not looked at. */
static void ask_in_vain(void *ctx, struct peer_fence_ask *ask)
{
    ask->is_own = false;
    peers_by_question.ask(ctx, ask);
}

void roam_plant_join(struct device_world *all, struct devices *devices)
{
    static const struct device_peers nobody = { .ask = ask_nobody }, in_vain = { .ask = ask_in_vain };

    if (all->plant == ROAM_PLANT_LOST_FENCE) {
        devices->peers             = &nobody;
        devices->limits.compare_ms = INT64_MAX / 2;
    }
    if (all->plant == ROAM_PLANT_LOST_ACKS)
        devices->peers = &in_vain;
}

bool roam_plant_compares_never(const struct device_world *all)
{
    return all->plant == ROAM_PLANT_LOST_FENCE;
}

static void plant_condition(enum device_plant plant, struct ledger_change *change)
{
    if (plant == ROAM_PLANT_STALE_WRITE && change->key.kind == ROW_SESSION && change->generation == change->if_generation)
        change->is_conditional = false;
    if (plant == ROAM_PLANT_BACK && change->key.kind == ROW_PLACE && change->op == LEDGER_RAISE)
        change->op = LEDGER_PUT;
}

static void plant_write(struct world *world, struct ledger_write *write)
{
    for (size_t i = 0; i < write->count; i++)
        plant_condition(plant_of(container_of(world, struct wire_world, world)), &write->changes[i]);
}

void device_plant_init(struct device_world *all)
{
    if (all->plant == DEVICE_PLANT_NONE)
        return;
    all->wire.world.plant_write = plant_write;
    all->wire.plant_send       = plant_send;
    all->wire.plant_loop       = plant_loop;
    all->wire.plant_start      = plant_start;
    all->wire.forgets_left     = all->plant == DEVICE_PLANT_OLD_ANSWERS;
    all->wire.loses_left       = all->plant == ROAM_PLANT_LOST_LEFT;
    all->wire.world.plant_rows = plant_rows;
}
