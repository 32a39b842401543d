/* What the parser takes and refuses, and the laws: no cut changes the transcript, no byte behind the input is read.
 * Every row runs through the laws' battery, so each refusal is also shown byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/h1_transcript.h"

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

/* Requests around the part that a row is about. */
#define GET(fields)   SPAN("GET / HTTP/1.1\r\nHost: a\r\n" fields "\r\n")
#define LINE(line)    SPAN(line "\r\nHost: a\r\n\r\n")
#define HOST(value)   SPAN("GET / HTTP/1.1\r\nHost:" value "\r\n\r\n")
#define LENGTH(value) SPAN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:" value "\r\n\r\nabcde")
#define CODING(value) SPAN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:" value "\r\n\r\n0\r\n\r\n")
#define X64           "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define CHUNKS(body)  SPAN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" body)

static const struct h1_limits usual = { .target_bytes_max = 8192, .head_bytes_max = 16384 };

struct row {
    const char *name;
    struct span wire;
    unsigned    status;  /* 0: taken */
    struct span part;    /* of its transcript (h1_transcript.h) */
};

static void expect_row(const struct row *row, const struct h1_limits *limits)
{
    struct buf transcript;
    char       fault[32];

    int len = snprintf(fault, sizeof fault, "],\"fault\":%u,", row->status);
    if (!laws_hold(row->wire, h1_transcript, (void *)limits, 8, &transcript))
        fail_msg("%s: %.*s", row->name, SPAN_ARG(buf_span(&transcript)));
    if (memmem(transcript.at, transcript.len, fault, (size_t)len) == NULL)
        fail_msg("%s: no %s in %.*s", row->name, fault, SPAN_ARG(buf_span(&transcript)));
    if (memmem(transcript.at, transcript.len, row->part.at, row->part.len) == NULL)
        fail_msg("%s: no %.*s in %.*s", row->name, SPAN_ARG(row->part), SPAN_ARG(buf_span(&transcript)));
    buf_fini(&transcript);
}

static void expect_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect_row(&rows[i], &usual);
}

/* --- heads -------------------------------------------------------------------------------------------------------- */

static void request_lines(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "smallest", SPAN("GET / HTTP/1.1\r\nHost:a\r\n\r\n"), 0, SPAN("\"method\":\"GET\",\"method_number\":0") },
        { "1.0 without Host", SPAN("GET / HTTP/1.0\r\n\r\n"), 0, SPAN("\"minor\":0") },
        { "1.9 counts as 1.1", LINE("GET / HTTP/1.9"), 0, SPAN("\"minor\":1") },
        { "HEAD", LINE("HEAD / HTTP/1.1"), 0, SPAN("\"method_number\":1") },
        { "POST", LINE("POST / HTTP/1.1"), 0, SPAN("\"method_number\":2") },
        { "PUT", LINE("PUT / HTTP/1.1"), 0, SPAN("\"method_number\":3") },
        { "DELETE", LINE("DELETE / HTTP/1.1"), 0, SPAN("\"method_number\":4") },
        { "OPTIONS", LINE("OPTIONS / HTTP/1.1"), 0, SPAN("\"method_number\":5") },
        { "PATCH", LINE("PATCH / HTTP/1.1"), 0, SPAN("\"method_number\":6") },
        { "threat 53, unknown method", LINE("BREW /pot HTTP/1.1"), 0, SPAN("\"method\":\"BREW\",\"method_number\":7") },
        { "a method's case counts", LINE("get / HTTP/1.1"), 0, SPAN("\"method_number\":7") },
        { "longest method", LINE("ABCDEFGHIJKLMNOP / HTTP/1.1"), 0, SPAN("\"method_number\":7") },
        { "longer method", LINE("ABCDEFGHIJKLMNOPQ / HTTP/1.1"), 501, SPAN("method not known") },
        { "method not a token", LINE("GE[T / HTTP/1.1"), 400, SPAN("not a token") },
        { "no method", LINE(" / HTTP/1.1"), 400, SPAN("no method") },
        { "no target", LINE("GET  HTTP/1.1"), 400, SPAN("target holds") },
        { "no version: 0.9", SPAN("GET /\r\n\r\n"), 400, SPAN("not method, target, version") },
        { "space behind", LINE("GET / HTTP/1.1 "), 400, SPAN("version") },
        { "two spaces", LINE("GET  / HTTP/1.1"), 400, SPAN("target holds") },
        { "three spaces", LINE("GET /  HTTP/1.1"), 400, SPAN("version") },
        { "tab for a space", LINE("GET\t/ HTTP/1.1"), 400, SPAN("") },
        { "space in the target", LINE("GET /a b HTTP/1.1"), 400, SPAN("version") },
        { "HTTP/2.0", LINE("GET / HTTP/2.0"), 505, SPAN("") },
        { "HTTP/9.9", LINE("GET / HTTP/9.9"), 505, SPAN("") },
        { "HTTP/0.9", LINE("GET / HTTP/0.9"), 505, SPAN("") },
        { "HTTP/2 preface", SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505, SPAN("") },
        { "small version", LINE("GET / http/1.1"), 400, SPAN("version") },
        { "long version", LINE("GET / HTTP/1.10"), 400, SPAN("version") },
        { "short version", LINE("GET / HTTP/1"), 400, SPAN("version") },
        { "comma version", LINE("GET / HTTP/1,1"), 400, SPAN("version") },
        { "letter version", LINE("GET / HTTP/x.1"), 400, SPAN("version") },
        { "letter minor", LINE("GET / HTTP/1.x"), 400, SPAN("version") },
        { "TLS on this port", SPAN("\x16\x03\x01\x02"), 400, SPAN("no method") },
    };
    expect_rows(rows, COUNT(rows));
}

