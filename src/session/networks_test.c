#include "session/networks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { LEAST_MS = 10000, MOST_MS = 120000 };

static const uint8_t home[4] = { 192, 0, 2, 7 };

static void lose(struct networks *networks, uint32_t key, msec silent_ms, int times)
{
    while (times-- > 0)
        networks_lost(networks, key, silent_ms, LEAST_MS, 1000);
}

static void bear(struct networks *networks, uint32_t key, msec silent_ms, int times)
{
    while (times-- > 0)
        networks_borne(networks, key, silent_ms, MOST_MS, 1000);
}

static void a_network_is_24_bits_of_ipv4_and_48_of_ipv6(void **state)
{
    (void)state;
    static const uint8_t neighbour[4] = { 192, 0, 2, 200 }, other[4] = { 192, 0, 3, 7 };
    static const uint8_t mapped[16]   = { [10] = 0xff, 0xff, 192, 0, 2, 9 };
    static const uint8_t six[16]      = { 0x20, 1, 0xd, 0xb8, 0, 1, 0, 5, [15] = 1 };
    static const uint8_t same_48[16]  = { 0x20, 1, 0xd, 0xb8, 0, 1, 0, 6, [15] = 2 };
    static const uint8_t other_48[16] = { 0x20, 1, 0xd, 0xb8, 0, 2, 0, 5, [15] = 1 };

    assert_int_equal(network_key(home, 4), network_key(neighbour, 4));
    assert_int_not_equal(network_key(home, 4), network_key(other, 4));
    assert_int_equal(network_key(home, 4), network_key(mapped, 16));
    assert_int_equal(network_key(six, 16), network_key(same_48, 16));
    assert_int_not_equal(network_key(six, 16), network_key(other_48, 16));
    assert_int_equal(network_key(home, 0), 0);
    assert_int_equal(network_key(home, 3), 0);
}

static void three_losses_make_the_start_shorter(void **state)
{
    (void)state;
    const uint32_t  key = network_key(home, 4);
    struct networks networks;

    networks_init(&networks);
    assert_int_equal(networks_bear(&networks, key), 0);
    lose(&networks, key, 120000, 2);
    assert_int_equal(networks_bear(&networks, key), 0);
    lose(&networks, key, 120000, 1);
    assert_int_equal(networks_bear(&networks, key), 90000);
    lose(&networks, key, 90000, 3);
    assert_int_equal(networks_bear(&networks, key), 67500);
    /* Whoever promised more than it was told took the risk itself. */
    lose(&networks, key, 120000, 10);
    assert_int_equal(networks_bear(&networks, key), 67500);
    lose(&networks, key, 1000, 30);
    assert_int_equal(networks_bear(&networks, key), LEAST_MS);
    networks_fini(&networks);
}

static void a_silence_that_was_borne_outweighs_losses(void **state)
{
    (void)state;
    const uint32_t  key = network_key(home, 4);
    struct networks networks;

    networks_init(&networks);
    lose(&networks, key, 120000, 2);
    bear(&networks, key, 119000, 1);
    assert_int_equal(networks.count, 0);
    lose(&networks, key, 120000, 2);
    bear(&networks, key, 30000, 100);  /* short silences tell nothing of long ones */
    lose(&networks, key, 120000, 1);
    assert_int_equal(networks_bear(&networks, key), 90000);
    lose(&networks, key, 90000, 2);
    bear(&networks, key, 90000, 1);
    lose(&networks, key, 90000, 2);
    assert_int_equal(networks_bear(&networks, key), 90000);
    networks_fini(&networks);
}

static void a_start_rises_again_until_the_network_is_forgotten(void **state)
{
    (void)state;
    const uint32_t  key = network_key(home, 4);
    struct networks networks;

    networks_init(&networks);
    lose(&networks, key, 100000, 3);
    bear(&networks, key, 75000, 15);
    assert_int_equal(networks_bear(&networks, key), 75000);
    bear(&networks, key, 75000, 1);
    assert_int_equal(networks_bear(&networks, key), 93750);
    bear(&networks, key, 93750, 16);
    assert_int_equal(networks_bear(&networks, key), 117185);
    bear(&networks, key, 117185, 16);
    assert_int_equal(networks_bear(&networks, key), 0);
    assert_int_equal(networks.count, 0);
    networks_fini(&networks);
}

static void a_network_without_losses_takes_no_room(void **state)
{
    (void)state;
    struct networks networks;

    networks_init(&networks);
    bear(&networks, network_key(home, 4), 120000, 1000);
    assert_null(networks.at);
    lose(&networks, 0, 120000, 10);  /* a link whose address is not known */
    assert_null(networks.at);
    networks_fini(&networks);
}

static void the_table_is_bounded_and_keeps_who_was_heard_of_last(void **state)
{
    (void)state;
    const uint32_t  key = network_key(home, 4);
    struct networks networks;

    networks_init(&networks);
    for (uint32_t i = 0; i < 20 * NETWORKS_MAX; i++) {
        const uint8_t address[4] = { 10, (uint8_t)(i >> 8), (uint8_t)i, 1 };
        networks_lost(&networks, network_key(address, 4), 120000, LEAST_MS, (msec)i * 1000);
        for (int j = 0; j < 3; j++)
            networks_lost(&networks, key, 60000, LEAST_MS, (msec)i * 1000);
    }
    assert_in_range(networks.count, NETWORKS_MAX / 2, NETWORKS_MAX);
    assert_int_not_equal(networks_bear(&networks, key), 0);
    networks_fini(&networks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_network_is_24_bits_of_ipv4_and_48_of_ipv6),
        cmocka_unit_test(three_losses_make_the_start_shorter),
        cmocka_unit_test(a_silence_that_was_borne_outweighs_losses),
        cmocka_unit_test(a_start_rises_again_until_the_network_is_forgotten),
        cmocka_unit_test(a_network_without_losses_takes_no_room),
        cmocka_unit_test(the_table_is_bounded_and_keeps_who_was_heard_of_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
