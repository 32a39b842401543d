/* What all makers share: the namespaces that are not configured. */
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void look(struct store *store, struct namespaces *spaces, const char *channel, const char *want_next)
{
    struct buf next;

    buf_init(&next, 256);
    store_look_at_space(store, spaces, span_str(channel), &next);
    assert_true(span_eq(buf_span(&next), span_str(want_next)));
    buf_fini(&next);
}

static void who_is_not_configured_is_noted(void **state)
{
    (void)state;
    struct store      store = { .ops = NULL };
    struct namespaces spaces;

    namespaces_init(&spaces);
    look(&store, &spaces, "topic:a", "topic;");
    assert_string_equal(store.strange, "");
    look(&store, &spaces, "up:positions", "up;");
    look(&store, &spaces, "user:ann", "user;");
    look(&store, &spaces, "video:a:b", "video;");
    assert_string_equal(store.strange, "up, video");
}

static void more_than_there_is_room_for_end_in_points(void **state)
{
    (void)state;
    struct store      store = { .ops = NULL };
    struct namespaces spaces;
    char              channel[64];

    namespaces_init(&spaces);
    for (int i = 0; i < 40; i++) {
        snprintf(channel, sizeof channel, "space-%02d-of-the-longer-names:a", i);
        store_look_at_space(&store, &spaces, span_str(channel), NULL);
    }
    assert_true(strlen(store.strange) < STORE_STRANGE_BYTES);
    assert_non_null(strstr(store.strange, "space-06"));
    const char *points = strstr(store.strange, ", ...");
    assert_true(points != NULL && points[strlen(", ...")] == '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_not_configured_is_noted),
        cmocka_unit_test(more_than_there_is_room_for_end_in_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
