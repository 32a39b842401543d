/* What the parser of responses takes and refuses, and the laws: no cut changes the transcript, no byte behind the input is read.
 * Every row runs through the laws' battery, so each refusal is also shown byte by byte. Threat 59: what a back end may send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/h1_response_transcript.h"

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

#define OK(rest)     SPAN("HTTP/1.1 200 OK\r\n" rest)
#define CHUNKS(body) SPAN("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" body)

struct row {
    const char *name;
    struct span wire;
    const char *told;  /* how its transcript ends */
};

static void expect_rows(const struct row *rows, size_t count, struct h1_response_question question)
{
    for (size_t i = 0; i < count; i++) {
        struct buf  transcript;
        struct span told = span_str(rows[i].told);
        if (!laws_hold(rows[i].wire, h1_response_transcript, &question, 8, &transcript))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&transcript)));
        if (transcript.len < told.len || memcmp(transcript.at + transcript.len - told.len, told.at, told.len) != 0)
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&transcript)));
        buf_fini(&transcript);
    }
}

static const struct h1_response_question usual = { .head_bytes_max = 4096 }, to_head = { 4096, true }, tight = { 60, false };

static void status_lines(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "usual", OK("Content-Length: 2\r\n\r\nok"), "200 Content-Length: 2 | head 2 | body ok | end follow" },
        { "no reason", SPAN("HTTP/1.1 404 \r\nContent-Length:0\r\n\r\n"), "404 Content-Length: 0 | head 0 | body  | end follow" },
        { "no reason, no space", SPAN("HTTP/1.1 404\r\nContent-Length:0\r\n\r\n"), "| end follow" },
        { "1.0", SPAN("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"), "| end close" },
        { "1.9 counts as 1.1", SPAN("HTTP/1.9 200 OK\r\nContent-Length: 0\r\n\r\n"), "| end follow" },
        { "a status beyond 599", SPAN("HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n"), "799 Content-Length: 0 | head 0 | body  | end follow" },
        { "obs-text as a reason", SPAN("HTTP/1.1 200 \xc3\xa4\r\nContent-Length: 0\r\n\r\n"), "| end follow" },
        { "HTTP/2", SPAN("HTTP/2 200\r\n\r\n"), "fault: the response does not begin with HTTP/1" },
        { "SSH", SPAN("SSH-2.0-OpenSSH_9.2p1\r\n"), "fault: the response does not begin with HTTP/1" },
        { "an empty line before", SPAN("\r\nHTTP/1.1 200 OK\r\n\r\n"), "fault: the response does not begin with HTTP/1" },
        { "two digits", SPAN("HTTP/1.1 20 OK\r\n\r\n"), "fault: the response does not begin with a status line" },
        { "four digits", SPAN("HTTP/1.1 2000 OK\r\n\r\n"), "fault: the response does not begin with a status line" },
        { "no digits", SPAN("HTTP/1.1 2x0 OK\r\n\r\n"), "fault: the response does not begin with a status line" },
        { "no minor", SPAN("HTTP/1. 200 OK\r\n\r\n"), "fault: the response does not begin with a status line" },
        { "less than 100", SPAN("HTTP/1.1 099 OK\r\n\r\n"), "fault: the status is less than 100" },
        { "101", SPAN("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
          "fault: status 101, and nobody asked for another protocol" },
        { "nothing at all", SPAN(""), "fault: the connection was closed before the response was whole" },
        { "cut off", SPAN("HTTP/1.1 200 OK\r\nContent-Le"), "fault: the connection was closed before the response was whole" },
    };
    expect_rows(rows, COUNT(rows), usual);
}

static void interim_responses(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "100", SPAN("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
          "100 | 200 Content-Length: 2 | head 2 | body ok | end follow" },
        { "103 with fields", SPAN("HTTP/1.1 103 Early Hints\r\nConnection: close\r\nContent-Length: 9\r\n\r\n"
                                  "HTTP/1.1 204 No Content\r\n\r\n"),
          "103 Connection: close Content-Length: 9 | 204 | head 0 | body  | end follow" },
        { "alone", SPAN("HTTP/1.1 100 Continue\r\n\r\n"), "fault: the connection was closed before the response was whole" },
    };
    expect_rows(rows, COUNT(rows), usual);
}

static void lines_of_a_head(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "white space around", OK("X:\t a b \t\r\nContent-Length: 0\r\n\r\n"), "200 X: a b Content-Length: 0 | head 0 | body  | end follow" },
        { "empty value", OK("X:\r\nContent-Length: 0\r\n\r\n"), "200 X:  Content-Length: 0 | head 0 | body  | end follow" },
        { "bare LF", SPAN("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), "fault: line ends with a bare LF" },
        { "bare CR", OK("X: a\rb\r\n\r\n"), "fault: bare CR in the head" },
        { "NUL", OK("X: a\0b\r\n\r\n"), "fault: control character in the head" },
        { "folded", OK("X: a\r\n b\r\n\r\n"), "fault: line begins with white space" },
        { "no colon", OK("X\r\n\r\n"), "fault: field name is not a token with a colon behind it" },
        { "no name", OK(": a\r\n\r\n"), "fault: field without a name" },
        { "space before the colon", OK("X : a\r\n\r\n"), "fault: field name is not a token with a colon behind it" },
    };
    expect_rows(rows, COUNT(rows), usual);
}

