#include "store/recent_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct ledger_key call = { 9, { "ann\0phone\0001", 11 } }, other_kind = { 8, { "ann\0phone\0001", 11 } },
                               other = { 9, { "ann\0phone\0002", 11 } };

static void what_was_committed_last_is_known(void **state)
{
    (void)state;
    struct recent_rows rows = { NULL };

    assert_null(recent_rows_find(&rows, 5, &call));
    recent_rows_note(&rows, 5, &call, 1, 0);
    assert_int_equal(recent_rows_find(&rows, 5, &call)->generation, 1);
    assert_null(recent_rows_find(&rows, 5, &other_kind));
    assert_null(recent_rows_find(&rows, 5, &other));
    recent_rows_note(&rows, 5, &call, 0, 0);
    assert_int_equal(recent_rows_find(&rows, 5, &call)->generation, 0);  /* it is known that there is none */
    recent_rows_note(&rows, 5 + RECENT_ROWS_MAX, &other, 7, 99);         /* takes its place */
    assert_null(recent_rows_find(&rows, 5, &call));
    assert_int_equal(recent_rows_find(&rows, 5 + RECENT_ROWS_MAX, &other)->expires_at, 99);
    recent_rows_forget(&rows);
    assert_null(recent_rows_find(&rows, 5 + RECENT_ROWS_MAX, &other));
    recent_rows_fini(&rows);
}

static void long_keys_are_asked_for(void **state)
{
    (void)state;
    char               bytes[RECENT_KEY_BYTES_MAX + 1] = { 0 };
    struct ledger_key  fits = { 1, { bytes, RECENT_KEY_BYTES_MAX } }, does_not = { 1, { bytes, RECENT_KEY_BYTES_MAX + 1 } };
    struct recent_rows rows = { NULL };

    recent_rows_note(&rows, 1, &fits, 3, 0);
    recent_rows_note(&rows, 1, &does_not, 4, 0);
    assert_int_equal(recent_rows_find(&rows, 1, &fits)->generation, 3);
    assert_null(recent_rows_find(&rows, 1, &does_not));
    recent_rows_fini(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_committed_last_is_known),
        cmocka_unit_test(long_keys_are_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
