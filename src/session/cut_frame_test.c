/* Frames that were cut: bounded together, counted once however many hold them, and never followed by another frame's
 * rest (threat 34). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "session/cut_frame.h"

#include <cmocka.h>

enum { CUTS = 8, LONG = CUT_FRAME_LONG_BYTES + 100, MANY = 4 };

static const struct hash_key key = { 1, 2 };

static size_t let_go_count;

static void note_let_go(struct cut_frame *cut)
{
    must(cut->frame == NULL);
    let_go_count++;
}

static void cuts_init(struct cut_frames *cuts, size_t bytes_max)
{
    cut_frames_init(cuts, &key, note_let_go);
    cuts->bytes_max = bytes_max;
    let_go_count    = 0;
}

static struct frame *frame_of(char fill, size_t len)
{
    char *bytes = malloc(len);

    must(bytes != NULL);
    memset(bytes, fill, len);
    struct frame *frame = frame_new(span_of(bytes, len));
    free(bytes);
    return frame;
}

static void hold_new(struct cut_frames *cuts, struct cut_frame *cut, char fill, size_t len, size_t at)
{
    struct frame *frame = frame_of(fill, len);

    cut_frame_hold(cuts, cut, frame, false, at);
    frame_unref(frame);
}

static void drop_all(struct cut_frames *cuts, struct cut_frame *all)
{
    for (size_t i = 0; i < CUTS; i++)
        cut_frame_drop(cuts, &all[i]);
    assert_int_equal(counter_get(&cuts->bytes), 0);
    assert_int_equal(cuts->long_bytes, 0);
}

static void the_frames_of_those_that_take_nothing_go_first(void **state)
{
    (void)state;
    struct cut_frames cuts;
    struct cut_frame  all[CUTS] = { 0 };

    cuts_init(&cuts, MANY * LONG);
    for (size_t i = 0; i < MANY; i++)
        hold_new(&cuts, &all[i], (char)('a' + i), LONG, 10);
    cut_frame_take(&cuts, &all[0], 5);
    cut_frame_take(&cuts, &all[1], 0);
    assert_int_equal(let_go_count, 0);
    hold_new(&cuts, &all[MANY], 'x', LONG, 10);
    hold_new(&cuts, &all[MANY + 1], 'y', LONG, 10);
    assert_non_null(all[0].frame);
    assert_null(all[1].frame);
    assert_null(all[2].frame);
    assert_non_null(all[3].frame);
    assert_int_equal(counter_get(&cuts.bytes), MANY * LONG);
    assert_true(cut_frame_is_there(&all[1]) && cut_frame_left(&all[1]) == LONG - 10);
    assert_int_equal(cut_frame_left(&all[0]), LONG - 15);
    drop_all(&cuts, all);
}

/* A thousand readers of one message cost one frame; short frames are held in any case. */
static void a_shared_frame_counts_once_and_short_ones_stay(void **state)
{
    (void)state;
    struct cut_frames cuts;
    struct cut_frame  all[CUTS] = { 0 };
    struct frame     *shared = frame_of('s', LONG);

    cuts_init(&cuts, 2 * LONG);
    for (size_t i = 0; i < 5; i++)
        cut_frame_hold(&cuts, &all[i], shared, false, i);
    assert_int_equal(counter_get(&cuts.bytes), LONG);
    hold_new(&cuts, &all[5], 'c', CUT_FRAME_LONG_BYTES, 1);
    hold_new(&cuts, &all[6], 'd', LONG, 1);
    assert_int_equal(let_go_count, 0);
    assert_int_equal(counter_get(&cuts.bytes), 2 * LONG + CUT_FRAME_LONG_BYTES);
    hold_new(&cuts, &all[7], 'e', LONG, 1);
    assert_int_equal(let_go_count, 5);
    assert_int_equal(shared->refs, 1);
    for (size_t i = 0; i < 5; i++)
        assert_true(cut_frame_hold_again(&cuts, &all[i], shared, false));
    frame_unref(shared);
    drop_all(&cuts, all);
}

/* One that is longer than all may be together stays while it is the only one. */
static void one_frame_may_be_longer_than_the_bound(void **state)
{
    (void)state;
    struct cut_frames cuts;
    struct cut_frame  all[CUTS] = { 0 };

    cuts_init(&cuts, LONG);
    hold_new(&cuts, &all[0], 'a', 3 * LONG, 1);
    assert_int_equal(let_go_count, 0);
    hold_new(&cuts, &all[1], 'b', LONG, 1);
    assert_int_equal(let_go_count, 1);
    assert_null(all[0].frame);
    drop_all(&cuts, all);
}

static void only_the_same_bytes_go_on(void **state)
{
    (void)state;
    static const struct { char fill; size_t len; bool is_same; } rows[] = {
        { 'a', LONG, true }, { 'b', LONG, false }, { 'a', LONG + 1, false }, { 'a', LONG - 1, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cut_frames cuts;
        struct cut_frame  all[CUTS] = { 0 };
        cuts_init(&cuts, 0);
        hold_new(&cuts, &all[0], 'a', LONG, 7);
        assert_null(all[0].frame);
        struct frame *again = frame_of(rows[i].fill, rows[i].len);
        assert_int_equal(cut_frame_hold_again(&cuts, &all[0], again, false), rows[i].is_same);
        assert_int_equal(counter_get(&cuts.remade), rows[i].is_same);
        assert_int_equal(counter_get(&cuts.lost), !rows[i].is_same);
        assert_int_equal(all[0].at, 7);
        frame_unref(again);
        drop_all(&cuts, all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_frames_of_those_that_take_nothing_go_first),
        cmocka_unit_test(a_shared_frame_counts_once_and_short_ones_stay),
        cmocka_unit_test(one_frame_may_be_longer_than_the_bound),
        cmocka_unit_test(only_the_same_bytes_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
