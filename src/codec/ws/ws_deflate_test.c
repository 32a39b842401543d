/* RFC 7692: offers as a table, messages there and back through every window, the paper's examples, and what is no message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/must.h"
#include "base/rng.h"
#include "codec/ws/ws_deflate.h"
#include "codec/ws/ws_extension.h"

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum { MESSAGE_BYTES_MAX = 200000 };

/* --- offers (7.1) --- */

static void the_first_offer_that_can_be_kept_is_taken(void **state)
{
    (void)state;
    enum { BAD = -1 };
    static const struct { struct span line; int want; } rows[] = {
        { SPAN(""), WS_WINDOW_NONE },
        { SPAN(" , ,"), WS_WINDOW_NONE },
        { SPAN("x-other"), WS_WINDOW_NONE },
        { SPAN("Permessage-Deflate"), WS_WINDOW_NONE },
        { SPAN("permessage-deflate"), WS_WINDOW_ANY },
        { SPAN("x, permessage-deflate ,y;z"), WS_WINDOW_ANY },
        { SPAN("permessage-deflate\t; client_max_window_bits ;server_no_context_takeover"), WS_WINDOW_ANY },
        { SPAN("permessage-deflate; client_max_window_bits=8"), WS_WINDOW_ANY },
        { SPAN("permessage-deflate; server_max_window_bits=15"), WS_WINDOW_15 },
        { SPAN("permessage-deflate; server_max_window_bits=\"15\""), WS_WINDOW_15 },
        { SPAN("permessage-deflate; server_max_window_bits=14"), WS_WINDOW_12 },
        { SPAN("permessage-deflate; server_max_window_bits=12"), WS_WINDOW_12 },
        { SPAN("permessage-deflate; server_max_window_bits=11"), WS_WINDOW_9 },
        { SPAN("permessage-deflate; server_max_window_bits=9"), WS_WINDOW_9 },
        { SPAN("permessage-deflate; server_max_window_bits=8"), WS_WINDOW_NONE },
        { SPAN("permessage-deflate; server_max_window_bits=8,permessage-deflate;server_max_window_bits=9"), WS_WINDOW_9 },
        { SPAN("permessage-deflate,permessage-deflate;server_max_window_bits=9"), WS_WINDOW_ANY },
        { SPAN("permessage-deflate; server_max_window_bits"), WS_WINDOW_NONE },
        { SPAN("permessage-deflate; server_max_window_bits=16"), WS_WINDOW_NONE },
        { SPAN("permessage-deflate; server_max_window_bits=09"), WS_WINDOW_NONE },
        { SPAN("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9"), WS_WINDOW_NONE },
        { SPAN("permessage-deflate; client_max_window_bits=7"), WS_WINDOW_NONE },
        { SPAN("permessage-deflate; client_max_window_bits; client_max_window_bits"), WS_WINDOW_NONE },
        { SPAN("permessage-deflate; server_no_context_takeover=x"), WS_WINDOW_NONE },
        { SPAN("permessage-deflate; client_no_context_takeover; client_no_context_takeover"), WS_WINDOW_NONE },
        { SPAN("permessage-deflate; other"), WS_WINDOW_NONE },
        { SPAN("permessage-deflate; "), BAD },
        { SPAN("permessage-deflate x"), BAD },
        { SPAN("permessage-deflate; a="), BAD },
        { SPAN("permessage-deflate; a=\"b"), BAD },
        { SPAN("permessage-deflate; a=\"\""), BAD },
        { SPAN("permessage-deflate; a b"), BAD },
        { SPAN("=9"), BAD },
        { SPAN("a/b"), BAD },
        { SPAN("a\0b"), BAD },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum ws_window window = WS_WINDOW_NONE;
        bool           is_ok  = ws_see_extensions(rows[i].line, &window);
        if (is_ok != (rows[i].want != BAD) || (is_ok && (int)window != rows[i].want))
            fail_msg("%.*s: %d, %d", SPAN_ARG(rows[i].line), is_ok, (int)window);
    }
}

static void an_earlier_line_counts(void **state)
{
    (void)state;
    enum ws_window window = WS_WINDOW_NONE;

    assert_true(ws_see_extensions(SPAN("permessage-deflate; server_max_window_bits=10"), &window));
    assert_true(ws_see_extensions(SPAN("permessage-deflate"), &window));
    assert_int_equal(window, WS_WINDOW_9);
    assert_int_equal(ws_extensions(WS_WINDOW_NONE).len, 0);
    assert_true(span_starts(ws_extensions(window), ws_extensions(WS_WINDOW_ANY)));
}

/* --- there and back --- */

