/* The simulator's disk keeps rows as the ledger port promises (store/ledger.h): the battery of all makers, and what a
 * crash and a failed sync leave (threats 33 and 114 stand on it). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/must.h"
#include "store/ledger_battery.h"
#include "sim_node.h"
#include "store_sim.h"

#include <cmocka.h>

/* The disk between the bench and time: after each call it is turned until all is answered, what done() submits too. */
struct turned_disk {
    struct world      world;
    struct transcript transcript;
    struct store      store;
    struct ledger     ledger;
    bool              is_turning;
};

static struct store *disk_store(struct turned_disk *disk)
{
    return store_sim_port(disk->world.disk, 0);
}

static void disk_turn(struct turned_disk *disk)
{
    if (disk->is_turning)
        return;
    disk->is_turning = true;
    while (!store_sim_is_idle(disk->world.disk)) {
        disk->world.now++;
        store_sim_turn(disk->world.disk);
    }
    disk->is_turning = false;
}

static void disk_append(struct store *store, struct append_batch *batch)
{
    struct turned_disk *disk = container_of(store, struct turned_disk, store);

    disk_store(disk)->ops->append(disk_store(disk), batch);
    disk_turn(disk);
}

static void disk_read(struct store *store, struct store_read *read)
{
    struct turned_disk *disk = container_of(store, struct turned_disk, store);

    disk_store(disk)->ops->read(disk_store(disk), read);
    disk_turn(disk);
}

static void disk_heads(struct store *store, struct store_heads *question)
{
    struct turned_disk *disk = container_of(store, struct turned_disk, store);

    disk_store(disk)->ops->heads(disk_store(disk), question);
    disk_turn(disk);
}

static void disk_write_rows(struct ledger *ledger, struct ledger_batch *batch)
{
    struct turned_disk *disk = container_of(ledger, struct turned_disk, ledger);

    disk_store(disk)->ledger->ops->write(disk_store(disk)->ledger, batch);
    disk_turn(disk);
}

static void disk_read_rows(struct ledger *ledger, struct ledger_read *read)
{
    struct turned_disk *disk = container_of(ledger, struct turned_disk, ledger);

    disk_store(disk)->ledger->ops->read(disk_store(disk)->ledger, read);
    disk_turn(disk);
}

static void disk_tick(struct store *store, msec wall)
{
    struct turned_disk *disk = container_of(store, struct turned_disk, store);
    disk_store(disk)->ops->tick(disk_store(disk), wall);
}

static void disk_close(struct store *store)
{
    struct turned_disk *disk = container_of(store, struct turned_disk, store);

    store_sim_free(disk->world.disk);
    for (unsigned i = 0; i < disk->world.channel_count; i++)
        channel_name_unref(disk->world.channels[i]);
    free(disk->world.nodes[0]);
    free(disk);
}

static struct store *disk_open(struct bench *bench)
{
    static const struct store_ops  ops     = { .name = "sim", .append = disk_append, .read = disk_read, .heads = disk_heads,
                                                .tick = disk_tick, .close = disk_close };
    static const struct ledger_ops rows    = { .name = "sim", .write = disk_write_rows, .read = disk_read_rows };
    static const char *const       names[] = { "topic:a", "user:ann" };
    struct turned_disk            *disk    = calloc(1, sizeof *disk);

    must(disk != NULL);
    for (unsigned i = 0; i < PURPOSE_COUNT; i++)
        disk->world.chance[i].state = i + 1;
    disk->world.hash_key   = bench->hash_key;
    disk->world.transcript = &disk->transcript;
    disk->world.node_count = 1;
    disk->world.nodes[0]   = calloc(1, sizeof *disk->world.nodes[0]);  /* it stands for a node that lives */
    must(disk->world.nodes[0] != NULL);
    disk->world.nodes[0]->world = &disk->world;
    for (unsigned i = 0; i < 2; i++)
        must(channel_name_new(&bench->spaces, &bench->hash_key, span_str(names[i]), &disk->world.channels[i]) ==
             CHANNEL_NAME_OK);
    disk->world.channel_count = 2;
    disk->world.disk          = store_sim_new(&disk->world);
    disk->ledger              = (struct ledger){ &rows };
    disk->store               = (struct store){ .ops = &ops, .ledger = &disk->ledger, .batches_max = 1 };
    bench->context            = disk;
    return &disk->store;
}

static const struct store_maker maker = { .name = "simulated disk", .open = disk_open };

static struct world *disk_world(const struct bench *bench)
{
    struct turned_disk *disk = bench->context;
    return &disk->world;
}

/* --- crashes ------------------------------------------------------------------------------------------------- */

