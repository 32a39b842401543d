/* Connections of addresses: who enters, who is told why not, and what a place that is left is worth. */
#include "main/addresses.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct hash_key hash_key = { 1, 2 };

struct rig {
    struct usage_tables tables;
    struct usage_limits limits;
    struct addresses    addresses;
};

static void rig_open(struct rig *rig, uint64_t connections, uint64_t per_s)
{
    *rig = (struct rig){ .limits = { .tables = &rig->tables, .hash_key = &hash_key } };
    rig->limits.max[USAGE_CONNECTIONS_OF_ADDRESS] = connections;
    rig->limits.max[USAGE_CONNECTS_OF_ADDRESS]    = per_s;
    addresses_init(&rig->addresses, 1000);
    usage_tables_init(&rig->tables);
}

static void rig_close(struct rig *rig)
{
    addresses_fini(&rig->addresses);
    usage_tables_fini(&rig->tables);
}

static enum address_verdict enter(struct rig *rig, int fd, const char *text, msec now)
{
    struct ip_address address;

    assert_true(ip_read(span_str(text), &address));
    return addresses_enter(&rig->addresses, &rig->limits, fd, &address, now);
}

static void an_address_has_so_many(void **state)
{
    (void)state;
    struct rig       rig;
    enum usage_limit limit;

    rig_open(&rig, 2, 0);
    assert_int_equal(enter(&rig, 10, "192.0.2.7", 0), ADDRESS_FINE);
    assert_int_equal(enter(&rig, 11, "192.0.2.7", 0), ADDRESS_FINE);
    assert_int_equal(enter(&rig, 12, "192.0.2.8", 0), ADDRESS_FINE);
    assert_int_equal(enter(&rig, 13, "192.0.2.7", 0), ADDRESS_OVER);
    assert_true(addresses_is_over(&rig.addresses, 13, &limit));
    assert_int_equal(limit, USAGE_CONNECTIONS_OF_ADDRESS);
    assert_false(addresses_is_over(&rig.addresses, 11, &limit));
    assert_int_equal(enter(&rig, 14, "2001:db8::1", 0), ADDRESS_FINE);
    assert_int_equal(enter(&rig, 15, "2001:db8::2", 0), ADDRESS_FINE);
    assert_int_equal(enter(&rig, 16, "2001:db8::3", 0), ADDRESS_OVER);  /* the same /64 */
    assert_int_equal(enter(&rig, 17, "2001:db8:0:1::3", 0), ADDRESS_FINE);
    addresses_leave(&rig.addresses, 13);
    assert_int_equal(enter(&rig, 13, "192.0.2.7", 0), ADDRESS_OVER);  /* that it was refused frees no place */
    addresses_leave(&rig.addresses, 10);
    assert_int_equal(enter(&rig, 10, "192.0.2.7", 0), ADDRESS_FINE);
    assert_int_equal(counter_get(&rig.limits.refused[USAGE_CONNECTIONS_OF_ADDRESS].count), 3);
    assert_string_equal(rig.limits.refused[USAGE_CONNECTIONS_OF_ADDRESS].who, "192.0.2.7");
    rig_close(&rig);
}

/* Connections of another process that this one goes on with. */
static void what_is_taken_over_counts_beyond_the_limit(void **state)
{
    (void)state;
    struct rig        rig;
    struct ip_address address;

    rig_open(&rig, 2, 0);
    assert_true(ip_read(SPAN("192.0.2.7"), &address));
    for (int fd = 10; fd < 13; fd++)
        addresses_take(&rig.addresses, &rig.limits, fd, &address);
    assert_int_equal(enter(&rig, 13, "192.0.2.7", 0), ADDRESS_OVER);
    addresses_leave(&rig.addresses, 10);
    addresses_leave(&rig.addresses, 13);
    assert_int_equal(enter(&rig, 13, "192.0.2.7", 0), ADDRESS_OVER);  /* two are left */
    addresses_leave(&rig.addresses, 11);
    assert_int_equal(enter(&rig, 11, "192.0.2.7", 0), ADDRESS_FINE);
    rig_close(&rig);

    rig_open(&rig, 0, 0);
    addresses_take(&rig.addresses, &rig.limits, 10, &address);
    addresses_leave(&rig.addresses, 10);
    rig_close(&rig);
}

static void an_address_connects_so_often(void **state)
{
    (void)state;
    struct rig       rig;
    enum usage_limit limit;

    rig_open(&rig, 0, 2);
    assert_int_equal(enter(&rig, 10, "192.0.2.7", 1000), ADDRESS_FINE);
    addresses_leave(&rig.addresses, 10);
    assert_int_equal(enter(&rig, 10, "192.0.2.7", 1000), ADDRESS_FINE);
    assert_int_equal(enter(&rig, 11, "192.0.2.7", 1400), ADDRESS_OVER);
    assert_true(addresses_is_over(&rig.addresses, 11, &limit));
    assert_int_equal(limit, USAGE_CONNECTS_OF_ADDRESS);
    addresses_leave(&rig.addresses, 11);
    assert_int_equal(enter(&rig, 11, "192.0.2.7", 1500), ADDRESS_FINE);
    rig_close(&rig);
}

static void few_are_told_why(void **state)
{
    (void)state;
    struct rig rig;

    rig_open(&rig, 1, 0);
    assert_int_equal(enter(&rig, 10, "192.0.2.7", 0), ADDRESS_FINE);
    for (int i = 0; i < ADDRESS_BRIEF_MAX; i++)
        assert_int_equal(enter(&rig, 11 + i, "192.0.2.7", 0), ADDRESS_OVER);
    assert_int_equal(enter(&rig, 100, "192.0.2.7", 0), ADDRESS_REFUSED);
    addresses_leave(&rig.addresses, 100);  /* as it is closed: it counted as nothing */
    addresses_leave(&rig.addresses, 11);
    assert_int_equal(enter(&rig, 100, "192.0.2.7", 0), ADDRESS_OVER);
    rig_close(&rig);
}

static void limits_come_and_go(void **state)
{
    (void)state;
    struct rig rig;

    rig_open(&rig, 0, 0);
    assert_int_equal(enter(&rig, 10, "192.0.2.7", 0), ADDRESS_FINE);
    rig.limits.max[USAGE_CONNECTIONS_OF_ADDRESS] = 1;
    assert_int_equal(enter(&rig, 11, "192.0.2.7", 0), ADDRESS_FINE);  /* the first one is not counted */
    assert_int_equal(enter(&rig, 12, "192.0.2.7", 0), ADDRESS_OVER);
    rig.limits.max[USAGE_CONNECTIONS_OF_ADDRESS] = 0;
    for (int fd = 10; fd < 13; fd++)
        addresses_leave(&rig.addresses, fd);
    rig.limits.max[USAGE_CONNECTIONS_OF_ADDRESS] = 1;
    assert_int_equal(enter(&rig, 11, "192.0.2.7", 0), ADDRESS_FINE);
    assert_int_equal(enter(&rig, 1000, "192.0.2.7", 0), ADDRESS_FINE);  /* beyond the descriptors that are counted */
    addresses_leave(&rig.addresses, 1000);
    assert_int_equal(addresses_enter(&rig.addresses, &rig.limits, 12, &IP_UNKNOWN, 0), ADDRESS_FINE);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_so_many),
        cmocka_unit_test(what_is_taken_over_counts_beyond_the_limit),
        cmocka_unit_test(an_address_connects_so_often),
        cmocka_unit_test(few_are_told_why),
        cmocka_unit_test(limits_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
