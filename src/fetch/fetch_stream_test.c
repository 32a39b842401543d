/* What libcurl says of streams, in the words of its releases, and which requests are refused by it. The way of such a request
 * through a real server is in test/system/test_uplink_backends.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "fetch/fetch_priv.h"

#include <cmocka.h>

/* Calls under way, each on a connection: `0` and `1` share one. */
static struct fetch       fetch;
static struct fetch_call *calls[4];
static CURL              *handles[4];

/* Another try, on the connection that is this call's. */
static void begin(size_t at)
{
    static const struct { const char *far; int near_port; } connections[4] = {
        { "10.0.0.1", 4000 }, { "10.0.0.1", 4000 }, { "10.0.0.2", 4000 }, { "10.0.0.1", 4001 },
    };
    fetch_stream_begin(calls[at], connections[at].far, 443, connections[at].near_port);
}

static int begin_all(void **state)
{
    (void)state;
    list_init(&fetch.under_way);
    for (size_t i = 0; i < 4; i++) {
        calls[i]   = fetch_call_new("GET", SPAN("https://a/"));
        handles[i] = curl_easy_init();
        must(handles[i] != NULL && curl_easy_setopt(handles[i], CURLOPT_PRIVATE, calls[i]) == CURLE_OK);
        list_push(&fetch.under_way, &calls[i]->link);
        begin(i);
    }
    return 0;
}

static int end_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        curl_easy_cleanup(handles[i]);
        list_take(&calls[i]->link);
        fetch_call_free(calls[i]);
    }
    return 0;
}

static void say(size_t at, curl_infotype type, const char *text)
{
    char *copy = strdup(text);

    must(copy != NULL);
    assert_int_equal(fetch_on_says(handles[at], type, copy, strlen(text), &fetch), 0);
    free(copy);
}

static void numbers_are_found_in_what_libcurl_says(void **state)
{
    (void)state;
    static const struct { curl_infotype type; const char *text; uint64_t stream; } rows[] = {
        { CURLINFO_TEXT, "Using Stream ID: 5 (easy handle 0x622000010900)\n", 5 },
        { CURLINFO_TEXT, "[HTTP/2] [7] OPENED stream for https://a/\n", 7 },
        { CURLINFO_TEXT, "[HTTP/2] [9] [:method: GET]\n", 9 },
        { CURLINFO_TEXT, "Using Stream ID: \n", 0 },
        { CURLINFO_TEXT, "Using Stream ID: x\n", 0 },
        { CURLINFO_TEXT, "Using Stream ID: 99999999999999999999\n", 0 },
        { CURLINFO_TEXT, "", 0 },
        { CURLINFO_DATA_IN, "Using Stream ID: 5\n", 0 },
        { CURLINFO_HEADER_IN, "x: Using Stream ID: 5\n", 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin(0);
        say(0, rows[i].type, rows[i].text);
        assert_int_equal(calls[0]->stream, rows[i].stream);
    }
}

static void a_server_that_goes_away_refuses_higher_streams_of_its_connection(void **state)
{
    (void)state;
    static const struct { const char *text; bool refused[4]; } rows[] = {
        { "recveived GOAWAY, error=0, last_stream=3\n", { false, true, false, false } },
        { "received GOAWAY, error=0, last_stream=0\n", { true, true, false, false } },
        { "received GOAWAY, error=0, last_stream=5\n", { false, false, false, false } },
        { "received GOAWAY, error=1, last_stream=0\n", { false, false, false, false } },  /* it may not know any more */
        { "received something else, last_stream=0\n", { false, false, false, false } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t at = 0; at < 4; at++) {
            begin(at);
            say(at, CURLINFO_TEXT, at == 0 ? "Using Stream ID: 3 (x)\n" : "Using Stream ID: 5 (x)\n");
            snprintf(calls[at]->why, sizeof calls[at]->why, "something");
        }
        say(0, CURLINFO_TEXT, rows[i].text);
        for (size_t at = 0; at < 4; at++)
            assert_int_equal(fetch_stream_is_refused(calls[at]), rows[i].refused[at]);
    }
}

/* libcurl is about to send again, and has named no error. */
static void a_try_that_ended_without_an_error_was_refused_if_it_was_a_stream(void **state)
{
    (void)state;
    assert_false(fetch_stream_is_refused(calls[0]));  /* HTTP/1.1: the connection was closed */
    say(0, CURLINFO_TEXT, "Using Stream ID: 3 (x)\n");
    assert_true(fetch_stream_is_refused(calls[0]));
    snprintf(calls[0]->why, sizeof calls[0]->why, "Recv failure: Connection reset by peer");
    assert_false(fetch_stream_is_refused(calls[0]));
    begin(0);
    calls[0]->why[0] = '\0';
    assert_false(fetch_stream_is_refused(calls[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numbers_are_found_in_what_libcurl_says, begin_all, end_all),
        cmocka_unit_test_setup_teardown(a_server_that_goes_away_refuses_higher_streams_of_its_connection, begin_all, end_all),
        cmocka_unit_test_setup_teardown(a_try_that_ended_without_an_error_was_refused_if_it_was_a_stream, begin_all, end_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
