/* RFC 6455 as tables: every rule with the byte at which it is broken, Autobahn's sections 1 to 7 and 9 in our words,
 * and the law that no cut of the bytes changes the run (lib/laws.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/rng.h"
#include "lib/ws_transcript.h"

#include <cmocka.h>

enum { FIN = 0x80, WIRE_BYTES_MAX = 1 << 20, MESSAGE_BYTES_MAX = 70000, FRAGMENTS_MAX = 8, RANDOM_CUTS = 20 };

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* --- the client's side --- */

/* Puts a frame as a client does: our own head with the mask bit set, a key, and the payload masked byte by byte. */
static void client_put(struct buf *wire, uint8_t first, struct span payload, uint32_t mask)
{
    char   head[WS_HEAD_BYTES_MAX];
    char   key[4] = { (char)mask, (char)(mask >> 8), (char)(mask >> 16), (char)(mask >> 24) };
    size_t len    = ws_put_head(head, WS_TEXT, payload.len);

    head[0] = (char)first;
    head[1] = (char)(head[1] | 0x80);
    buf_put(wire, span_of(head, len));
    buf_put(wire, span_of(key, sizeof key));
    for (size_t i = 0; i < payload.len; i++)
        buf_putc(wire, (char)(payload.at[i] ^ key[i % 4]));
    assert_false(buf_is_over(wire));
}

static struct ws_transcript_limits usual_limits = { MESSAGE_BYTES_MAX, FRAGMENTS_MAX };

/* Whole, cut in two anywhere, byte by byte and cut at random. */
static void expect_for_every_cut(const char *name, struct span wire, struct ws_transcript_limits limits,
                                 struct span want)
{
    struct buf transcript;

    if (!laws_hold(wire, ws_transcript, &limits, RANDOM_CUTS, &transcript) || !span_eq(buf_span(&transcript), want))
        fail_msg("%s: %.*s instead of %.*s", name, SPAN_ARG(buf_span(&transcript)), SPAN_ARG(want));
    buf_fini(&transcript);
}

/* Feeds bytes one at a time, as long as all is well; returns how many were fed. *ret_code: the fault's, or 0. */
static size_t feed_until_fault(struct ws *ws, struct span wire, uint16_t *ret_code)
{
    *ret_code = 0;
    for (size_t i = 0; i < wire.len; i++) {
        char            byte = wire.at[i];
        struct ws_piece piece;
        size_t          used;
        if (ws_feed(ws, &byte, 1, &used, &piece) == WS_FAULT) {
            *ret_code = piece.code;
            return i + 1;
        }
        assert_int_equal(used, 1);
    }
    return wire.len;
}

/* --- rules of the head, threat 73: told at the very byte that breaks them, here the last of each row --- */

static void a_head_that_breaks_a_rule_is_a_fault_at_that_byte(void **state)
{
    (void)state;
    static const struct { const char *name; struct span wire; uint16_t want; } rows[] = {
        { "5.1 text not masked",              SPAN("\x81\x02"),                         1002 },
        { "5.1 ping not masked",              SPAN("\x89\x00"),                         1002 },
        { "5.1 not masked, long length",      SPAN("\x82\x7f"),                         1002 },
        { "5.2 RSV1",                         SPAN("\xc1"),                             1002 },
        { "5.2 RSV2",                         SPAN("\xa1"),                             1002 },
        { "5.2 RSV3",                         SPAN("\x91"),                             1002 },
        { "5.2 RSV1 on a ping",               SPAN("\xc9"),                             1002 },
        { "5.2 opcode 3",                     SPAN("\x83"),                             1002 },
        { "5.2 opcode 11",                    SPAN("\x8b"),                             1002 },
        { "5.5 ping without FIN",             SPAN("\x09"),                             1002 },
        { "5.5 close without FIN",            SPAN("\x08"),                             1002 },
        { "5.5 ping of 126",                  SPAN("\x89\xfe"),                         1002 },
        { "5.5 close, 64-bit length",         SPAN("\x88\xff"),                         1002 },
        { "5.4 continuation of nothing",      SPAN("\x80"),                             1002 },
        { "5.4 the same without FIN",         SPAN("\x00"),                             1002 },
        { "5.2 126 where 5 fits",             SPAN("\x82\xfe\x00\x05"),                 1002 },
        { "5.2 126 where 125 fits",           SPAN("\x82\xfe\x00\x7d"),                 1002 },
        { "5.2 127 where 5 fits",             SPAN("\x82\xff\0\0\0\0\0\0\0\x05"),       1002 },
        { "5.2 127 where 65535 fits",         SPAN("\x82\xff\0\0\0\0\0\0\xff\xff"),     1002 },
        { "5.2 length 2^63",                  SPAN("\x82\xff\x80"),                     1002 },
        { "5.2 length 2^64-1",                SPAN("\x82\xff\xff"),                     1002 },
        { "10.4 one above the limit",         SPAN("\x82\xfe\x03\xe9"),                 1009 },
        { "10.4 64 KiB above the limit",      SPAN("\x82\xff\0\0\0\0\0\1\0\0"),         1009 },
        { "10.4 2^32: as soon as it shows",   SPAN("\x82\xff\0\0\0\1\0\0\0\0"),         1009 },
        { "10.4 2^62: as soon as it shows",   SPAN("\x82\xff\x40\0\0\0\0"),             1009 },
        { "10.4 2^63-1",                      SPAN("\x82\xff\x7f\xff\xff\xff\xff"),     1009 },
    };
    enum { LIMIT = 1000 };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct ws ws;
        uint16_t  code;
        ws_init(&ws, LIMIT, FRAGMENTS_MAX);
        size_t fed = feed_until_fault(&ws, rows[i].wire, &code);
        if (code != rows[i].want || fed != rows[i].wire.len)
            fail_msg("%s: %d after %zu bytes", rows[i].name, code, fed);
    }
}

static bool is_first_byte_allowed(unsigned byte)
{
    bool     is_fin = byte >= 0x80;
    unsigned opcode = byte & 0x0f;

    return (byte & 0x70) == 0 && (opcode == WS_TEXT || opcode == WS_BINARY ||
                                  (is_fin && opcode >= WS_CLOSE && opcode <= WS_PONG));
}