/* Runs of words: how far apart equal ones stand is drawn, too. */
static void put_prose(struct buf *buf, struct rng *rng, size_t len)
{
    static const char *const words[] = { "price ", "of ", "tea ", "in ", "\xc3\xa9t\xc3\xa9 ", "0.25, ", "{\"a\":1} " };

    while (buf->len < len) {
        const char *word = words[rng_below(rng, COUNT(words))];
        buf_put(buf, span_str(word));
        if (rng_below(rng, 9) == 0)
            buf_put_u64(buf, rng_next(rng));
    }
}

static void put_octets(struct buf *buf, struct rng *rng, size_t len)
{
    while (buf->len < len)
        buf_putc(buf, (char)rng_next(rng));
}

static void check_both_ways(struct ws_deflater *deflater, struct ws_inflater *inflater, struct span payload, bool must_shrink)
{
    for (enum ws_window window = WS_WINDOW_9; window <= WS_WINDOW_ANY; window++) {
        struct buf  packed, again;
        struct span message;
        buf_init(&packed, SIZE_MAX / 2);
        buf_init(&again, SIZE_MAX / 2);
        buf_put_lit(&packed, "head");
        bool is_shorter = ws_deflate(deflater, window, payload, &packed);
        assert_true(is_shorter || (!must_shrink && packed.len == 4));
        if (is_shorter) {
            struct span body = span_skip(buf_span(&packed), 4);
            assert_true(body.len < payload.len);
            assert_int_equal(ws_inflate(inflater, WS_BINARY, body, payload.len, &message), WS_INFLATED);
            assert_true(span_eq(message, payload));
            assert_int_equal(ws_inflate(inflater, WS_BINARY, body, payload.len - 1, &message), WS_INFLATED_TOO_LONG);
            /* A frame that was cut is made again from its message, and must be the same. */
            assert_true(ws_deflate(deflater, window, payload, &again) && span_eq(buf_span(&again), body));
        }
        buf_fini(&packed);
        buf_fini(&again);
    }
}

static void what_is_compressed_comes_back(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 5, 100, 255, 256, 700, 3072, 3073, 4096, 20000, 40000, 100000 };
    struct ws_deflater  deflater = { 0 };
    struct ws_inflater  inflater;
    struct rng          rng = { 7 };
    struct buf          payload;

    ws_inflater_init(&inflater);
    buf_init(&payload, SIZE_MAX / 2);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        buf_clear(&payload);
        put_prose(&payload, &rng, sizes[i]);
        check_both_ways(&deflater, &inflater, buf_span(&payload), payload.len > 400);
        buf_clear(&payload);
        put_octets(&payload, &rng, sizes[i]);
        check_both_ways(&deflater, &inflater, buf_span(&payload), false);
    }
    buf_fini(&payload);
    ws_inflater_fini(&inflater);
    ws_deflater_fini(&deflater);
}

/* --- in --- */

