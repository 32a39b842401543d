/* Frames between nodes: numbers, holes, beats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "route/bus_links.h"

#include <cmocka.h>

static const struct hash_key key = { 1, 2 };
static const struct node_id  ann = { "ann", 7 }, ann_anew = { "ann", 8 }, bob = { "bob", 7 };

static void each_frame_is_judged_by_its_number(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t    numbers[5];
        const char *verdicts;  /* a letter each: first, next, hole, old */
    } rows[] = {
        { "dense", { 1, 2, 3 }, "fnn" },
        { "begins late", { 5, 6 }, "fn" },
        { "a hole", { 1, 3, 4 }, "fhn" },
        { "doubled", { 1, 1, 2, 2, 3 }, "fonon" },
        { "late", { 1, 3, 2, 4 }, "fhon" },
        { "the last there is", { UINT64_MAX - 1, UINT64_MAX, UINT64_MAX }, "fno" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bus_links *links     = bus_links_new(&key);
        char              got[6]    = "";
        for (size_t at = 0; at < 5 && rows[i].numbers[at] != 0; at++)
            got[at] = "nfho"[bus_links_take(links, &ann, rows[i].numbers[at])];
        if (strcmp(got, rows[i].verdicts) != 0)
            fail_msg("%s: %s", rows[i].name, got);
        bus_links_free(links);
    }
}

static void each_incarnation_has_numbers_of_its_own(void **state)
{
    (void)state;
    struct bus_links *links = bus_links_new(&key);

    assert_int_equal(bus_links_next(links, &ann, 0), 1);
    assert_int_equal(bus_links_next(links, &ann, 0), 2);
    assert_int_equal(bus_links_next(links, &ann_anew, 0), 1);
    assert_int_equal(bus_links_next(links, &bob, 0), 1);
    assert_int_equal(bus_links_take(links, &ann, 1), BUS_FIRST);
    assert_int_equal(bus_links_take(links, &ann_anew, 1), BUS_FIRST);
    assert_int_equal(bus_links_take(links, &ann, 2), BUS_NEXT);
    bus_links_free(links);
}

static void what_is_gone_is_old(void **state)
{
    (void)state;
    struct bus_links *links = bus_links_new(&key);

    assert_int_equal(bus_links_take(links, &ann, 1), BUS_FIRST);
    bus_links_forget(links, &ann);
    bus_links_forget(links, &ann);
    assert_int_equal(bus_links_take(links, &ann, 2), BUS_OLD);
    assert_int_equal(bus_links_take(links, &ann_anew, 1), BUS_FIRST);
    bus_links_forget(links, &bob);  /* nothing was ever heard of it */
    assert_int_equal(bus_links_take(links, &bob, 1), BUS_OLD);
    for (uint64_t i = 0; i < BUS_GONE_KEPT; i++)
        bus_links_forget(links, &(const struct node_id){ "many", 100 + i });
    assert_int_equal(bus_links_take(links, &ann, 9), BUS_FIRST);  /* it was long ago */
    bus_links_free(links);
}

struct heard {
    struct bus_links *links;
    msec              now;
    char              words[256];
};

static void on_beat(void *ctx, const struct node_id *to)
{
    struct heard *heard  = ctx;
    size_t        len    = strlen(heard->words);
    uint64_t      number = bus_links_next(heard->links, to, heard->now);

    snprintf(heard->words + len, sizeof heard->words - len, "%d %s %d, ", (int)heard->now, to->name, (int)number);
}

/* A tenth of a second at a time. */
static void passes(struct heard *heard, msec until)
{
    heard->words[0] = '\0';
    for (; heard->now <= until; heard->now += 100)
        bus_links_tick(heard->links, heard->now, on_beat, heard);
}

static void a_quiet_link_has_three_beats(void **state)
{
    (void)state;
    struct heard heard = { .links = bus_links_new(&key) };

    bus_links_next(heard.links, &ann, 0);
    bus_links_take(heard.links, &bob, 1);  /* it was sent nothing */
    passes(&heard, 60000);
    assert_string_equal(heard.words, "1000 ann 2, 4000 ann 3, 16000 ann 4, ");
    bus_links_next(heard.links, &ann, heard.now);
    passes(&heard, 61500);
    assert_string_equal(heard.words, "61100 ann 6, ");
    bus_links_forget(heard.links, &ann);
    passes(&heard, 90000);
    assert_string_equal(heard.words, "");
    bus_links_free(heard.links);
}

/* Frames that follow show the hole themselves. */
static void a_busy_link_has_no_beats(void **state)
{
    (void)state;
    struct heard heard = { .links = bus_links_new(&key) };

    for (int i = 0; i < 50; i++) {
        bus_links_next(heard.links, &ann, heard.now);
        passes(&heard, heard.now + 400);
        assert_string_equal(heard.words, "");
    }
    bus_links_free(heard.links);
}

/* It was never sent anything, and may have missed something all the same. */
static void who_is_met_after_a_loss_is_told_of_it(void **state)
{
    (void)state;
    struct heard heard = { .links = bus_links_new(&key) };

    bus_links_meet(heard.links, &ann);
    passes(&heard, 1500);
    assert_string_equal(heard.words, "");
    bus_links_skip_all(heard.links, heard.now);
    bus_links_meet(heard.links, &bob);
    bus_links_meet(heard.links, &bob);
    passes(&heard, 3000);
    assert_string_equal(heard.words, "1600 bob 2, 2600 ann 2, ");
    bus_links_free(heard.links);
}

static void a_loss_on_purpose_is_seen_on_each_link(void **state)
{
    (void)state;
    struct heard      heard = { .links = bus_links_new(&key) };
    struct bus_links *far   = bus_links_new(&key);

    assert_int_equal(bus_links_take(far, &ann, bus_links_next(heard.links, &bob, 0)), BUS_FIRST);
    bus_links_skip_all(heard.links, 0);
    passes(&heard, 1500);
    assert_string_equal(heard.words, "1000 bob 3, ");
    assert_int_equal(bus_links_take(far, &ann, 3), BUS_HOLE);
    assert_int_equal(bus_links_next(heard.links, &ann_anew, 0), 2);  /* its first frame says that there was one before */
    bus_links_free(heard.links);
    bus_links_free(far);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_frame_is_judged_by_its_number),
        cmocka_unit_test(each_incarnation_has_numbers_of_its_own),
        cmocka_unit_test(what_is_gone_is_old),
        cmocka_unit_test(a_quiet_link_has_three_beats),
        cmocka_unit_test(a_busy_link_has_no_beats),
        cmocka_unit_test(who_is_met_after_a_loss_is_told_of_it),
        cmocka_unit_test(a_loss_on_purpose_is_seen_on_each_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
