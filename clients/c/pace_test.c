/* pace_test.c - how a sender finds the rate that it is allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "pace.h"

#include <cmocka.h>

static void at_once_until_it_is_too_often(void **state)
{
    struct pace pace = { 0 };

    (void)state;
    for (int i = 0; i < 8; i++) {
        assert_true(pace_allows(&pace, 0));
        pace_sent(&pace, 0);
        pace_answered(&pace);
    }
    for (int i = 0; i < 7; i++)
        pace_refused(&pace, 100, 1000);  /* of the same moment: one refusal */
    assert_int_equal(pace.gap_us, 100000);
    assert_false(pace_allows(&pace, 1099));
    assert_true(pace_allows(&pace, 1100));
    pace_sent(&pace, 1100);
    assert_false(pace_allows(&pace, 1199));
    pace_refused(&pace, 20, 1200);
    assert_int_equal(pace.gap_us, 125000);
    assert_true(pace_allows(&pace, 1220));
    pace_answered(&pace);
    assert_true(pace.gap_us < 125000);
    for (int i = 0; i < 1000; i++)
        pace_answered(&pace);
    assert_int_equal(pace.gap_us, 0);
}

/* Frames under a limit of so many a second, with answers at once: how many are refused on the way, and how long it takes. */
static void few_are_refused_on_the_way(void **state)
{
    enum { FRAMES = 500 };
    static const msec per_s[] = { 1, 3, 20, 100, 500 };

    (void)state;
    for (size_t i = 0; i < sizeof per_s / sizeof per_s[0]; i++) {
        const msec  step = 1000 / per_s[i], most = 1000;
        struct pace pace = { 0 };
        msec        full_at = 0, now = 5000, learnt_at = 0;
        unsigned    done = 0, refused = 0;

        for (; done < FRAMES; now++) {
            assert_true(now < 5000 + 2 * FRAMES * step + 2000);
            for (unsigned left = FRAMES - done; left > 0 && pace_allows(&pace, now); left--) {
                msec from = full_at > now ? full_at : now;
                pace_sent(&pace, now);
                if (from + step <= now + most) {
                    full_at = from + step;
                    done++;
                    pace_answered(&pace);
                } else {
                    refused += learnt_at != 0 && now > learnt_at;
                    learnt_at = learnt_at == 0 ? now : learnt_at;
                    pace_refused(&pace, from + step - now - most, now);
                }
            }
        }
        if (refused > FRAMES / 4)
            fail_msg("%lld a second: %u refused", (long long)per_s[i], refused);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_once_until_it_is_too_often),
        cmocka_unit_test(few_are_refused_on_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
