/* Spans, buffers, UTF-8 and base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/utf8.h"

#include <cmocka.h>

static void utf8_says_the_same_for_every_cut(void **state)
{
    (void)state;
    static const struct { const char *name; struct span text; bool is_valid; } rows[] = {
        { "empty", SPAN(""), true },
        { "ascii over eight bytes", SPAN("hello, longwire"), true },
        { "two, three, four bytes", SPAN("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), true },
        { "overlong slash", SPAN("\xc0\xaf"), false },
        { "overlong three", SPAN("\xe0\x80\xaf"), false },
        { "surrogate", SPAN("\xed\xa0\x80"), false },
        { "last of all", SPAN("\xf4\x8f\xbf\xbf"), true },
        { "above it", SPAN("\xf4\x90\x80\x80"), false },
        { "cut short", SPAN("abc\xe2\x82"), false },
        { "stray continuation", SPAN("abc\x80"), false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (utf8_is_valid(rows[i].text) != rows[i].is_valid)
            fail_msg("%s", rows[i].name);
        for (size_t cut = 0; cut <= rows[i].text.len; cut++) {
            struct utf8 utf8 = { 0 };
            bool is_valid = utf8_feed(&utf8, span_head(rows[i].text, cut)) &&
                            utf8_feed(&utf8, span_skip(rows[i].text, cut)) && utf8_is_whole(&utf8);
            if (is_valid != rows[i].is_valid)
                fail_msg("%s, cut at %zu", rows[i].name, cut);
        }
    }
}

static void control_characters_are_found_wherever_they_stand(void **state)
{
    const struct {
        struct span text;
        bool        of_ascii, any;
    } rows[] = {
        { SPAN(""), false, false },          { SPAN("plain text"), false, false },   { SPAN("\x1f" "a"), true, true },
        { SPAN("a\n"), true, true },         { SPAN("a\0b"), true, true },           { SPAN("\x7f"), true, true },
        { SPAN("\xc2\x80"), false, true },   { SPAN("a\xc2\x9f"), false, true },    { SPAN("\xc2\xa0"), false, false },
        { SPAN("\xc3\x80"), false, false },  { SPAN("\xe2\x82\x80"), false, false }, { SPAN("\xc2\xa0\xc2\x85z"), false, true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (span_has_control(rows[i].text) != rows[i].of_ascii || utf8_has_control(rows[i].text) != rows[i].any)
            fail_msg("row %zu", i);
}

/* Each byte at each place of texts that are longer and shorter than a word. */
static void a_control_character_is_found_at_each_place(void **state)
{
    char text[20];

    (void)state;
    for (size_t len = 1; len <= sizeof text; len++)
        for (size_t at = 0; at < len; at++)
            for (unsigned c = 0; c < 256; c++) {
                memset(text, 'a', sizeof text);
                text[at] = (char)c;
                if (span_has_control(span_of(text, len)) != (c < 0x20 || c == 0x7f))
                    fail_msg("byte %u at %zu of %zu", c, at, len);
            }
}

static void base64_gives_back_what_it_took(void **state)
{
    (void)state;
    char bytes[64];

    for (size_t len = 0; len < sizeof bytes; len++) {
        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)(i * 37 + len);
        struct buf text, back;
        buf_init(&text, 200);
        buf_init(&back, 200);
        base64_put(&text, span_of(bytes, len));
        assert_true(base64_get(buf_span(&text), &back));
        assert_true(span_eq(buf_span(&back), span_of(bytes, len)));
        buf_clear(&text);
        buf_clear(&back);
        base64url_put(&text, span_of(bytes, len));
        assert_true(base64url_get(buf_span(&text), &back));
        assert_true(span_eq(buf_span(&back), span_of(bytes, len)));
        buf_fini(&text);
        buf_fini(&back);
    }
}

static void base64_refuses_a_second_spelling(void **state)
{
    (void)state;
    static const char *bad[] = { "A", "AB==", "AAA", "A===", "====", "AA=A", "AAA=AAAA", "A A=", "AA\n=" };
    struct buf back;

    buf_init(&back, 100);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (base64_get(span_str(bad[i]), &back) || back.len != 0)
            fail_msg("%s", bad[i]);
    assert_false(base64url_get(SPAN("AA=="), &back));
    buf_fini(&back);
}

