/* Rows and records: decoding gives what was encoded, and refuses everything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "store/rocks_row.h"

#include <cmocka.h>

static const struct { const char *name; struct row row; } rows[] = {
    { "plain", { .kind = MESSAGE_PLAIN, .id = 7, .time = 1700000000000, .media = SPAN("text/plain"),
                 .from = SPAN("ann"), .payload = SPAN("hello") } },
    { "nothing but a time", { .kind = MESSAGE_PLAIN, .id = 1, .time = 1 } },
    { "with expiry",
      { .kind = MESSAGE_PLAIN, .id = UINT64_MAX, .time = 5, .expires_at = 9, .payload = SPAN("\0\xff") } },
    { "recall", { .kind = MESSAGE_RECALL, .id = 8, .time = 2, .target = 42 } },
    { "recalled", { .kind = MESSAGE_RECALLED, .id = 9, .time = 3, .expires_at = 4, .target = 43, .answer_id = 10,
                    .answer_time = 11 } },
    { "event", { .kind = MESSAGE_PLAIN, .id = 7, .time = 5, .expires_at = 9, .media = SPAN("a/b"), .from = SPAN("ann"),
                 .event = SPAN("price"), .payload = SPAN("hello") } },
    { "event alone", { .kind = MESSAGE_PLAIN, .id = 7, .time = 5, .event = SPAN("e") } },
    { "collapse key", { .kind = MESSAGE_PLAIN, .id = 7, .time = 5, .media = SPAN("a/b"), .from = SPAN("ann"),
                        .collapse_key = SPAN("score"), .payload = SPAN("hello") } },
    { "event and collapse key", { .kind = MESSAGE_PLAIN, .id = 7, .time = 5, .expires_at = 9, .event = SPAN("price"),
                                  .collapse_key = SPAN("k"), .payload = SPAN("hello") } },
    { "expired", { .kind = ROW_EXPIRED, .id = 9, .time = 3, .expires_at = 4 } },
};

enum { NUMBER = 3, SEQ = 77, BYTES_MAX = 4096 };

static bool row_eq(const struct row *a, const struct row *b)
{
    return a->kind == b->kind && a->id == b->id && a->target == b->target && a->time == b->time &&
           a->expires_at == b->expires_at && a->answer_id == b->answer_id && a->answer_time == b->answer_time &&
           span_eq(a->media, b->media) && span_eq(a->from, b->from) && span_eq(a->payload, b->payload) &&
           span_eq(a->event, b->event) && span_eq(a->collapse_key, b->collapse_key);
}

static void a_row_comes_back_as_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf buf;
        struct row back;
        buf_init(&buf, BYTES_MAX);
        row_put(&buf, NUMBER, SEQ, &rows[i].row);
        if (!row_get(buf_span(&buf), NUMBER, SEQ, &back) || !row_eq(&back, &rows[i].row))
            fail_msg("%s", rows[i].name);
        buf_fini(&buf);
    }
}

static void every_flipped_bit_and_every_cut_is_found_threat_6(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf buf;
        struct row back;
        buf_init(&buf, BYTES_MAX);
        row_put(&buf, NUMBER, SEQ, &rows[i].row);
        for (size_t bit = 0; bit < buf.len * 8; bit++) {
            buf.at[bit / 8] ^= (char)(1 << bit % 8);
            if (row_get(buf_span(&buf), NUMBER, SEQ, &back))
                fail_msg("%s: bit %zu", rows[i].name, bit);
            buf.at[bit / 8] ^= (char)(1 << bit % 8);
        }
        for (size_t len = 0; len < buf.len; len++)
            if (row_get(span_of(buf.at, len), NUMBER, SEQ, &back))
                fail_msg("%s: cut at %zu", rows[i].name, len);
        buf_fini(&buf);
    }
}

static void a_row_in_anothers_place_is_found(void **state)
{
    struct buf buf;
    struct row back;

    (void)state;
    buf_init(&buf, BYTES_MAX);
    row_put(&buf, NUMBER, SEQ, &rows[0].row);
    assert_false(row_get(buf_span(&buf), NUMBER, SEQ + 1, &back));
    assert_false(row_get(buf_span(&buf), NUMBER + 1, SEQ, &back));
    buf_fini(&buf);
}

static void keys_sort_by_channel_then_seq(void **state)
{
    static const struct { uint64_t number, seq; } ascending[] = {
        { 1, 1 }, { 1, 255 }, { 1, 256 }, { 1, UINT64_MAX }, { 2, 0 }, { 2, 1 }, { 256, 0 }, { UINT64_MAX, 9 },
    };
    uint64_t number, seq;

    (void)state;
    for (size_t i = 0; i < sizeof ascending / sizeof ascending[0]; i++) {
        struct row_key key = row_key(ascending[i].number, ascending[i].seq);
        assert_true(row_key_get(row_key_span(&key), &number, &seq));
        assert_true(number == ascending[i].number && seq == ascending[i].seq);
        if (i == 0)
            continue;
        struct row_key before = row_key(ascending[i - 1].number, ascending[i - 1].seq);
        assert_true(memcmp(before.bytes, key.bytes, sizeof key.bytes) < 0);
    }
    assert_false(row_key_get(SPAN("short"), &number, &seq));
}

static void records_know_their_key(void **state)
{
    const uint64_t numbers[3] = { 1, 0, UINT64_MAX };
    uint64_t       back[3];
    struct buf     buf;

    (void)state;
    buf_init(&buf, BYTES_MAX);
    record_put(&buf, SPAN("topic:a"), numbers, 3);
    assert_true(record_get(buf_span(&buf), SPAN("topic:a"), back, 3));
    assert_memory_equal(back, numbers, sizeof back);
    assert_false(record_get(buf_span(&buf), SPAN("topic:b"), back, 3));
    assert_false(record_get(buf_span(&buf), SPAN("topic:a"), back, 2));
    for (size_t bit = 0; bit < buf.len * 8; bit++) {
        buf.at[bit / 8] ^= (char)(1 << bit % 8);
        assert_false(record_get(buf_span(&buf), SPAN("topic:a"), back, 3));
        buf.at[bit / 8] ^= (char)(1 << bit % 8);
    }
    buf_fini(&buf);
}

static void rows_of_the_ledger_know_their_key_threat_6(void **state)
{
    static const struct ledger_disk_value cells[] = {
        { 1, 0, { "", 0 } }, { UINT64_MAX, 1700000000000, { "value", 5 } }, { 7, 0, { "with\0zero", 9 } },
    };
    struct buf  buf;
    struct ledger_disk_value back;

    (void)state;
    buf_init(&buf, BYTES_MAX);
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        buf_clear(&buf);
        ledger_value_put(&buf, SPAN("\1ann"), &cells[i]);
        assert_true(ledger_value_get(buf_span(&buf), SPAN("\1ann"), &back));
        assert_true(back.generation == cells[i].generation && back.expires_at == cells[i].expires_at);
        assert_true(span_eq(back.value, cells[i].value));
        assert_false(ledger_value_get(buf_span(&buf), SPAN("\2ann"), &back));
        assert_false(ledger_value_get(buf_span(&buf), SPAN("\1ant"), &back));
        for (size_t bit = 0; bit < buf.len * 8; bit++) {
            buf.at[bit / 8] ^= (char)(1 << bit % 8);
            assert_false(ledger_value_get(buf_span(&buf), SPAN("\1ann"), &back));
            buf.at[bit / 8] ^= (char)(1 << bit % 8);
        }
        for (size_t len = 0; len < buf.len; len++)
            assert_false(ledger_value_get(span_of(buf.at, len), SPAN("\1ann"), &back));
    }
    buf_fini(&buf);
}

/* A program that knows no events must not take the name for a part of the payload, and what it wrote is read. */
static void only_rows_with_tags_have_a_newer_version(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf buf;
        buf_init(&buf, BYTES_MAX);
        row_put(&buf, NUMBER, SEQ, &rows[i].row);
        assert_int_equal((uint8_t)buf.at[4] >> 4,
                         rows[i].row.collapse_key.len > 0 ? 3 : rows[i].row.event.len > 0 ? 2 : 1);
        buf_fini(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_comes_back_as_it_was),
        cmocka_unit_test(only_rows_with_tags_have_a_newer_version),
        cmocka_unit_test(every_flipped_bit_and_every_cut_is_found_threat_6),
        cmocka_unit_test(a_row_in_anothers_place_is_found),
        cmocka_unit_test(keys_sort_by_channel_then_seq),
        cmocka_unit_test(records_know_their_key),
        cmocka_unit_test(rows_of_the_ledger_know_their_key_threat_6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
