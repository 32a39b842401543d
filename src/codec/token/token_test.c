/* Cursor tokens: what was put comes back; all else is refused (threat 79). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/must.h"
#include "base/rng.h"
#include "codec/token/token.h"

#include <cmocka.h>

static char name_bytes[2][TOKEN_CHANNEL_BYTES_MAX];

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

static void the_largest_list_fits(void **state)
{
    (void)state;
    struct place *places = calloc(TOKEN_PLACES_MAX, sizeof *places);
    struct buf text;

    must(places != NULL);
    memset(name_bytes[0], 'n', sizeof name_bytes[0]);
    memset(name_bytes[1], 'm', sizeof name_bytes[1]);
    for (size_t i = 0; i < TOKEN_PLACES_MAX; i++)
        /* neighbours share no byte, and no two are of one epoch: nothing can be left out */
        places[i] = (struct place){ span_of(name_bytes[i % 2], sizeof name_bytes[0]), UINT64_MAX - i, UINT64_MAX };
    expect_back(places, TOKEN_PLACES_MAX);
    buf_init(&text, TOKEN_TEXT_BYTES_MAX);
    token_put(&text, places, TOKEN_PLACES_MAX);
    assert_false(buf_is_over(&text));
    assert_in_range(text.len, TOKEN_TEXT_BYTES_MAX - 200, TOKEN_TEXT_BYTES_MAX);
    buf_fini(&text);
    free(places);
}

static void add_checksum(struct buf *bytes)
{
    uint32_t checksum = 0x811c9dc5;
    for (size_t i = 0; i < bytes->len; i++)
        checksum = (checksum ^ (uint8_t)bytes->at[i]) * 0x01000193u;
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_putc(bytes, (char)(checksum >> shift));
}

/* The forms are a contract: clients keep tokens over an upgrade of the server. */
static void the_forms_stay(void **state)
{
    (void)state;
    struct place places[] = {
        { SPAN("topic:a"), 0x0123456789abcdef, 300 }, { SPAN("topic:abc"), 0x0123456789abcdef, 0 },
        { SPAN("all:"), 1, 0 },
    };
    static const struct { const char *name; size_t count; bool is_set; struct span bytes; } rows[] = {
        { "one place", 1, false,
          SPAN("\x02\x01" "\x01" "\x01\x23\x45\x67\x89\xab\xcd\xef" "\x07" "topic:a" "\xac\x02") },
        { "one epoch", 2, false,
          SPAN("\x02\x02" "\x01" "\x01\x23\x45\x67\x89\xab\xcd\xef" "\x07" "topic:a" "\xac\x02"
               "\x07\x02" "bc" "\x00") },
        { "two epochs", 3, false,
          SPAN("\x02\x03" "\x02" "\0\0\0\0\0\0\0\x01" "\x01\x23\x45\x67\x89\xab\xcd\xef"
               "\x07" "topic:a" "\x01\xac\x02" "\x07\x02" "bc" "\x01\x00" "\x00\x04" "all:" "\x00\x00") },
        { "a set", 2, true,
          SPAN("\x03\x02" "\x01" "\x01\x23\x45\x67\x89\xab\xcd\xef" "\x12\x34\x56\x78\x9a\xbc\xde\xf0"
               "\xac\x02" "\x00") },
        { "a set of two epochs", 3, true,
          SPAN("\x03\x03" "\x02" "\0\0\0\0\0\0\0\x01" "\x01\x23\x45\x67\x89\xab\xcd\xef"
               "\x12\x34\x56\x78\x9a\xbc\xde\xf0" "\x01\xac\x02" "\x01\x00" "\x00\x00") },
    };
    struct buf text, want, bytes;

    buf_init(&text, 400);
    buf_init(&want, 400);
    buf_init(&bytes, 400);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_clear(&text);
        buf_clear(&want);
        buf_clear(&bytes);
        if (rows[i].is_set)
            token_put_set(&text, 0x123456789abcdef0, places, rows[i].count);
        else
            token_put(&text, places, rows[i].count);
        buf_put(&bytes, rows[i].bytes);
        add_checksum(&bytes);
        base64url_put(&want, buf_span(&bytes));
        if (!span_eq(buf_span(&text), buf_span(&want)))
            fail_msg("%s", rows[i].name);
    }
    buf_fini(&bytes);
    buf_fini(&want);
    buf_fini(&text);
}

/* What the first version wrote is read for ever: clients may have kept it. */
static void the_first_version_is_read(void **state)
{
    (void)state;
    struct token token;

    token_init(&token);
    assert_true(token_get(SPAN("AQIHdG9waWM6YQEjRWeJq83vrAIEYWxsOgAAAAAAAAABAN-rAK0"), &token));
    assert_int_equal(token.count, 2);
    assert_int_equal(token.set, 0);
    assert_true(span_eq(token.places[0].channel, SPAN("topic:a")));
    assert_true(token.places[0].epoch == 0x0123456789abcdef && token.places[0].seq == 300);
    assert_true(span_eq(token.places[1].channel, SPAN("all:")));
    assert_true(token.places[1].epoch == 1 && token.places[1].seq == 0);
    token_fini(&token);
}

