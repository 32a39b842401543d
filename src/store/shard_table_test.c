/* Which database has which slots, and what a node says whose list is another one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "store/shard_table.h"

#include <cmocka.h>

enum { WHY_BYTES = 300, MOST = 32 };

static void parts_are_equal_and_cover_all_slots(void **state)
{
    (void)state;
    for (size_t count = 1; count <= MOST; count++) {
        struct shard_place places[MOST];
        uint8_t            table[SLOT_COUNT];
        char               why[WHY_BYTES] = "";

        for (size_t i = 0; i < count; i++) {
            places[i] = shard_place_new(7, i, count);
            assert_in_range(places[i].last_slot - places[i].first_slot + 1, SLOT_COUNT / count, SLOT_COUNT / count + 1);
            assert_true(shard_place_fits(&places[i], 7, i, count, why, sizeof why));
        }
        assert_true(shard_table_make(places, count, table, why, sizeof why));
        for (size_t slot = 0; slot < SLOT_COUNT; slot++)
            assert_true(places[table[slot]].first_slot <= slot && slot <= places[table[slot]].last_slot);
    }
}

static void the_order_of_the_list_does_not_matter(void **state)
{
    (void)state;
    const struct shard_place places[] = { shard_place_new(7, 1, 2), shard_place_new(7, 0, 2) };
    uint8_t                  table[SLOT_COUNT];
    char                     why[WHY_BYTES] = "";

    assert_true(shard_table_make(places, 2, table, why, sizeof why));
    assert_int_equal(table[0], 1);
    assert_int_equal(table[SLOT_COUNT - 1], 0);
}

static void a_list_that_differs_is_told_what_differs(void **state)
{
    (void)state;
    static const struct { struct shard_place places[3]; size_t count; const char *why; } rows[] = {
        { { { 7, 0, 2047 } }, 1,
          "no database of the list has the slots 2048 to 4095: name all databases that the cluster was made with" },
        { { { 7, 0, 1364 }, { 7, 2730, 4095 } }, 2,
          "no database of the list has the slots 1365 to 2729: name all databases that the cluster was made with" },
        { { { 7, 0, 2047 }, { 8, 2048, 4095 } }, 2, "database 2 of the list was made for another cluster than database 1" },
        { { { 7, 0, 2047 }, { 7, 0, 2047 } }, 2, "databases 1 and 2 of the list both have slot 0: they are one database, or a copy" },
        { { { 7, 0, 4096 } }, 1, "database 1 says that it has the slots 0 to 4096: there are 0 to 4095" },
        { { { 7, 9, 3 } }, 1, "database 1 says that it has the slots 9 to 3: there are 0 to 4095" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t table[SLOT_COUNT];
        char    why[WHY_BYTES] = "";

        assert_false(shard_table_make(rows[i].places, rows[i].count, table, why, sizeof why));
        assert_string_equal(why, rows[i].why);
    }
}

static void a_cluster_is_made_to_the_end_only_as_it_was_begun(void **state)
{
    (void)state;
    static const struct { struct shard_place place; size_t index, count; const char *why; } rows[] = {
        { { 7, 2048, 4095 }, 1, 2, "" },
        { { 8, 2048, 4095 }, 1, 2, "database 2 of the list was made for another cluster than one before it" },
        { { 7, 2048, 4095 }, 1, 3,
          "database 2 of the list has the slots 2048 to 4095, and as number 2 of 3 it would have 1365 to 2729: name the databases that "
          "the cluster was made with, in that order" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char why[WHY_BYTES] = "";

        assert_int_equal(shard_place_fits(&rows[i].place, 7, rows[i].index, rows[i].count, why, sizeof why), rows[i].why[0] == '\0');
        assert_string_equal(why, rows[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_equal_and_cover_all_slots),
        cmocka_unit_test(the_order_of_the_list_does_not_matter),
        cmocka_unit_test(a_list_that_differs_is_told_what_differs),
        cmocka_unit_test(a_cluster_is_made_to_the_end_only_as_it_was_begun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
