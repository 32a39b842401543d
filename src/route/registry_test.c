/* The nodes of a cluster as leases tell them, and which of them a client is sent to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "base/rng.h"
#include "route/registry.h"

#include <cmocka.h>

static struct node_record record_of(const char *name, uint64_t incarnation)
{
    struct node_record record = { .id.incarnation = incarnation, .started = (msec)incarnation * 1000, .protocol = 1,
                                  .roles = ROLE_ACCESS | ROLE_API, .capacity = 1000, .advertise = "http://n:8080" };

    snprintf(record.id.name, sizeof record.id.name, "%s", name);
    return record;
}

/* --- states ------------------------------------------------------------------------------------------------------ */

struct rounds {
    struct registry    registry;
    struct node_record records[8];
    size_t             count;
    msec               wall;
    char               text[512];
};

static void rounds_change(void *ctx, const struct registry_node *node)
{
    static const char *const states[] = { "up", "draining", "lost" };
    struct rounds            *rounds    = ctx;
    size_t                   len      = strlen(rounds->text);

    snprintf(rounds->text + len, sizeof rounds->text - len, "%s%llu=%s(%u) ", node->record.id.name,
             (unsigned long long)node->record.id.incarnation, states[node->state], (unsigned)node->number);
}

static void rounds_take(struct rounds *rounds, msec wall, const char *want)
{
    struct registry_lease leases[8];

    for (size_t i = 0; i < rounds->count; i++)
        leases[i] = (struct registry_lease){ &rounds->records[i], 10000 };
    rounds->text[0] = '\0';
    registry_take(&rounds->registry, leases, rounds->count, wall, rounds_change, rounds);
    assert_string_equal(rounds->text, want);
}

static void a_node_comes_drains_is_lost_and_forgotten(void **state)
{
    (void)state;
    struct rounds rounds = { .records = { record_of("b", 5), record_of("a", 6) }, .count = 2 };

    registry_init(&rounds.registry);
    rounds_take(&rounds, 1000, "b5=up(1) a6=up(2) ");
    assert_string_equal(rounds.registry.nodes[0].record.id.name, "a");
    rounds_take(&rounds, 3000, "");
    assert_int_equal(registry_find(&rounds.registry, SPAN("a"))->seen, 3000);
    rounds.records[1].is_draining = true;
    rounds_take(&rounds, 5000, "a6=draining(2) ");
    rounds.count = 1;
    rounds_take(&rounds, 7000, "a6=lost(2) ");
    rounds_take(&rounds, 9000, "");
    assert_int_equal(registry_find(&rounds.registry, SPAN("a"))->seen, 5000);
    rounds_take(&rounds, 5000 + REGISTRY_LOST_KEPT_MS - 1, "");
    assert_non_null(registry_find(&rounds.registry, SPAN("a")));
    rounds_take(&rounds, 5000 + REGISTRY_LOST_KEPT_MS, "");
    assert_null(registry_find(&rounds.registry, SPAN("a")));
    assert_non_null(registry_find(&rounds.registry, SPAN("b")));
    registry_fini(&rounds.registry);
}

static void a_lost_node_comes_back(void **state)
{
    (void)state;
    struct rounds rounds = { .records = { record_of("a", 5) }, .count = 1 };

    registry_init(&rounds.registry);
    rounds_take(&rounds, 1000, "a5=up(1) ");
    rounds.count = 0;
    rounds_take(&rounds, 3000, "a5=lost(1) ");
    rounds.count = 1;
    rounds_take(&rounds, 5000, "a5=up(1) ");
    registry_fini(&rounds.registry);
}

static void a_newer_incarnation_takes_the_place_of_the_older(void **state)
{
    (void)state;
    struct rounds rounds = { .records = { record_of("a", 5), record_of("a", 4) }, .count = 1 };
    struct node_id old = record_of("a", 5).id, new = record_of("a", 7).id;

    registry_init(&rounds.registry);
    rounds_take(&rounds, 1000, "a5=up(1) ");
    rounds.count = 2;
    rounds_take(&rounds, 3000, "");  /* the lease of an older one is no news */
    rounds.records[1] = record_of("a", 7);
    rounds_take(&rounds, 5000, "a5=lost(1) a7=up(2) ");
    assert_null(registry_find_id(&rounds.registry, &old));
    assert_non_null(registry_find_id(&rounds.registry, &new));
    rounds.records[0] = record_of("a", 7);
    rounds.count = 1;
    rounds_take(&rounds, 7000, "");
    registry_fini(&rounds.registry);
}