/* --- sets --- */

enum { SET_COUNT = 512, SET_NAME_BYTES = 30 };

struct set {
    char         names[SET_COUNT][SET_NAME_BYTES];
    struct place places[SET_COUNT];
};

static void set_init(struct set *set, size_t count, uint64_t seq, size_t epochs)
{
    for (size_t i = 0; i < count; i++) {
        snprintf(set->names[i], SET_NAME_BYTES, "topic:%zu-%zu-0123456", i % 10, 100 + i);
        set->places[i] = (struct place){ span_str(set->names[i]), 1000 - i % epochs, seq + i };
    }
    for (size_t i = 1; i < count; i++)  /* into their order */
        for (size_t j = i; j > 0 && channel_order(set->places[j - 1].channel, set->places[j].channel) > 0; j--) {
            struct place place = set->places[j];
            set->places[j]     = set->places[j - 1];
            set->places[j - 1] = place;
        }
}

static void the_places_of_a_set_come_back(void **state)
{
    (void)state;
    static const struct { size_t count, epochs; uint64_t seq; } rows[] = {
        { 1, 1, 0 }, { 2, 1, 126 }, { 300, 1, 1 }, { 512, 1, UINT64_MAX - 600 }, { 512, 2, 1 }, { 512, 512, 1000 },
        { 129, 129, 7 },
    };
    static struct set set;
    struct token      token;
    struct buf        text;

    token_init(&token);
    buf_init(&text, TOKEN_TEXT_BYTES_MAX);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set_init(&set, rows[i].count, rows[i].seq, rows[i].epochs);
        uint64_t hash = token_set_of(set.places, rows[i].count);
        buf_clear(&text);
        token_put_set(&text, hash, set.places, rows[i].count);
        assert_true(token_get(buf_span(&text), &token));
        assert_true(token.set == hash && token.count == rows[i].count);
        for (size_t j = 0; j < rows[i].count; j++) {
            assert_int_equal(token.places[j].channel.len, 0);
            assert_int_equal(token.places[j].epoch, set.places[j].epoch);
            assert_int_equal(token.places[j].seq, set.places[j].seq);
        }
        expect_back(set.places, rows[i].count);
    }
    buf_fini(&text);
    token_fini(&token);
}

/* Other names, one name fewer, bytes that moved from one name to the next: another set. */
static void a_set_is_known_by_its_names(void **state)
{
    (void)state;
    const struct place places[] = { { .channel = SPAN("a:ab") }, { .channel = SPAN("a:c") }, { .channel = SPAN("a:d") } };
    const struct place moved[]  = { { .channel = SPAN("a:a") }, { .channel = SPAN("a:bc") }, { .channel = SPAN("a:d") } };
    const struct place other[]  = { { .channel = SPAN("a:ab") }, { .channel = SPAN("a:c") }, { .channel = SPAN("a:e") } };

    assert_true(token_set_of(places, 3) == token_set_of(places, 3));
    assert_true(token_set_of(places, 3) != token_set_of(places, 2));
    assert_true(token_set_of(places, 3) != token_set_of(moved, 3));
    assert_true(token_set_of(places, 3) != token_set_of(other, 3));
    assert_true(token_set_of(places, 3) == 0x6d063eddcc0621fau);  /* clients may keep tokens over an upgrade */
}

/* What a stream of many channels carries with each message. */
static void a_token_of_300_channels_is_short(void **state)
{
    (void)state;
    static struct set set;
    struct buf        text;

    buf_init(&text, TOKEN_TEXT_BYTES_MAX);
    set_init(&set, 300, 1, 1);
    token_put_set(&text, token_set_of(set.places, 300), set.places, 300);
    assert_in_range(text.len, 300, 700);
    buf_fini(&text);
}

static void a_bound_holds(void **state)
{
    (void)state;
    static const struct { size_t count, epochs; } rows[] = { { 1, 1 }, { 2, 2 }, { 230, 1 }, { 512, 2 }, { 512, 512 } };
    static struct set set;
    struct buf        text;

    buf_init(&text, TOKEN_TEXT_BYTES_MAX);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t count = rows[i].count;
        set_init(&set, count, ((uint64_t)1 << 49) - SET_COUNT - 1, rows[i].epochs);
        buf_clear(&text);
        token_put(&text, set.places, count);
        assert_in_range(text.len, 1, token_text_bound(set.places, count, rows[i].epochs, false));
        assert_in_range(text.len + 130 * 4 / 3, token_text_bound(set.places, count, rows[i].epochs, false), SIZE_MAX);
        buf_clear(&text);
        token_put_set(&text, 1, set.places, count);
        assert_in_range(text.len, 1, token_text_bound(set.places, count, rows[i].epochs, true));
    }
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

