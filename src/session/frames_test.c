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
        uint32_t told_alone = 0, told_shared = 0, told_put = 0;
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
            struct buf put;
            buf_init(&put, 4096);
            if (frames_put_alone(&setting->frames, message, (enum encoding)encoding, &told_put, &put))
                assert_true(span_eq(buf_span(&put), frame_span(shared, true)) && told_put == told_shared);
            else
                assert_true(encoding != ENCODING_BIN && put.len == 0);
            buf_fini(&put);
            frame_unref(alone);
            frame_unref(shared);
            frames_empty(&setting->frames);
        }
    }
    message_unref(one);
    message_unref(two);
    setting_free(setting);
}

/* RFC 7692 6: the first byte of a compressed message has RSV1. */
static bool is_deflated(const struct frame *frame)
{
    return (frame->bytes[0] & WS_DEFLATED) != 0;
}

static void a_message_is_compressed_once_a_window(void **state)
{
    (void)state;
    struct setting *setting = setting_new();
    struct frames  *frames  = &setting->frames;
    struct message *message = message_of(setting, 1, 3000);
    uint64_t        count   = 0;

    for (enum encoding plain = ENCODING_WS_JSON; plain <= ENCODING_WS_BIN; plain += ENCODING_WS_BIN - ENCODING_WS_JSON)
        for (enum ws_window window = WS_WINDOW_9; window <= WS_WINDOW_15; window++) {
            struct frame *first = frames_get(frames, message, encoding_with(plain, window));
            struct frame *again = frames_get(frames, message, encoding_with(plain, window));
            assert_ptr_equal(first, again);
            assert_true(is_deflated(first) && first->len < 300);
            assert_int_equal(counter_get(&frames->compressed.messages), ++count);
            frame_unref(first);
            frame_unref(again);
        }
    assert_int_equal(encoding_with(ENCODING_WS_JSON, WS_WINDOW_ANY), encoding_with(ENCODING_WS_JSON, WS_WINDOW_15));
    struct frame *plain = frames_get(frames, message, ENCODING_WS_JSON);
    assert_true(!is_deflated(plain) && plain->len > 3000);
    frame_unref(plain);
    message_unref(message);
    setting_free(setting);
}

/* An announcement and the message behind it: only the message is compressed. */
static void an_announcement_stays_plain(void **state)
{
    (void)state;
    struct setting *setting = setting_new();
    struct frames  *frames  = &setting->frames;
    enum encoding   packed  = encoding_with(ENCODING_WS_BIN, WS_WINDOW_15);

    for (uint64_t seq = 1; seq <= 4; seq++) {  /* an alias is given to a channel that comes again */
        struct message *message = message_of(setting, seq, 3000);
        uint32_t        told = 0, told_again = 0;
        struct frame   *frame = frames_get_told(frames, message, packed, &told);
        struct frame   *alone = frames_make_alone(frames, message, packed, &told_again);
        assert_true(is_deflated(frame) == (told == 0) && frame->len < 400);
        assert_int_equal(told, told_again);
        assert_true(span_eq(frame_span(frame, false), frame_span(alone, false)));
        if (told != 0)
            assert_true((frame->bytes[2 + (uint8_t)frame->bytes[1]] & WS_DEFLATED) != 0);
        frame_unref(frame);
        frame_unref(alone);
        message_unref(message);
    }
    setting_free(setting);
}

static void what_does_not_pay_is_not_compressed(void **state)
{
    (void)state;
    static const struct { const char *name; size_t len; bool is_noise; struct span media; } rows[] = {
        { "short", 40, false, SPAN("text/plain") },
        { "a picture", 3000, false, SPAN("image/png") },
        { "noise", 3000, true, SPAN("text/plain") },
    };
    struct setting *setting = setting_new();
    struct frames  *frames  = &setting->frames;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct message *message = message_new(setting->name, MESSAGE_PLAIN, NULL, (uint32_t)rows[i].len, rows[i].media, SPAN(""));
        uint32_t        noise   = 1;
        for (size_t at = 0; at < rows[i].len; at++)
            message->bytes[at] = rows[i].is_noise ? (char)((noise = noise * 1664525 + 1013904223) >> 24) : 'x';
        message->seq = message->id = i + 1;
        struct frame *frame = frames_get(frames, message, encoding_with(ENCODING_WS_BIN, WS_WINDOW_15));
        if (is_deflated(frame) || frame->len < rows[i].len)
            fail_msg("%s", rows[i].name);
        assert_int_equal(counter_get(&frames->compressed.left_plain), i + 1);
        frame_unref(frame);
        message_unref(message);
    }
    assert_int_equal(counter_get(&frames->compressed.messages), 0);
    setting_free(setting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_made_once_an_encoding),
        cmocka_unit_test(a_frame_for_one_link_stays_out_of_the_cache),
        cmocka_unit_test(a_chunk_says_its_size),
        cmocka_unit_test(the_cache_stays_below_its_maximum),
        cmocka_unit_test(a_message_is_compressed_once_a_window),
        cmocka_unit_test(an_announcement_stays_plain),
        cmocka_unit_test(what_does_not_pay_is_not_compressed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