static void targets(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "odd but visible", LINE("GET /\"<>\\^`{|}?%zz HTTP/1.1"), 0, SPAN("\"is_whole\":true") },
        { "asterisk", LINE("OPTIONS * HTTP/1.1"), 0, SPAN("\"target\":\"*\"") },
        { "asterisk for another", LINE("GET * HTTP/1.1"), 400, SPAN("neither a path") },
        { "absolute", LINE("GET http://a/b?c HTTP/1.1"), 0, SPAN("\"target\":\"http://a/b?c\",\"host\":\"a\"") },
        { "absolute, other letter case", LINE("GET HTTPS://A HTTP/1.1"), 0, SPAN("\"host\":\"A\"") },
        { "threat 50, absolute differs", LINE("GET http://b/ HTTP/1.1"), 400, SPAN("different servers") },
        { "absolute, port differs", LINE("GET http://a:80/ HTTP/1.1"), 400, SPAN("different servers") },
        { "absolute, no Host, 1.0", SPAN("GET http://a:1?b HTTP/1.0\r\n\r\n"), 0, SPAN("\"host\":\"a:1\"") },
        { "absolute, no Host, 1.1", SPAN("GET http://a/ HTTP/1.1\r\n\r\n"), 400, SPAN("no Host") },
        { "absolute without authority", LINE("GET http:///b HTTP/1.1"), 400, SPAN("authority") },
        { "absolute with user", LINE("GET http://me@a/ HTTP/1.1"), 400, SPAN("authority") },
        { "other scheme", LINE("GET ftp://a/ HTTP/1.1"), 400, SPAN("neither a path") },
        { "no slash", LINE("GET a HTTP/1.1"), 400, SPAN("neither a path") },
        { "authority-form", LINE("GET a:80 HTTP/1.1"), 400, SPAN("neither a path") },
        { "CONNECT", LINE("CONNECT a:80 HTTP/1.1"), 501, SPAN("proxies") },
        { "fragment", LINE("GET /a#b HTTP/1.1"), 400, SPAN("target holds") },
        { "threat 54, high byte", LINE("GET /\xc0\xaf HTTP/1.1"), 400, SPAN("target holds") },
        { "threat 54, NUL", LINE("GET /\0 HTTP/1.1"), 400, SPAN("control character") },
        { "DEL", LINE("GET /\x7f HTTP/1.1"), 400, SPAN("control character") },
    };
    expect_rows(rows, COUNT(rows));
}

static void threat_50_hosts(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "name and port", HOST(" example.org:8080"), 0, SPAN("\"host\":\"example.org:8080\"") },
        { "highest port", HOST("a:65535"), 0, SPAN("\"host\":\"a:65535\"") },
        { "empty port", HOST("a:"), 0, SPAN("\"host\":\"a:\"") },
        { "IPv4", HOST("127.0.0.1"), 0, SPAN("\"host\":\"127.0.0.1\"") },
        { "IPv6", HOST("[::1]:80"), 0, SPAN("\"host\":\"[::1]:80\"") },
        { "shortest IPv6", HOST("[::]"), 0, SPAN("\"host\":\"[::]\"") },
        { "none", SPAN("GET / HTTP/1.1\r\n\r\n"), 400, SPAN("no Host") },
        { "two", GET("Host: a\r\n"), 400, SPAN("Host repeated") },
        { "empty", HOST(" "), 400, SPAN("not a host") },
        { "port alone", HOST(":80"), 400, SPAN("not a host") },
        { "port too high", HOST("a:65536"), 400, SPAN("not a host") },
        { "port not a number", HOST("a:8x"), 400, SPAN("not a host") },
        { "two ports", HOST("a:1:2"), 400, SPAN("not a host") },
        { "user", HOST("me@a"), 400, SPAN("not a host") },
        { "path", HOST("a/b"), 400, SPAN("not a host") },
        { "space", HOST("a b"), 400, SPAN("not a host") },
        { "escape", HOST("a%20b"), 400, SPAN("not a host") },
        { "bracket open", HOST("[::1"), 400, SPAN("not a host") },
        { "bracket empty", HOST("[]"), 400, SPAN("not a host") },
        { "bracket with a colon", HOST("[:]"), 400, SPAN("not a host") },
        { "bracket with letters", HOST("[g::1]"), 400, SPAN("not a host") },
        { "behind a bracket", HOST("[::1]a"), 400, SPAN("not a host") },
    };
    expect_rows(rows, COUNT(rows));
}

