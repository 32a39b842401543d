/* Keys of connections: what they say, and that none comes twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "node/connection_key.h"
#include "node/tail.h"

#include <cmocka.h>

static const struct connection_keys alone = { { 1, 2 }, 0 }, of_cluster = { { 1, 2 }, 0xabcd };

static void a_key_says_what_it_was_made_of(void **state)
{
    (void)state;
    static const struct connection_key rows[] = {
        { 0, 0, 0 }, { 1, 2, 3 }, { LOOPS_MAX - 1, (1u << CONNECTION_KEY_SECOND_BITS) - 1, (1u << CONNECTION_KEY_NUMBER_BITS) - 1 },
        { 17, 86400, 12345678 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t              key = connection_key_make(&alone, rows[i]);
        struct connection_key got = connection_key_open(&alone, key);
        assert_int_equal(got.loop, rows[i].loop);
        assert_int_equal(got.second, rows[i].second);
        assert_int_equal(got.number, rows[i].number);
        assert_true(connection_key_make(&(struct connection_keys){ { 1, 3 }, 0 }, rows[i]) != key);
    }
}

static int by_value(const void *one, const void *other)
{
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
    return (a > b) - (a < b);
}

/* Neighbouring keys have about half of their bits in common, as random numbers have. */
static void check_keys_of(const struct connection_keys *of, unsigned bits)
{
    enum { COUNT = 100000 };
    uint64_t *keys   = calloc(COUNT, sizeof keys[0]);
    uint64_t  differ = 0;

    assert_non_null(keys);
    for (uint32_t i = 0; i < COUNT; i++)
        keys[i] = connection_key_make(of, (struct connection_key){ 3, i / 1000, i });
    for (size_t i = 1; i < COUNT; i++)
        differ += (uint64_t)__builtin_popcountll(keys[i] ^ keys[i - 1]);
    assert_in_range(differ / COUNT, bits / 2 - 1, bits / 2);
    qsort(keys, COUNT, sizeof keys[0], by_value);
    for (size_t i = 1; i < COUNT; i++)
        assert_true(keys[i] != keys[i - 1]);
    free(keys);
}

static void no_key_comes_twice_or_tells_the_next(void **state)
{
    (void)state;
    check_keys_of(&alone, 64);
    check_keys_of(&of_cluster, 48);
}

static void a_key_of_a_cluster_says_which_node_has_it(void **state)
{
    (void)state;
    const struct connection_keys other = { { 5, 6 }, 0x0012 };
    const struct connection_key  is    = { LOOPS_MAX - 1, (1u << CONNECTION_KEY_TAGGED_SECOND_BITS) - 1, 65535 };
    uint64_t                     key   = connection_key_make(&of_cluster, is);
    struct connection_key        got   = connection_key_open(&of_cluster, key);

    assert_true(got.loop == is.loop && got.second == is.second && got.number == is.number);
    assert_int_equal(key >> 48, 0xabcd);
    assert_int_equal(connection_key_elsewhere(&of_cluster, key), 0);
    assert_int_equal(connection_key_elsewhere(&other, key), 0xabcd);
    assert_int_equal(connection_key_elsewhere(&alone, key), 0);  /* a node alone knows of no other */
    assert_int_equal(connection_tag(0), 1);
    assert_int_equal(connection_tag(UINT64_MAX), connection_tag(0));
    assert_int_equal(connection_tag(UINT16_MAX - 1), UINT16_MAX);
}

static void a_key_is_16_hexadecimal_digits(void **state)
{
    (void)state;
    static const struct { const char *text; bool is_key; uint64_t key; } rows[] = {
        { "00000000000000ff", true, 0xff }, { "FFFFFFFFFFFFFFFF", true, UINT64_MAX }, { "", false, 0 },
        { "ff", false, 0 }, { "00000000000000fg", false, 0 }, { "00000000000000ff0", false, 0 },
        { "-000000000000001", false, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t key = 0;
        assert_int_equal(connection_key_read(span_str(rows[i].text), &key), rows[i].is_key);
        assert_int_equal(key, rows[i].key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_says_what_it_was_made_of), cmocka_unit_test(no_key_comes_twice_or_tells_the_next),
        cmocka_unit_test(a_key_of_a_cluster_says_which_node_has_it), cmocka_unit_test(a_key_is_16_hexadecimal_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