/* With a right checksum, so that only the form is wrong. */
static void a_wrong_form_is_refused(void **state)
{
    (void)state;
    #define END "\0\0\0\0\0\0\0\x01" "\x05"
    #define PLACE "\x01" "a" END
    #define EPOCH_1 "\0\0\0\0\0\0\0\x01"
    #define EPOCH_2 "\0\0\0\0\0\0\0\x02"
    #define NAME_46 "0123456789012345678901234567890123456789012345"
    #define NAME NAME_46 NAME_46 NAME_46 NAME_46 NAME_46
    static const struct { const char *name; struct span bytes; bool is_token; } rows[] = {
        { "one place", SPAN("\x01\x01" PLACE), true },
        { "two places", SPAN("\x01\x02" PLACE PLACE), true },
        { "another version", SPAN("\x04\x01" PLACE), false },
        { "form 2", SPAN("\x02\x01\x01" EPOCH_1 "\x01" "a" "\x05"), true },
        { "form 2, no epoch", SPAN("\x02\x01\x00" "\x01" "a" "\x05"), false },
        { "form 2, more epochs than places", SPAN("\x02\x01\x02" EPOCH_1 EPOCH_2 "\x01" "a" "\x00\x05"), false },
        { "form 2, epochs that fall", SPAN("\x02\x02\x02" EPOCH_2 EPOCH_1 "\x01" "a" "\x00\x05" "\x01\x01" "b" "\x01\x05"),
          false },
        { "form 2, an epoch twice", SPAN("\x02\x02\x02" EPOCH_1 EPOCH_1 "\x01" "a" "\x00\x05" "\x00\x01" "b" "\x01\x05"),
          false },
        { "form 2, two epochs", SPAN("\x02\x02\x02" EPOCH_1 EPOCH_2 "\x01" "a" "\x00\x05" "\x00\x01" "b" "\x01\x05"), true },
        { "form 2, an epoch of nobody", SPAN("\x02\x02\x02" EPOCH_1 EPOCH_2 "\x01" "a" "\x00\x05" "\x00\x01" "b" "\x00\x05"),
          false },
        { "form 2, an epoch that is not there",
          SPAN("\x02\x02\x02" EPOCH_1 EPOCH_2 "\x01" "a" "\x00\x05" "\x00\x01" "b" "\x02\x05"), false },
        { "form 2, a shared beginning", SPAN("\x02\x02\x01" EPOCH_1 "\x02" "ab" "\x05" "\x01\x01" "c" "\x05"), true },
        { "form 2, the same name", SPAN("\x02\x02\x01" EPOCH_1 "\x02" "ab" "\x05" "\x02\x00" "\x05"), true },
        { "form 2, more shared than there is", SPAN("\x02\x02\x01" EPOCH_1 "\x02" "ab" "\x05" "\x03\x01" "c" "\x05"), false },
        { "form 2, less shared than could be", SPAN("\x02\x02\x01" EPOCH_1 "\x02" "ab" "\x05" "\x01\x01" "b" "\x05"), false },
        { "form 2, a name of no bytes", SPAN("\x02\x02\x01" EPOCH_1 "\x02" "ab" "\x05" "\x00\x00" "\x05"), false },
        { "form 2, the first name of no bytes", SPAN("\x02\x01\x01" EPOCH_1 "\x00" "\x05"), false },
        { "form 2, the longest name", SPAN("\x02\x01\x01" EPOCH_1 "\xe9" NAME "xxx" "\x05"), true },
        { "form 2, a name too long", SPAN("\x02\x01\x01" EPOCH_1 "\xea" NAME "xxxx" "\x05"), false },
        { "form 2, a name too long by what it shares",
          SPAN("\x02\x02\x01" EPOCH_1 "\xe9" NAME "xxx" "\x05" "\xe9\x01" "y" "\x05"), false },
        { "form 2, one less than there are", SPAN("\x02\x01\x01" EPOCH_1 "\x01" "a" "\x05" "\x00\x01" "b" "\x05"), false },
        { "form 2, one more than there are", SPAN("\x02\x02\x01" EPOCH_1 "\x01" "a" "\x05"), false },
        { "form 2, the count beyond the maximum", SPAN("\x02\x81\x08\x01" EPOCH_1 "\x01" "a" "\x05"), false },
        { "form 3", SPAN("\x03\x02\x01" EPOCH_1 EPOCH_2 "\x05\x06"), true },
        { "form 3, of the set 0", SPAN("\x03\x01\x01" EPOCH_1 "\0\0\0\0\0\0\0\0" "\x05"), false },
        { "form 3, no set", SPAN("\x03\x01\x01" EPOCH_1 "\x05"), false },
        { "form 3, one more than there are", SPAN("\x03\x03\x01" EPOCH_1 EPOCH_2 "\x05\x06"), false },
        { "form 3, one less than there are", SPAN("\x03\x01\x01" EPOCH_1 EPOCH_2 "\x05\x06"), false },
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
        cmocka_unit_test(the_largest_list_fits),
        cmocka_unit_test(the_forms_stay),
        cmocka_unit_test(the_first_version_is_read),
        cmocka_unit_test(the_places_of_a_set_come_back),
        cmocka_unit_test(a_set_is_known_by_its_names),
        cmocka_unit_test(a_token_of_300_channels_is_short),
        cmocka_unit_test(a_bound_holds),
        cmocka_unit_test(a_changed_command_is_refused),
        cmocka_unit_test(a_wrong_form_is_refused),
        cmocka_unit_test(garbage_and_a_megabyte_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