static void threat_49_lines_and_fields(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "empty line before", SPAN("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 0, SPAN("\"is_whole\":true") },
        { "nothing but an empty line", SPAN("\r\n"), 0, SPAN("\"requests\":[]") },
        { "nothing", SPAN(""), 0, SPAN("\"requests\":[]") },
        { "two empty lines before", SPAN("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, SPAN("empty line") },
        { "head cut off", SPAN("GET / HTTP/1.1\r\nHost: a\r\n\r"), 0, SPAN("\"requests\":[]") },
        { "white space around a value", GET("A: \t b c \t \r\n"), 0, SPAN("{\"name\":\"A\",\"value\":\"b c\"}") },
        { "empty value", GET("A:\r\n"), 0, SPAN("{\"name\":\"A\",\"value\":\"\"}") },
        { "white value", GET("A: \t \r\n"), 0, SPAN("{\"name\":\"A\",\"value\":\"\"}") },
        { "tab and high bytes inside", GET("A: b\tc\xff\r\n"), 0, SPAN("\"value\":\"b\\u0009c\\u00ff\"") },
        { "colon in a value", GET("A:b:c\r\n"), 0, SPAN("{\"name\":\"A\",\"value\":\"b:c\"}") },
        { "every mark of a token", GET("!#$%&'*+-.^_`|~1: b\r\n"), 0, SPAN("\"name\":\"!#$%&'*+-.^_`|~1\"") },
        { "bare LF", SPAN("GET / HTTP/1.1\nHost: a\n\n"), 400, SPAN("bare LF") },
        { "bare LF behind a field", GET("A: b\n"), 400, SPAN("bare LF") },
        { "bare LF at the end", SPAN("GET / HTTP/1.1\r\nHost: a\r\n\n"), 400, SPAN("bare LF") },
        { "bare LF first", SPAN("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400, SPAN("no method") },
        { "bare CR", GET("A: b\rc\r\n"), 400, SPAN("bare CR") },
        { "CR CR LF", GET("A: b\r\r\n"), 400, SPAN("bare CR") },
        { "NUL in a value", GET("A: b\0c\r\n"), 400, SPAN("control character") },
        { "NUL in a name", GET("A\0: b\r\n"), 400, SPAN("control character") },
        { "vertical tab", GET("A:\vb\r\n"), 400, SPAN("control character") },
        { "form feed", GET("A: b\f\r\n"), 400, SPAN("control character") },
        { "DEL in a value", GET("A: b\x7f\r\n"), 400, SPAN("control character") },
        { "space before the colon", GET("A : b\r\n"), 400, SPAN("colon behind") },
        { "tab before the colon", GET("A\t: b\r\n"), 400, SPAN("colon behind") },
        { "no colon", GET("A\r\n"), 400, SPAN("colon behind") },
        { "no name", GET(": b\r\n"), 400, SPAN("without a name") },
        { "name not a token", GET("A[]: b\r\n"), 400, SPAN("colon behind") },
        { "name with high bytes", GET("\xc3\xa9: b\r\n"), 400, SPAN("without a name") },
        { "obs-fold", GET("A: b\r\n c\r\n"), 400, SPAN("white space") },
        { "obs-fold with a tab", GET("A: b\r\n\tc\r\n"), 400, SPAN("white space") },
        { "white line", GET(" \r\n"), 400, SPAN("white space") },
        { "white space before the first field", SPAN("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400, SPAN("white space") },
    };
    expect_rows(rows, COUNT(rows));
}

static void what_the_client_would_like(void **state)
{
    (void)state;
#define WEBSOCKET(line, fields) SPAN(line "\r\nHost: a\r\nUpgrade: websocket\r\n" fields "\r\n")
    static const struct row rows[] = {
        { "1.1 stays", GET(""), 0, SPAN("\"is_keep_alive\":true") },
        { "1.1 close", GET("Connection: close\r\n"), 0, SPAN("\"is_keep_alive\":false") },
        { "close in a list", GET("Connection: x ,, Close\r\n"), 0, SPAN("\"is_keep_alive\":false") },
        { "close in a second line",
          GET("Connection: keep-alive\r\nConnection: close\r\n"), 0, SPAN("\"is_keep_alive\":false") },
        { "close within a word", GET("Connection: closed\r\n"), 0, SPAN("\"is_keep_alive\":true") },
        { "1.0 goes", SPAN("GET / HTTP/1.0\r\n\r\n"), 0, SPAN("\"is_keep_alive\":false") },
        { "1.0 asks", SPAN("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), 0, SPAN("\"is_keep_alive\":true") },
        { "not tokens", GET("Connection: a b\r\n"), 400, SPAN("list of tokens") },
        { "threat 53, expects", GET("Expect: 100-Continue\r\n"), 0, SPAN("\"expects_continue\":true") },
        { "expects, 1.0",
          SPAN("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"), 0, SPAN("\"expects_continue\":false") },
        { "expects the unknown", GET("Expect: 200-ok\r\n"), 417, SPAN("") },
        { "expects nothing", GET("Expect:\r\n"), 417, SPAN("") },
        { "expects more", GET("Expect: 100-continue, x\r\n"), 417, SPAN("") },
        { "websocket",
          WEBSOCKET("GET / HTTP/1.1", "Connection: keep-alive, Upgrade\r\n"), 0, SPAN("\"is_websocket\":true") },
        { "websocket among others",
          GET("Upgrade: h2c, WebSocket\r\nConnection: upgrade\r\n"), 0, SPAN("\"is_websocket\":true") },
        { "websocket, no Connection", WEBSOCKET("GET / HTTP/1.1", ""), 0, SPAN("\"is_websocket\":false") },
        { "websocket, POST",
          WEBSOCKET("POST / HTTP/1.1", "Connection: Upgrade\r\n"), 0, SPAN("\"is_websocket\":false") },
        { "websocket, 1.0", WEBSOCKET("GET / HTTP/1.0", "Connection: Upgrade\r\n"), 0, SPAN("\"is_websocket\":false") },
        { "websocket, body",
          WEBSOCKET("GET / HTTP/1.1", "Connection: Upgrade\r\nContent-Length: 1\r\n"), 0,
          SPAN("\"is_websocket\":false") },
        { "another upgrade", GET("Upgrade: h2c\r\nConnection: upgrade\r\n"), 0, SPAN("\"is_websocket\":false") },
    };
#undef WEBSOCKET
    expect_rows(rows, COUNT(rows));
}

/* --- framing ------------------------------------------------------------------------------------------------------ */

static void threat_47_48_lengths_and_codings(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "body", LENGTH(" 5"), 0, SPAN("\"body\":\"abcde\",\"is_whole\":true") },
        { "zeros before", LENGTH(" 005"), 0, SPAN("\"body\":\"abcde\",\"is_whole\":true") },
        { "body cut off", LENGTH(" 6"), 0, SPAN("\"body\":\"abcde\",\"is_whole\":false") },
        { "the most", LENGTH(" 18446744073709551615"), 0, SPAN("\"length\":18446744073709551615") },
        { "2^64", LENGTH(" 18446744073709551616"), 400, SPAN("not a number") },
        { "+5", LENGTH(" +5"), 400, SPAN("not a number") },
        { "-5", LENGTH(" -5"), 400, SPAN("not a number") },
        { "5,5", LENGTH(" 5,5"), 400, SPAN("not a number") },
        { "5 5", LENGTH(" 5 5"), 400, SPAN("not a number") },
        { "0x5", LENGTH(" 0x5"), 400, SPAN("not a number") },
        { "5.0", LENGTH(" 5.0"), 400, SPAN("not a number") },
        { "empty", LENGTH(""), 400, SPAN("not a number") },
        { "twice", LENGTH(" 5\r\nContent-Length: 6"), 400, SPAN("repeated") },
        { "twice the same", LENGTH(" 5\r\ncontent-length: 5"), 400, SPAN("repeated") },
        { "both", LENGTH(" 5\r\nTransfer-Encoding: chunked"), 400, SPAN("beside Content-Length") },
        { "both the other way", CODING(" chunked\r\nContent-Length: 5"), 400, SPAN("beside Content-Length") },
        { "both, length 0", CODING(" chunked\r\nContent-Length: 0"), 400, SPAN("beside Content-Length") },
        { "chunked", CODING(" chunked"), 0, SPAN("\"is_chunked\":true") },
        { "CHUNKED", CODING(" CHUNKED"), 0, SPAN("\"is_chunked\":true") },
        { "xchunked", CODING(" xchunked"), 400, SPAN("does not end with chunked") },
        { "identity", CODING(" identity"), 400, SPAN("does not end with chunked") },
        { "chunked, identity", CODING(" chunked, identity"), 400, SPAN("does not end with chunked") },
        { "chunked twice", CODING(" chunked, chunked"), 400, SPAN("malformed") },
        { "chunked in two lines", CODING(" chunked\r\nTransfer-Encoding: chunked"), 400, SPAN("repeated") },
        { "codings in two lines", CODING(" gzip\r\nTransfer-Encoding: chunked"), 400, SPAN("does not end") },
        { "gzip, chunked", CODING(" gzip, chunked"), 501, SPAN("coding not known") },
        { "empty element", CODING(" , chunked"), 400, SPAN("malformed") },
        { "empty last element", CODING(" chunked,"), 400, SPAN("does not end") },
        { "empty", CODING(""), 400, SPAN("does not end") },
        { "quoted", CODING(" \"chunked\""), 400, SPAN("does not end") },
        { "with a parameter", CODING(" chunked;q=1"), 400, SPAN("does not end") },
        { "vertical tab", CODING(" \vchunked"), 400, SPAN("control character") },
        { "HTTP/1.0", SPAN("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, SPAN("HTTP/1.0") },
    };
    expect_rows(rows, COUNT(rows));
}

static void threat_49_chunks(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { "two", CHUNKS("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), 0, SPAN("\"body\":\"abcde\",\"is_whole\":true") },
        { "hex in both cases",
          CHUNKS("a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n"), 0, SPAN("\"is_whole\":true") },
        { "highest decimal digit", CHUNKS("9\r\nabcdefghi\r\n0\r\n\r\n"), 0, SPAN("\"is_whole\":true") },
        { "16 digits", CHUNKS("0000000000000001\r\na\r\n0\r\n\r\n"), 0, SPAN("\"body\":\"a\",\"is_whole\":true") },
        { "several zeros end it too", CHUNKS("000\r\n\r\n"), 0, SPAN("\"is_whole\":true") },
        { "cut off", CHUNKS("5\r\nabc"), 0, SPAN("\"body\":\"abc\",\"is_whole\":false") },
        { "17 digits", CHUNKS("00000000000000001\r\na\r\n0\r\n\r\n"), 400, SPAN("too long") },
        { "17 digits, all zero", CHUNKS("00000000000000000\r\n\r\n"), 400, SPAN("too long") },
        { "0x5", CHUNKS("0x5\r\nabcde\r\n0\r\n\r\n"), 400, SPAN("not hexadecimal") },
        { "5_0", CHUNKS("5_0\r\n"), 400, SPAN("not hexadecimal") },
        { "space before", CHUNKS(" 5\r\nabcde\r\n0\r\n\r\n"), 400, SPAN("without a size") },
        { "space behind", CHUNKS("5 \r\nabcde\r\n0\r\n\r\n"), 400, SPAN("chunk extension") },
        { "+5", CHUNKS("+5\r\nabcde\r\n0\r\n\r\n"), 400, SPAN("without a size") },
        { "-5", CHUNKS("-5\r\nabcde\r\n0\r\n\r\n"), 400, SPAN("without a size") },
        { "no size", CHUNKS("\r\nabc"), 400, SPAN("without a size") },
        { "a letter beyond f", CHUNKS("g\r\n"), 400, SPAN("without a size") },
        { "bare LF behind a size", CHUNKS("1\na\r\n0\r\n\r\n"), 400, SPAN("not hexadecimal") },
        { "bare CR behind a size", CHUNKS("1\ra\r\n0\r\n\r\n"), 400, SPAN("CR LF") },
        { "bare LF behind data", CHUNKS("1\r\na\n0\r\n\r\n"), 400, SPAN("CR LF") },
        { "bare CR behind data", CHUNKS("1\r\na\r0\r\n\r\n"), 400, SPAN("CR LF") },
        { "data longer than said", CHUNKS("1\r\nab\r\n0\r\n\r\n"), 400, SPAN("CR LF") },
        { "bare LF at the end", CHUNKS("0\r\n\n"), 400, SPAN("without a name") },
        { "bare CR at the end", CHUNKS("0\r\n\rX"), 400, SPAN("CR LF") },
        { "extension", CHUNKS("1;a=\"b;c\"\r\na\r\n0;last\r\n\r\n"), 0, SPAN("\"body\":\"a\",\"is_whole\":true") },
        { "extension of 256", CHUNKS("1;" X64 X64 X64 X64 "\r\na\r\n0\r\n\r\n"), 0, SPAN("\"is_whole\":true") },
        { "extensions of 257", CHUNKS("1;" X64 X64 X64 X64 "\r\na\r\n1;x\r\n"), 400, SPAN("extensions too long") },
        { "bare LF in an extension", CHUNKS("1;a\nb\r\na\r\n0\r\n\r\n"), 400, SPAN("chunk extension") },
        { "NUL in an extension", CHUNKS("1;\0\r\na\r\n0\r\n\r\n"), 400, SPAN("chunk extension") },
        { "trailers are dropped",
          CHUNKS("0\r\nA: b\r\nContent-Length: 5\r\nHost: c\r\n\r\n"), 0,
          SPAN("\"length\":0,\"target\":\"/\",\"host\":\"a\"") },
        { "trailer with high bytes", CHUNKS("0\r\nA:\t\xff\r\n\r\n"), 0, SPAN("\"is_whole\":true") },
        { "trailer without a name", CHUNKS("0\r\n: b\r\n\r\n"), 400, SPAN("without a name") },
        { "trailer without a colon", CHUNKS("0\r\nA\r\n\r\n"), 400, SPAN("not a token") },
        { "trailer, space before the colon", CHUNKS("0\r\nA : b\r\n\r\n"), 400, SPAN("not a token") },
        { "trailer, obs-fold", CHUNKS("0\r\nA: b\r\n c\r\n\r\n"), 400, SPAN("without a name") },
        { "trailer, bare LF", CHUNKS("0\r\nA: b\n\r\n"), 400, SPAN("trailer field") },
        { "trailer, bare CR", CHUNKS("0\r\nA: b\rc\r\n\r\n"), 400, SPAN("CR LF") },
        { "trailer, NUL", CHUNKS("0\r\nA: \0\r\n\r\n"), 400, SPAN("trailer field") },
    };
    expect_rows(rows, COUNT(rows));
}

/* RFC 9112 7.1.1, as strictly as the rest of the framing. */
static void chunk_extensions(void **state)
{
    (void)state;
#define EXTRA(extra) CHUNKS("2" extra "\r\nab\r\n0" extra "\r\n\r\n")
    static const struct row rows[] = {
        { "a name", EXTRA(";a"), 0, SPAN("\"body\":\"ab\",\"is_whole\":true") },
        { "a value", EXTRA(";a=b"), 0, SPAN("\"is_whole\":true") },
        { "several", EXTRA(";a;b=c;d=\"e\";f"), 0, SPAN("\"is_whole\":true") },
        { "empty quotes", EXTRA(";a=\"\""), 0, SPAN("\"is_whole\":true") },
        { "any mark in quotes", EXTRA(";a=\"b;c=d, \t(e) \\\" \\\\ \\x\""), 0, SPAN("\"is_whole\":true") },
        { "bad white space is to be read", EXTRA(" \t; \ta \t= \tb \t; c"), 0, SPAN("\"is_whole\":true") },
        { "no name", EXTRA(";"), 400, SPAN("chunk extension") },
        { "white space for a name", EXTRA("; "), 400, SPAN("chunk extension") },
        { "no second name", EXTRA(";a;"), 400, SPAN("chunk extension") },
        { "two semicolons", EXTRA(";;a"), 400, SPAN("chunk extension") },
        { "a value without a name", EXTRA(";=\"b"), 400, SPAN("chunk extension") },
        { "no value", EXTRA(";a="), 400, SPAN("chunk extension") },
        { "white space for a value", EXTRA(";a= "), 400, SPAN("chunk extension") },
        { "open quotes", EXTRA(";a=\"b"), 400, SPAN("chunk extension") },
        { "open behind a backslash", EXTRA(";a=\"b\\\""), 400, SPAN("chunk extension") },
        { "a letter behind the quotes", EXTRA(";a=\"b\"c"), 400, SPAN("chunk extension") },
        { "quotes within a value", EXTRA(";a=b\"c\""), 400, SPAN("chunk extension") },
        { "quotes for a name", EXTRA(";\"a\""), 400, SPAN("chunk extension") },
        { "white space at the end of a name", EXTRA(";a "), 400, SPAN("chunk extension") },
        { "white space at the end of a value", EXTRA(";a=b "), 400, SPAN("chunk extension") },
        { "two values", EXTRA(";a=b=c"), 400, SPAN("chunk extension") },
        { "two words", EXTRA(";a b"), 400, SPAN("chunk extension") },
        { "a mark that no token has", EXTRA(";a/b"), 400, SPAN("chunk extension") },
        { "a high byte in a name", EXTRA(";\x80"), 400, SPAN("chunk extension") },
        { "a high byte in a value", EXTRA(";a=\xff"), 400, SPAN("chunk extension") },
        { "a high byte in quotes", EXTRA(";a=\"\xc3\xa9\""), 400, SPAN("chunk extension") },
        { "a high byte behind a backslash", EXTRA(";a=\"\\\x80\""), 400, SPAN("chunk extension") },
        { "DEL in quotes", EXTRA(";a=\"\x7f\""), 400, SPAN("chunk extension") },
        { "a line end in quotes", EXTRA(";a=\"\r\n\""), 400, SPAN("chunk extension") },
        { "a line end behind a backslash", EXTRA(";a=\"\\\r\n\""), 400, SPAN("chunk extension") },
        { "a bare CR", EXTRA(";a\rb"), 400, SPAN("CR LF") },
    };
#undef EXTRA
    expect_rows(rows, COUNT(rows));
}

static void fields_that_have_one_value_stand_once(void **state)
{
    (void)state;
#define TWICE(name, one, other) GET(name ": " one "\r\nX: y\r\n" name ": " other "\r\n"), 400, SPAN(name " repeated")
    static const struct row rows[] = {
        { "two origins", TWICE("Origin", "http://a", "http://b") },
        { "equal ones too", TWICE("Origin", "http://a", "http://a") },
        { "another letter case", GET("origin: http://a\r\nORIGIN: null\r\n"), 400, SPAN("Origin repeated") },
        { "two empty ones", TWICE("Origin", "", "") },
        { "two media types", TWICE("Content-Type", "text/plain", "text/html") },
        { "two credentials", TWICE("Authorization", "Bearer a", "Basic b") },
        { "two places", TWICE("Last-Event-ID", "1", "2") },
        { "two events", TWICE("Longwire-Event", "a", "b") },
        { "two keys", TWICE("Idempotency-Key", "1", "2") },
        { "two methods to come", TWICE("Access-Control-Request-Method", "GET", "POST") },
        { "lists go on in a second line", GET("Accept: a\r\nAccept: b\r\n"), 0, SPAN("\"is_whole\":true") },
    };
#undef TWICE
    expect_rows(rows, COUNT(rows));
}

static void expect_sender(struct span input, const char *host, const char *origin)
{
    struct request_head head;

    h1_read_sender(input, &head);
    struct span got = request_field(&head, SPAN("origin"));
    if (!span_eq(head.host, span_str(host)) || (got.at == NULL) != (origin == NULL) ||
        (origin != NULL && !span_eq(got, span_str(origin))))
        fail_msg("%.*s: host %.*s, origin %.*s", SPAN_ARG(input), SPAN_ARG(head.host), SPAN_ARG(got));
}

static void who_sends_a_faulty_head_can_be_read(void **state)
{
    (void)state;
    static const struct { struct span input; const char *host, *origin; } rows[] = {
        { GET("Origin: http://b\r\nExpect: what\r\n"), "a", "http://b" },
        { GET("Expect: what\r\norigin:http://b \r\n"), "a", "http://b" },
        { SPAN("\r\nGET / HTTP/9.9\r\nOrigin: http://b\r\nHost: a:1"), "", "http://b" },  /* the line goes on */
        { SPAN("GET / HTTP/1.1\r\n"), "", NULL },
        { SPAN("GET / HTTP/1.1"), "", NULL },
        { SPAN(""), "", NULL },
        { SPAN("Origin: http://b\r\nHost: a\r\n\r\n"), "a", NULL },              /* this line is the request's */
        { GET("Origin: http://b\r\nOrigin: http://b\r\n"), "a", NULL },
        { GET("Host: b\r\nOrigin: http://b\r\n"), "", "http://b" },
        { SPAN("GET / HTTP/1.1\r\nHost: a@b\r\nOrigin: c\r\n\r\n"), "", "c" },
        { GET("Origin: http://b\rc\r\n"), "a", NULL },
        { GET("Origin : http://b\r\n"), "a", NULL },
        { GET("Origin\r\n"), "a", NULL },
        { GET("X-Origin: http://b\r\n"), "a", NULL },
        { GET("Origin:\r\n"), "a", "" },
        { GET("\r\nOrigin: http://b\r\n"), "a", NULL },                          /* this is its body */
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        expect_sender(rows[i].input, rows[i].host, rows[i].origin);
}

static void a_chunk_says_at_once_how_long_it_is(void **state)
{
    (void)state;
    static const struct { struct span wire; uint64_t announced; } rows[] = {
        { CHUNKS("ffffffff"), 0 },  /* more digits may come */
        { CHUNKS("ffffffff\r"), 0 },
        { CHUNKS("ffffffff\r\n"), 0xffffffff },
        { CHUNKS("ffffffff;a=b\r\n"), 0xffffffff },
        { CHUNKS("5\r\nab"), 3 },
        { CHUNKS("2\r\nab"), 0 },
        { LENGTH("9"), 4 },
        { LENGTH("5"), 0 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct span    rest = rows[i].wire, body;
        struct h1_head head;
        struct h1      h1;
        size_t         used;

        h1_init(&h1, &usual);
        for (enum h1_event event = H1_HEAD_DONE; event != H1_MORE; rest = span_skip(rest, used)) {
            event = h1_feed(&h1, rest, &head, &used, &body);
            assert_int_not_equal(event, H1_FAULT);
        }
        assert_int_equal(h1_announced(&h1), rows[i].announced);
    }
}

/* One request must never be seen as two, nor two as one: the requests that are told are counted. */
static void threat_47_53_requests_follow_one_another(void **state)
{
    (void)state;
    static const struct { const char *name; struct span wire; unsigned count; } rows[] = {
        { "pipelined", SPAN("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"), 2 },
        { "behind a body",
          SPAN("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"), 2 },
        { "behind chunks", CHUNKS("1\r\na\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"), 2 },
        { "behind a trailer", CHUNKS("0\r\nA: b\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"), 2 },
        { "empty line behind a body",
          SPAN("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"), 2 },
        { "a request within a body",
          SPAN("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\nGET /2 HTTP/1.1\r\nHost: evil\r\n\r\n"), 1 },
        { "a request within a chunk", CHUNKS("1f\r\nGET /2 HTTP/1.1\r\nHost: evil\r\n\r\n\r\n0\r\n\r\n"), 1 },
        { "a GET with a body",
          SPAN("GET /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\nGET /2 HTTP/1.1\r\nHost: evil\r\n\r\n"), 1 },
        { "a trailer is no head",
          CHUNKS("0\r\nTransfer-Encoding: chunked\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"), 2 },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf transcript;
        unsigned   count = 0;
        if (!laws_hold(rows[i].wire, h1_transcript, (void *)&usual, 50, &transcript))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&transcript)));
        buf_putc(&transcript, '\0');
        for (const char *at = transcript.at; (at = strstr(at, "\"is_whole\":true")) != NULL; at++)
            count++;
        if (count != rows[i].count || strstr(transcript.at, "\"fault\":0,") == NULL)
            fail_msg("%s: %u requests in %s", rows[i].name, count, transcript.at);
        buf_fini(&transcript);
    }
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

/* `count` fields more than Host. */
static void put_fields(struct buf *wire, size_t count)
{
    buf_put_lit(wire, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (size_t i = 0; i < count; i++)
        buf_put_lit(wire, "A: b\r\n");
    buf_put_lit(wire, "\r\n");
}

static void put_request(struct buf *wire, struct span method, size_t len)
{
    buf_put(wire, method);
    buf_put_lit(wire, " /");
    for (size_t i = 1; i < len; i++)
        buf_putc(wire, 'a');
    buf_put_lit(wire, " HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void put_target(struct buf *wire, size_t len)
{
    put_request(wire, SPAN("GET"), len);
}

/* Nothing in its line could be longer. */
static void put_target_and_method(struct buf *wire, size_t len)
{
    put_request(wire, SPAN("ABCDEFGHIJKLMNOP"), len);
}

/* A head of `len` bytes. */
static void put_head(struct buf *wire, size_t len)
{
    buf_put_lit(wire, "GET / HTTP/1.1\r\nHost: a\r\nA: ");
    while (wire->len + 4 < len)
        buf_putc(wire, 'b');
    buf_put_lit(wire, "\r\n\r\n");
}

static void put_trailers(struct buf *wire, size_t count)
{
    buf_put(wire, CHUNKS("0\r\n"));
    for (size_t i = 0; i < count; i++)
        buf_put_lit(wire, "A: b\r\n");
    buf_put_lit(wire, "\r\n");
}

/* The end of the head never comes. */
static void put_endless(struct buf *wire, size_t len)
{
    buf_put_lit(wire, "GET / HTTP/1.1\r\n");
    while (wire->len < len)
        buf_put_lit(wire, "A: bcde\r\n");
}

static void put_endless_line(struct buf *wire, size_t len)
{
    buf_put_lit(wire, "GET /");
    while (wire->len < len)
        buf_putc(wire, 'a');
}

static void threat_51_every_limit_has_its_answer(void **state)
{
    (void)state;
    static const struct h1_limits small = { .target_bytes_max = 100, .head_bytes_max = 600 };
    static const struct {
        const char *name;
        void      (*put)(struct buf *wire, size_t size);
        size_t      size;
        unsigned    status;
        struct span reason;
    } rows[] = {
        { "as many fields as may be", put_fields, REQUEST_FIELDS_MAX - 1, 0, SPAN("") },
        { "one more", put_fields, REQUEST_FIELDS_MAX, 431, SPAN("64 fields") },
        { "longest target", put_target, 100, 0, SPAN("") },
        { "longest method too", put_target_and_method, 100, 0, SPAN("") },
        { "one byte more", put_target, 101, 414, SPAN("request_target_bytes_max") },
        { "line too long for any target", put_target, 120, 414, SPAN("request_target_bytes_max") },
        { "endless request line", put_endless_line, 600, 414, SPAN("request_target_bytes_max") },
        { "longest head", put_head, 600, 0, SPAN("") },
        { "one byte more", put_head, 601, 431, SPAN("request_head_bytes_max") },
        { "endless head", put_endless, 700, 431, SPAN("request_head_bytes_max") },
        { "as many trailers as may be", put_trailers, REQUEST_FIELDS_MAX, 0, SPAN("") },
        { "one more", put_trailers, REQUEST_FIELDS_MAX + 1, 431, SPAN("64 trailer fields") },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf wire;
        buf_init(&wire, 4096);
        rows[i].put(&wire, rows[i].size);
        expect_row(&(struct row){ rows[i].name, buf_span(&wire), rows[i].status, rows[i].reason }, &small);
        buf_fini(&wire);
    }
}

static void a_trailer_section_has_the_limit_of_a_head(void **state)
{
    (void)state;
    static const struct h1_limits small = { .target_bytes_max = 10, .head_bytes_max = 80 };
    static const struct row       rows[] = {
        { "fits", CHUNKS("0\r\nA: 123456789" X64 "\r\n\r\n"), 0, SPAN("") },
        { "is a byte too long", CHUNKS("0\r\nA: 1234567890" X64 "\r\n\r\n"), 431, SPAN("") },
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        expect_row(&rows[i], &small);
}

/* --- what is handed out ------------------------------------------------------------------------------------------- */

static void fields_are_found_by_name_in_any_case(void **state)
{
    (void)state;
    struct span    wire = GET("Accept: x\r\nEmpty:\r\naccept: y\r\n"), body;
    struct h1_head head;
    struct h1      h1;
    size_t         used;

    h1_init(&h1, &usual);
    assert_int_equal(h1_feed(&h1, wire, &head, &used, &body), H1_HEAD_DONE);
    assert_int_equal(used, wire.len);
    assert_true(span_eq(request_field(&head.request, SPAN("ACCEPT")), SPAN("x")));
    assert_int_equal(request_field(&head.request, SPAN("empty")).len, 0);
    assert_non_null(request_field(&head.request, SPAN("empty")).at);
    assert_null(request_field(&head.request, SPAN("absent")).at);
    assert_int_equal(h1_feed(&h1, (struct span){ 0 }, &head, &used, &body), H1_END);
    assert_int_equal(h1_feed(&h1, (struct span){ 0 }, &head, &used, &body), H1_MORE);
}

static void every_status_has_its_text(void **state)
{
    (void)state;
    static const unsigned known[] = { 100, 101, 200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 406, 408, 409, 411,
                                      413, 414, 415, 417, 421, 422, 426, 428, 429, 431, 500, 501, 503, 505, 507 };
    for (size_t i = 0; i < COUNT(known); i++)
        assert_string_not_equal(h1_status_text(known[i]), "Unknown");
    assert_string_equal(h1_status_text(507), "Insufficient Storage");
    assert_string_equal(h1_status_text(999), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(request_lines),
        cmocka_unit_test(targets),
        cmocka_unit_test(threat_50_hosts),
        cmocka_unit_test(threat_49_lines_and_fields),
        cmocka_unit_test(what_the_client_would_like),
        cmocka_unit_test(threat_47_48_lengths_and_codings),
        cmocka_unit_test(threat_49_chunks),
        cmocka_unit_test(chunk_extensions),
        cmocka_unit_test(fields_that_have_one_value_stand_once),
        cmocka_unit_test(who_sends_a_faulty_head_can_be_read),
        cmocka_unit_test(a_chunk_says_at_once_how_long_it_is),
        cmocka_unit_test(threat_47_53_requests_follow_one_another),
        cmocka_unit_test(threat_51_every_limit_has_its_answer),
        cmocka_unit_test(a_trailer_section_has_the_limit_of_a_head),
        cmocka_unit_test(fields_are_found_by_name_in_any_case),
        cmocka_unit_test(every_status_has_its_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