/* Autobahn 3.x and 4.x in full. */
static void every_first_byte_is_known_or_a_fault(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        struct ws ws;
        uint16_t  code;
        char      first = (char)byte;
        ws_init(&ws, MESSAGE_BYTES_MAX, FRAGMENTS_MAX);
        feed_until_fault(&ws, span_of(&first, 1), &code);
        if (code != (is_first_byte_allowed(byte) ? 0 : WS_CLOSE_PROTOCOL))
            fail_msg("first byte %02x: %d", byte, code);
    }
}

/* RFC 7692 6: RSV1 on the first frame of a message, and nowhere else. */
static void rsv1_stands_on_first_frames_where_it_was_agreed(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        struct ws ws;
        uint16_t  code;
        bool      is_data = (byte & 0x0f) == WS_TEXT || (byte & 0x0f) == WS_BINARY;
        char      first   = (char)byte;
        ws_init(&ws, 1000, FRAGMENTS_MAX);
        ws_allow_deflate(&ws);
        feed_until_fault(&ws, span_of(&first, 1), &code);
        if (code != (is_first_byte_allowed(is_data ? byte & ~(unsigned)WS_DEFLATED : byte) ? 0 : WS_CLOSE_PROTOCOL))
            fail_msg("first byte %02x: %d", byte, code);
    }
}

/* --- whole transcripts --- */

struct frame {
    uint8_t     first;
    struct span payload;
};

#define HUNDRED   "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
#define TEXT_125  HUNDRED "0123456789012345678901234"
#define REASON_123 HUNDRED "01234567890123456789012"

