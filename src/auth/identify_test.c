/* Identifications that take time: the deadline, the maximum, and who cancels. */
#include "auth/identify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "lib/held_identifier.h"

#include <cmocka.h>

enum { COUNT_MAX = 2, TIMEOUT_MS = 5000 };

struct asker {
    struct identified answer;
    unsigned          answered;   /* times */
};

static void asker_answered(void *owner, const struct identified *answer)
{
    struct asker *asker = owner;

    asker->answer = *answer;
    asker->answered++;
}

static struct identification *ask(struct held_identifier *held, struct asker *asker, const char *token)
{
    struct credential credential = token == NULL ? (struct credential){ .kind = CREDENTIAL_NONE }
                                                 : credential_of_token(span_str(token));

    *asker = (struct asker){ .answered = 0 };
    return identify(&held->identifier, &credential, 0, asker_answered, asker, &asker->answer);
}

static void what_is_known_is_answered_at_once(void **state)
{
    struct held_identifier held;
    struct wheel           wheel;
    struct asker           asker;

    (void)state;
    wheel_init(&wheel, 0);
    held_identifier_init(&held, &wheel, COUNT_MAX, TIMEOUT_MS);
    assert_null(ask(&held, &asker, NULL));
    assert_ptr_equal(asker.answer.identity, held.everyone);
    identity_unref(asker.answer.identity);
    assert_null(ask(&held, &asker, "whose?"));
    assert_null(asker.answer.identity);
    assert_int_equal(asker.answer.refusal.status, 401);
    assert_int_equal(asker.answered, 0);
    assert_int_equal(wheel.count, 0);
    held_identifier_fini(&held);
}

static void what_takes_time_is_answered_once(void **state)
{
    struct held_identifier held;
    struct wheel           wheel;
    struct asker           askers[2];

    (void)state;
    wheel_init(&wheel, 0);
    held_identifier_init(&held, &wheel, COUNT_MAX, TIMEOUT_MS);
    held.is_slow = true;
    assert_non_null(ask(&held, &askers[0], "reader's"));
    assert_non_null(ask(&held, &askers[1], "whose?"));
    assert_int_equal(askers[0].answered, 0);
    held_answer(&held);
    assert_int_equal(askers[0].answered, 1);
    assert_ptr_equal(askers[0].answer.identity, held.reader);
    assert_int_equal(askers[1].answered, 0);
    held_answer(&held);
    assert_int_equal(askers[1].answered, 1);
    assert_int_equal(askers[1].answer.refusal.status, 401);
    wheel_turn(&wheel, 2 * TIMEOUT_MS);
    assert_int_equal(askers[0].answered + askers[1].answered, 2);
    identity_unref(askers[0].answer.identity);
    held_identifier_fini(&held);
}

static void beyond_the_maximum_it_is_503(void **state)
{
    struct held_identifier held;
    struct wheel           wheel;
    struct asker           askers[COUNT_MAX + 1];

    (void)state;
    wheel_init(&wheel, 0);
    held_identifier_init(&held, &wheel, COUNT_MAX, TIMEOUT_MS);
    held.is_slow = true;
    for (int i = 0; i < COUNT_MAX; i++)
        assert_non_null(ask(&held, &askers[i], NULL));
    assert_null(ask(&held, &askers[COUNT_MAX], NULL));
    assert_int_equal(askers[COUNT_MAX].answer.refusal.status, 503);
    assert_int_equal(held.held_count, COUNT_MAX);
    held.is_slow = false;  /* what is known at once is no burden */
    assert_null(ask(&held, &askers[COUNT_MAX], "reader's"));
    assert_ptr_equal(askers[COUNT_MAX].answer.identity, held.reader);
    identity_unref(askers[COUNT_MAX].answer.identity);
    held.is_slow = true;
    for (int i = 0; i < COUNT_MAX; i++) {
        held_answer(&held);
        identity_unref(askers[i].answer.identity);
    }
    struct identification *another = ask(&held, &askers[0], NULL);
    assert_non_null(another);
    identify_cancel(another);
    held_identifier_fini(&held);
}

static void after_the_deadline_it_is_503(void **state)
{
    struct held_identifier held;
    struct wheel           wheel;
    struct asker           asker;

    (void)state;
    wheel_init(&wheel, 0);
    held_identifier_init(&held, &wheel, COUNT_MAX, TIMEOUT_MS);
    held.is_slow = true;
    ask(&held, &asker, "reader's");
    wheel_turn(&wheel, TIMEOUT_MS - 1);
    assert_int_equal(asker.answered, 0);
    wheel_turn(&wheel, TIMEOUT_MS + WHEEL_TICK_MS);
    assert_int_equal(asker.answered, 1);
    assert_int_equal(asker.answer.refusal.status, 503);
    assert_int_equal(held.cancelled_count, 1);
    held_identifier_fini(&held);
}

static void who_cancels_is_not_answered(void **state)
{
    struct held_identifier held;
    struct wheel           wheel;
    struct asker           askers[2];

    (void)state;
    wheel_init(&wheel, 0);
    held_identifier_init(&held, &wheel, COUNT_MAX, TIMEOUT_MS);
    held.is_slow = true;
    struct identification *first = ask(&held, &askers[0], "reader's");
    ask(&held, &askers[1], "reader's");
    identify_cancel(first);
    held_answer(&held);
    assert_int_equal(askers[0].answered, 0);
    assert_int_equal(askers[1].answered, 1);
    assert_int_equal(wheel.count, 0);
    identity_unref(askers[1].answer.identity);
    held_identifier_fini(&held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_known_is_answered_at_once),
        cmocka_unit_test(what_takes_time_is_answered_once),
        cmocka_unit_test(beyond_the_maximum_it_is_503),
        cmocka_unit_test(after_the_deadline_it_is_503),
        cmocka_unit_test(who_cancels_is_not_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