/* Any byte, at any place of one, two, three or four letters and behind four others. */
static void base64_takes_its_letters_alone(void **state)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    (void)state;
    for (size_t len = 2; len <= 8; len++) {
        for (size_t at = 0; len != 5 && at < len; at++) {
            for (int byte = 0; byte <= UINT8_MAX; byte++) {
                char        text[8] = "AAAAAAAA";
                const char *letter  = byte == 0 ? NULL : strchr(letters, byte);
                bool        is_last = at == len - 1 && len % 4 != 0;
                unsigned    unused  = len % 4 == 2 ? 15 : 3;
                struct buf  back, again;
                text[at] = (char)byte;
                buf_init(&back, 100);
                buf_init(&again, 100);
                bool is_good = letter != NULL && (!is_last || ((unsigned)(letter - letters) & unused) == 0);
                assert_int_equal(base64url_get(span_of(text, len), &back), is_good);
                base64url_put(&again, buf_span(&back));
                if (is_good)
                    assert_true(span_eq(buf_span(&again), span_of(text, len)));
                else
                    assert_int_equal(back.len, 0);
                buf_fini(&back);
                buf_fini(&again);
            }
        }
    }
}

static void a_buf_stops_at_its_maximum_and_says_so(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, 10);
    buf_put_lit(&buf, "12345678");
    assert_false(buf_is_over(&buf));
    buf_put_lit(&buf, "abc");
    assert_true(buf_is_over(&buf));
    buf_putc(&buf, 'x');
    assert_int_equal(buf.len, 8);
    buf_clear(&buf);
    buf_put_u64(&buf, 1234567890);
    assert_true(span_eq(buf_span(&buf), SPAN("1234567890")));
    assert_false(buf_is_over(&buf));
    buf_fini(&buf);
}

/* It does not grow again before that, and not beyond its maximum. */
/* An answer that a client has mostly taken costs what is left of it. */
static void a_buf_gives_back_what_was_dropped(void **state)
{
    struct buf   buf;
    const size_t bytes = 4 << 20, part = 10000;

    (void)state;
    buf_init(&buf, SIZE_MAX / 2);
    memset(buf_extend(&buf, bytes), 'x', bytes);
    for (size_t left = bytes; left > 0;) {
        const size_t count = left < part ? left : part;
        buf.at[left - 1]   = 'e';
        buf_drop(&buf, count);
        left -= count;
        assert_int_equal(buf.len, left);
        assert_true(buf.cap <= 2 * left || buf.cap <= BUF_KEPT_BYTES);
        assert_true(left == 0 || buf.at[left - 1] == 'e');
    }
    buf_put_lit(&buf, "more");
    assert_true(span_eq(buf_span(&buf), SPAN("more")));
    buf_fini(&buf);
}

static void a_buf_makes_room_at_once(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, 5000);
    buf_make_room(&buf, 3000);
    assert_true(buf.cap >= 3000);
    assert_int_equal(buf.len, 0);
    const char *at = buf.at;
    for (int i = 0; i < 3000; i++)
        buf_putc(&buf, 'x');
    assert_ptr_equal(buf.at, at);
    buf_make_room(&buf, 10000);
    assert_int_equal(buf.cap, 5000);
    assert_int_equal(buf.len, 3000);
    assert_false(buf_is_over(&buf));
    buf_fini(&buf);
}

/* As printf writes them, at each power of ten and beside it. */
static void numbers_are_written_in_decimal(void **state)
{
    (void)state;
    struct buf buf;
    char       want[32];

    buf_init(&buf, 100);
    for (uint64_t power = 1; power != 0; power = power > UINT64_MAX / 10 ? 0 : power * 10) {
        const uint64_t values[] = { power - 1, power, power + 1, power * 9, UINT64_MAX - power + 1 };
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            snprintf(want, sizeof want, "%llu", (unsigned long long)values[i]);
            buf_clear(&buf);
            buf_put_u64(&buf, values[i]);
            if (!span_eq(buf_span(&buf), span_str(want)))
                fail_msg("%s is written %.*s", want, SPAN_ARG(buf_span(&buf)));
        }
    }
    buf_fini(&buf);
}