static void transcripts_are_the_same_for_every_cut(void **state)
{
    (void)state;
    static const struct { const char *name; struct frame frames[11]; const char *want; } rows[] = {
        { "1.1.1 empty text", { { FIN | WS_TEXT, SPAN("") } }, "text()" },
        { "1.2.1 empty binary", { { FIN | WS_BINARY, SPAN("") } }, "binary()" },
        { "text", { { FIN | WS_TEXT, SPAN("Hello") } }, "text(Hello)" },
        { "binary", { { FIN | WS_BINARY, SPAN("\0\xff\x80") } }, "binary(%00%ff%80)" },
        { "two messages", { { FIN | WS_TEXT, SPAN("a") }, { FIN | WS_BINARY, SPAN("b") } }, "text(a) binary(b)" },

        { "2.1 ping without payload", { { FIN | WS_PING, SPAN("") } }, "ping()" },
        { "2.3 ping, binary payload", { { FIN | WS_PING, SPAN("\0\xff\xfe") } }, "ping(%00%ff%fe)" },
        { "2.4 ping of 125", { { FIN | WS_PING, SPAN(TEXT_125) } }, "ping(" TEXT_125 ")" },
        { "2.7 pong nobody asked for", { { FIN | WS_PONG, SPAN("") } }, "pong()" },
        { "2.9 pong, then ping", { { FIN | WS_PONG, SPAN("x") }, { FIN | WS_PING, SPAN("y") } }, "pong(x) ping(y)" },

        { "5.3 two fragments", { { WS_TEXT, SPAN("frag") }, { FIN | WS_CONT, SPAN("ment") } }, "text(fragment)" },
        { "5.6 ping between them",
          { { WS_TEXT, SPAN("frag") }, { FIN | WS_PING, SPAN("p") }, { FIN | WS_CONT, SPAN("ment") } },
          "ping(p) text(fragment)" },
        { "5.1 ping in two fragments", { { WS_PING, SPAN("a") }, { FIN | WS_CONT, SPAN("b") } }, "fault(1002)" },
        { "5.9 continuation of nothing, then text",
          { { FIN | WS_CONT, SPAN("no") }, { FIN | WS_TEXT, SPAN("Hello") } }, "fault(1002)" },
        { "5.15 continuation after the end",
          { { WS_TEXT, SPAN("a") }, { FIN | WS_CONT, SPAN("b") }, { FIN | WS_CONT, SPAN("c") } },
          "text(ab) fault(1002)" },
        { "5.18 text inside a message", { { WS_TEXT, SPAN("a") }, { FIN | WS_TEXT, SPAN("b") } }, "fault(1002)" },
        { "binary inside a message", { { WS_TEXT, SPAN("a") }, { WS_BINARY, SPAN("b") } }, "fault(1002)" },
        { "5.19 five fragments, two pings",
          { { WS_TEXT, SPAN("1") }, { WS_CONT, SPAN("2") }, { FIN | WS_PING, SPAN("a") }, { WS_CONT, SPAN("3") },
            { WS_CONT, SPAN("4") }, { FIN | WS_PING, SPAN("b") }, { FIN | WS_CONT, SPAN("5") } },
          "ping(a) ping(b) text(12345)" },

        { "6.1.1 no text at all", { { FIN | WS_TEXT, SPAN("") } }, "text()" },
        { "6.1.2 three empty fragments",
          { { WS_TEXT, SPAN("") }, { WS_CONT, SPAN("") }, { FIN | WS_CONT, SPAN("") } }, "text()" },
        { "6.1.3 only the middle holds text",
          { { WS_TEXT, SPAN("") }, { WS_CONT, SPAN("middle") }, { FIN | WS_CONT, SPAN("") } }, "text(middle)" },
        { "6.2.1 UTF-8 in one frame", { { FIN | WS_TEXT, SPAN("\xc2\xb5@\xce\xba") } }, "text(%c2%b5%40%ce%ba)" },
        { "6.2.3 a character over three fragments",
          { { WS_TEXT, SPAN("\xe2") }, { WS_CONT, SPAN("\x82") }, { FIN | WS_CONT, SPAN("\xac") } },
          "text(%e2%82%ac)" },
        { "6.3.1 a surrogate", { { FIN | WS_TEXT, SPAN("ab\xed\xa0\x80ok") } }, "fault(1007)" },
        { "6.4.1 bad second fragment, third never needed",
          { { WS_TEXT, SPAN("\xce\xba") }, { WS_CONT, SPAN("\xf4\x90\x80\x80") }, { FIN | WS_CONT, SPAN("x") } },
          "fault(1007)" },
        { "6.x message ends inside a character", { { FIN | WS_TEXT, SPAN("\xe2\x82") } }, "fault(1007)" },
        { "6.x the same over an empty last fragment",
          { { WS_TEXT, SPAN("\xe2\x82") }, { FIN | WS_CONT, SPAN("") } }, "fault(1007)" },
        { "6.x overlong", { { FIN | WS_TEXT, SPAN("\xc0\xaf") } }, "fault(1007)" },
        { "6.x above U+10FFFF", { { FIN | WS_TEXT, SPAN("\xf4\x90\x80\x80") } }, "fault(1007)" },
        { "6.x noncharacters are characters", { { FIN | WS_TEXT, SPAN("\xef\xbf\xbf") } }, "text(%ef%bf%bf)" },
        { "no UTF-8 is no fault in binary", { { WS_BINARY, SPAN("\xff") }, { FIN | WS_CONT, SPAN("\xc0") } },
          "binary(%ff%c0)" },
        { "each message begins anew",
          { { FIN | WS_TEXT, SPAN("a") }, { FIN | WS_BINARY, SPAN("\xe2") }, { FIN | WS_TEXT, SPAN("b") } },
          "text(a) binary(%e2) text(b)" },

        { "7.1.1 text, then close", { { FIN | WS_TEXT, SPAN("a") }, { FIN | WS_CLOSE, SPAN("\x03\xe8") } },
          "text(a) close(1000,)" },
        { "7.1.3 ping after close", { { FIN | WS_CLOSE, SPAN("\x03\xe8") }, { FIN | WS_PING, SPAN("") } },
          "close(1000,)" },
        { "7.1.4 text after close", { { FIN | WS_CLOSE, SPAN("\x03\xe8") }, { FIN | WS_TEXT, SPAN("a") } },
          "close(1000,)" },
        { "7.1.5 close inside a message",
          { { WS_TEXT, SPAN("a") }, { FIN | WS_CLOSE, SPAN("") }, { FIN | WS_CONT, SPAN("b") } }, "close(1005,)" },
        { "7.1.2 two closes", { { FIN | WS_CLOSE, SPAN("") }, { FIN | WS_CLOSE, SPAN("") } }, "close(1005,)" },
        { "rubbish after close", { { FIN | WS_CLOSE, SPAN("") }, { 0x7f, SPAN("rubbish") } }, "close(1005,)" },
        { "rubbish after a fault", { { 0x7f, SPAN("rubbish") }, { 0x83, SPAN("more") } }, "fault(1002)" },
        { "7.3.1 close without body", { { FIN | WS_CLOSE, SPAN("") } }, "close(1005,)" },
        { "7.3.2 close of one byte", { { FIN | WS_CLOSE, SPAN("\x03") } }, "fault(1002)" },
        { "7.3.4 close with a reason", { { FIN | WS_CLOSE, SPAN("\x03\xe8Hello") } }, "close(1000,Hello)" },
        { "7.3.5 reason of 123", { { FIN | WS_CLOSE, SPAN("\x03\xe8" REASON_123) } }, "close(1000," REASON_123 ")" },
        { "7.5.1 reason not UTF-8", { { FIN | WS_CLOSE, SPAN("\x03\xe8\xc0\xaf") } }, "fault(1007)" },
        { "reason ends inside a character", { { FIN | WS_CLOSE, SPAN("\x03\xe8ok\xe2\x82") } }, "fault(1007)" },
        { "bad code before bad reason", { { FIN | WS_CLOSE, SPAN("\x03\xec\xff") } }, "fault(1002)" },

        { "as many fragments as allowed",
          { { WS_TEXT, SPAN("1") }, { WS_CONT, SPAN("2") }, { WS_CONT, SPAN("3") }, { WS_CONT, SPAN("4") },
            { WS_CONT, SPAN("5") }, { WS_CONT, SPAN("6") }, { WS_CONT, SPAN("7") }, { FIN | WS_CONT, SPAN("8") },
            { FIN | WS_TEXT, SPAN("next") } },
          "text(12345678) text(next)" },
        { "one fragment more, threat 72",
          { { WS_TEXT, SPAN("1") }, { WS_CONT, SPAN("2") }, { WS_CONT, SPAN("3") }, { WS_CONT, SPAN("4") },
            { WS_CONT, SPAN("5") }, { WS_CONT, SPAN("6") }, { WS_CONT, SPAN("7") }, { WS_CONT, SPAN("8") },
            { FIN | WS_CONT, SPAN("9") } },
          "fault(1008)" },
        { "pings are no fragments",
          { { WS_TEXT, SPAN("1") }, { WS_CONT, SPAN("2") }, { WS_CONT, SPAN("3") }, { WS_CONT, SPAN("4") },
            { WS_CONT, SPAN("5") }, { WS_CONT, SPAN("6") }, { WS_CONT, SPAN("7") }, { FIN | WS_PING, SPAN("") },
            { FIN | WS_CONT, SPAN("8") } },
          "ping() text(12345678)" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf wire;
        buf_init(&wire, WIRE_BYTES_MAX);
        for (size_t f = 0; rows[i].frames[f].payload.at != NULL; f++)
            client_put(&wire, rows[i].frames[f].first, rows[i].frames[f].payload, 0x37fa213du + (uint32_t)f);
        expect_for_every_cut(rows[i].name, buf_span(&wire), usual_limits, span_str(rows[i].want));
        buf_fini(&wire);
    }
}

/* Sections 1 and 9 (threat 72): the sizes at which the head changes its form, through our own encoder. */
static void compressed_messages_are_handed_on_as_they_came(void **state)
{
    (void)state;
    static const struct { const char *name; struct frame frames[3]; size_t count; struct span want; } rows[] = {
        { "whole", { { 0xc1, SPAN("\xff\x00") } }, 1, SPAN("deflated-text(%ff%00)") },
        { "binary", { { 0xc2, SPAN("ab") } }, 1, SPAN("deflated-binary(ab)") },
        { "empty", { { 0xc1, SPAN("") } }, 1, SPAN("deflated-text()") },
        { "fragments", { { 0x41, SPAN("\xff") }, { 0x89, SPAN("x") }, { 0x80, SPAN("\xfe") } }, 3,
          SPAN("ping(x) deflated-text(%ff%fe)") },
        { "the next one is plain", { { 0xc1, SPAN("\xff") }, { 0x81, SPAN("hi") } }, 2, SPAN("deflated-text(%ff) text(hi)") },
        { "plain text is still checked", { { 0xc1, SPAN("\xff") }, { 0x81, SPAN("\xff") } }, 2,
          SPAN("deflated-text(%ff) fault(1007)") },
        { "RSV1 on a continuation", { { 0x41, SPAN("a") }, { 0xc0, SPAN("b") } }, 2, SPAN("fault(1002)") },
        { "RSV1 on a close", { { 0xc8, SPAN("") } }, 1, SPAN("fault(1002)") },
    };
    struct ws_transcript_limits limits = { MESSAGE_BYTES_MAX, FRAGMENTS_MAX, .may_deflate = true };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf wire;
        buf_init(&wire, WIRE_BYTES_MAX);
        for (size_t f = 0; f < rows[i].count; f++)
            client_put(&wire, rows[i].frames[f].first, rows[i].frames[f].payload, 0x12345678);
        expect_for_every_cut(rows[i].name, buf_span(&wire), limits, rows[i].want);
        buf_fini(&wire);
    }
}

