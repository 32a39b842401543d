/* Limits of use: who counts for which limit (threat 36). */
#include "auth/usage_limits.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct hash_key hash_key = { 1, 2 };

static struct identity *somebody(const char *key, const char *user)
{
    return identity_new(&(struct identity_facts){ .key = span_str(key), .user = span_str(user) });
}

static unsigned publish_all(struct usage_limits *limits, const struct identity *identity, uint64_t connection, msec now)
{
    unsigned count = 0;

    while (count < 100 && usage_publish(limits, identity, connection, now).status == 0)
        count++;
    return count;
}

static void each_sender_counts_for_its_own_limits(void **state)
{
    static const struct { const char *key, *user; uint64_t of_connection, of_user, of_key; unsigned want; } rows[] = {
        { "", "", 0, 0, 0, 100 },      { "", "", 3, 0, 0, 3 },       { "", "", 0, 4, 5, 100 },
        { "", "ann", 0, 4, 5, 4 },     { "", "ann", 3, 4, 5, 3 },    { "", "ann", 0, 0, 5, 100 },
        { "app", "", 0, 4, 5, 5 },     { "app", "", 3, 4, 5, 3 },    { "app", "", 0, 4, 0, 100 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct usage_tables tables;
        struct usage_limits limits   = { .tables = &tables, .hash_key = &hash_key };
        struct identity    *identity = somebody(rows[i].key, rows[i].user);

        usage_tables_init(&tables);
        limits.max[USAGE_PUBLISHES_OF_CONNECTION] = rows[i].of_connection;
        limits.max[USAGE_PUBLISHES_OF_USER]       = rows[i].of_user;
        limits.max[USAGE_PUBLISHES_OF_KEY]        = rows[i].of_key;
        if (publish_all(&limits, identity, 7, 1000) != rows[i].want)
            fail_msg("row %zu", i);
        identity_unref(identity);
        usage_tables_fini(&tables);
    }
}

/* Two loops, with one table; the user's links are on both. */
static void loops_share_what_is_left(void **state)
{
    (void)state;
    struct usage_tables tables;
    struct usage_limits one    = { .tables = &tables, .hash_key = &hash_key, .max[USAGE_PUBLISHES_OF_USER] = 3 }, other = one;
    struct identity    *ann = somebody("", "ann"), *bob = somebody("", "bob");

    usage_tables_init(&tables);
    assert_int_equal(usage_publish(&one, ann, 1, 1000).status, 0);
    assert_int_equal(publish_all(&other, ann, 2, 1000), 2);
    assert_int_equal(usage_publish(&one, ann, 1, 1000).status, 429);
    assert_int_equal(publish_all(&one, bob, 1, 1000), 3);
    assert_int_equal(counter_get(&one.refused[USAGE_PUBLISHES_OF_USER].count), 2);
    assert_int_equal(counter_get(&other.refused[USAGE_PUBLISHES_OF_USER].count), 1);
    identity_unref(ann);
    identity_unref(bob);
    usage_tables_fini(&tables);
}

static void a_refusal_says_which_limit_and_when(void **state)
{
    (void)state;
    struct usage_tables tables;
    struct usage_limits limits   = { .tables = &tables, .hash_key = &hash_key, .max[USAGE_PUBLISHES_OF_USER] = 2 };
    struct identity    *identity = somebody("", "ann");

    usage_tables_init(&tables);
    assert_int_equal(publish_all(&limits, identity, 1, 1000), 2);
    assert_string_equal(usage_publish(&limits, identity, 1, 1200).reason,
                        "this user publishes more often than publishes_per_user_per_s (2) allows; nothing was done; "
                        "try again in 300 ms");
    assert_int_equal(limits.wait_ms, 300);
    assert_string_equal(limits.refused[USAGE_PUBLISHES_OF_USER].who, "user:ann");
    identity_unref(identity);
    usage_tables_fini(&tables);
}

static void who_waits_for_answers_is_not_ignored(void **state)
{
    (void)state;
    struct usage_tables tables;
    struct usage_limits limits   = { .tables = &tables, .hash_key = &hash_key, .max[USAGE_PUBLISHES_OF_USER] = 20 };
    struct identity    *identity = somebody("", "ann");
    unsigned            told     = 0;

    usage_tables_init(&tables);
    publish_all(&limits, identity, 1, 1000);
    while (!usage_is_ignored(&limits, 1, 1000))
        told++;
    assert_int_equal(told, 20);
    for (msec now = 2000; now < 9000; now += 1000)
        assert_false(usage_is_ignored(&limits, 1, now));
    assert_false(usage_is_ignored(&limits, 2, 1000));  /* another link of this user */
    identity_unref(identity);
    usage_tables_fini(&tables);
}

static void a_user_has_so_many_links(void **state)
{
    (void)state;
    struct usage_tables tables;
    struct usage_limits one = { .tables = &tables, .hash_key = &hash_key, .max[USAGE_CONNECTIONS_OF_USER] = 2 }, other = one;
    struct identity    *ann = somebody("", "ann"), *bob = somebody("", "bob"), *app = somebody("app", "");

    usage_tables_init(&tables);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(usage_link(&one, ann, false).status, 0);
        assert_true(usage_count_link(i == 0 ? &one : &other, ann));
    }
    assert_int_equal(usage_link(&one, ann, false).status, 429);
    assert_int_equal(usage_link(&other, ann, false).status, 429);
    assert_int_equal(usage_link(&other, bob, false).status, 0);
    for (int i = 0; i < 2; i++) {  /* its own old links may be dead */
        assert_int_equal(usage_link(&one, ann, true).status, 0);
        assert_true(usage_count_link(&one, ann));
    }
    assert_int_equal(usage_link(&one, ann, true).status, 429);
    for (int i = 0; i < 3; i++)
        usage_uncount_link(&other, ann);
    assert_int_equal(usage_link(&one, ann, false).status, 0);
    assert_int_equal(usage_link(&one, app, false).status, 0);
    assert_false(usage_count_link(&one, app));  /* only users have links of their own */
    assert_false(usage_count_link(&one, NULL));
    one.max[USAGE_CONNECTIONS_OF_USER] = 0;
    assert_false(usage_count_link(&one, bob));
    usage_uncount_link(&one, ann);
    identity_unref(ann);
    identity_unref(bob);
    identity_unref(app);
    usage_tables_fini(&tables);
}

