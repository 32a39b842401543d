#include "route/registry.h"

#include <stdlib.h>

#include "base/must.h"
#include "base/rng.h"

/* Two clocks that run apart make a lease look a little longer; a renewal makes it longer by far more. */
enum { REGISTRY_RENEWED_MS = 500 };

void registry_init(struct registry *registry)
{
    *registry = (struct registry){ 0 };
}

void registry_fini(struct registry *registry)
{
    free(registry->nodes);
    registry_init(registry);
}

static void registry_reserve(struct registry *registry, size_t count)
{
    if (count <= registry->cap)
        return;
    registry->cap   = count < 8 ? 8 : 2 * count;
    registry->nodes = reallocarray(registry->nodes, registry->cap, sizeof *registry->nodes);
    must(registry->nodes != NULL);
}

void registry_copy(struct registry *registry, const struct registry *from)
{
    must(registry->count == 0);
    registry_reserve(registry, from->count);
    if (from->count > 0)
        memcpy(registry->nodes, from->nodes, from->count * sizeof *from->nodes);
    registry->count       = from->count;
    registry->last_number = from->last_number;
    registry->version     = from->version;
}

/* --- finding ----------------------------------------------------------------------------------------------------- */

/* The first node whose name is not below this one. */
static size_t registry_place(const struct registry *registry, struct span name)
{
    size_t low = 0, high = registry->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (span_order(span_str(registry->nodes[middle].record.id.name), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct registry_node *registry_get(const struct registry *registry, struct span name)
{
    size_t at = registry_place(registry, name);

    if (at == registry->count || !span_eq(span_str(registry->nodes[at].record.id.name), name))
        return NULL;
    return &registry->nodes[at];
}

const struct registry_node *registry_find(const struct registry *registry, struct span name)
{
    return registry_get(registry, name);
}

const struct registry_node *registry_find_id(const struct registry *registry, const struct node_id *id)
{
    const struct registry_node *node = registry_get(registry, span_str(id->name));

    return node != NULL && node->record.id.incarnation == id->incarnation ? node : NULL;
}

/* --- what the engine told ------------------------------------------------------------------------------------------ */

struct registry_round {
    struct registry *registry;
    msec             wall;
    void           (*on_change)(void *ctx, const struct registry_node *node);
    void            *ctx;
};

static void registry_say(const struct registry_round *round, const struct registry_node *node)
{
    if (round->on_change != NULL)
        round->on_change(round->ctx, node);
}

static void registry_lose(const struct registry_round *round, struct registry_node *node)
{
    if (node->state == NODE_LOST)
        return;
    node->state   = NODE_LOST;
    node->lost_at = round->wall;
    registry_say(round, node);
}

static void registry_remove(struct registry *registry, size_t at)
{
    registry->count--;
    memmove(&registry->nodes[at], &registry->nodes[at + 1], (registry->count - at) * sizeof *registry->nodes);
}

/* The lost node that was seen last the longest ago makes room. False: all live. */
static bool registry_make_room(struct registry *registry)
{
    size_t oldest = registry->count;

    if (registry->count < NODES_MAX)
        return true;
    for (size_t i = 0; i < registry->count; i++)
        if (registry->nodes[i].state == NODE_LOST &&
            (oldest == registry->count || registry->nodes[i].seen < registry->nodes[oldest].seen))
            oldest = i;
    if (oldest == registry->count)
        return false;
    registry_remove(registry, oldest);
    return true;
}

static struct registry_node *registry_add(struct registry *registry, struct span name)
{
    if (!registry_make_room(registry))
        return NULL;
    size_t at = registry_place(registry, name);
    registry_reserve(registry, registry->count + 1);
    memmove(&registry->nodes[at + 1], &registry->nodes[at], (registry->count - at) * sizeof *registry->nodes);
    registry->count++;
    registry->nodes[at] = (struct registry_node){ .state = NODE_LOST };
    return &registry->nodes[at];
}

static bool incarnation_is_older(const struct node_record *record, const struct node_record *than)
{
    if (record->started != than->started)
        return record->started < than->started;
    return record->id.incarnation < than->id.incarnation;
}

static void registry_renew(const struct registry_round *round, struct registry_node *node,
                           const struct registry_lease *lease)
{
    const enum node_state was = node->state;

    if (was == NODE_LOST || round->wall + lease->left_ms > node->until + REGISTRY_RENEWED_MS) {
        node->seen  = round->wall;
        node->until = round->wall + lease->left_ms;
    }
    node->record = *lease->record;
    node->state  = lease->record->is_draining ? NODE_DRAINING : NODE_UP;
    if (node->state != was)
        registry_say(round, node);
}

static void registry_take_lease(const struct registry_round *round, const struct registry_lease *lease)
{
    struct registry      *registry = round->registry;
    const struct span     name     = span_str(lease->record->id.name);
    struct registry_node *node     = registry_get(registry, name);

    if (node != NULL && node->record.id.incarnation != lease->record->id.incarnation) {
        if (incarnation_is_older(lease->record, &node->record) && node->state != NODE_LOST)
            return;
        registry_lose(round, node);
        node->number = ++registry->last_number;
    }
    if (node == NULL) {
        node = registry_add(registry, name);
        if (node == NULL)
            return;
        node->number = ++registry->last_number;
    }
    registry_renew(round, node, lease);
}

static bool registry_is_told(const struct registry_node *node, const struct registry_lease *leases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (node_id_eq(&leases[i].record->id, &node->record.id))
            return true;
    return false;
}

/* Those whose lease is not there any more; and those that were lost for long. */
static void registry_sweep(const struct registry_round *round, const struct registry_lease *leases, size_t count)
{
    struct registry *registry = round->registry;

    for (size_t i = 0; i < registry->count;) {
        struct registry_node *node = &registry->nodes[i];
        if (!registry_is_told(node, leases, count))
            registry_lose(round, node);
        if (node->state == NODE_LOST && round->wall - node->seen >= REGISTRY_LOST_KEPT_MS)
            registry_remove(registry, i);
        else
            i++;
    }
}

void registry_take(struct registry *registry, const struct registry_lease *leases, size_t count, msec wall,
                   void (*on_change)(void *ctx, const struct registry_node *node), void *ctx)
{
    const struct registry_round round = { registry, wall, on_change, ctx };

    registry->version++;
    for (size_t i = 0; i < count; i++)
        registry_take_lease(&round, &leases[i]);
    registry_sweep(&round, leases, count);
}

/* --- allocation ---------------------------------------------------------------------------------------------------- */

enum { REGISTRY_CAPACITY_TOP = 1 << 30 };  /* of a node without a bound; so that sums fit */

struct allocation_choice {
    const struct registry_node *node;
    uint64_t                    free, capacity;
};

static uint64_t capacity_of(const struct node_record *record)
{
    bool is_bounded = record->capacity != 0 && record->capacity < REGISTRY_CAPACITY_TOP;
    return is_bounded ? record->capacity : REGISTRY_CAPACITY_TOP;
}

static size_t allocation_choices(const struct registry *registry, struct span region, struct span except, bool is_inside,
                                 struct allocation_choice *ret)
{
    size_t count = 0;

    for (size_t i = 0; i < registry->count; i++) {
        const struct node_record *record = &registry->nodes[i].record;
        if (registry->nodes[i].state != NODE_UP || (record->roles & ROLE_ACCESS) == 0 || record->advertise[0] == '\0' ||
            span_eq(span_str(record->id.name), except) ||
            (region.len == 0 || span_eq(span_str(record->region), region)) != is_inside)
            continue;
        uint64_t capacity = capacity_of(record);
        ret[count++]      = (struct allocation_choice){
            &registry->nodes[i], record->connections < capacity ? capacity - record->connections : 0, capacity,
        };
    }
    return count;
}

/* 0: one of them has no bound. */
static uint64_t choices_per_s(const struct allocation_choice *choices, size_t count)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        const uint64_t per_s = choices[i].node->record.admissions_per_s;
        if (per_s == 0)
            return 0;
        sum += per_s < REGISTRY_CAPACITY_TOP ? per_s : REGISTRY_CAPACITY_TOP;
    }
    return sum;
}

static size_t registry_routers(const struct registry *registry)
{
    size_t count = 0;

    for (size_t i = 0; i < registry->count; i++)
        count += registry->nodes[i].state != NODE_LOST && (registry->nodes[i].record.roles & ROLE_ROUTER) != 0;
    return count == 0 ? 1 : count;
}

struct registry_pace registry_pace(const struct registry *registry, struct span region, struct span except)
{
    struct allocation_choice *choices = calloc(registry->count + 1, sizeof *choices);
    size_t                    count;

    must(choices != NULL);
    count = allocation_choices(registry, region, except, true, choices);
    if (count == 0)
        count = allocation_choices(registry, region, except, false, choices);
    const struct registry_pace pace = { count, choices_per_s(choices, count), registry_routers(registry) };
    free(choices);
    return pace;
}

/* By free capacity; among full ones by chance. */
static size_t allocation_draw(const struct allocation_choice *choices, size_t count, struct rng *random)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += choices[i].free;
    if (sum == 0)
        return (size_t)rng_below(random, count);
    uint64_t at = rng_below(random, sum);
    for (size_t i = 0; i < count; i++) {
        if (at < choices[i].free)
            return i;
        at -= choices[i].free;
    }
    must(!"the sum is that of all");
    return 0;
}

/* Has it the larger free share? Both stay below 2^60. */
static bool allocation_is_better(const struct allocation_choice *a, const struct allocation_choice *b)
{
    return a->free * b->capacity > b->free * a->capacity;
}

static size_t allocation_fill(struct allocation_choice *choices, size_t count, struct rng *random,
                              const struct registry_node **ret, size_t max)
{
    size_t taken = 0;

    for (; taken < max && count > 0; taken++) {
        size_t one = allocation_draw(choices, count, random), other = allocation_draw(choices, count, random);
        size_t best    = allocation_is_better(&choices[other], &choices[one]) ? other : one;
        ret[taken]     = choices[best].node;
        choices[best] = choices[--count];
    }
    return taken;
}

size_t registry_allocate(const struct registry *registry, struct span region, struct span except, struct rng *random,
                         const struct registry_node **ret, size_t max)
{
    struct allocation_choice *choices = calloc(registry->count + 1, sizeof *choices);
    size_t                    taken   = 0;

    must(choices != NULL);
    taken += allocation_fill(choices, allocation_choices(registry, region, except, true, choices), random, ret, max);
    taken += allocation_fill(choices, allocation_choices(registry, region, except, false, choices), random,
                             ret + taken, max - taken);
    free(choices);
    return taken;
}