/* What can't be compressed becomes a little longer, and still is within the limit on messages. */
static void a_compressed_message_may_come_as_a_few_bytes_more(void **state)
{
    (void)state;
    static const struct { size_t len; uint16_t want; } rows[] = { { 1000, 0 }, { 1126, 0 }, { 1127, WS_CLOSE_TOO_BIG } };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct ws  ws;
        struct buf wire;
        uint16_t   code;
        char       payload[2000] = { 0 };
        buf_init(&wire, WIRE_BYTES_MAX);
        client_put(&wire, 0xc2, span_of(payload, rows[i].len), 1);
        ws_init(&ws, 1000, FRAGMENTS_MAX);
        ws_allow_deflate(&ws);
        feed_until_fault(&ws, buf_span(&wire), &code);
        assert_int_equal(code, rows[i].want);
        buf_fini(&wire);
    }
}

static void every_form_of_length_comes_through(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 7, 124, 125, 126, 127, 128, 200, 65535, 65536, MESSAGE_BYTES_MAX };
    static char         payload[MESSAGE_BYTES_MAX];

    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (char)('a' + i % 23);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct buf wire, want, transcript;
        int        size = (int)sizes[i];

        buf_init(&wire, WIRE_BYTES_MAX);
        buf_init(&want, WIRE_BYTES_MAX);
        buf_init(&transcript, WIRE_BYTES_MAX);
        client_put(&wire, FIN | WS_BINARY, span_of(payload, sizes[i]), 0x80ff017fu);
        client_put(&wire, FIN | WS_TEXT, span_of(payload, sizes[i]), 0);
        buf_putf(&want, "binary(%.*s) text(%.*s)", size, payload, size, payload);
        laws_tell(buf_span(&wire), ws_transcript, &usual_limits, &transcript);
        if (!span_eq(buf_span(&transcript), buf_span(&want)))
            fail_msg("%d bytes", size);
        buf_fini(&wire);
        buf_fini(&want);
        buf_fini(&transcript);
    }
}

