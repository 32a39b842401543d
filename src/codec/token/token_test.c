/* Cursor tokens: what was put comes back; all else is refused (threat 79). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/must.h"
#include "base/rng.h"
#include "codec/token/token.h"

#include <cmocka.h>

static char name_bytes[TOKEN_CHANNEL_BYTES_MAX];

static void expect_back(const struct place *places, size_t count)
{
    struct token token;
    struct buf text;

    token_init(&token);
    buf_init(&text, TOKEN_TEXT_BYTES_MAX);
    token_put(&text, places, count);
    assert_false(buf_is_over(&text));
    assert_true(token_get(buf_span(&text), &token));
    assert_int_equal(token.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_true(span_eq(token.places[i].channel, places[i].channel));
        assert_int_equal(token.places[i].epoch, places[i].epoch);
        assert_int_equal(token.places[i].seq, places[i].seq);
    }
    buf_fini(&text);
    token_fini(&token);
}

static void places_come_back(void **state)
{
    (void)state;
    static const struct place rows[] = {
        { SPAN("topic:prices"), 0x0123456789abcdef, 42 },
        { SPAN("all:"), 0, 0 },
        { SPAN("t:\0\r\n\xff"), UINT64_MAX, UINT64_MAX },
        { SPAN("topic:a"), 1, 127 },
        { SPAN("topic:a"), 1, 128 },
        { SPAN("topic:a"), 1, (uint64_t)1 << 63 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect_back(&rows[i], 1);
        expect_back(rows, i + 1);
    }
}

static void the_largest_set_fits_exactly(void **state)
{
    (void)state;
    struct place *places = calloc(TOKEN_PLACES_MAX, sizeof *places);
    struct buf text;

    must(places != NULL);
    memset(name_bytes, 'n', sizeof name_bytes);
    for (size_t i = 0; i < TOKEN_PLACES_MAX; i++)
        places[i] = (struct place){ span_of(name_bytes, sizeof name_bytes), UINT64_MAX, UINT64_MAX };
    expect_back(places, TOKEN_PLACES_MAX);
    buf_init(&text, TOKEN_TEXT_BYTES_MAX);
    token_put(&text, places, TOKEN_PLACES_MAX);
    assert_int_equal(text.len, TOKEN_TEXT_BYTES_MAX);
    buf_fini(&text);
    free(places);
}

/* The form is a contract: clients keep tokens over an upgrade of the server. */
static void the_form_stays(void **state)
{
    (void)state;
    struct place places[] = { { SPAN("topic:a"), 0x0123456789abcdef, 300 }, { SPAN("all:"), 1, 0 } };
    struct buf text;

    buf_init(&text, 200);
    token_put(&text, places, 2);
    assert_true(span_eq(buf_span(&text), SPAN("AQIHdG9waWM6YQEjRWeJq83vrAIEYWxsOgAAAAAAAAABAN-rAK0")));
    buf_fini(&text);
}

/* Threat 79: garbage, a changed letter, a cut, another version. */
static void a_changed_command_is_refused(void **state)
{
    (void)state;
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct place places[] = { { SPAN("topic:prices"), 77, 42 }, { SPAN("user:ann"), 78, 1000000 } };
    struct token token;
    struct buf text;

    token_init(&token);
    buf_init(&text, 200);
    token_put(&text, places, 2);
    for (size_t i = 0; i < text.len; i++) {
        char was = text.at[i];
        for (const char *letter = letters; *letter != '\0'; letter++) {
            text.at[i] = *letter;
            if (token_get(buf_span(&text), &token) != (*letter == was))
                fail_msg("letter %zu as %c", i, *letter);
        }
        text.at[i] = was;
        assert_false(token_get(span_head(buf_span(&text), i), &token));
        assert_int_equal(token.count, 0);
    }
    assert_true(token_get(buf_span(&text), &token));
    buf_put_lit(&text, "A");
    assert_false(token_get(buf_span(&text), &token));
    buf_fini(&text);
    token_fini(&token);
}

