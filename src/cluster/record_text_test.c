/* A node record as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/record_text.h"

#include <cmocka.h>

static const struct node_record whole = {
    .id = { "n1", 0xfedcba9876543210 }, .started = 1795297178000, .protocol = CLUSTER_PROTOCOL, .engines = 2,
    .store = 0xfedcba9876543211,
    .roles = ROLE_ACCESS | ROLE_API, .is_draining = true, .connections = 7, .capacity = 20000, .region = "eu west",
    .advertise = "https://a.example, tcp://a.example:7400", .version = "0.8.0",
};

static void a_record_comes_back_as_it_was(void **state)
{
    (void)state;
    const struct node_record records[] = { whole, { .id = { "n", 1 } } };

    for (size_t i = 0; i < 2; i++) {
        struct node_record got;
        struct buf         text;
        buf_init(&text, RECORD_TEXT_BYTES_MAX);
        record_text_put(&text, &records[i]);
        assert_true(record_text_get(buf_span(&text), &got));
        assert_memory_equal(&got, &records[i], sizeof got);
        buf_fini(&text);
    }
}

static void the_longest_record_fits(void **state)
{
    (void)state;
    struct node_record record = whole;
    struct buf         text;

    memset(record.id.name, 'n', NODE_RECORD_NAME_MAX);
    memset(record.region, 'r', NODE_RECORD_REGION_MAX);
    memset(record.advertise, 'a', NODE_RECORD_ADVERTISE_MAX);
    memset(record.version, 'v', NODE_RECORD_VERSION_MAX);
    record.store = record.connections = record.capacity = record.admissions_per_s = UINT64_MAX;
    buf_init(&text, RECORD_TEXT_BYTES_MAX);
    record_text_put(&text, &record);
    assert_false(buf_is_over(&text));
    buf_fini(&text);
}

static void texts_of_others_are_read_with_care(void **state)
{
    (void)state;
    static const struct { const char *name, *text; bool is_good; } rows[] = {
        { "the least", "node a\nincarnation 1\n", true },
        { "a field of a later release", "node a\nincarnation 1\nweather fine\n", true },
        { "no end of line", "node a\nincarnation 1", true },
        { "nothing", "", false },
        { "no name", "incarnation 1\n", false },
        { "no incarnation", "node a\n", false },
        { "no value", "node a\nincarnation 1\nregion\n", false },
        { "no number", "node a\nincarnation one\n", false },
        { "a number that is too large", "node a\nincarnation 18446744073709551616\n", false },
        { "a start beyond all clocks", "node a\nincarnation 1\nstarted 9223372036854775808\n", false },
        { "a long name", "node 0123456789012345678901234567890123456789012345678901234567890123x\nincarnation 1\n", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct node_record got;
        if (record_text_get(span_str(rows[i].text), &got) != rows[i].is_good)
            fail_msg("%s", rows[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_comes_back_as_it_was),
        cmocka_unit_test(the_longest_record_fits),
        cmocka_unit_test(texts_of_others_are_read_with_care),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