/* Threat 72: the limit counts over fragments, and is known from the head. */
static void a_message_is_too_big_by_its_head(void **state)
{
    (void)state;
    static const struct { const char *name; struct frame before, last; uint64_t max; const char *want; } rows[] = {
        { "just fits", { WS_BINARY, SPAN("01234") }, { FIN | WS_CONT, SPAN("56789") }, 10, "binary(0123456789)" },
        { "one too many", { WS_BINARY, SPAN("01234") }, { FIN | WS_CONT, SPAN("56789a") }, 10, "fault(1009)" },
        { "counted anew", { FIN | WS_TEXT, SPAN("0123456789") }, { FIN | WS_TEXT, SPAN("a") }, 10,
          "text(0123456789) text(a)" },
        { "controls don't count", { WS_TEXT, SPAN("0123456789") }, { FIN | WS_PING, SPAN(TEXT_125) }, 10,
          "ping(" TEXT_125 ")" },
        { "nothing allowed but nothing", { WS_TEXT, SPAN("") }, { FIN | WS_CONT, SPAN("") }, 0, "text()" },
        { "nothing allowed", { WS_TEXT, SPAN("") }, { FIN | WS_CONT, SPAN("a") }, 0, "fault(1009)" },
        { "the highest limit", { WS_TEXT, SPAN("a") }, { FIN | WS_CONT, SPAN("b") }, UINT32_MAX, "text(ab)" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct ws_transcript_limits limits = { rows[i].max, FRAGMENTS_MAX };
        struct buf            wire, transcript;

        buf_init(&wire, WIRE_BYTES_MAX);
        client_put(&wire, rows[i].before.first, rows[i].before.payload, 1);
        client_put(&wire, rows[i].last.first, rows[i].last.payload, 2);
        expect_for_every_cut(rows[i].name, buf_span(&wire), limits, span_str(rows[i].want));

        /* Without the last frame's mask and payload, a fault must show already. */
        size_t without = rows[i].last.payload.len + 4;
        buf_init(&transcript, WIRE_BYTES_MAX);
        laws_tell(span_head(buf_span(&wire), wire.len - without), ws_transcript, &limits, &transcript);
        if (strstr(rows[i].want, "fault") != NULL)
            assert_true(span_eq(buf_span(&transcript), span_str(rows[i].want)));
        buf_fini(&transcript);
        buf_fini(&wire);
    }
}

/* Threat 72: a message that is too long is skipped, up to a bound, and what stands behind it is read. */
static void a_message_that_is_too_long_is_skipped(void **state)
{
    (void)state;
    static const struct { const char *name; struct frame frames[4]; const char *want; } rows[] = {
        { "in one frame", { { FIN | WS_TEXT, SPAN("0123456789a") }, { FIN | WS_TEXT, SPAN("b") } },
          "long(text) text(b)" },
        { "by its last fragment", { { WS_BINARY, SPAN("01234") }, { FIN | WS_CONT, SPAN("56789a") },
                                    { FIN | WS_TEXT, SPAN("b") } }, "long(binary) text(b)" },
        { "with fragments behind", { { WS_TEXT, SPAN("0123456789a") }, { WS_CONT, SPAN("") }, { FIN | WS_CONT, SPAN("c") },
                                     { FIN | WS_TEXT, SPAN("b") } }, "long(text) text(b)" },
        { "controls are read inside", { { WS_TEXT, SPAN("0123456789a") }, { FIN | WS_PING, SPAN("p") },
                                        { FIN | WS_CONT, SPAN("c") }, { FIN | WS_TEXT, SPAN("b") } },
          "long(text) ping(p) text(b)" },
        { "half a character before it", { { WS_TEXT, SPAN("\xc3") }, { FIN | WS_CONT, SPAN("0123456789a") },
                                          { FIN | WS_TEXT, SPAN("b") } }, "long(text) text(b)" },
        { "the next one has all its room", { { FIN | WS_TEXT, SPAN("0123456789a") }, { FIN | WS_TEXT, SPAN("0123456789") } },
          "long(text) text(0123456789)" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf wire;
        buf_init(&wire, WIRE_BYTES_MAX);
        for (size_t at = 0; at < COUNT(rows[i].frames) && rows[i].frames[at].payload.at != NULL; at++)
            client_put(&wire, rows[i].frames[at].first, rows[i].frames[at].payload, 5);
        expect_for_every_cut(rows[i].name, buf_span(&wire), (struct ws_transcript_limits){ 10, FRAGMENTS_MAX, true },
                             span_str(rows[i].want));
        buf_fini(&wire);
    }
    /* 64 MiB and one byte, and 2^32. */
    expect_for_every_cut("too long to skip", SPAN("\x81\xff\0\0\0\0\4\0\0\1"),
                         (struct ws_transcript_limits){ 10, FRAGMENTS_MAX, true }, SPAN("fault(1009)"));
    expect_for_every_cut("far too long", SPAN("\x82\xff\0\0\0\1\0\0\0\0"),
                         (struct ws_transcript_limits){ 10, FRAGMENTS_MAX, true }, SPAN("fault(1009)"));
    expect_for_every_cut("as long as may be skipped", SPAN("\x81\xff\0\0\0\0\4\0\0\0\1\2\3\4xyz"),
                         (struct ws_transcript_limits){ 10, FRAGMENTS_MAX, true }, SPAN("long(text)"));
}

static void fragments_can_be_forbidden(void **state)
{
    (void)state;
    struct buf wire;

    buf_init(&wire, WIRE_BYTES_MAX);
    client_put(&wire, FIN | WS_TEXT, SPAN("whole"), 3);
    client_put(&wire, WS_TEXT, SPAN("half"), 3);
    client_put(&wire, WS_CONT, SPAN("."), 3);
    expect_for_every_cut("one frame a message", buf_span(&wire), (struct ws_transcript_limits){ MESSAGE_BYTES_MAX, 1 },
                         SPAN("text(whole) fault(1008)"));
    buf_fini(&wire);
}

/* 8.1 with Autobahn 6.4: a wrong byte is told of when it comes, not at the end of its frame. */
static void wrong_text_is_told_at_its_first_wrong_byte(void **state)
{
    (void)state;
    static const struct { const char *name; struct span text; size_t wrong_at; } rows[] = {
        { "stray continuation", SPAN("abc\x80zzz"), 3 },
        { "overlong", SPAN("ab\xc1\xbfzzz"), 2 },
        { "overlong three", SPAN("ab\xe0\x9f\x80z"), 3 },
        { "surrogate", SPAN("\xed\xa0\x80zzz"), 1 },
        { "above all", SPAN("12345678\xf4\x90\x80\x80"), 9 },
        { "broken off by ASCII", SPAN("\xf0\x9f\x98zzz"), 3 },
    };
    enum { HEAD_BYTES = 6 };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf wire;
        struct ws  ws;
        uint16_t   code;

        buf_init(&wire, WIRE_BYTES_MAX);
        client_put(&wire, FIN | WS_TEXT, rows[i].text, 0x01020304u);
        ws_init(&ws, MESSAGE_BYTES_MAX, FRAGMENTS_MAX);
        size_t fed = feed_until_fault(&ws, buf_span(&wire), &code);
        if (code != WS_CLOSE_BAD_DATA || fed != HEAD_BYTES + rows[i].wrong_at + 1)
            fail_msg("%s: %d after %zu bytes", rows[i].name, code, fed);
        buf_fini(&wire);
    }
}

/* 7.4 with Autobahn 7.7, 7.9 and 7.13: all 65,536 of them. */
static void every_close_code_is_allowed_or_a_fault(void **state)
{
    (void)state;
    static const struct { unsigned from, to; } allowed[] = {
        { 1000, 1003 }, { 1007, 1014 }, { 3000, 4999 },
    };
    struct ws       ws;
    struct ws_piece piece;
    size_t          used;

    for (unsigned code = 0; code <= UINT16_MAX; code++) {
        bool is_allowed = false;
        for (size_t i = 0; i < COUNT(allowed); i++)
            is_allowed |= code >= allowed[i].from && code <= allowed[i].to;

        char frame[] = { (char)(FIN | WS_CLOSE), (char)0x82, 0, 0, 0, 0, (char)(code >> 8), (char)code };
        ws_init(&ws, MESSAGE_BYTES_MAX, FRAGMENTS_MAX);
        enum ws_event event = ws_feed(&ws, frame, sizeof frame, &used, &piece);
        if (event != (is_allowed ? WS_CONTROL : WS_FAULT) || piece.code != (is_allowed ? code : WS_CLOSE_PROTOCOL))
            fail_msg("close code %u", code);
    }
}

/* --- pieces --- */

static void a_message_in_one_piece_is_first_and_last(void **state)
{
    (void)state;
    struct ws       ws;
    struct ws_piece piece;
    struct buf      wire;
    size_t          used;

    buf_init(&wire, WIRE_BYTES_MAX);
    client_put(&wire, FIN | WS_TEXT, SPAN("one"), 0xdeadbeefu);
    client_put(&wire, FIN | WS_BINARY, SPAN("two"), 0xcafebabeu);
    ws_init(&ws, MESSAGE_BYTES_MAX, FRAGMENTS_MAX);

    assert_int_equal(ws_feed(&ws, wire.at, wire.len, &used, &piece), WS_DATA);
    assert_int_equal(used, wire.len / 2);
    assert_true(piece.opcode == WS_TEXT && piece.is_first && piece.is_last);
    assert_ptr_equal(piece.bytes.at, wire.at + 6);
    assert_true(span_eq(piece.bytes, SPAN("one")));

    size_t before = used;
    assert_int_equal(ws_feed(&ws, wire.at + before, wire.len - before, &used, &piece), WS_DATA);
    assert_int_equal(before + used, wire.len);
    assert_true(piece.opcode == WS_BINARY && span_eq(piece.bytes, SPAN("two")));
    buf_fini(&wire);
}

static void data_is_handed_out_as_it_comes(void **state)
{
    (void)state;
    struct ws       ws;
    struct ws_piece piece;
    struct buf      wire;
    size_t          used;

    buf_init(&wire, WIRE_BYTES_MAX);
    client_put(&wire, FIN | WS_TEXT, SPAN("Hello"), 0xdeadbeefu);
    ws_init(&ws, MESSAGE_BYTES_MAX, FRAGMENTS_MAX);

    assert_int_equal(ws_feed(&ws, wire.at, 6, &used, &piece), WS_MORE);
    assert_int_equal(used, 6);
    assert_int_equal(ws_feed(&ws, wire.at + 6, 2, &used, &piece), WS_DATA);
    assert_true(span_eq(piece.bytes, SPAN("He")) && piece.is_first && !piece.is_last);
    assert_int_equal(ws_feed(&ws, wire.at + 8, 1, &used, &piece), WS_DATA);
    assert_true(span_eq(piece.bytes, SPAN("l")) && !piece.is_first && !piece.is_last);
    assert_int_equal(ws_feed(&ws, wire.at + 9, 2, &used, &piece), WS_DATA);
    assert_true(span_eq(piece.bytes, SPAN("lo")) && !piece.is_first && piece.is_last);
    buf_fini(&wire);
}

static void a_cut_control_frame_is_left_untouched(void **state)
{
    (void)state;
    struct ws       ws;
    struct ws_piece piece;
    struct buf      wire;
    size_t          used;

    buf_init(&wire, WIRE_BYTES_MAX);
    client_put(&wire, FIN | WS_PING, SPAN("Hello"), 0xdeadbeefu);
    char masked[4];
    memcpy(masked, wire.at + 6, sizeof masked);
    ws_init(&ws, MESSAGE_BYTES_MAX, FRAGMENTS_MAX);

    assert_int_equal(ws_feed(&ws, wire.at, 10, &used, &piece), WS_MORE);
    assert_int_equal(used, 6);
    assert_memory_equal(wire.at + 6, masked, sizeof masked);
    assert_int_equal(ws_feed(&ws, wire.at + 6, 5, &used, &piece), WS_CONTROL);
    assert_int_equal(used, 5);
    assert_true(piece.opcode == WS_PING && span_eq(piece.bytes, SPAN("Hello")));
    buf_fini(&wire);
}

/* Every alignment, every length around the word size, every turn of the mask. */
static void unmasking_agrees_with_the_plain_way(void **state)
{
    (void)state;
    enum { LEN_MAX = 40 };
    char plain[LEN_MAX];

    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (char)(i * 89 + 11);
    for (size_t i = 0; i < 8 * LEN_MAX; i++) {
        size_t          shift = i % 8, cut = i / 8, used;
        struct buf      wire;
        struct ws       ws;
        struct ws_piece piece;

        buf_init(&wire, WIRE_BYTES_MAX);
        for (size_t s = 0; s < shift; s++)
            buf_putc(&wire, ' ');
        client_put(&wire, FIN | WS_BINARY, span_of(plain, sizeof plain), 0x9d0c7b5au);
        ws_init(&ws, MESSAGE_BYTES_MAX, FRAGMENTS_MAX);
        if (cut > 0) {
            assert_int_equal(ws_feed(&ws, wire.at + shift, 6 + cut, &used, &piece), WS_DATA);
            assert_int_equal(used, 6 + cut);
            assert_true(span_eq(piece.bytes, span_of(plain, cut)));
            shift += used;
        }
        assert_int_equal(ws_feed(&ws, wire.at + shift, wire.len - shift, &used, &piece), WS_DATA);
        assert_true(piece.is_last && span_eq(piece.bytes, span_of(plain + cut, sizeof plain - cut)));
        buf_fini(&wire);
    }
}

/* --- the law at large: random frames, broken now and then, cut at random --- */

static void put_random_frame(struct buf *wire, struct rng *rng)
{
    static const uint8_t firsts[] = { FIN | WS_TEXT, FIN | WS_BINARY, WS_TEXT, WS_BINARY, WS_CONT, WS_CONT,
                                      FIN | WS_CONT, FIN | WS_CONT, FIN | WS_PING, FIN | WS_PONG, FIN | WS_CLOSE };
    char payload[300];
    size_t len = rng_below(rng, rng_below(rng, 8) == 0 ? sizeof payload : 12);

    for (size_t i = 0; i < len; i++)
        payload[i] = (char)('a' + rng_below(rng, 26));
    client_put(wire, firsts[rng_below(rng, COUNT(firsts))], span_of(payload, len), (uint32_t)rng_next(rng));
}

static void no_cut_of_random_frames_changes_the_transcript(void **state)
{
    (void)state;
    enum { ROUNDS = 60, FRAMES_MAX = 8 };
    struct rng rng = { 6455 };

    for (int round = 0; round < ROUNDS; round++) {
        struct ws_transcript_limits limits = { 400, 4 };
        struct buf            wire, transcript;

        buf_init(&wire, WIRE_BYTES_MAX);
        for (uint64_t count = 1 + rng_below(&rng, FRAMES_MAX); count > 0; count--)
            put_random_frame(&wire, &rng);
        if (rng_below(&rng, 2) == 0)
            wire.at[rng_below(&rng, wire.len)] ^= (char)(1 << rng_below(&rng, 8));
        if (!laws_hold(buf_span(&wire), ws_transcript, &limits, RANDOM_CUTS, &transcript))
            fail_msg("round %d: %.*s", round, SPAN_ARG(buf_span(&transcript)));
        buf_fini(&transcript);
        buf_fini(&wire);
    }
}

/* Threat 77: a link may end after any byte; what was told by then is told, and there is nothing to give back. */
static void a_link_cut_off_at_any_byte_told_what_was_whole(void **state)
{
    (void)state;
    static const char want[] = "ping(ping) text(a%e2%82%acb) close(1001,bye)";
    struct buf        wire;
    size_t            told = 0;

    buf_init(&wire, WIRE_BYTES_MAX);
    client_put(&wire, WS_TEXT, SPAN("a\xe2\x82"), 0x11223344u);
    client_put(&wire, FIN | WS_PING, SPAN("ping"), 0x55667788u);
    client_put(&wire, FIN | WS_CONT, SPAN("\xac" "b"), 0x99aabbccu);
    client_put(&wire, FIN | WS_CLOSE, SPAN("\x03\xe9" "bye"), 0xddeeff00u);

    for (size_t len = 0; len <= wire.len; len++) {
        struct buf transcript;
        buf_init(&transcript, WIRE_BYTES_MAX);
        laws_tell(span_head(buf_span(&wire), len), ws_transcript, &usual_limits, &transcript);
        assert_true(span_starts(span_str(want), buf_span(&transcript)) && transcript.len >= told);
        told = transcript.len;
        buf_fini(&transcript);
    }
    assert_int_equal(told, sizeof want - 1);
    buf_fini(&wire);
}

/* --- the server's frames --- */

static void heads_take_their_shortest_form(void **state)
{
    (void)state;
    static const struct { enum ws_opcode opcode; uint64_t len; struct span want; } rows[] = {
        { WS_TEXT, 0, SPAN("\x81\x00") },
        { WS_TEXT, 125, SPAN("\x81\x7d") },
        { WS_TEXT, 126, SPAN("\x81\x7e\x00\x7e") },
        { WS_BINARY, 65535, SPAN("\x82\x7e\xff\xff") },
        { WS_BINARY, 65536, SPAN("\x82\x7f\0\0\0\0\0\1\0\0") },
        { WS_BINARY, 0x0123456789abcdef, SPAN("\x82\x7f\x01\x23\x45\x67\x89\xab\xcd\xef") },
        { WS_PING, 0, SPAN("\x89\x00") },
        { WS_CLOSE, 2, SPAN("\x88\x02") },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char head[WS_HEAD_BYTES_MAX];
        assert_true(span_eq(span_of(head, ws_put_head(head, rows[i].opcode, rows[i].len)), rows[i].want));
    }
}

static void closes_hold_what_fits_of_their_reason(void **state)
{
    (void)state;
    static const struct { const char *name; uint16_t code; struct span reason, want; } rows[] = {
        { "code alone", 1001, SPAN(""), SPAN("\x88\x02\x03\xe9") },
        { "reason", 1000, SPAN("bye"), SPAN("\x88\x05\x03\xe8" "bye") },
        { "none", WS_CLOSE_NONE, SPAN("unsaid"), SPAN("\x88\x00") },
        { "just fits", 1000, SPAN(REASON_123), SPAN("\x88\x7d\x03\xe8" REASON_123) },
        { "one letter too long", 1000, SPAN(REASON_123 "x"), SPAN("\x88\x7d\x03\xe8" REASON_123) },
        { "cut before the character that is too much", 1000, SPAN(HUNDRED "012345678901234567890" "\xe2\x82\xac"),
          SPAN("\x88\x7b\x03\xe8" HUNDRED "012345678901234567890") },
        { "a character that just fits", 1000, SPAN(HUNDRED "01234567890123456789" "\xe2\x82\xac" "x"),
          SPAN("\x88\x7d\x03\xe8" HUNDRED "01234567890123456789" "\xe2\x82\xac") },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf buf;
        buf_init(&buf, WIRE_BYTES_MAX);
        ws_put_close(&buf, rows[i].code, rows[i].reason);
        if (!span_eq(buf_span(&buf), rows[i].want))
            fail_msg("%s", rows[i].name);
        buf_fini(&buf);
    }
}

static void a_frame_is_its_head_and_its_payload(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, WIRE_BYTES_MAX);
    ws_put_frame(&buf, WS_TEXT, SPAN("Hello"));  /* RFC 6455 5.7, first example */
    ws_put_frame(&buf, WS_PONG, SPAN(""));
    assert_true(span_eq(buf_span(&buf), SPAN("\x81\x05Hello\x8a\x00")));
    buf_fini(&buf);
}

