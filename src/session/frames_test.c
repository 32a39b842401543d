/* Frames: made once a message and encoding, held by whoever needs them, and never more of them than allowed. */
#include "session/frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"

#include <cmocka.h>

static const struct hash_key key = { 1, 2 };

struct setting {
    struct namespaces    spaces;
    struct channel_name *name;
    struct frames        frames;
};

static struct setting *setting_new(void)
{
    struct setting *setting = calloc(1, sizeof *setting);

    must(setting != NULL);
    namespaces_init(&setting->spaces);
    must(channel_name_new(&setting->spaces, &key, SPAN("topic:a"), &setting->name) == CHANNEL_NAME_OK);
    frames_init(&setting->frames);
    return setting;
}

static void setting_free(struct setting *setting)
{
    frames_fini(&setting->frames);
    channel_name_unref(setting->name);
    free(setting);
}

static struct message *message_of(struct setting *setting, uint64_t seq, size_t len)
{
    struct message *message = message_new(setting->name, MESSAGE_PLAIN, NULL, (uint32_t)len, SPAN("text/plain"),
                                          SPAN(""));

    memset(message->bytes, 'x', len);
    message->seq   = seq;
    message->id    = seq;
    message->epoch = 9;
    return message;
}

static void a_frame_is_made_once_an_encoding(void **state)
{
    (void)state;
    struct setting *setting = setting_new();
    struct message *one = message_of(setting, 1, 5), *two = message_of(setting, 2, 5);
    struct frame   *first[ENCODING_PRIVATE];

    for (int encoding = 0; encoding < ENCODING_PRIVATE; encoding++) {
        first[encoding]      = frames_get(&setting->frames, one, (enum encoding)encoding);
        struct frame *again  = frames_get(&setting->frames, one, (enum encoding)encoding);
        struct frame *others = frames_get(&setting->frames, two, (enum encoding)encoding);
        assert_ptr_equal(first[encoding], again);
        assert_ptr_not_equal(first[encoding], others);
        frame_unref(again);
        frame_unref(others);
    }
    message_unref(one);
    message_unref(two);
    frames_empty(&setting->frames);
    assert_int_equal(setting->frames.bytes, 0);
    for (int encoding = 0; encoding < ENCODING_PRIVATE; encoding++) {
        assert_int_equal(first[encoding]->refs, 1);  /* lives on with who holds it */
        frame_unref(first[encoding]);
    }
    setting_free(setting);
}

/* RFC 9112 7.1: the size in hex, the inside, both lines ended. */
static void a_chunk_says_its_size(void **state)
{
    (void)state;
    static const struct { size_t len; const char *size; } rows[] = {
        { 1, "1\r\n" },      { 15, "f\r\n" },      { 16, "10\r\n" },
        { 255, "ff\r\n" },   { 4096, "1000\r\n" }, { 70000, "11170\r\n" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *inside = malloc(rows[i].len);
        must(inside != NULL);
        memset(inside, 'y', rows[i].len);
        struct frame *frame = frame_new_chunk(span_of(inside, rows[i].len));
        struct span   chunk = frame_span(frame, true), head = span_str(rows[i].size);
        assert_true(span_eq(frame_span(frame, false), span_of(inside, rows[i].len)));
        assert_true(span_starts(chunk, head));
        assert_true(span_eq(span_skip(chunk, head.len + rows[i].len), SPAN("\r\n")));
        assert_ptr_equal(chunk.at + head.len, frame_span(frame, false).at);
        frame_unref(frame);
        free(inside);
    }
}

/* A thousand readers that catch up at different places in one turn: the maximum holds within it, but for one frame that
 * is longer than all of it; that one stays, since it may have as many readers. */
static void the_cache_stays_below_its_maximum(void **state)
{
    (void)state;
    static const struct { size_t len, count; } rows[] = {
        { 10, 2000 }, { 100000, 200 }, { 1024 * 1024, 30 }, { FRAMES_CACHED_BYTES_MAX, 3 },
    };
    struct setting *setting = setting_new();

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (uint64_t seq = 1; seq <= rows[i].count; seq++) {
            struct message *message = message_of(setting, seq, rows[i].len);
            struct frame   *frame   = frames_get(&setting->frames, message, ENCODING_WS_JSON);
            struct frame   *again   = frames_get(&setting->frames, message, ENCODING_WS_JSON);
            assert_ptr_equal(frame, again);
            size_t own = frame->len + message_size(message);
            assert_true(setting->frames.bytes <= FRAMES_CACHED_BYTES_MAX || setting->frames.bytes == own);
            frame_unref(frame);
            frame_unref(again);
            message_unref(message);
        }
    setting_free(setting);
}

/* For a subscription that nobody shares a frame with: the same bytes, the announcement once, and nothing in the cache. */
static void a_frame_for_one_link_stays_out_of_the_cache(void **state)
{
    (void)state;
    struct setting *setting = setting_new();
    struct message *one = message_of(setting, 1, 5), *two = message_of(setting, 2, 5);

    for (int encoding = 0; encoding < ENCODING_PRIVATE; encoding++) {
        uint32_t told_alone = 0, told_shared = 0;
        if (encoding == ENCODING_BIN_TOLD || encoding == ENCODING_WS_BIN_TOLD)
            continue;
        for (struct message *message = one; message != NULL; message = message == one ? two : NULL) {
            bool          is_bin = encoding == ENCODING_BIN || encoding == ENCODING_WS_BIN;
            struct frame *alone  = frames_make_alone(&setting->frames, message, (enum encoding)encoding, &told_alone);
            assert_int_equal(setting->frames.bytes, 0);
            struct frame *shared = is_bin ? frames_get_told(&setting->frames, message, (enum encoding)encoding, &told_shared)
                                          : frames_get(&setting->frames, message, (enum encoding)encoding);
            assert_true(span_eq(frame_span(alone, true), frame_span(shared, true)));
            assert_int_equal(alone->announcement, shared->announcement);
            assert_int_equal(told_alone, told_shared);
            frame_unref(alone);
            frame_unref(shared);
            frames_empty(&setting->frames);
        }
    }
    message_unref(one);
    message_unref(two);
    setting_free(setting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_made_once_an_encoding),
        cmocka_unit_test(a_frame_for_one_link_stays_out_of_the_cache),
        cmocka_unit_test(a_chunk_says_its_size),
        cmocka_unit_test(the_cache_stays_below_its_maximum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
