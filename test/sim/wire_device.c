#include "wire_device.h"

#include <stdlib.h>

#include "base/must.h"
#include "main/revocations_load.h"
#include "store_sim.h"
#include "wire_plant.h"

enum {
    TOKEN_LIFE_S    = 3600,
    REVOCATIONS_MAX = 1000,
    DEVICES_A_USER  = 100,
    OPENS_MAX       = 50,
    TIGHT_OPENS_MAX = 2,
    COMPARE_MS      = 1000,
};

static const char ticket_secret[] = "the secret of all simulated tickets, 32 bytes and more";

/* --- beside the writer --- */

static void devices_on_turn_begin(void *ctx)
{
    struct wire_devices *devices = ctx;
    if (devices->cluster != NULL)
        devices->cluster->turn_begin(devices->cluster->ctx);
}

static void devices_on_turn_end(void *ctx)
{
    struct wire_devices *devices = ctx;
    devices_turn_end(&devices->devices);
}

static void devices_on_tick(void *ctx)
{
    struct wire_devices *devices = ctx;
    if (devices->cluster != NULL)
        devices->cluster->tick(devices->cluster->ctx);
    devices_tick(&devices->devices);
}

static void devices_on_fini(void *ctx)
{
    struct wire_devices *devices = ctx;
    devices_fini(&devices->devices);
    if (devices->cluster != NULL)
        devices->cluster->fini(devices->cluster->ctx);
}

static struct devices_limits draw_limits(struct world *world)
{
    bool is_tight = world->faults.tight;

    return (struct devices_limits){
        .session_ttl_ms = 3600 * 1000,
        .poll_lease_ms  = 60 * 1000,
        .devices_max    = DEVICES_A_USER,
        .opens_max      = is_tight ? TIGHT_OPENS_MAX : OPENS_MAX,
        .waiting_max    = is_tight ? TIGHT_OPENS_MAX : 1000,
        .idle_max       = is_tight ? 1 : 1000,
        .policy         = DEVICES_ALL,
        .compare_ms     = COMPARE_MS,
    };
}

/* A process that begins waits for the rows, and does not serve without them. */
static void load_revocations(struct wire_devices *devices)
{
    struct world      *world = &devices->node->wire->world;
    struct channel_name *control;

    must(channel_name_new(&world->spaces, &world->hash_key, SPAN("sys:control"), &control) == CHANNEL_NAME_OK);
    unsigned no = devices->node->no;
    store_sim_open(world->disk, no, true);
    enum rc rc = revocations_load(&devices->revoked, store_sim_port(world->disk, no), control, world_wall(world),
                                  &devices->control_start);
    store_sim_open(world->disk, no, false);
    must(rc == RC_OK);
    channel_name_unref(control);
    if (devices->node->wire->plant_start != NULL)
        devices->node->wire->plant_start(devices);
}

struct wire_devices *wire_devices_new(struct wire_node *node)
{
    struct wire_devices  *devices = calloc(1, sizeof *devices);
    struct world         *world   = &node->wire->world;
    struct devices_limits limits  = draw_limits(world);

    must(devices != NULL);
    devices->node   = node;
    devices->beside = (struct sim_beside){
        .ctx = devices, .turn_begin = devices_on_turn_begin, .turn_end = devices_on_turn_end, .tick = devices_on_tick, .fini = devices_on_fini,
    };
    node->sim_node->beside = &devices->beside;
    memberships_init(&devices->memberships);
    devices->memberships.devices = &devices->devices;
    devices_init(&devices->devices, &node->sim_node->writer, &world->spaces, &world->hash_key, &limits);
    revocations_init(&devices->revoked, &world->hash_key);
    if (node->wire->join != NULL)
        node->wire->join(devices);
    load_revocations(devices);
    return devices;
}

void wire_devices_free(struct wire_devices *devices)
{
    memberships_fini(&devices->memberships);
    revocations_fini(&devices->revoked);
    free(devices);
}

bool wire_devices_are_idle(const struct wire_devices *devices)
{
    const struct devices *all = &devices->devices;

    return all->batch == NULL && all->read_count == 0 && all->open_count == 0 && all->line_count == 0;
}

/* --- on a loop --- */

void wire_devices_lend_sessions(struct wire_devices *devices, struct wire_loop *loop)
{
    struct loop_devices *of_loop = &devices->loops[loop->index];

    revocations_init(&of_loop->revoked, &devices->node->wire->world.hash_key);
    revocations_copy(&of_loop->revoked, &devices->revoked);
    loop->identities.revoked         = &of_loop->revoked;
    loop->sessions.devices           = &devices->devices;
    loop->sessions.memberships       = &devices->memberships;
    loop->sessions.limits.member_check_ms = MEMBER_CHECK_MS;
    loop->sessions.limits.may_miss_leaves = devices->node->wire->world.has_shared_store;
    loop->sessions.revocations       = &of_loop->revoked;
    ticket_key_init(&loop->sessions.ticket_key, span_str(ticket_secret));
}

void wire_devices_lend_api(struct wire_devices *devices, struct wire_loop *loop)
{
    loop->api.devices                = &devices->devices;
    loop->api.home                   = (struct device_home){ .loop = loop->index };
    loop->api.memberships            = &devices->memberships;
    loop->api.revocations            = &devices->loops[loop->index].revoked;
    loop->api.limits.revocations_max = REVOCATIONS_MAX;
    loop->api.limits.token_life_s    = TOKEN_LIFE_S;
}

void wire_devices_follow(struct wire_devices *devices, struct wire_loop *loop)
{
    struct loop_devices *of_loop = &devices->loops[loop->index];

    control_open(&of_loop->control, loop->sessions.shard, &loop->sessions, &of_loop->revoked, devices->control_start);
}

void wire_devices_unfollow(struct wire_devices *devices, struct wire_loop *loop)
{
    control_close(&devices->loops[loop->index].control, loop->sim.loop.now);
}

void wire_devices_leave(struct wire_devices *devices, struct wire_loop *loop)
{
    wire_devices_unfollow(devices, loop);
    revocations_fini(&devices->loops[loop->index].revoked);
}

bool wire_devices_take_ready(struct wire_devices *devices, struct wire_loop *loop, const struct subscription *sub)
{
    return control_take_ready(&devices->loops[loop->index].control, sub);
}

void wire_devices_turn(struct wire_devices *devices, struct wire_loop *loop)
{
    control_read(&devices->loops[loop->index].control, loop->sim.loop.wall);
}

void wire_devices_revoke(struct wire_devices *devices, const struct revocation *revocation, uint64_t seq,
                         void (*answered)(void *owner, uint64_t cut), void *owner)
{
    uint64_t cut = 0;

    for (unsigned i = 0; i < devices->node->loop_count; i++)
        cut += control_revoke(&devices->loops[i].control, seq, revocation);
    answered(owner, cut);
}