static void every_message_is_judged(void **state)
{
    (void)state;
    static const struct { const char *name; struct span payload; enum ws_inflated want; struct span message; } rows[] = {
        { "7.2.3.1 one block", SPAN("\xf2\x48\xcd\xc9\xc9\x07\x00"), WS_INFLATED, SPAN("Hello") },
        { "7.2.3.2 the context of another message", SPAN("\xf2\x00\x11\x00\x00"), WS_INFLATED_BAD, SPAN("") },
        { "7.2.3.3 no compression", SPAN("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), WS_INFLATED, SPAN("Hello") },
        { "7.2.3.4 BFINAL", SPAN("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), WS_INFLATED, SPAN("Hello") },
        { "BFINAL, and nothing behind it", SPAN("\xf3\x48\xcd\xc9\xc9\x07\x00"), WS_INFLATED, SPAN("Hello") },
        { "7.2.3.5 two blocks", SPAN("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), WS_INFLATED, SPAN("Hello") },
        { "7.2.3.6 empty", SPAN("\x00"), WS_INFLATED, SPAN("") },
        { "nothing at all", SPAN(""), WS_INFLATED, SPAN("") },
        { "the tail was left in", SPAN("\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff"), WS_INFLATED_BAD, SPAN("") },
        { "cut off", SPAN("\xf2\x48\xcd"), WS_INFLATED_BAD, SPAN("") },
        { "block type 3", SPAN("\x06"), WS_INFLATED_BAD, SPAN("") },
        { "wrong length of a plain block", SPAN("\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c\x6f\x00"), WS_INFLATED_BAD, SPAN("") },
        { "not UTF-8", SPAN("\x00\x01\x00\xfe\xff\xff\x00"), WS_INFLATED_NOT_TEXT, SPAN("") },
        { "half a character", SPAN("\x00\x02\x00\xfd\xff\xe2\x82\x00"), WS_INFLATED_NOT_TEXT, SPAN("") },
    };
    struct ws_inflater inflater;

    ws_inflater_init(&inflater);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct span      message  = SPAN("");
        enum ws_inflated inflated = ws_inflate(&inflater, WS_TEXT, rows[i].payload, MESSAGE_BYTES_MAX, &message);
        if (inflated != rows[i].want || !span_eq(message, rows[i].message))
            fail_msg("%s: %d, %.*s", rows[i].name, (int)inflated, SPAN_ARG(message));
        if (inflated != WS_INFLATED)
            assert_int_equal(ws_inflated_code(inflated), WS_CLOSE_BAD_DATA);
    }
    ws_inflater_fini(&inflater);
}

/* One message cut off at any byte, or with any byte changed, is bad or another one; it is never longer than it may be. */
static void no_damage_gets_through_the_limits(void **state)
{
    (void)state;
    struct ws_deflater deflater = { 0 };
    struct ws_inflater inflater;
    struct rng         rng = { 3 };
    struct buf         payload, packed;
    struct span        message;

    ws_inflater_init(&inflater);
    buf_init(&payload, SIZE_MAX / 2);
    buf_init(&packed, SIZE_MAX / 2);
    put_prose(&payload, &rng, 2000);
    assert_true(ws_deflate(&deflater, WS_WINDOW_15, buf_span(&payload), &packed));
    size_t bad = 0;
    for (size_t at = 1; at < packed.len; at++)
        if (ws_inflate(&inflater, WS_TEXT, span_head(buf_span(&packed), at), 3000, &message) == WS_INFLATED)
            assert_true(message.len < payload.len);  /* by chance, the tail can end the block */
        else
            bad++;
    assert_true(bad > packed.len * 9 / 10);
    for (size_t i = 0; i < 20 * packed.len; i++) {
        char *byte = &packed.at[rng_below(&rng, (uint32_t)packed.len)], was = *byte;
        *byte      = (char)rng_next(&rng);
        if (ws_inflate(&inflater, WS_BINARY, buf_span(&packed), 2500, &message) == WS_INFLATED)
            assert_true(message.len <= 2500);
        *byte = was;
    }
    buf_fini(&payload);
    buf_fini(&packed);
    ws_inflater_fini(&inflater);
    ws_deflater_fini(&deflater);
}

/* Threat 71. */
static void a_bomb_is_told_from_a_long_message(void **state)
{
    (void)state;
    struct ws_deflater deflater = { 0 };
    struct ws_inflater inflater;
    struct buf         zeros, packed;
    struct span        message;

    ws_inflater_init(&inflater);
    buf_init(&zeros, SIZE_MAX / 2);
    buf_init(&packed, SIZE_MAX / 2);
    memset(buf_extend(&zeros, WS_SKIPPED_BYTES_MAX + 1000000), 0, WS_SKIPPED_BYTES_MAX + 1000000);
    assert_true(ws_deflate(&deflater, WS_WINDOW_15, span_head(buf_span(&zeros), 8000000), &packed));
    assert_int_equal(ws_inflate(&inflater, WS_BINARY, buf_span(&packed), 1000000, &message), WS_INFLATED_TOO_LONG);
    buf_clear(&packed);
    assert_true(ws_deflate(&deflater, WS_WINDOW_15, buf_span(&zeros), &packed));
    assert_int_equal(ws_inflate(&inflater, WS_BINARY, buf_span(&packed), 1000000, &message), WS_INFLATED_BOMB);
    assert_int_equal(ws_inflated_code(WS_INFLATED_BOMB), WS_CLOSE_TOO_BIG);
    assert_true(inflater.message.cap <= 2 * 1000000 + 100000);
    ws_inflater_trim(&inflater);
    assert_int_equal(inflater.message.cap, 0);
    buf_fini(&zeros);
    buf_fini(&packed);
    ws_inflater_fini(&inflater);
    ws_deflater_fini(&deflater);
}

static void what_is_compressed_already_is_known(void **state)
{
    (void)state;
    static const struct { struct span media; bool want; } rows[] = {
        { SPAN("image/png"), true }, { SPAN("Image/JPEG"), true }, { SPAN("image/svg+xml"), false }, { SPAN("image/bmp"), false },
        { SPAN("video/mp4; codecs=\"x\""), true }, { SPAN("audio/ogg"), true }, { SPAN("audio/wav"), false },
        { SPAN("application/zip"), true }, { SPAN("application/pdf;x=y"), true }, { SPAN("application/json"), false },
        { SPAN("text/plain"), false }, { SPAN("application/octet-stream"), false }, { SPAN(""), false }, { SPAN("imag"), false },
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (ws_media_is_compressed(rows[i].media) != rows[i].want)
            fail_msg("%.*s", SPAN_ARG(rows[i].media));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_offer_that_can_be_kept_is_taken),
        cmocka_unit_test(an_earlier_line_counts),
        cmocka_unit_test(what_is_compressed_comes_back),
        cmocka_unit_test(every_message_is_judged),
        cmocka_unit_test(no_damage_gets_through_the_limits),
        cmocka_unit_test(a_bomb_is_told_from_a_long_message),
        cmocka_unit_test(what_is_compressed_already_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
