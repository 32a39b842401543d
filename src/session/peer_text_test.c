/* The addresses of clients that sent requests lately: each link its own, and asked for once. */
#include "session/peer_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include "session/session_battery.h"

#include <cmocka.h>

static struct stage      stage;
static struct peer_texts texts;

static struct sim_link *stream_from(const char *address, struct stream **ret)
{
    struct sim_link *far = stage_stream(&stage, ret);

    stream_name_peer_by(*ret, span_str(address));
    return far;
}

static void assert_peer(uint64_t key, const struct stream *stream, const char *address)
{
    const struct span text = peer_text_of(&texts, key, stream);

    assert_int_equal(text.len, strlen(address));
    assert_memory_equal(text.at, address, text.len);
}

/* More links than there are places. */
static void each_link_has_its_own_address(void **state)
{
    struct stream *one, *other;

    (void)state;
    stage_init(&stage, 1);
    struct sim_link *far[2] = { stream_from("192.0.2.1", &one), stream_from("2001:db8::2", &other) };
    for (uint64_t key = 1; key <= 4 * PEER_TEXTS; key++)
        assert_peer(key, key % 2 == 0 ? one : other, key % 2 == 0 ? "192.0.2.1" : "2001:db8::2");
    for (uint64_t key = 4 * PEER_TEXTS; key > 0; key--)
        assert_peer(key, key % 2 == 0 ? one : other, key % 2 == 0 ? "192.0.2.1" : "2001:db8::2");
    stream_close(one);
    stream_close(other);
    sim_link_free(far[0]);
    sim_link_free(far[1]);
    stage_fini(&stage);
}

static void it_is_asked_for_once(void **state)
{
    struct stream *stream;

    (void)state;
    stage_init(&stage, 1);
    texts                = (struct peer_texts){ 0 };
    struct sim_link *far = stream_from("192.0.2.1", &stream);
    assert_peer(7, stream, "192.0.2.1");
    stream_name_peer_by(stream, SPAN("192.0.2.2"));
    assert_peer(7, stream, "192.0.2.1");
    assert_peer(8, stream, "192.0.2.2");
    stream_close(stream);
    sim_link_free(far);
    stage_fini(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_link_has_its_own_address),
        cmocka_unit_test(it_is_asked_for_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
