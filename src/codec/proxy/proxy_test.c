/* The PROXY protocol: a table of headers and of what is none, and the laws of all codecs. */
#include "codec/proxy/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/laws.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define TWELVE "\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb"
#define SIXTEEN_A "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07"
#define SIXTEEN_B "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define A36 "0123456789abcdef0123456789abcdef0123"
#define A216 A36 A36 A36 A36 A36 A36

/* `client`: its text, "-" for unknown. NULL: a fault. */
static const struct row { const char *name; struct span wire; const char *client; } rows[] = {
    { "1, IPv4", SPAN("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"), "192.0.2.7" },
    { "1, IPv6", SPAN("PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n"), "2001:db8::7" },
    { "1, longest", SPAN("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
    { "1, IPv4 in IPv6", SPAN("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 1 2\r\n"), "192.0.2.7" },
    { "1, unknown", SPAN("PROXY UNKNOWN\r\n"), "-" },
    { "1, unknown with more",
      SPAN("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"), "-" },
    { "1, ports of 0", SPAN("PROXY TCP4 192.0.2.7 198.51.100.1 0 0\r\n"), "192.0.2.7" },
    { "1, a bare LF", SPAN("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n"), NULL },
    { "1, nothing but the word", SPAN("PROXY \r\n"), NULL },
    { "1, unknown and a letter", SPAN("PROXY UNKNOWNX\r\n"), NULL },
    { "1, small letters", SPAN("proxy tcp4 192.0.2.7 198.51.100.1 56324 443\r\n"), NULL },
    { "1, UDP4", SPAN("PROXY UDP4 192.0.2.7 198.51.100.1 56324 443\r\n"), NULL },
    { "1, IPv6 as TCP4", SPAN("PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n"), NULL },
    { "1, IPv4 as TCP6", SPAN("PROXY TCP6 192.0.2.7 198.51.100.1 56324 443\r\n"), NULL },
    { "1, two spaces", SPAN("PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n"), NULL },
    { "1, a space at the end", SPAN("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n"), NULL },
    { "1, no ports", SPAN("PROXY TCP4 192.0.2.7 198.51.100.1\r\n"), NULL },
    { "1, a port too high", SPAN("PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n"), NULL },
    { "1, a leading zero", SPAN("PROXY TCP4 192.0.2.7 198.51.100.1 056 443\r\n"), NULL },
    { "1, zeroes in an address", SPAN("PROXY TCP4 192.0.02.7 198.51.100.1 56 443\r\n"), NULL },
    { "1, a bad address", SPAN("PROXY TCP4 192.0.2.256 198.51.100.1 56 443\r\n"), NULL },
    { "1, a NUL", SPAN("PROXY TCP4 192.0.2.7\0 198.51.100.1 56 443\r\n"), NULL },
    { "1, no end",
      SPAN("PROXY UNKNOWN aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), NULL },
    { "2, IPv4", SPAN(V2 "\x21\x11\0\x0c" TWELVE), "192.0.2.7" },
    { "2, IPv6", SPAN(V2 "\x21\x21\0\x24" SIXTEEN_A SIXTEEN_B "\xdc\x04\x01\xbb"), "2001:db8::7" },
    { "2, IPv4 and TLVs", SPAN(V2 "\x21\x11\0\x14" TWELVE "\x04\0\x05" "noopX"), "192.0.2.7" },
    { "2, TLVs that lie about their length", SPAN(V2 "\x21\x11\0\x0f" TWELVE "\x04\xff\xff"), "192.0.2.7" },
    { "2, LOCAL", SPAN(V2 "\x20\0\0\0"), "-" },
    { "2, LOCAL with addresses", SPAN(V2 "\x20\x11\0\x0c" TWELVE), "-" },
    { "2, UNSPEC", SPAN(V2 "\x21\0\0\x03" "abc"), "-" },
    { "2, UNIX", SPAN(V2 "\x21\x31\0\xd8" A216), "-" },
    { "2, UDP", SPAN(V2 "\x21\x12\0\x0c" TWELVE), "-" },
    { "2, from ::", SPAN(V2 "\x21\x21\0\x24" "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" SIXTEEN_B "\xdc\x04\x01\xbb"), "-" },
    { "2, too short for IPv4", SPAN(V2 "\x21\x11\0\x0b" TWELVE), NULL },
    { "2, too short for IPv6", SPAN(V2 "\x21\x21\0\x23" A36), NULL },
    { "2, too short for UNIX", SPAN(V2 "\x21\x31\0\xd7" A216), NULL },
    { "2, longer than 4096", SPAN(V2 "\x21\x11\x0f\xf1"), NULL },
    { "2, version 1", SPAN(V2 "\x11\x11\0\x0c" TWELVE), NULL },
    { "2, version 3", SPAN(V2 "\x31\x11\0\x0c" TWELVE), NULL },
    { "2, an unknown command", SPAN(V2 "\x22\x11\0\x0c" TWELVE), NULL },
    { "2, an unknown family", SPAN(V2 "\x21\x41\0\x0c" TWELVE), NULL },
    { "2, an unknown kind of socket", SPAN(V2 "\x21\x13\0\x0c" TWELVE), NULL },
    { "HTTP", SPAN("GET / HTTP/1.1\r\n"), NULL },
    { "HTTP that begins alike", SPAN("POST / HTTP/1.1\r\n"), NULL },
    { "TLS", SPAN("\x16\x03\x01\x02\0"), NULL },
    { "empty lines", SPAN("\r\n\r\n\r\n"), NULL },
};

static void put_told(struct buf *out, enum proxy_verdict verdict, const struct proxy_header *header)
{
    if (verdict == PROXY_FAULT) {
        buf_putf(out, "fault: %s\n", header->fault);
    } else {
        buf_putf(out, "%zu bytes, client ", header->len);
        ip_put(&header->client, out);
        buf_put_lit(out, "\n");
    }
}

/* The reader is given all that has come, as its user does it. */
static void tell(struct cuts *cuts, void *context, struct buf *transcript)
{
    enum proxy_verdict  verdict = PROXY_MORE;
    struct proxy_header header  = { 0 };
    struct span         input   = SPAN("");

    (void)context;
    while (verdict == PROXY_MORE && cuts_next(cuts, input.len, &input))
        verdict = proxy_read(input, &header);
    if (verdict == PROXY_MORE)
        buf_put_lit(transcript, "more\n");
    else
        put_told(transcript, verdict, &header);
}

static void headers_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct proxy_header header  = { 0 };
        enum proxy_verdict  verdict = proxy_read(rows[i].wire, &header);
        struct buf          client;

        buf_init(&client, IP_TEXT_BYTES_MAX);
        ip_put(&header.client, &client);
        struct span got = client.len > 0 ? buf_span(&client) : SPAN("-");
        if (verdict != (rows[i].client == NULL ? PROXY_FAULT : PROXY_DONE))
            fail_msg("%s: %d %s", rows[i].name, verdict, header.fault);
        if (verdict == PROXY_DONE && (header.len != rows[i].wire.len || !span_eq(got, span_str(rows[i].client))))
            fail_msg("%s: %zu, %.*s", rows[i].name, header.len, SPAN_ARG(got));
        buf_fini(&client);
    }
}

static void no_cut_changes_the_transcript(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf wire, transcript;

        buf_init(&wire, 8192);
        buf_put(&wire, rows[i].wire);
        if (rows[i].client != NULL)
            buf_put_lit(&wire, "GET / HTTP/1.1\r\n\r\n");  /* the client's bytes are left alone */
        if (!laws_hold(buf_span(&wire), tell, NULL, 20, &transcript))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&transcript)));
        buf_fini(&transcript);
        buf_fini(&wire);
    }
}

static void the_longest_is_4096_bytes(void **state)
{
    static char         wire[4096 + 1] = V2 "\x21\x11\x0f\xf0" TWELVE;
    struct proxy_header header;

    (void)state;
    assert_int_equal(proxy_read(span_of(wire, 4095), &header), PROXY_MORE);
    assert_int_equal(proxy_read(span_of(wire, 4097), &header), PROXY_DONE);
    assert_int_equal(header.len, PROXY_HEADER_BYTES_MAX);
}

static void beginnings_are_known(void **state)
{
    (void)state;
    assert_true(proxy_is_begun(SPAN("PROXY TCP4")));
    assert_true(proxy_is_begun(SPAN(V2)));
    assert_false(proxy_is_begun(SPAN("PROXY")));
    assert_false(proxy_is_begun(SPAN("GET / HTTP/1.1")));
    assert_false(proxy_is_begun(SPAN("\r\n\r\n")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_read),
        cmocka_unit_test(no_cut_changes_the_transcript),
        cmocka_unit_test(the_longest_is_4096_bytes),
        cmocka_unit_test(beginnings_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
