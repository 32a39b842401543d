/* Header blocks: the examples of RFC 7541, what is refused, and how answers are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/h2/hpack.h"

#include <cmocka.h>


/* The fields as "name: value\n", then "END" or "FAULT". */
static void read_block(struct hpack *hpack, struct span block, struct buf *ret)
{
    struct hpack_field field;
    enum hpack_step    step;
    struct buf         text;

    buf_clear(ret);
    buf_init(&text, 1 << 20);
    hpack_begin(hpack, block, &text);
    while ((step = hpack_next(hpack, &field)) == HPACK_FIELD)
        buf_putf(ret, "%.*s: %.*s\n", SPAN_ARG(field.name), SPAN_ARG(field.value));
    buf_put(ret, step == HPACK_END ? SPAN("END") : SPAN("FAULT"));
    hpack_end(hpack);
    buf_fini(&text);
}

struct block_row {
    struct span block;
    const char *want;
    uint32_t    table_bytes;
};

static void hold_rows(const struct block_row *rows, size_t count)
{
    struct hpack hpack;
    struct buf   got;

    hpack_init(&hpack);
    buf_init(&got, 1 << 20);
    for (size_t i = 0; i < count; i++) {
        read_block(&hpack, rows[i].block, &got);
        if (!span_eq(buf_span(&got), span_str(rows[i].want)))
            fail_msg("%zu: %.*s", i, SPAN_ARG(buf_span(&got)));
        assert_int_equal(hpack.bytes, rows[i].table_bytes);
    }
    buf_fini(&got);
    hpack_fini(&hpack);
}

#define EXAMPLE ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n"

/* RFC 7541 C.3, C.4 */
static void requests_of_the_rfc(void **state)
{
    static const struct block_row plain[] = {
        { SPAN("\x82\x86\x84\x41\x0fwww.example.com"), EXAMPLE "END", 57 },
        { SPAN("\x82\x86\x84\xbe\x58\x08no-cache"), EXAMPLE "cache-control: no-cache\nEND", 110 },
        { SPAN("\x82\x87\x85\xbf\x40\x0a" "custom-key\x0c" "custom-value"),
          ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value\nEND", 164 },
    };
    static const struct block_row huffman[] = {
        { SPAN("\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"), EXAMPLE "END", 57 },
        { SPAN("\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf"), EXAMPLE "cache-control: no-cache\nEND", 110 },
        { SPAN("\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"),
          ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value\nEND", 164 },
    };

    (void)state;
    hold_rows(plain, 3);
    hold_rows(huffman, 3);
}

#define DATE "Mon, 21 Oct 2013 20:13:2"

/* RFC 7541 C.5: a table of 256 bytes, from which older entries fall out. */
static void entries_are_evicted(void **state)
{
    static const struct block_row rows[] = {
        { SPAN("\x3f\xe1\x01\x48\x03" "302\x58\x07private\x61\x1d" DATE "1 GMT\x6e\x17https://www.example.com"),
          ":status: 302\ncache-control: private\ndate: " DATE "1 GMT\nlocation: https://www.example.com\nEND", 222 },
        { SPAN("\x48\x03" "307\xc1\xc0\xbf"),
          ":status: 307\ncache-control: private\ndate: " DATE "1 GMT\nlocation: https://www.example.com\nEND", 222 },
        { SPAN("\x88\xc1\x61\x1d" DATE "2 GMT\xc0\x5a\x04gzip\x77\x38" "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
          ":status: 200\ncache-control: private\ndate: " DATE "2 GMT\nlocation: https://www.example.com\ncontent-encoding: gzip\n"
          "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\nEND", 215 },
        { SPAN("\x20\xbe"), "FAULT", 0 },
    };

    (void)state;
    hold_rows(rows, sizeof rows / sizeof rows[0]);
}

static void what_is_no_block(void **state)
{
    static const struct span blocks[] = {
        SPAN("\x80"), SPAN("\xbe"), SPAN("\xff\x80"), SPAN("\x82\x20"), SPAN("\x3f\xe2\x1f"), SPAN("\x40"), SPAN("\x00\x01" "a"),
        SPAN("\x00\x05" "ab"), SPAN("\x7f\x7f\x01" "a"), SPAN("\x00\x7f\xff\xff\xff\xff\xff\xff\xff"), SPAN("\xff\x80\x80\x80\x80\x10"),
        SPAN("\x00\x01" "a\x84\xff\xff\xff\xff"), SPAN("\x00\x01" "a\x83\x49\x50\x90"), SPAN("\x00\x01" "a\x84\x49\x50\x9f\xff"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        struct hpack hpack;
        struct buf   got;
        hpack_init(&hpack);
        buf_init(&got, 1 << 20);
        read_block(&hpack, blocks[i], &got);
        if (got.len < 5 || !span_eq(span_skip(buf_span(&got), got.len - 5), SPAN("FAULT")))
            fail_msg("%zu: %.*s", i, SPAN_ARG(buf_span(&got)));
        buf_fini(&got);
        hpack_fini(&hpack);
    }
}

/* Threat 64: the table holds 4,096 bytes and no more, however small its entries are. */
static void the_table_is_bounded(void **state)
{
    struct hpack hpack;
    struct buf   block, got;

    (void)state;
    hpack_init(&hpack);
    buf_init(&block, 1 << 20);
    buf_init(&got, 1 << 20);
    for (int i = 0; i < 1000; i++)
        buf_put(&block, SPAN("\x40\x00\x00"));
    read_block(&hpack, buf_span(&block), &got);
    assert_true(hpack.bytes == HPACK_TABLE_BYTES_MAX && hpack.count == 128 && hpack.room == 128);
    assert_null(hpack.gone);  /* what has fallen out is kept no longer than its block */
    buf_fini(&got);
    buf_fini(&block);
    hpack_fini(&hpack);
}

static void answers_use_no_table(void **state)
{
    struct buf block;

    (void)state;
    buf_init(&block, 1 << 20);
    hpack_put_no_table(&block);
    hpack_put_status(&block, 200);
    hpack_put_status(&block, 201);
    hpack_put_field(&block, SPAN("Content-Type"), SPAN("a/b"));
    hpack_put_field(&block, SPAN("X-New"), SPAN(""));
    hpack_put_indexed(&block, HPACK_CONTENT_LENGTH, SPAN("7"));
    assert_true(span_eq(buf_span(&block), SPAN("\x20\x88\x08\x03" "201\x0f\x10\x03" "a/b\x00\x05x-new\x00\x0f\x0d\x01" "7")));
    buf_fini(&block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_of_the_rfc),
        cmocka_unit_test(entries_are_evicted),
        cmocka_unit_test(what_is_no_block),
        cmocka_unit_test(the_table_is_bounded),
        cmocka_unit_test(answers_use_no_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
