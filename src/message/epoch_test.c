/* An epoch as text has one spelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "message/epoch.h"

#include <cmocka.h>

static void text_and_number_are_one(void **state)
{
    (void)state;
    static const struct { struct span text; uint64_t epoch; } rows[] = {
        { SPAN("0000000000000000"), 0 },
        { SPAN("0000000000000001"), 1 },
        { SPAN("0123456789abcdef"), 0x0123456789abcdef },
        { SPAN("ffffffffffffffff"), UINT64_MAX },
    };
    struct buf buf;

    buf_init(&buf, EPOCH_TEXT_BYTES);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t epoch = ~rows[i].epoch;
        buf_clear(&buf);
        epoch_put(&buf, rows[i].epoch);
        assert_true(span_eq(buf_span(&buf), rows[i].text));
        assert_true(epoch_get(rows[i].text, &epoch));
        assert_int_equal(epoch, rows[i].epoch);
    }
    buf_fini(&buf);
}

static void nothing_else_is_an_epoch(void **state)
{
    (void)state;
    static const struct span rows[] = {
        SPAN(""),                  SPAN("0"),                 SPAN("000000000000000"),   SPAN("00000000000000000"),
        SPAN("0123456789ABCDEF"),  SPAN("0x23456789abcdef"),  SPAN(" 123456789abcdef"),  SPAN("000000000000000g"),
        SPAN("000000000000000\0"), SPAN("-000000000000001"),  SPAN("000000000000000\xff"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t epoch = 7;
        if (epoch_get(rows[i], &epoch) || epoch != 7)
            fail_msg("%.*s", SPAN_ARG(rows[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_number_are_one),
        cmocka_unit_test(nothing_else_is_an_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