/* A write that nobody turns: it stays under way. */
struct row_on_its_way {
    struct ledger_change change;
    struct ledger_write  write;
    struct ledger_batch  batch;
    bool                 is_done;
};

static void row_is_done(struct ledger_batch *batch)
{
    container_of(batch, struct row_on_its_way, batch)->is_done = true;
}

static void row_set_out(struct bench *bench, struct row_on_its_way *row, struct ledger_change change)
{
    struct ledger *ledger = store_sim_port(disk_world(bench)->disk, 0)->ledger;

    *row = (struct row_on_its_way){ .change = change, .batch = { .wall = bench->wall, .done = row_is_done } };
    row->write = (struct ledger_write){ .changes = &row->change, .count = 1 };
    list_init(&row->batch.writes);
    list_push(&row->batch.writes, &row->write.link);
    row->batch.change_count = 1;
    ledger->ops->write(ledger, &row->batch);
}

static void a_crash_loses_what_is_under_way_and_nothing_else(void **state)
{
    struct bench          bench;
    struct row_on_its_way row;
    struct ledger_change  joined  = bench_put(KIND_MEMBER, "g", 0, "joined");
    struct ledger_write   carried = { .changes = &joined, .count = 1 };

    (void)state;
    bench_open(&bench, &maker);
    joined.takes_seq = true;
    assert_int_equal(bench_change(&bench, bench_put(KIND_SESSION, "a", 1, "x")), LEDGER_DONE);
    const struct publish join = { .channel = "user:ann", .payload = "x", .write = &carried };
    assert_int_equal(bench_publish(&bench, join).outcome, APPEND_DONE);
    row_set_out(&bench, &row, bench_put(KIND_SESSION, "a", 2, "y"));
    assert_false(row.is_done);
    store_sim_crash(disk_world(&bench)->disk, false);
    assert_true(row.is_done);
    assert_int_equal(row.write.outcome, LEDGER_BROKEN);
    expect_row(&bench, KIND_SESSION, "a", "1 x");
    expect_row(&bench, KIND_MEMBER, "g", "1 joined");
    bench_close(&bench);
}

/* --- "nobody knows" ------------------------------------------------------------------------------------------ */

/* Of the writes that fail some are there once the store has opened anew, and some are not. Until then no later write
 * succeeds. */
static void a_write_that_failed_shows_itself_when_the_store_has_reopened(void **state)
{
    unsigned     written = 0, broken = 0;
    struct bench bench;

    (void)state;
    bench_open(&bench, &maker);
    for (uint64_t i = 1; i <= 400; i++) {
        disk_world(&bench)->faults.broken = true;
        enum ledger_outcome outcome       = bench_change(&bench, bench_put(KIND_SESSION, "a", i, "x"));
        if (outcome == LEDGER_DONE)
            continue;
        assert_int_equal(outcome, LEDGER_BROKEN);
        broken++;
        assert_int_equal(bench_change(&bench, bench_put(KIND_SESSION, "b", 1, "x")), LEDGER_BROKEN);
        store_sim_heal(disk_world(&bench)->disk);
        disk_world(&bench)->faults.broken = false;
        written += bench_generation(&bench, KIND_SESSION, "a") == i;
        expect_row(&bench, KIND_SESSION, "b", "none");
    }
    assert_in_range(written, 1, broken - 1);
    bench_close(&bench);
}

static void rows_stay_with_the_append_that_carries_them(void **state)
{
    struct bench         bench;
    struct ledger_change joined  = bench_put(KIND_MEMBER, "g", 0, "joined");
    struct ledger_write  carried = { .changes = &joined, .count = 1 };
    const struct publish join    = { .channel = "user:ann", .payload = "x", .write = &carried };

    (void)state;
    bench_open(&bench, &maker);
    joined.takes_seq = true;
    for (unsigned i = 0; i < 400; i++) {
        disk_world(&bench)->faults.broken = true;
        bench_publish(&bench, join);
        disk_world(&bench)->faults.broken = false;
        store_sim_heal(disk_world(&bench)->disk);
        assert_int_equal(bench_generation(&bench, KIND_MEMBER, "g"), store_sim_log(disk_world(&bench)->disk, 1).head);
    }
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_loses_what_is_under_way_and_nothing_else),
        cmocka_unit_test(a_write_that_failed_shows_itself_when_the_store_has_reopened),
        cmocka_unit_test(rows_stay_with_the_append_that_carries_them),
    };
    return ledger_battery_run(&maker) + cmocka_run_group_tests_name("the simulated disk's rows", tests, NULL, NULL);
}