/* --- the handshake --- */

static void the_accept_value_is_the_papers(void **state)
{
    (void)state;
    static const struct { struct span key, want; } rows[] = {
        { SPAN("dGhlIHNhbXBsZSBub25jZQ=="), SPAN("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") },  /* 1.3 */
        { SPAN("x3JJHMbDL1EzLkh9GBhXDw=="), SPAN("HSmrc0sMlYUkAGmm5OPpG2HaGWk=") },  /* another known one */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char accept[WS_ACCEPT_BYTES];
        ws_accept(rows[i].key, accept);
        assert_true(span_eq(span_of(accept, sizeof accept), rows[i].want));
    }
}

static void a_key_is_sixteen_bytes(void **state)
{
    (void)state;
    static const struct { const char *name; struct span key; bool is_valid; } rows[] = {
        { "the paper's", SPAN("dGhlIHNhbXBsZSBub25jZQ=="), true },
        { "sixteen zeros", SPAN("AAAAAAAAAAAAAAAAAAAAAA=="), true },
        { "empty", SPAN(""), false },
        { "fifteen bytes", SPAN("AAAAAAAAAAAAAAAAAAAA"), false },
        { "seventeen bytes", SPAN("AAAAAAAAAAAAAAAAAAAAAAA="), false },
        { "eighteen bytes", SPAN("AAAAAAAAAAAAAAAAAAAAAAAA"), false },
        { "no padding", SPAN("AAAAAAAAAAAAAAAAAAAAAA"), false },
        { "URL-safe letters", SPAN("__________________-_-A=="), false },
        { "not base64", SPAN("AAAAAAAAAAAA AAAAAAAAA=="), false },
        { "unused bits set", SPAN("AAAAAAAAAAAAAAAAAAAAAB=="), false },
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (ws_key_is_valid(rows[i].key) != rows[i].is_valid)
            fail_msg("%s", rows[i].name);
}

/* Threat 75, as far as the header lines go. */
static void handshakes_are_judged_by_the_paper(void **state)
{
    (void)state;
#define UPGRADE    { SPAN("Upgrade"), SPAN("websocket") }
#define CONNECTION { SPAN("Connection"), SPAN("Upgrade") }
#define VERSION    { SPAN("Sec-WebSocket-Version"), SPAN("13") }
#define KEY        { SPAN("Sec-WebSocket-Key"), SPAN("dGhlIHNhbXBsZSBub25jZQ==") }
#define PROTOCOL   SPAN("Sec-WebSocket-Protocol")
    static const struct span ours[] = { SPAN("longwire.json.v1"), SPAN("longwire.bin.v1") };
    enum { NONE = -1 };
    static const struct {
        const char *name;
        struct { struct span name, value; } fields[7];
        enum ws_offer want;
        int           protocol;
    } rows[] = {
        { "plain", { UPGRADE, CONNECTION, VERSION, KEY }, WS_OFFER_OK, NONE },
        { "any case, lists",
          { { SPAN("upgrade"), SPAN("h2c, WebSocket") }, { SPAN("CONNECTION"), SPAN("keep-alive ,\tupgrade") },
            VERSION, KEY, { SPAN("Accept"), SPAN("*/*") } }, WS_OFFER_OK, NONE },
        { "Connection on two lines",
          { UPGRADE, { SPAN("Connection"), SPAN("keep-alive") }, CONNECTION, VERSION, KEY }, WS_OFFER_OK, NONE },
        { "Connection and Upgrade on two lines, ours first",
          { UPGRADE, { SPAN("Upgrade"), SPAN("h2c") }, CONNECTION, { SPAN("Connection"), SPAN("keep-alive") }, VERSION,
            KEY }, WS_OFFER_OK, NONE },
        { "our protocol", { UPGRADE, CONNECTION, VERSION, KEY, { PROTOCOL, SPAN("longwire.bin.v1") } },
          WS_OFFER_OK, 1 },
        { "the client's order counts",
          { UPGRADE, CONNECTION, VERSION, KEY, { PROTOCOL, SPAN("x, longwire.bin.v1 ,longwire.json.v1") } },
          WS_OFFER_OK, 1 },
        { "over two lines",
          { UPGRADE, CONNECTION, VERSION, KEY, { PROTOCOL, SPAN("chat") }, { PROTOCOL, SPAN("longwire.json.v1") } },
          WS_OFFER_OK, 0 },
        { "unknown protocol", { UPGRADE, CONNECTION, VERSION, KEY, { PROTOCOL, SPAN("chat") } }, WS_OFFER_BAD, NONE },
        { "protocols compare by case",
          { UPGRADE, CONNECTION, VERSION, KEY, { PROTOCOL, SPAN("Longwire.JSON.v1") } }, WS_OFFER_BAD, NONE },
        { "empty list of protocols", { UPGRADE, CONNECTION, VERSION, KEY, { PROTOCOL, SPAN(" , ") } },
          WS_OFFER_OK, NONE },
        { "Upgrade missing", { CONNECTION, VERSION, KEY }, WS_OFFER_UPGRADE, NONE },
        { "another Upgrade", { { SPAN("Upgrade"), SPAN("websockets") }, CONNECTION, VERSION, KEY },
          WS_OFFER_UPGRADE, NONE },
        { "Connection missing", { UPGRADE, VERSION, KEY }, WS_OFFER_BAD, NONE },
        { "Connection without Upgrade", { UPGRADE, { SPAN("Connection"), SPAN("close") }, VERSION, KEY },
          WS_OFFER_BAD, NONE },
        { "version missing", { UPGRADE, CONNECTION, KEY }, WS_OFFER_UPGRADE, NONE },
        { "version 8", { UPGRADE, CONNECTION, { SPAN("Sec-WebSocket-Version"), SPAN("8") }, KEY },
          WS_OFFER_UPGRADE, NONE },
        { "version 013", { UPGRADE, CONNECTION, { SPAN("Sec-WebSocket-Version"), SPAN("013") }, KEY },
          WS_OFFER_UPGRADE, NONE },
        { "two versions", { UPGRADE, CONNECTION, VERSION, VERSION, KEY }, WS_OFFER_BAD, NONE },
        { "key missing", { UPGRADE, CONNECTION, VERSION }, WS_OFFER_BAD, NONE },
        { "two keys", { UPGRADE, CONNECTION, VERSION, KEY, KEY }, WS_OFFER_BAD, NONE },
        { "short key", { UPGRADE, CONNECTION, VERSION, { SPAN("Sec-WebSocket-Key"), SPAN("c2hvcnQ=") } },
          WS_OFFER_BAD, NONE },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct ws_handshake shake  = { 0 };
        const char         *reason = NULL;

        for (size_t f = 0; f < COUNT(rows[i].fields); f++)
            ws_handshake_see(&shake, rows[i].fields[f].name, rows[i].fields[f].value, ours, COUNT(ours));
        if (ws_check_handshake(&shake, COUNT(ours), &reason) != rows[i].want)
            fail_msg("%s", rows[i].name);
        if ((reason == NULL) != (rows[i].want == WS_OFFER_OK))
            fail_msg("%s: reason", rows[i].name);
        if ((shake.is_protocol_found ? (int)shake.protocol : NONE) != rows[i].protocol)
            fail_msg("%s: protocol", rows[i].name);
    }
}

static void without_protocols_of_ours_any_offer_is_fine(void **state)
{
    (void)state;
    struct ws_handshake shake  = { .is_upgrade = true, .is_connection = true, .version = SPAN("13"),
                                   .version_count = 1, .key = SPAN("dGhlIHNhbXBsZSBub25jZQ=="), .key_count = 1 };
    const char         *reason = NULL;

    ws_handshake_see(&shake, SPAN("sec-websocket-protocol"), SPAN("chat"), NULL, 0);
    assert_int_equal(ws_check_handshake(&shake, 0, &reason), WS_OFFER_OK);
    assert_false(shake.is_protocol_found);
}

static void a_link_costs_32_bytes(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct ws), 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_that_breaks_a_rule_is_a_fault_at_that_byte),
        cmocka_unit_test(every_first_byte_is_known_or_a_fault),
        cmocka_unit_test(rsv1_stands_on_first_frames_where_it_was_agreed),
        cmocka_unit_test(compressed_messages_are_handed_on_as_they_came),
        cmocka_unit_test(a_compressed_message_may_come_as_a_few_bytes_more),
        cmocka_unit_test(transcripts_are_the_same_for_every_cut),
        cmocka_unit_test(every_form_of_length_comes_through),
        cmocka_unit_test(a_message_is_too_big_by_its_head),
        cmocka_unit_test(a_message_that_is_too_long_is_skipped),
        cmocka_unit_test(fragments_can_be_forbidden),
        cmocka_unit_test(wrong_text_is_told_at_its_first_wrong_byte),
        cmocka_unit_test(every_close_code_is_allowed_or_a_fault),
        cmocka_unit_test(a_message_in_one_piece_is_first_and_last),
        cmocka_unit_test(data_is_handed_out_as_it_comes),
        cmocka_unit_test(a_cut_control_frame_is_left_untouched),
        cmocka_unit_test(unmasking_agrees_with_the_plain_way),
        cmocka_unit_test(no_cut_of_random_frames_changes_the_transcript),
        cmocka_unit_test(a_link_cut_off_at_any_byte_told_what_was_whole),
        cmocka_unit_test(heads_take_their_shortest_form),
        cmocka_unit_test(closes_hold_what_fits_of_their_reason),
        cmocka_unit_test(a_frame_is_its_head_and_its_payload),
        cmocka_unit_test(the_accept_value_is_the_papers),
        cmocka_unit_test(a_key_is_sixteen_bytes),
        cmocka_unit_test(handshakes_are_judged_by_the_paper),
        cmocka_unit_test(without_protocols_of_ours_any_offer_is_fine),
        cmocka_unit_test(a_link_costs_32_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
