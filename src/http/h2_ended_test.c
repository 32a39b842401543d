#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "http/h2_ended.h"

#include <cmocka.h>

static void streams_that_the_client_ended(void **state)
{
    struct h2_ended ended = { 0 };

    (void)state;
    assert_int_equal(h2_ended_judge(&ended, 0), H2_ENDED_FINE);
    for (uint32_t id = 1; id <= 2 * H2_ENDED_KEPT + 1; id += 2) {
        h2_ended_begin(&ended, id);
        assert_int_equal(h2_ended_judge(&ended, id), H2_ENDED_FINE);
        h2_ended_note(&ended, id);
        assert_int_equal(h2_ended_judge(&ended, id), H2_ENDED_BY_CLIENT);
    }
    assert_int_equal(h2_ended_judge(&ended, 1), H2_ENDED_FINE);  /* too old to be known */
    assert_int_equal(h2_ended_judge(&ended, 3), H2_ENDED_BY_CLIENT);
}

static void streams_that_it_passed_over(void **state)
{
    struct h2_ended ended = { 0 };

    (void)state;
    h2_ended_begin(&ended, 1);
    h2_ended_begin(&ended, 3);
    assert_int_equal(h2_ended_judge(&ended, 3), H2_ENDED_FINE);
    h2_ended_begin(&ended, 9);
    assert_int_equal(h2_ended_judge(&ended, 3), H2_ENDED_FINE);
    assert_int_equal(h2_ended_judge(&ended, 5), H2_ENDED_PASSED_OVER);
    assert_int_equal(h2_ended_judge(&ended, 7), H2_ENDED_PASSED_OVER);
    assert_int_equal(h2_ended_judge(&ended, 9), H2_ENDED_FINE);
}

static void the_first_stream_may_pass_over_others(void **state)
{
    struct h2_ended ended = { 0 };

    (void)state;
    h2_ended_begin(&ended, 5);
    assert_int_equal(h2_ended_judge(&ended, 1), H2_ENDED_PASSED_OVER);
    assert_int_equal(h2_ended_judge(&ended, 5), H2_ENDED_FINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_that_the_client_ended),
        cmocka_unit_test(streams_that_it_passed_over),
        cmocka_unit_test(the_first_stream_may_pass_over_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