/* What counts as seen is the renewal, not that the engine was asked. */
static void seen_is_the_last_renewal(void **state)
{
    (void)state;
    struct registry       registry;
    struct node_record    record = record_of("a", 5);
    struct registry_lease lease  = { &record, 10000 };

    registry_init(&registry);
    registry_take(&registry, &lease, 1, 1000, NULL, NULL);
    lease.left_ms = 8100;  /* 2 s later, not renewed; the clocks run a little apart */
    registry_take(&registry, &lease, 1, 3000, NULL, NULL);
    assert_int_equal(registry.nodes[0].seen, 1000);
    lease.left_ms = 9900;
    registry_take(&registry, &lease, 1, 5000, NULL, NULL);
    assert_int_equal(registry.nodes[0].seen, 5000);
    registry_fini(&registry);
}

static void a_full_registry_forgets_the_lost_first(void **state)
{
    (void)state;
    struct registry        registry;
    struct node_record    *records = calloc(NODES_MAX + 2, sizeof *records);
    struct registry_lease *leases  = calloc(NODES_MAX + 2, sizeof *leases);
    char                   name[16];

    registry_init(&registry);
    for (int i = 0; i < NODES_MAX + 2; i++) {
        snprintf(name, sizeof name, "n%04d", i);
        records[i] = record_of(name, 1);
        leases[i]  = (struct registry_lease){ &records[i], 10000 };
    }
    registry_take(&registry, leases, NODES_MAX, 1000, NULL, NULL);
    registry_take(&registry, leases, NODES_MAX - 1, 2000, NULL, NULL);
    assert_int_equal(registry.count, NODES_MAX);
    leases[NODES_MAX - 1] = leases[NODES_MAX + 1];
    leases[NODES_MAX]     = leases[NODES_MAX + 1];
    registry_take(&registry, leases, NODES_MAX, 3000, NULL, NULL);
    assert_int_equal(registry.count, NODES_MAX);
    assert_null(registry_find(&registry, SPAN("n1023")));
    assert_non_null(registry_find(&registry, SPAN("n1025")));
    leases[NODES_MAX].record = &records[NODES_MAX];
    registry_take(&registry, leases, NODES_MAX + 1, 4000, NULL, NULL);
    assert_int_equal(registry.count, NODES_MAX);
    free(records);
    free(leases);
    registry_fini(&registry);
}

static void a_copy_stands_for_itself(void **state)
{
    (void)state;
    struct registry       registry, copy;
    struct node_record    record = record_of("a", 5);
    struct registry_lease lease  = { &record, 10000 };

    registry_init(&registry);
    registry_init(&copy);
    registry_take(&registry, &lease, 1, 1000, NULL, NULL);
    registry_copy(&copy, &registry);
    registry_fini(&registry);
    assert_int_equal(registry_find(&copy, SPAN("a"))->number, 1);
    assert_int_equal(copy.version, 1);
    registry_fini(&copy);
}

/* --- allocation ---------------------------------------------------------------------------------------------------- */

enum { DRAWS = 20000 };

static void fill(struct registry *registry, const struct node_record *records, size_t count)
{
    struct registry_lease leases[8];

    for (size_t i = 0; i < count; i++)
        leases[i] = (struct registry_lease){ &records[i], 10000 };
    registry_init(registry);
    registry_take(registry, leases, count, 1000, NULL, NULL);
}

/* How often each node came first, in the order of their names. */
static void count_firsts(const struct registry *registry, struct span region, unsigned *ret)
{
    struct rng                  random = { 7 };
    const struct registry_node *nodes[8];

    for (int i = 0; i < DRAWS; i++) {
        size_t count = registry_allocate(registry, region, SPAN(""), &random, nodes, 8);
        assert_true(count > 0);
        ret[nodes[0] - registry->nodes]++;
    }
}

