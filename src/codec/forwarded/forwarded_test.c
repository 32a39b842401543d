/* Whom the proxies name: RFC 7239's forms, X-Forwarded-For, and what a client can't make believe. */
#include "codec/forwarded/forwarded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { FIELDS_MAX = 4 };

/* In all rows 10.0.0.0/8 and fd00::/8 are trusted. `want`: the client, a space, and s (secret), p (plain) or - (unknown). */
static const struct {
    const char *name;
    struct { const char *name, *value; } fields[FIELDS_MAX];
    const char *want;
} rows[] = {
    { "nothing", { { "Host", "a" } }, " -" },
    { "one hop", { { "Forwarded", "for=192.0.2.7" } }, "192.0.2.7 -" },
    { "letters of any case", { { "forwarded", "FOR=192.0.2.7;PROTO=HTTPS" } }, "192.0.2.7 s" },
    { "all parameters", { { "Forwarded", "for=192.0.2.7;proto=http;by=203.0.113.43;host=a.example" } }, "192.0.2.7 p" },
    { "parameters that nobody knows", { { "Forwarded", "secret=x;for=192.0.2.7;a=\"b,c;for=1.2.3.4\"" } }, "192.0.2.7 -" },
    { "IPv6", { { "Forwarded", "for=\"[2001:db8:cafe::17]\"" } }, "2001:db8:cafe::17 -" },
    { "IPv6 and a port", { { "Forwarded", "for=\"[2001:db8:cafe::17]:4711\";proto=https" } }, "2001:db8:cafe::17 s" },
    { "IPv6 and a hidden port", { { "Forwarded", "for=\"[2001:db8:cafe::17]:_p\"" } }, "2001:db8:cafe::17 -" },
    { "IPv6 without its quotes", { { "Forwarded", "for=[2001:db8:cafe::17]:4711" } }, "2001:db8:cafe::17 -" },
    { "IPv6 without its brackets", { { "Forwarded", "for=\"2001:db8:cafe::17\"" } }, "2001:db8:cafe::17 -" },
    { "IPv4 and a port", { { "Forwarded", "for=\"192.0.2.7:4711\"" } }, "192.0.2.7 -" },
    { "escapes in quotes", { { "Forwarded", "for=\"192\\.0.2.7\"" } }, "192.0.2.7 -" },
    { "unknown", { { "Forwarded", "for=unknown;proto=https" } }, " s" },
    { "hidden by a name", { { "Forwarded", "for=\"_gazonk\"" } }, " -" },
    { "no for", { { "Forwarded", "proto=https" } }, " s" },
    { "two hops, the last one counts", { { "Forwarded", "for=198.51.100.9, for=192.0.2.7" } }, "192.0.2.7 -" },
    { "a trusted hop is passed over", { { "Forwarded", "for=198.51.100.9, for=192.0.2.7;proto=https, for=10.0.0.1;proto=http" } },
      "192.0.2.7 s" },
    { "in two fields", { { "Forwarded", "for=198.51.100.9, for=192.0.2.7" }, { "Forwarded", "for=\"[fd00::1]\"" } }, "192.0.2.7 -" },
    { "all are trusted: the leftmost", { { "Forwarded", "for=10.0.0.1;proto=https, for=10.0.0.2" } }, "10.0.0.1 s" },
    { "who is hidden is not replaced by what a client wrote",
      { { "Forwarded", "for=198.51.100.9, for=unknown" } }, " -" },
    { "who is hidden counts as the proxy that hides him",
      { { "Forwarded", "for=198.51.100.9, for=unknown;proto=https, for=10.0.0.1, for=10.0.0.2" } }, "10.0.0.1 s" },
    { "empty elements", { { "Forwarded", ", ,for=192.0.2.7 , ," } }, "192.0.2.7 -" },
    { "a semicolon at the end", { { "Forwarded", "for=192.0.2.7;" } }, "192.0.2.7 -" },
    { "blanks around", { { "Forwarded", "for=192.0.2.7 ; proto=https , for=10.0.0.1" } }, "192.0.2.7 s" },
    { "nothing in it", { { "Forwarded", "" } }, " -" },
    { "a quote without an end", { { "Forwarded", "for=\"192.0.2.7" } }, " -" },
    { "a client's open quote does not swallow the proxy's field",
      { { "Forwarded", "for=\"198.51.100.9" }, { "Forwarded", "for=192.0.2.7" } }, "192.0.2.7 -" },
    { "behind what is broken a line says nothing", { { "Forwarded", "for, for=192.0.2.7" } }, " -" },
    { "broken, then a trusted hop", { { "Forwarded", "for=198.51.100.9;;" }, { "Forwarded", "for=10.0.0.1" } }, "10.0.0.1 -" },
    { "for twice", { { "Forwarded", "for=192.0.2.7;for=198.51.100.9" } }, " -" },
    { "proto twice", { { "Forwarded", "proto=http;for=192.0.2.7;proto=https" } }, " -" },
    { "blanks around =", { { "Forwarded", "for = 192.0.2.7" } }, " -" },
    { "no value", { { "Forwarded", "for=" } }, " -" },
    { "an empty value", { { "Forwarded", "for=\"\"" } }, " -" },
    { "no address", { { "Forwarded", "for=192.0.2.256" } }, " -" },
    { "a port that is none", { { "Forwarded", "for=\"192.0.2.7:x\"" } }, " -" },
    { "a port too long", { { "Forwarded", "for=\"192.0.2.7:123456\"" } }, " -" },
    { "a bracket alone", { { "Forwarded", "for=\"[2001:db8::1\"" } }, " -" },
    { "behind the bracket", { { "Forwarded", "for=\"[2001:db8::1]x\"" } }, " -" },
    { "another proto", { { "Forwarded", "for=192.0.2.7;proto=gopher" } }, "192.0.2.7 -" },
    { "WebSockets", { { "Forwarded", "for=192.0.2.7;proto=wss" } }, "192.0.2.7 s" },

    { "X: one", { { "X-Forwarded-For", "192.0.2.7" } }, "192.0.2.7 -" },
    { "X: IPv6", { { "X-Forwarded-For", "2001:db8::7" } }, "2001:db8::7 -" },
    { "X: ports", { { "X-Forwarded-For", "[2001:db8::7]:1, 192.0.2.7:4711" } }, "192.0.2.7 -" },
    { "X: the rightmost that is not trusted", { { "X-Forwarded-For", "198.51.100.9, 192.0.2.7,10.0.0.1 , 10.0.0.2" } }, "192.0.2.7 -" },
    { "X: two fields", { { "X-Forwarded-For", "198.51.100.9" }, { "x-forwarded-for", "192.0.2.7" } }, "192.0.2.7 -" },
    { "X: all trusted", { { "X-Forwarded-For", "10.0.0.3, 10.0.0.1" } }, "10.0.0.3 -" },
    { "X: hidden", { { "X-Forwarded-For", "198.51.100.9, unknown, 10.0.0.1" } }, "10.0.0.1 -" },
    { "X: a lie, then the truth", { { "X-Forwarded-For", "10.0.0.9, ::1, \"', 192.0.2.7" } }, "192.0.2.7 -" },
    { "X: proto", { { "X-Forwarded-For", "192.0.2.7" }, { "X-Forwarded-Proto", "https" } }, "192.0.2.7 s" },
    { "X: proto alone", { { "X-Forwarded-Proto", "https" } }, " s" },
    { "X: one proto for all hops", { { "X-Forwarded-For", "192.0.2.7, 10.0.0.1" }, { "X-Forwarded-Proto", "https" } }, "192.0.2.7 s" },
    { "X: a proto for each", { { "X-Forwarded-For", "198.51.100.9, 192.0.2.7, 10.0.0.1" }, { "X-Forwarded-Proto", "http, https, http" } },
      "192.0.2.7 s" },
    { "X: a list that is too short", { { "X-Forwarded-For", "192.0.2.7, 10.0.0.1, 10.0.0.2" }, { "X-Forwarded-Proto", "https, http" } },
      "192.0.2.7 -" },
    { "Forwarded beats X", { { "X-Forwarded-For", "198.51.100.9" }, { "Forwarded", "for=192.0.2.7" }, { "X-Forwarded-Proto", "https" } },
      "192.0.2.7 -" },
    { "an empty Forwarded does, too", { { "X-Forwarded-For", "198.51.100.9" }, { "Forwarded", "" } }, " -" },
};

