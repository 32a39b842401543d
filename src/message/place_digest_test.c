/* The digest of places, to the bit: clients compute it, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "message/place_digest.h"

#include <cmocka.h>

#define EPOCH 0x06293eca3fc96cc6u

static void a_term_is_as_the_protocol_says(void **state)
{
    (void)state;
    assert_int_equal(place_digest_term(SPAN("topic:a"), EPOCH, 42), 0xa7a0410e5606df73u);
    assert_int_equal(place_digest_term(SPAN("topic:a"), EPOCH, 43), 0x0c1ec8417c43d0b2u);
    assert_int_equal(place_digest_term(SPAN("group:l\xc3\xb6""bby"), 0, 0), 0xba723cb52406b414u);
}

/* What two channels have in common must not cancel out when both move. */
static void a_step_of_one_channel_is_not_undone_by_another(void **state)
{
    (void)state;
    for (uint64_t seq = 1; seq < 1000; seq++) {
        uint64_t both = place_digest_term(SPAN("topic:a"), EPOCH, seq) + place_digest_term(SPAN("topic:b"), EPOCH, seq);
        assert_int_not_equal(both, place_digest_term(SPAN("topic:a"), EPOCH, seq + 1) +
                                       place_digest_term(SPAN("topic:b"), EPOCH, seq - 1));
        assert_int_not_equal(both, place_digest_term(SPAN("topic:a"), EPOCH, seq - 1) +
                                       place_digest_term(SPAN("topic:b"), EPOCH, seq + 1));
    }
}

static void name_epoch_and_seq_all_count(void **state)
{
    (void)state;
    const uint64_t term = place_digest_term(SPAN("topic:ab"), 1, 2);

    assert_int_not_equal(term, place_digest_term(SPAN("topic:a"), 1, 2));
    assert_int_not_equal(term, place_digest_term(SPAN("topic:ac"), 1, 2));
    assert_int_not_equal(term, place_digest_term(SPAN("topic:ab"), 2, 1));
    assert_int_not_equal(term, place_digest_term(SPAN("topic:ab"), 1, 3));
    assert_int_not_equal(term, place_digest_term(SPAN("topic:ab"), UINT64_C(1) << 63 | 1, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_term_is_as_the_protocol_says),
        cmocka_unit_test(a_step_of_one_channel_is_not_undone_by_another),
        cmocka_unit_test(name_epoch_and_seq_all_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
