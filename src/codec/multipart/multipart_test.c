/* Multipart: parts as they are, any payload byte for byte, no stranger's headers (threats 56, 58, 80, 83). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "codec/multipart/multipart.h"
#include "lib/part_reader.h"
#include "lib/sample.h"

#include <cmocka.h>

static const struct span boundary = { "boundary", 8 };

#define TAGS "Longwire-Channel: topic:a%20%25%C3%A9/b\r\nLongwire-Epoch: 123456789abcdef0\r\nLongwire-Seq: 42\r\n" \
             "Longwire-Id: 7\r\nLongwire-Time: 1700000000000\r\n"

static void parts_look_as_the_protocol_says(void **state)
{
    (void)state;
    static const struct {
        const char       *name;
        enum message_kind kind;
        struct span       payload, media, from, cursor, want;
    } rows[] = {
        { "all there is", MESSAGE_PLAIN,
          SPAN("a\r\nb\0"), SPAN("text/plain; charset=utf-8"), SPAN("shop"), SPAN("AQE_"),
          SPAN("Content-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n" TAGS
               "Longwire-From: shop\r\nLongwire-Cursor: AQE_\r\n\r\na\r\nb\0\r\n--boundary\r\n") },
        { "empty", MESSAGE_PLAIN, SPAN(""), SPAN(""), SPAN(""), SPAN(""),
          SPAN("Content-Type: application/octet-stream\r\nContent-Length: 0\r\n" TAGS
               "\r\n\r\n--boundary\r\n") },
        { "strangers' headers", MESSAGE_PLAIN, SPAN("x"), SPAN("text/plain\r\nX: y"), SPAN("a\r\nX: y"), SPAN(""),
          SPAN("Content-Type: application/octet-stream\r\nContent-Length: 1\r\n" TAGS
               "Longwire-From: a%0D%0AX:%20y\r\n\r\nx\r\n--boundary\r\n") },
        { "recall", MESSAGE_RECALL, SPAN(""), SPAN(""), SPAN(""), SPAN(""),
          SPAN("Content-Type: application/octet-stream\r\nContent-Length: 0\r\n" TAGS
               "Longwire-Recall: 41\r\n\r\n\r\n--boundary\r\n") },
        { "recalled", MESSAGE_RECALLED, SPAN(""), SPAN("text/plain"), SPAN(""), SPAN(""),
          SPAN("Content-Type: text/plain\r\nContent-Length: 0\r\n" TAGS
               "Longwire-Recalled: true\r\n\r\n\r\n--boundary\r\n") },
    };
    struct buf buf;

    buf_init(&buf, 2000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sample sample;
        sample_init(&sample, SPAN("topic:a %\xc3\xa9/b"), rows[i].kind, rows[i].payload, rows[i].media, rows[i].from);
        buf_clear(&buf);
        multipart_put_message(&buf, boundary, sample.message, rows[i].cursor);
        if (!span_eq(buf_span(&buf), rows[i].want))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&buf)));
        sample_fini(&sample);
    }
    buf_fini(&buf);
}

static void the_event_is_a_header(void **state)
{
    (void)state;
    struct sample sample;
    struct buf    buf;

    buf_init(&buf, 2000);
    sample_init_event(&sample, SPAN("topic:a %\xc3\xa9/b"), MESSAGE_PLAIN, SPAN("x"), SPAN("text/plain"), SPAN(""),
                      SPAN("100% \xc3\xa9"));
    multipart_put_message(&buf, boundary, sample.message, SPAN(""));
    assert_true(span_eq(buf_span(&buf),
                        SPAN("Content-Type: text/plain\r\nContent-Length: 1\r\n" TAGS
                             "Longwire-Event: 100%25%20%C3%A9\r\n\r\nx\r\n--boundary\r\n")));
    sample_fini(&sample);
    buf_fini(&buf);
}

static void gaps_pings_start_and_end(void **state)
{
    (void)state;
    struct gap gap = { 1, 2, GAP_CORRUPT };
    struct buf buf;

    buf_init(&buf, 2000);
    multipart_put_start(&buf, boundary);
    multipart_put_gap(&buf, boundary, SPAN("all:"), 1, &gap, SPAN("tok"));
    multipart_put_notify(&buf, boundary, SPAN("all:"), 1, 2, SPAN("tok"));
    multipart_put_ping(&buf, boundary);
    multipart_put_end(&buf, boundary);
    struct span want = SPAN(
        "--boundary\r\n"
        "Content-Type: application/vnd.longwire.gap+json\r\nContent-Length: 90\r\nLongwire-Cursor: tok\r\n\r\n"
        "{\"type\":\"gap\",\"channel\":\"all:\",\"epoch\":\"0000000000000001\",\"from\":1,\"to\":2,"
        "\"why\":\"corrupt\"}\r\n"
        "--boundary\r\n"
        "Content-Type: application/vnd.longwire.notify+json\r\nContent-Length: 70\r\nLongwire-Cursor: tok\r\n\r\n"
        "{\"type\":\"notify\",\"channel\":\"all:\",\"epoch\":\"0000000000000001\",\"head\":2}\r\n"
        "--boundary\r\n"
        "Content-Type: application/vnd.longwire.ping+json\r\nContent-Length: 15\r\n\r\n{\"type\":\"ping\"}\r\n"
        "--boundary\r\n"
        "Content-Type: application/vnd.longwire.ping+json\r\nContent-Length: 15\r\n\r\n{\"type\":\"ping\"}\r\n"
        "--boundary--\r\n");
    if (!span_eq(buf_span(&buf), want))
        fail_msg("%.*s", SPAN_ARG(buf_span(&buf)));
    buf_fini(&buf);
}

static void the_longest_gap_fits(void **state)
{
    (void)state;
    struct gap gap = { UINT64_MAX - 1, UINT64_MAX, GAP_EXPIRED };
    char channel[233];
    struct buf buf;

    memset(channel, '\x01', sizeof channel);
    buf_init(&buf, 4000);
    multipart_put_gap(&buf, boundary, span_of(channel, sizeof channel), UINT64_MAX, &gap, SPAN("tok"));
    assert_false(buf_is_over(&buf));
    assert_true(buf.len > 6 * sizeof channel);
    buf_fini(&buf);
}

static void any_payload_reads_back(void **state)
{
    (void)state;
    struct rng rng = { 83 };
    struct buf buf, payload, from;

    buf_init(&buf, 1 << 16);
    buf_init(&payload, 4096);
    buf_init(&from, FROM_BYTES_MAX);
    for (size_t round = 0; round < 20000; round++) {
        struct sample sample;
        buf_clear(&buf);
        buf_clear(&payload);
        buf_clear(&from);
        sample_put_hostile(&payload, &rng);
        sample_put_hostile(&from, &rng);
        sample_init(&sample, SPAN("topic:a"), MESSAGE_PLAIN, buf_span(&payload), buf_span(&from), buf_span(&from));
        multipart_put_message(&buf, boundary, sample.message, SPAN("one"));
        multipart_put_message(&buf, boundary, sample.message, SPAN("two"));
        struct span rest = buf_span(&buf);
        assert_true(span_eq(part_next(&rest, boundary).body, buf_span(&payload)));
        assert_true(span_eq(part_next(&rest, boundary).body, buf_span(&payload)));
        assert_int_equal(rest.len, 0);
        sample_fini(&sample);
    }
    buf_fini(&from);
    buf_fini(&payload);
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_look_as_the_protocol_says),
        cmocka_unit_test(the_event_is_a_header),
        cmocka_unit_test(gaps_pings_start_and_end),
        cmocka_unit_test(the_longest_gap_fits),
        cmocka_unit_test(any_payload_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