static void lengths(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "more than announced", OK("Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"), "| head 2 | body ok | end follow" },
        { "less than announced", OK("Content-Length: 3\r\n\r\nok"),
          "| body ok | fault: the connection was closed before the response was whole" },
        { "until the close", OK("\r\nall of it"), "200 | head 0 | body all of it | end close" },
        { "until the close, empty", OK("\r\n"), "200 | head 0 | body  | end close" },
        { "repeated", OK("Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"), "fault: Content-Length repeated" },
        { "a list", OK("Content-Length: 2, 2\r\n\r\nok"), "fault: Content-Length is not a number" },
        { "a sign", OK("Content-Length: +2\r\n\r\nok"), "fault: Content-Length is not a number" },
        { "empty", OK("Content-Length:\r\n\r\nok"), "fault: Content-Length is not a number" },
        { "beyond 64 bits", OK("Content-Length: 18446744073709551616\r\n\r\nok"), "fault: Content-Length is not a number" },
        { "204", SPAN("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"), "| head 0 | body  | end follow" },
        { "204 that announces a body", SPAN("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"), "| head 0 | body  | end close" },
        { "204 that announces chunks", SPAN("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
          "| head 0 | body  | end close" },
        { "304", SPAN("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), "| head 0 | body  | end follow" },
        { "304 with chunks", SPAN("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"), "| head 0 | body  | end follow" },
    };
    static const struct row heads[] = {
        { "HEAD", OK("Content-Length: 5\r\n\r\n"), "| head 0 | body  | end follow" },
        { "HEAD of chunks", OK("Transfer-Encoding: chunked\r\n\r\n"), "| head 0 | body  | end follow" },
        { "HEAD without a length", OK("\r\n"), "200 | head 0 | body  | end follow" },
    };
    expect_rows(rows, COUNT(rows), usual);
    expect_rows(heads, COUNT(heads), to_head);
}

static void chunks(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "two", CHUNKS("3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\n"), "| head 0 | body abc0123456789 | end follow" },
        { "none", CHUNKS("0\r\n\r\n"), "| body  | end follow" },
        { "trailers", CHUNKS("1\r\na\r\n0\r\nX: y\r\n\r\n"), "| body a | end follow" },
        { "no size", CHUNKS("\r\n"), "fault: chunk without a size" },
        { "no hex", CHUNKS("zzz\r\n"), "fault: chunk without a size" },
        { "too long a size", CHUNKS("00000000000000001\r\n"), "fault: chunk size too long" },
        { "data longer than its size", CHUNKS("1\r\nab\r\n"), "fault: chunk framing must be CR LF" },
        { "cut off", CHUNKS("5\r\nab"), "| body ab | fault: the connection was closed before the response was whole" },
        { "cut off in a trailer", CHUNKS("0\r\nX:"), "| body  | fault: the connection was closed before the response was whole" },
        { "capital letters", OK("transfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n"), "| body  | end follow" },
        { "beside a length", OK("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
          "fault: Transfer-Encoding beside Content-Length" },
        { "beside a length, the other way round", OK("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
          "fault: Transfer-Encoding beside Content-Length" },
        { "another coding", OK("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "fault: Transfer-Encoding is not chunked" },
        { "repeated", OK("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
          "fault: Transfer-Encoding repeated" },
        { "in 1.0", SPAN("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
          "fault: Transfer-Encoding in HTTP/1.0" },
    };
    expect_rows(rows, COUNT(rows), usual);
}

static void who_closes(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "close", OK("Connection: close\r\nContent-Length: 0\r\n\r\n"), "| end close" },
        { "close in a list", OK("Connection: x, Close\r\nContent-Length: 0\r\n\r\n"), "| end close" },
        { "keep-alive in 1.0", SPAN("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n"), "| end follow" },
        { "kept for 5 s", OK("Keep-Alive: timeout=5, max=100\r\nContent-Length: 0\r\n\r\n"), "| end follow 5" },
        { "kept, in other words", OK("keep-alive: max=1 , Timeout = 75\r\nContent-Length: 0\r\n\r\n"), "| end follow 75" },
        { "kept, not readable", OK("Keep-Alive: timeout=, timeout, timeout=-1\r\nContent-Length: 0\r\n\r\n"), "| end follow" },
        { "kept, of an interim response", SPAN("HTTP/1.1 100 a\r\nKeep-Alive: timeout=5\r\n\r\nHTTP/1.1 204 a\r\n\r\n"), "| end follow" },
        { "both", OK("Connection: keep-alive\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), "| end close" },
    };
    expect_rows(rows, COUNT(rows), usual);
}

static void what_is_too_long(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "the longest", OK("X: 01234567890123456789\r\nContent-Length:0\r\n"), "fault: the connection was closed before the response was whole" },
        { "a line", OK("X: 01234567890123456789012345678901234567890123456789\r\n\r\n"), "fault too large: the head is longer than allowed" },
        { "many lines", OK("A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\nF: 6\r\nG: 7\r\nH: 8\r\n\r\n"),
          "fault too large: the head is longer than allowed" },
        { "heads together", SPAN("HTTP/1.1 100 a\r\n\r\nHTTP/1.1 100 a\r\n\r\nHTTP/1.1 100 a\r\n\r\nHTTP/1.1 100 a\r\n\r\n"),
          "fault too large: the head is longer than allowed" },
        { "trailers", CHUNKS("0\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\nF: 6\r\nG: 7\r\nH: 8\r\nI: 9\r\nJ: 10\r\nK: 11\r\n\r\n"),
          "fault too large: the trailer fields are longer than allowed" },
    };
    expect_rows(rows, COUNT(rows), tight);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_lines), cmocka_unit_test(interim_responses), cmocka_unit_test(lines_of_a_head),
        cmocka_unit_test(lengths),      cmocka_unit_test(chunks),            cmocka_unit_test(who_closes),
        cmocka_unit_test(what_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
