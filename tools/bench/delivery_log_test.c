/* The record must show a lost, doubled, late or stray delivery. Else no figure of the bench could be trusted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "bench/delivery_log.h"

#include <cmocka.h>

static void track_knows_new_late_and_doubled(void **state)
{
    (void)state;
    static const struct { const char *name; uint32_t seqs[8]; unsigned count; const char *want; } rows[] = {
        { "in order", { 0, 1, 2, 3 }, 4, "NNNN" },
        { "doubled at once", { 0, 0, 1 }, 3, "NDN" },
        { "doubled later", { 0, 1, 2, 0, 3 }, 5, "NNNDN" },
        { "swapped", { 0, 2, 1, 3 }, 4, "NNLN" },
        { "swapped, then doubled", { 0, 2, 1, 1 }, 4, "NNLD" },
        { "the first comes last", { 1, 2, 0, 0 }, 4, "NNLD" },
        { "lost, never seen again", { 0, 2, 3 }, 3, "NNN" },
        { "63 behind is still known", { 0, 64, 1 }, 3, "NNL" },
        { "so is that it was there", { 0, 63, 0 }, 3, "NND" },
        { "64 behind isn't", { 0, 65, 1 }, 3, "NND" },
        { "a long way ahead", { 0, 1000000, 999999, 1000001 }, 4, "NNLN" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct track track = { 0 };
        for (unsigned k = 0; k < rows[i].count; k++)
            if ("NLD"[track_take(&track, rows[i].seqs[k])] != rows[i].want[k])
                fail_msg("%s, delivery %u", rows[i].name, k);
    }
}

struct fixture {
    struct delivery_log log;
    struct tally  tallies[2];
    struct track  tracks[4];  /* two readers to a tally */
};

static struct fixture *fixture_new(void)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    fixture->log.finishers   = 2;
    fixture->tallies[0].readers = fixture->tallies[1].readers = 2;
    return fixture;
}

static void fixture_take(struct fixture *fixture, unsigned reader, uint32_t number)
{
    struct stamp stamp = { .seq = number, .number = number, .time_ns = 1000 };
    tally_take(&fixture->tallies[reader / 2], &fixture->log, &fixture->tracks[reader], 0, &stamp, 3000);
}

static void message_is_complete_when_the_last_reader_of_all_has_it(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    for (uint32_t number = 0; number < 3 * DELIVERY_LOG_SLOTS; number++) {
        for (unsigned reader = 0; reader < 4; reader++) {
            assert_int_equal(atomic_load(&fixture->log.completed), number);
            fixture_take(fixture, reader, number);
        }
        assert_int_equal(atomic_load(&fixture->log.completed), number + 1);
    }
    assert_true(fixture->tallies[1].has_completed);
    assert_int_equal(fixture->tallies[0].received + fixture->tallies[1].received, 4 * 3 * DELIVERY_LOG_SLOTS);
    assert_int_equal(fixture->tallies[0].latency.count, 2 * 3 * DELIVERY_LOG_SLOTS);
    free(fixture);
}

static void doubled_and_stray_deliveries_complete_nothing(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_new();
    for (unsigned i = 0; i < 4; i++)
        fixture_take(fixture, 0, 0);
    struct stamp stray = { .channel = 7 };
    tally_take(&fixture->tallies[1], &fixture->log, &fixture->tracks[2], 0, &stray, 3000);
    assert_int_equal(fixture->tallies[0].received, 1);
    assert_int_equal(fixture->tallies[0].doubled, 3);
    assert_int_equal(fixture->tallies[1].strayed, 1);
    assert_int_equal(fixture->tallies[1].received, 0);
    assert_int_equal(atomic_load(&fixture->log.completed), 0);
    free(fixture);
}

static void payload_comes_back_or_is_refused(void **state)
{
    (void)state;
    struct stamp stamp = { 1, 0xfffffffe, 3, 0xabcdef01, 0x123456789abcdef0 }, read;
    char         bytes[PAYLOAD_BYTES];
    payload_write(&stamp, bytes);
    assert_true(payload_read(span_of(bytes, sizeof bytes), &read));
    assert_memory_equal(&read, &stamp, sizeof read);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] ^= 0x60;  /* neither a digit nor padding any more */
        if (payload_read(span_of(bytes, sizeof bytes), &read))
            fail_msg("byte %zu may change unnoticed", i);
        bytes[i] ^= 0x60;
    }
}

static void quantiles_are_within_their_bucket(void **state)
{
    (void)state;
    struct histogram histogram = { 0 };
    assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
    for (uint64_t ns = 1; ns <= 100000; ns++)
        histogram_record(&histogram, ns);
    static const double parts[] = { 0.0001, 0.5, 0.9, 0.99, 0.999, 1 };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        double value = (double)histogram_quantile(&histogram, parts[i]), exact = parts[i] * 100000;
        if (value < exact || value > exact * 1.032)
            fail_msg("quantile %g is %g", parts[i], value);
    }
    histogram_record(&histogram, UINT64_MAX);
    assert_true(histogram.max_ns == UINT64_MAX);
}

static void histograms_add_up(void **state)
{
    (void)state;
    struct histogram a = { 0 }, b = { 0 };
    histogram_record(&a, 10);
    histogram_record(&b, 20);
    histogram_record(&b, 30);
    histogram_add(&a, &b);
    assert_int_equal(a.count, 3);
    assert_int_equal(a.max_ns, 30);
    assert_int_equal(histogram_quantile(&a, 0.5), 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(track_knows_new_late_and_doubled),
        cmocka_unit_test(message_is_complete_when_the_last_reader_of_all_has_it),
        cmocka_unit_test(doubled_and_stray_deliveries_complete_nothing),
        cmocka_unit_test(payload_comes_back_or_is_refused),
        cmocka_unit_test(quantiles_are_within_their_bucket),
        cmocka_unit_test(histograms_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
