/* Rows of requests: what is put comes back, and what is cut off is refused. */
#include "uplink/request_row.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

#include <cmocka.h>

static void keys_are_read_back(void **state)
{
    (void)state;
    struct span user, device, id;
    uint32_t    piece = 9;
    struct buf  key;

    buf_init(&key, 512);
    request_key_put(&key, SPAN("ann"), SPAN("phone"), SPAN("r1"));
    assert_true(request_key_get(buf_span(&key), &user, &device, &id, &piece));
    assert_true(span_eq(user, SPAN("ann")) && span_eq(device, SPAN("phone")) && span_eq(id, SPAN("r1")));
    assert_int_equal(piece, 0);
    buf_clear(&key);
    request_piece_key_put(&key, SPAN("ann"), SPAN("phone"), SPAN("r1"), REQUEST_PIECES_MAX);
    assert_true(request_key_get(buf_span(&key), &user, &device, &id, &piece));
    assert_int_equal(piece, REQUEST_PIECES_MAX);
    static const struct span bad[] = { SPAN(""), SPAN("ann"), SPAN("ann\0phone"), SPAN("ann\0phone\0r1\0x"), SPAN("ann\0phone\0r1\0000"),
                                       SPAN("ann\0phone\0r1\0001\0x") };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(request_key_get(bad[i], &user, &device, &id, &piece));
    buf_fini(&key);
}

static void values_are_read_back(void **state)
{
    (void)state;
    const struct request_row row  = { .is_answered = true, .hash = "0123456789abcde", .claim = 7, .before = 5, .bytes = 9 };
    const struct call_row    call = { .is_at_least_once = true, .hash = "0123456789abcde", .claim = 7, .since = 1000,
                                      .node = SPAN("a"), .incarnation = 3, .pieces = 2 };
    struct request_row       got_row;
    struct call_row          got_call;
    struct buf               value;

    buf_init(&value, 512);
    request_row_put(&value, &row);
    assert_true(request_row_get(buf_span(&value), &got_row));
    assert_true(got_row.is_answered && got_row.claim == 7 && got_row.before == 5 && got_row.bytes == 9);
    assert_memory_equal(got_row.hash, row.hash, sizeof row.hash);
    for (size_t len = 0; len < value.len; len++)
        assert_false(request_row_get(span_of(value.at, len), &got_row));
    buf_clear(&value);
    call_row_put(&value, &call);
    assert_true(call_row_get(buf_span(&value), &got_call));
    assert_true(got_call.is_at_least_once && got_call.claim == 7 && got_call.since == 1000 && got_call.incarnation == 3);
    assert_true(span_eq(got_call.node, SPAN("a")) && got_call.pieces == 2);
    for (size_t len = 0; len < value.len; len++)
        assert_false(call_row_get(span_of(value.at, len), &got_call));
    buf_fini(&value);
}

/* A row that was cut says so, unless it was cut between two calls. */
static void many_calls_in_a_row_are_read_back(void **state)
{
    (void)state;
    const struct calls_place place = { UINT64_C(0x0102030405060708), 9 };
    struct calls_place       got_place;
    const uint8_t            one[16] = "one", two[16] = "two";
    struct buf               key, value;
    uint8_t                  hash[16];
    struct span              rest, got;
    msec                     wall;

    buf_init(&key, 64);
    buf_init(&value, 512);
    calls_key_put(&key, place);
    assert_true(calls_key_get(buf_span(&key), &got_place) && got_place.incarnation == place.incarnation && got_place.number == 9);
    for (size_t len = 0; len < key.len; len++)
        assert_false(calls_key_get(span_of(key.at, len), &got_place));
    calls_row_begin(&value, 1000);
    const size_t head = value.len;
    calls_row_add(&value, one, SPAN("ann\0phone\0" "1"));
    const size_t first = value.len;
    calls_row_add(&value, two, SPAN("bob\0phone\0" "22"));
    rest = buf_span(&value);
    assert_true(calls_row_open(&rest, &wall) && wall == 1000);
    assert_true(calls_row_next(&rest, hash, &got) && span_eq(got, SPAN("ann\0phone\0" "1")));
    assert_memory_equal(hash, one, sizeof hash);
    assert_true(calls_row_next(&rest, hash, &got) && span_eq(got, SPAN("bob\0phone\0" "22")));
    assert_memory_equal(hash, two, sizeof hash);
    assert_false(calls_row_next(&rest, hash, &got));
    assert_int_equal(rest.len, 0);
    for (size_t len = 0; len < value.len; len++) {
        rest = span_of(value.at, len);
        assert_int_equal(calls_row_open(&rest, &wall), len >= head);
        while (len >= head && calls_row_next(&rest, hash, &got))
            continue;
        assert_int_equal(len >= head && rest.len == 0, len == head || len == first);
    }
    buf_fini(&key);
    buf_fini(&value);
}

static void a_whole_request_is_read_back(void **state)
{
    (void)state;
    struct request_command *request = request_command_new(REQUEST_SEND, 1, 0), *got;
    struct request_field    field   = { SPAN("Accept"), SPAN("a/b") };
    struct buf              bytes;

    request->fields      = &field;
    request->backend     = SPAN("app");
    request->method      = SPAN("POST");
    request->target      = SPAN("/a?b");
    request->body        = SPAN("body");
    request->address     = SPAN("192.0.2.1");
    request->traceparent = SPAN("t");
    request->key         = 7;
    request->timeout_ms  = 5;
    buf_init(&bytes, 4096);
    request_bytes_put(&bytes, request);
    got = request_bytes_get(buf_span(&bytes), SPAN("ann"), SPAN("phone"), SPAN("1"));
    assert_non_null(got);
    assert_true(span_eq(got->backend, SPAN("app")) && span_eq(got->target, SPAN("/a?b")) && span_eq(got->body, SPAN("body")));
    assert_true(span_eq(got->user, SPAN("ann")) && span_eq(got->device, SPAN("phone")) && span_eq(got->id, SPAN("1")));
    assert_true(got->key == 7 && got->timeout_ms == 5 && got->field_count == 1 && got->is_at_least_once);
    assert_true(span_eq(got->fields[0].name, SPAN("Accept")) && span_eq(got->fields[0].value, SPAN("a/b")));
    command_free(&got->command);
    for (size_t len = 0; len < bytes.len; len++)
        assert_null(request_bytes_get(span_of(bytes.at, len), SPAN("ann"), SPAN("phone"), SPAN("1")));
    command_free(&request->command);
    buf_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_read_back),
        cmocka_unit_test(values_are_read_back),
        cmocka_unit_test(many_calls_in_a_row_are_read_back),
        cmocka_unit_test(a_whole_request_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