static void add_checksum(struct buf *bytes)
{
    uint32_t checksum = 0x811c9dc5;
    for (size_t i = 0; i < bytes->len; i++)
        checksum = (checksum ^ (uint8_t)bytes->at[i]) * 0x01000193u;
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_putc(bytes, (char)(checksum >> shift));
}

/* With a right checksum, so that only the form is wrong. */
static void a_wrong_form_is_refused(void **state)
{
    (void)state;
    #define END "\0\0\0\0\0\0\0\x01" "\x05"
    #define PLACE "\x01" "a" END
    #define NAME_46 "0123456789012345678901234567890123456789012345"
    #define NAME NAME_46 NAME_46 NAME_46 NAME_46 NAME_46
    static const struct { const char *name; struct span bytes; bool is_token; } rows[] = {
        { "one place", SPAN("\x01\x01" PLACE), true },
        { "two places", SPAN("\x01\x02" PLACE PLACE), true },
        { "another version", SPAN("\x02\x01" PLACE), false },
        { "nothing", SPAN(""), false },
        { "version alone", SPAN("\x01"), false },
        { "no places", SPAN("\x01\x00"), false },
        { "one more than there are", SPAN("\x01\x02" PLACE), false },
        { "one less than there are", SPAN("\x01\x01" PLACE PLACE), false },
        { "count in a longer form", SPAN("\x01\x81\x00" PLACE), false },
        { "count beyond the maximum", SPAN("\x01\x81\x08" PLACE), false },
        { "a count to allocate for", SPAN("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" PLACE), false },
        { "channel of no bytes", SPAN("\x01\x01\x00\0\0\0\0\0\0\0\x01\x85\x01"), false },
        { "longest channel", SPAN("\x01\x01\xe9" NAME "xxx" END), true },
        { "channel too long", SPAN("\x01\x01\xea" NAME "xxxx" END), false },
        { "channel cut", SPAN("\x01\x01\x0b" "abcdefghij"), false },
        { "seq in a longer form", SPAN("\x01\x01\x01" "a" "\0\0\0\0\0\0\0\x01" "\x85\x00"), false },
        { "seq of 65 bits",
          SPAN("\x01\x01\x01" "a" "\0\0\0\0\0\0\0\x01" "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), false },
        { "seq without end", SPAN("\x01\x01\x01" "a" "\0\0\0\0\0\0\0\x01" "\x85"), false },
    };
    struct buf bytes, text;
    struct token token;

    token_init(&token);
    buf_init(&bytes, 400);
    buf_init(&text, 600);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_clear(&bytes);
        buf_clear(&text);
        buf_put(&bytes, rows[i].bytes);
        add_checksum(&bytes);
        base64url_put(&text, buf_span(&bytes));
        if (token_get(buf_span(&text), &token) != rows[i].is_token)
            fail_msg("%s", rows[i].name);
    }
    buf_fini(&text);
    buf_fini(&bytes);
    token_fini(&token);
}

static void garbage_and_a_megabyte_are_refused(void **state)
{
    (void)state;
    static const char *rows[] = { "", "A", "42", "null", "AAAA", "AQ==", "../../etc/passwd", "AQIH dG9w", "%41QIH" };
    char *megabyte = malloc(1 << 20);
    struct token token;
    struct rng rng = { 79 };

    must(megabyte != NULL);
    token_init(&token);
    memset(megabyte, 'A', 1 << 20);
    assert_false(token_get(span_of(megabyte, 1 << 20), &token));
    assert_int_equal(token.bytes.cap, 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (token_get(span_str(rows[i]), &token))
            fail_msg("%s", rows[i]);
    for (size_t round = 0; round < 100000; round++) {
        size_t len = rng_below(&rng, 64);
        for (size_t i = 0; i < len; i++)
            megabyte[i] = "AQEBYQ-_"[rng_below(&rng, 8)];
        assert_false(token_get(span_of(megabyte, len), &token));
    }
    token_fini(&token);
    free(megabyte);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_come_back),
        cmocka_unit_test(the_largest_set_fits_exactly),
        cmocka_unit_test(the_form_stays),
        cmocka_unit_test(a_changed_command_is_refused),
        cmocka_unit_test(a_wrong_form_is_refused),
        cmocka_unit_test(garbage_and_a_megabyte_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