static struct ip_ranges trusted;

static int trust(void **state)
{
    (void)state;
    assert_true(ip_range_read(SPAN("10.0.0.0/8"), &trusted.at[0]) && ip_range_read(SPAN("fd00::/8"), &trusted.at[1]));
    trusted.count = 2;
    return 0;
}

static void say(struct buf *out, const struct forwarded *found)
{
    static const char letters[] = { [FORWARDED_PROTO_UNKNOWN] = '-', [FORWARDED_PROTO_PLAIN] = 'p', [FORWARDED_PROTO_SECRET] = 's' };

    ip_put(&found->client, out);
    buf_putf(out, " %c", letters[found->proto]);
}

static void the_rightmost_that_is_not_trusted_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct request_head head;
        struct buf                 got;

        head.field_count = 0;
        for (size_t j = 0; j < FIELDS_MAX && rows[i].fields[j].name != NULL; j++)
            head.fields[head.field_count++] = (struct http_field){ span_str(rows[i].fields[j].name), span_str(rows[i].fields[j].value) };
        const struct forwarded found = forwarded_read(&head, &trusted);
        buf_init(&got, 64);
        say(&got, &found);
        if (!span_eq(buf_span(&got), span_str(rows[i].want)))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&got)));
        buf_fini(&got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_rightmost_that_is_not_trusted_counts) };
    return cmocka_run_group_tests(tests, trust, NULL);
}
