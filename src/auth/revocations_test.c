/* What is revoked, as a table, and what is forgotten. */
#include <setjmp.h>
#include <stdarg.h>

#include "auth/revocations.h"

#include <cmocka.h>

static const struct hash_key key = { 1, 2 };

/* Revoked at second 100: user ann, device bob/phone, jti t1, connection 00000000000000ff. */
static const struct revocation made[] = {
    { REVOKED_USER, SPAN("ann"), 100 },
    { REVOKED_DEVICE, SPAN("bob/phone"), 100 },
    { REVOKED_JTI, SPAN("t1"), 100 },
    { REVOKED_CONNECTION, SPAN("00000000000000ff"), 100 },
};

static void what_was_issued_before_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char      *name;
        struct revocable what;
        bool             is_refused;
    } rows[] = {
        { "before", { .user = SPAN("ann"), .issued_at = 99 }, true },
        { "in the same second", { .user = SPAN("ann"), .issued_at = 100 }, true },
        { "after", { .user = SPAN("ann"), .issued_at = 101 }, false },
        { "it does not say when", { .user = SPAN("ann") }, true },
        { "every device of the user", { .user = SPAN("ann"), .device = SPAN("phone"), .issued_at = 1 }, true },
        { "another user", { .user = SPAN("annie"), .issued_at = 1 }, false },
        { "a part of a name", { .user = SPAN("an"), .issued_at = 1 }, false },
        { "nobody", { .issued_at = 0 }, false },
        { "a user named like a jti", { .user = SPAN("t1"), .issued_at = 1 }, false },
        { "the device", { .user = SPAN("bob"), .device = SPAN("phone"), .issued_at = 1 }, true },
        { "another device", { .user = SPAN("bob"), .device = SPAN("tablet"), .issued_at = 1 }, false },
        { "no device", { .user = SPAN("bob"), .issued_at = 1 }, false },
        { "the device of another user", { .user = SPAN("carl"), .device = SPAN("phone"), .issued_at = 1 }, false },
        { "a user whose name is a device's", { .user = SPAN("bob/phone"), .issued_at = 1 }, false },
        { "the token", { .user = SPAN("carl"), .jti = SPAN("t1"), .issued_at = 1 }, true },
        { "another token", { .user = SPAN("carl"), .jti = SPAN("t2"), .issued_at = 1 }, false },
        { "issued on the connection", { .connection = SPAN("00000000000000ff"), .issued_at = 7 }, true },
    };
    struct revocations revocations, copy;

    revocations_init(&revocations, &key);
    revocations_init(&copy, &key);
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++)
        revocations_add(&revocations, &made[i]);
    revocations_copy(&copy, &revocations);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool by_one = false;
        for (size_t j = 0; j < sizeof made / sizeof made[0]; j++)
            by_one |= revocation_refuses(&made[j], &rows[i].what);
        if (revocations_refuse(&revocations, &rows[i].what) != rows[i].is_refused || by_one != rows[i].is_refused ||
            revocations_refuse(&copy, &rows[i].what) != rows[i].is_refused)
            fail_msg("%s", rows[i].name);
    }
    revocations_fini(&copy);
    revocations_fini(&revocations);
}

static bool is_refused(const struct revocations *revocations, const char *user, uint64_t issued_at)
{
    return revocations_refuse(revocations, &(struct revocable){ .user = span_str(user), .issued_at = issued_at });
}

static void a_later_one_stands_for_an_earlier_one(void **state)
{
    (void)state;
    struct revocations revocations;

    revocations_init(&revocations, &key);
    revocations_add(&revocations, &(struct revocation){ REVOKED_USER, SPAN("ann"), 100 });
    revocations_add(&revocations, &(struct revocation){ REVOKED_USER, SPAN("bob"), 101 });
    revocations_add(&revocations, &(struct revocation){ REVOKED_USER, SPAN("ann"), 200 });
    revocations_add(&revocations, &(struct revocation){ REVOKED_USER, SPAN("ann"), 150 });  /* it came late */
    assert_int_equal(revocations.count, 2);
    assert_true(is_refused(&revocations, "ann", 200));
    assert_false(is_refused(&revocations, "ann", 201));
    revocations_forget(&revocations, 199);
    assert_int_equal(revocations.count, 1);
    assert_false(is_refused(&revocations, "bob", 1));
    assert_true(is_refused(&revocations, "ann", 1));
    revocations_forget(&revocations, 200);
    assert_int_equal(revocations.count, 0);
    assert_false(is_refused(&revocations, "ann", 1));
    revocations_fini(&revocations);
}

static void kinds_have_words(void **state)
{
    (void)state;
    enum revoked_kind kind;

    for (int i = 0; i < REVOKED_KIND_COUNT; i++) {
        assert_true(revoked_kind_read(span_str(revoked_kind_text((enum revoked_kind)i)), &kind));
        assert_int_equal(kind, i);
    }
    assert_false(revoked_kind_read(SPAN("key"), &kind));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_issued_before_is_refused), cmocka_unit_test(a_later_one_stands_for_an_earlier_one),
        cmocka_unit_test(kinds_have_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
