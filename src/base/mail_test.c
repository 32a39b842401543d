/* A bundle gives its mail back in the order in which it was added. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include "base/mail.h"

#include <cmocka.h>

static void a_bundle_keeps_the_order(void **state)
{
    (void)state;
    struct bundle bundle = { NULL, NULL };
    struct mail   mail[3];

    assert_null(bundle_take(&bundle));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++)
            bundle_add(&bundle, &mail[i]);
        assert_ptr_equal(bundle.oldest, &mail[0]);
        struct mail *taken = bundle_take(&bundle);
        for (int i = 0; i < 3; i++, taken = taken->next)
            assert_ptr_equal(taken, &mail[i]);
        assert_null(taken);
        assert_null(bundle_take(&bundle));
        assert_null(bundle.oldest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_bundle_keeps_the_order) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