static void those_with_more_room_come_first_more_often(void **state)
{
    (void)state;
    struct node_record records[] = { record_of("a", 1), record_of("b", 1), record_of("c", 1) };
    struct registry    registry;
    unsigned           firsts[3] = { 0 };

    records[0].connections = 100;
    records[1].connections = 500;
    records[2].connections = 1000;
    fill(&registry, records, 3);
    count_firsts(&registry, SPAN(""), firsts);
    assert_true(firsts[0] > 2 * firsts[1]);
    assert_true(firsts[1] > DRAWS / 20);  /* not all go to one: the others would be idle, and it a herd's */
    assert_int_equal(firsts[2], 0);
    registry_fini(&registry);
}

static void equal_nodes_share_alike(void **state)
{
    (void)state;
    struct node_record records[] = { record_of("a", 1), record_of("b", 1), record_of("c", 1) };
    struct registry    registry;
    unsigned           firsts[3] = { 0 };

    fill(&registry, records, 3);
    count_firsts(&registry, SPAN(""), firsts);
    for (int i = 0; i < 3; i++)
        assert_true(firsts[i] > DRAWS / 4);
    registry_fini(&registry);
}

static const struct left_out_row {
    const char *name;
    bool        is_draining, is_lost;
    unsigned    roles;
    const char *advertise;
} left_out[] = {
    { "draining", true, false, ROLE_ACCESS, "http://n" },
    { "lost", false, true, ROLE_ACCESS, "http://n" },
    { "without access", false, false, ROLE_API | ROLE_ROUTER | ROLE_FORWARD, "http://n" },
    { "without an address", false, false, ROLE_ACCESS, "" },
};

static void some_are_left_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof left_out / sizeof left_out[0]; i++) {
        struct node_record          records[] = { record_of("a", 1), record_of("b", 1) };
        struct registry             registry;
        struct rng                  random = { 7 };
        const struct registry_node *nodes[8];

        records[1].is_draining = left_out[i].is_draining;
        records[1].roles       = left_out[i].roles;
        snprintf(records[1].advertise, sizeof records[1].advertise, "%s", left_out[i].advertise);
        fill(&registry, records, 2);
        if (left_out[i].is_lost)
            registry_take(&registry, &(struct registry_lease){ &records[0], 10000 }, 1, 2000, NULL, NULL);
        if (registry_allocate(&registry, SPAN(""), SPAN(""), &random, nodes, 8) != 1 ||
            strcmp(nodes[0]->record.id.name, "a") != 0)
            fail_msg("%s", left_out[i].name);
        registry_fini(&registry);
    }
}

static void the_region_comes_first_and_the_full_ones_last(void **state)
{
    (void)state;
    struct node_record          records[] = { record_of("a", 1), record_of("b", 1), record_of("c", 1), record_of("d", 1) };
    struct registry             registry;
    struct rng                  random = { 7 };
    const struct registry_node *nodes[8];

    snprintf(records[2].region, sizeof records[2].region, "eu");
    snprintf(records[3].region, sizeof records[3].region, "eu");
    records[2].connections = 2000;  /* beyond its capacity */
    fill(&registry, records, 4);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(registry_allocate(&registry, SPAN("eu"), SPAN(""), &random, nodes, 8), 4);
        assert_string_equal(nodes[0]->record.id.name, "d");
        assert_string_equal(nodes[1]->record.id.name, "c");
    }
    assert_int_equal(registry_allocate(&registry, SPAN("mars"), SPAN(""), &random, nodes, 3), 3);
    assert_int_equal(registry_allocate(&registry, SPAN("eu"), SPAN(""), &random, nodes, 1), 1);
    registry_fini(&registry);
}

