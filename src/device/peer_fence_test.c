/* Bodies of fence questions and of their answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "device/peer_fence.h"

#include <cmocka.h>

enum { WALL = 1000000 };

static void bodies_are_read_as_written(void **state)
{
    struct buf              buf;
    struct peer_fence       fence;
    struct peer_fence_place place;
    bool                    is_begun = false;

    (void)state;
    buf_init(&buf, 512);
    peer_fence_put(&buf, &(struct peer_fence){ SPAN("alice"), SPAN("phone"), 7, WALL });
    assert_true(peer_fence_get(buf_span(&buf), &fence));
    assert_true(span_eq(fence.user, SPAN("alice")) && span_eq(fence.device, SPAN("phone")));
    assert_true(fence.generation == 7 && fence.since == WALL);
    for (size_t len = 0; len < buf.len; len++)
        assert_false(peer_fence_get(span_head(buf_span(&buf), len), &fence));
    buf.at[0]++;
    assert_false(peer_fence_get(buf_span(&buf), &fence));

    buf_clear(&buf);
    peer_fence_answer_begin(&buf);
    peer_fence_place_put(&buf, &(struct peer_fence_place){ SPAN("user:alice"), 7, 12 });
    struct span rest = buf_span(&buf);
    assert_true(peer_fence_place_next(&rest, &is_begun, &place));
    assert_true(span_eq(place.channel, SPAN("user:alice")) && place.epoch == 7 && place.seq == 12);
    assert_false(peer_fence_place_next(&rest, &is_begun, &place));
    for (size_t len = 0; len < buf.len; len++) {
        rest     = span_head(buf_span(&buf), len);
        is_begun = false;
        assert_false(peer_fence_place_next(&rest, &is_begun, &place));
    }
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(bodies_are_read_as_written) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