static void numbers_are_read_strictly(void **state)
{
    (void)state;
    static const char *bad[] = { "", "+1", "-1", " 1", "1 ", "0x1", "18446744073709551616", "1e3" };
    uint64_t value = 77;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (span_u64(span_str(bad[i]), &value))
            fail_msg("%s", bad[i]);
    assert_int_equal(value, 77);
    assert_true(span_u64(SPAN("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
}

static void siphash_tells_messages_apart(void **state)
{
    (void)state;
    const struct hash_key key = { 0x0706050403020100u, 0x0f0e0d0c0b0a0908u };
    const char            message[] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    uint64_t              seen = hash_bytes(&key, span_of(message, 8));
    assert_true(seen != hash_bytes(&key, span_of(message, 7)));
    assert_true(seen == hash_bytes(&key, span_of(message, 8)));
}

/* Rows of stores carry such hashes: they stay what they are. */
static void the_hash_of_a_text_is_for_ever(void **state)
{
    static const struct { size_t len; uint64_t want; } rows[] = {
        { 0, 0x6bb1f8f8805663a0u },  { 3, 0x5d2c0fc64a11176cu },  { 8, 0x6d887f3405e891d2u },
        { 15, 0x317139ec291cae25u }, { 37, 0x479d3299e2304813u },
    };
    const struct hash_key key = { 1, 2 };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *text = malloc(rows[i].len + 1);  /* for the sanitizer: nothing before it and behind it is read */
        assert_non_null(text);
        for (size_t at = 0; at < rows[i].len; at++)
            text[at + 1] = (char)(at * 7 + 200);
        assert_true(hash_bytes(&key, span_of(text + 1, rows[i].len)) == rows[i].want);
        free(text);
    }
}

static bool same_but_for_case(unsigned char a, unsigned char b)
{
    const bool are_letters = (a | 0x20) >= 'a' && (a | 0x20) <= 'z';

    return a == b || (are_letters && (a | 0x20) == (b | 0x20));
}

static void letters_alone_are_compared_without_their_case(void **state)
{
    (void)state;
    char a[19], b[19];

    assert_true(span_eq_nocase(SPAN(""), SPAN("")));
    assert_false(span_eq_nocase(SPAN("a"), SPAN("")));
    for (size_t len = 1; len <= sizeof a; len++)
        for (size_t at = 0; at < len; at++)
            for (unsigned one = 0; one < 256; one++)
                for (unsigned bit = 0; bit < 8; bit++) {
                    const unsigned other = one ^ 1u << bit;
                    memset(a, 'x', sizeof a);
                    memset(b, 'X', sizeof b);
                    a[at] = (char)one;
                    b[at] = (char)other;
                    if (span_eq_nocase(span_of(a, len), span_of(b, len)) != same_but_for_case((unsigned char)one, (unsigned char)other))
                        fail_msg("%u and %u at %zu of %zu", one, other, at, len);
                    b[at] = (char)one;
                    assert_true(span_eq_nocase(span_of(a, len), span_of(b, len)));
                }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_of_a_text_is_for_ever),
        cmocka_unit_test(utf8_says_the_same_for_every_cut),
        cmocka_unit_test(control_characters_are_found_wherever_they_stand),
        cmocka_unit_test(a_control_character_is_found_at_each_place),
        cmocka_unit_test(base64_gives_back_what_it_took),
        cmocka_unit_test(base64_refuses_a_second_spelling),
        cmocka_unit_test(base64_takes_its_letters_alone),
        cmocka_unit_test(letters_alone_are_compared_without_their_case),
        cmocka_unit_test(a_buf_stops_at_its_maximum_and_says_so),
        cmocka_unit_test(a_buf_gives_back_what_was_dropped),
        cmocka_unit_test(a_buf_makes_room_at_once),
        cmocka_unit_test(numbers_are_written_in_decimal),
        cmocka_unit_test(numbers_are_read_strictly),
        cmocka_unit_test(siphash_tells_messages_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