/* It fills no place that another could have. */
static void one_is_left_out_by_its_name(void **state)
{
    (void)state;
    struct node_record          records[] = { record_of("a", 1), record_of("b", 1), record_of("c", 1) };
    struct registry             registry;
    struct rng                  random = { 7 };
    const struct registry_node *nodes[8];

    fill(&registry, records, 3);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(registry_allocate(&registry, SPAN(""), SPAN("b"), &random, nodes, 2), 2);
        assert_string_not_equal(nodes[0]->record.id.name, "b");
        assert_string_not_equal(nodes[1]->record.id.name, "b");
    }
    assert_int_equal(registry_allocate(&registry, SPAN(""), SPAN("nosuch"), &random, nodes, 8), 3);
    registry_fini(&registry);
}

static void nobody_is_nobody(void **state)
{
    (void)state;
    struct registry             registry;
    struct rng                  random = { 7 };
    const struct registry_node *nodes[1];

    registry_init(&registry);
    assert_int_equal(registry_allocate(&registry, SPAN(""), SPAN(""), &random, nodes, 1), 0);
    assert_null(registry_find(&registry, SPAN("a")));
    registry_fini(&registry);
}

/* Each router gives out its part of what all nodes of the region let in. */
static void clients_are_sent_at_the_rate_of_all_nodes(void **state)
{
    (void)state;
    struct rounds rounds = { .count = 5 };
    static const struct { const char *name, *region; unsigned roles; bool is_draining; uint64_t per_s; } rows[] = {
        { "a", "eu", ROLE_ACCESS | ROLE_ROUTER, false, 100 }, { "b", "eu", ROLE_ACCESS, false, 50 },
        { "c", "us", ROLE_ACCESS | ROLE_ROUTER, false, 7 },   { "d", "eu", ROLE_ACCESS | ROLE_ROUTER, true, 1000 },
        { "e", "ap", ROLE_ACCESS, false, 0 },
    };
    for (size_t i = 0; i < rounds.count; i++) {
        struct node_record *record = &rounds.records[i];
        *record                    = record_of(rows[i].name, i + 1);
        snprintf(record->region, sizeof record->region, "%s", rows[i].region);
        record->roles            = rows[i].roles;
        record->is_draining      = rows[i].is_draining;
        record->admissions_per_s = rows[i].per_s;
    }
    registry_init(&rounds.registry);
    assert_int_equal(registry_pace(&rounds.registry, SPAN("eu"), SPAN("")).nodes, 0);
    assert_int_equal(registry_pace(&rounds.registry, SPAN("eu"), SPAN("")).routers, 1);
    rounds_take(&rounds, 1000, "a1=up(1) b2=up(2) c3=up(3) d4=draining(4) e5=up(5) ");
    struct registry_pace pace = registry_pace(&rounds.registry, SPAN("eu"), SPAN(""));
    assert_int_equal(pace.nodes, 2);
    assert_int_equal(pace.per_s, 150);
    assert_int_equal(pace.routers, 3);
    assert_int_equal(registry_pace(&rounds.registry, SPAN("eu"), SPAN("b")).per_s, 100);
    assert_int_equal(registry_pace(&rounds.registry, SPAN("us"), SPAN("")).per_s, 7);
    assert_int_equal(registry_pace(&rounds.registry, SPAN("ap"), SPAN("")).per_s, 0);  /* it has no bound */
    assert_int_equal(registry_pace(&rounds.registry, SPAN("af"), SPAN("")).per_s, 0);  /* those of all regions, and so of e */
    registry_fini(&rounds.registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_comes_drains_is_lost_and_forgotten),
        cmocka_unit_test(a_lost_node_comes_back),
        cmocka_unit_test(a_newer_incarnation_takes_the_place_of_the_older),
        cmocka_unit_test(seen_is_the_last_renewal),
        cmocka_unit_test(a_full_registry_forgets_the_lost_first),
        cmocka_unit_test(a_copy_stands_for_itself),
        cmocka_unit_test(those_with_more_room_come_first_more_often),
        cmocka_unit_test(equal_nodes_share_alike),
        cmocka_unit_test(some_are_left_out),
        cmocka_unit_test(the_region_comes_first_and_the_full_ones_last),
        cmocka_unit_test(one_is_left_out_by_its_name),
        cmocka_unit_test(nobody_is_nobody),
        cmocka_unit_test(clients_are_sent_at_the_rate_of_all_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
