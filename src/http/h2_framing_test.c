#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "http/h2_framing.h"

#include <cmocka.h>

static const struct span wire = SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                     "\0\0\0\4\0\0\0\0\0"
                                     "\0\0\3\0\1\x80\0\1\5abc"
                                     "\0\0\0\0\1\0\0\0\7"
                                     "\0\1\0\x16\0\0\0\0\0"); /* … and 256 bytes that have not come */

static const struct h2_frame_begin frames[] = { { 0, 0, 4 }, { 3, 261, 0 }, { 0, 7, 0 }, { 256, 0, 0x16 } };

/* Feeds a piece; `*count` heads were seen so far. */
static void feed(struct h2_framing *framing, struct span piece, size_t *count)
{
    while (piece.len > 0) {
        struct h2_frame_begin begin;
        bool                  is_head;
        size_t                used = h2_framing_next(framing, piece, &is_head, &begin);
        assert_true(used > 0 && used <= piece.len);
        piece = span_skip(piece, used);
        if (!is_head)
            continue;
        assert_in_range(*count, 0, sizeof frames / sizeof frames[0] - 1);
        assert_int_equal(begin.length, frames[*count].length);
        assert_int_equal(begin.id, frames[*count].id);
        assert_int_equal(begin.type, frames[*count].type);
        ++*count;
    }
}

static void heads_are_found_however_the_bytes_are_cut(void **state)
{
    (void)state;
    for (size_t cut = 0; cut <= wire.len; cut++) {
        struct h2_framing framing;
        size_t            count = 0;
        h2_framing_init(&framing);
        feed(&framing, span_head(wire, cut), &count);
        feed(&framing, span_skip(wire, cut), &count);
        assert_int_equal(count, sizeof frames / sizeof frames[0]);
        assert_int_equal(framing.left, 256);
    }
}

static void heads_are_found_byte_by_byte(void **state)
{
    struct h2_framing framing;
    size_t            count = 0;

    (void)state;
    h2_framing_init(&framing);
    for (size_t i = 0; i < wire.len; i++)
        feed(&framing, span_of(wire.at + i, 1), &count);
    assert_int_equal(count, sizeof frames / sizeof frames[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_found_however_the_bytes_are_cut),
        cmocka_unit_test(heads_are_found_byte_by_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