static void a_connection_subscribes_so_often(void **state)
{
    (void)state;
    struct usage_tables tables;
    struct usage_limits limits = { .tables = &tables, .hash_key = &hash_key, .max[USAGE_SUBSCRIBES_OF_CONNECTION] = 2 };

    usage_tables_init(&tables);
    assert_int_equal(usage_subscribe(&limits, 1, 1000).status, 0);
    assert_int_equal(usage_subscribe(&limits, 1, 1000).status, 0);
    assert_int_equal(usage_subscribe(&limits, 1, 1000).status, 429);
    assert_int_equal(usage_subscribe(&limits, 2, 1000).status, 0);
    assert_int_equal(usage_subscribe(&limits, 1, 1500).status, 0);
    assert_int_equal(usage_subscribe(NULL, 1, 1500).status, 0);
    usage_tables_fini(&tables);
}

static void without_limits_all_is_allowed(void **state)
{
    (void)state;
    struct identity *identity = somebody("", "ann");

    assert_int_equal(publish_all(NULL, identity, 1, 1000), 100);
    identity_unref(identity);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sender_counts_for_its_own_limits),
        cmocka_unit_test(loops_share_what_is_left),
        cmocka_unit_test(a_refusal_says_which_limit_and_when),
        cmocka_unit_test(who_waits_for_answers_is_not_ignored),
        cmocka_unit_test(a_user_has_so_many_links),
        cmocka_unit_test(a_connection_subscribes_so_often),
        cmocka_unit_test(without_limits_all_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
