/* From where settings come: the order, every sentence of refusal, keys and namespaces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <sys/stat.h>
#include <unistd.h>

#include "settings/config.h"
#include "settings/section.h"

#include <cmocka.h>

#define SECRET "correct-horse-battery"
#define KINDS "connected, disconnected, subscribed, unsubscribed, joined, left, occupied, vacated, acknowledged, offline"
#define ADDRESSES "f:1: url must be 1 to 16 addresses with commas between, each beginning with https:// or http:// and a host, without a " \
                  "slash at its end and without @ ? #\n"

static struct settings settings;
static struct buf      say;
static char           *nothing[] = { NULL };

static const char *said(void)
{
    buf_putc(&say, '\0');
    return say.at;
}

static int begin(void **state)
{
    (void)state;
    settings_init(&settings);
    buf_init(&say, CONFIG_SAY_BYTES_MAX);
    return 0;
}

static int end(void **state)
{
    (void)state;
    settings_fini(&settings);
    buf_fini(&say);
    return 0;
}

static bool reads(const char *text)
{
    settings_init(&settings);
    buf_clear(&say);
    return config_read(&settings, "f", span_str(text), &say);
}

static enum config_verdict load(char *const *argv, char *const *env)
{
    buf_clear(&say);
    return config_load(argv, env, &settings, &say);
}

/* threat 26: whatever can't be understood is refused, with its place and what is allowed. */
static void a_file_is_refused_with_line_name_and_what_is_allowed(void **state)
{
    (void)state;
    static const struct { const char *text, *say; } rows[] = {
        { "lops = 1", "f:1: lops: there is no such setting; longwired --help lists them all\n" },
        { "\n\x1b[2J = 1", "f:2: ?[2J: there is no such setting; longwired --help lists them all\n" },
        { "; a\nloops = 65\n", "f:2: loops: must be a number from 0 to 64\n" },
        { "\nhistory_limit_max = 1001\n", "f:2: history_limit_max: must be a number from 1 to 1000\n" },
        { "loops = 2# two\n", "f:1: loops: must be a number from 0 to 64\n" },
        { "loops = # two\n", "f:1: loops: must be a number from 0 to 64\n" },
        { "data =# mine\n", "f:1: data: must name a directory\n" },
        { "data =; mine\n", "f:1: data: must name a directory\n" },
        { "data = ./lw# mine\n",
          "f:1: data: must not hold a # before a blank; a comment needs a blank before its #\n" },
        { "data = \"./lw\"\n", "f:1: data: must stand without quotes: nothing takes them off here\n" },
        { "data = './lw' # mine\n", "f:1: data: must stand without quotes: nothing takes them off here\n" },
        { "data = ~/lw\n", "f:1: data: must be the path itself: neither ~ nor variables are replaced here\n" },
        { "data = $HOME/lw\n", "f:1: data: must be the path itself: neither ~ nor variables are replaced here\n" },
        { "data = /srv/${NAME}\n", "f:1: data: must be the path itself: neither ~ nor variables are replaced here\n" },
        { "loops =\n", "f:1: loops: must be a number from 0 to 64\n" },
        { "loops = 1\r\nloops = 1\r\n", "f:2: loops: stands in this file twice\n" },
        { "log-level = info\nlog_level = info\n", "f:2: log_level: stands in this file twice\n" },
        { "loops 1\n", "f:1: must be \"name = value\", a [section] or a comment\n" },
        { "http = 127.0.0.1:80,\n  127.0.0.1:81\nloops = 99",
          "f:2: 127.0.0.1: there is no such setting; longwired --help lists them all\n"
          "f:3: loops: must be a number from 0 to 64\n" },
        { "[limits]\nloops = 99", "f:1: limits: unknown section; there are [key NAME], [jwt NAME], [connect_hook], [tickets], [backend NAME], [uplink NAME], [webhook NAME], [events], [tls NAME] and [namespace NAME]\n" },
        { "[tickets a]\nsecret = " SECRET, "f:1: tickets a: [tickets] has no name\n" },
        { "[tickets]\nsecret = " SECRET, "f:1: the secret of [tickets] must have at least 32 bytes\n" },
        { "[]\n", "f:1: unknown section; there are [key NAME], [jwt NAME], [connect_hook], [tickets], [backend NAME], [uplink NAME], [webhook NAME], [events], [tls NAME] and [namespace NAME]\n" },
        { "[key a\nsecret = " SECRET, "f:1: a section's heading must be [key NAME], [jwt NAME], [connect_hook], [tickets], [backend NAME], [uplink NAME], [webhook NAME], [events], [tls NAME] or [namespace NAME]\n" },
        { "[key a] b\n", "f:1: a section's heading must be [key NAME], [jwt NAME], [connect_hook], [tickets], [backend NAME], [uplink NAME], [webhook NAME], [events], [tls NAME] or [namespace NAME]\n" },
        { "[key]\n", "f:1: key: a key's name must be 1 to 32 letters, digits and -._\n" },
        { "[key a b]\n", "f:1: key a b: a key's name must be 1 to 32 letters, digits and -._\n" },
        { "[key 123456789012345678901234567890123]\n",
          "f:1: key 123456789012345678901234567890123: a key's name must be 1 to 32 letters, digits and -._\n" },
        { "loops = 1\n[key a]\n",
          "f:2: secret must be there: 16 to 128 letters, digits and -._~+/, with = only at the end; or secret_file\n" },
        { "[key a]\nrights = admin\n\n[key b]\n",
          "f:1: secret must be there: 16 to 128 letters, digits and -._~+/, with = only at the end; or secret_file\n"
          "f:4: secret must be there: 16 to 128 letters, digits and -._~+/, with = only at the end; or secret_file\n" },
        { "[key a]\nsecret = fifteen-letters\nrights = admin\n",
          "f:1: the secret must have 16 to 128 letters, digits and -._~+/, with = only at the end\n" },
        { "[key a]\nsecret = sixteen letters!\nrights = admin\n",
          "f:1: the secret must have 16 to 128 letters, digits and -._~+/, with = only at the end\n" },
        { "[key a]\nsecret = ================\nrights = admin\n",
          "f:1: the secret must have 16 to 128 letters, digits and -._~+/, with = only at the end\n" },
        { "[key a]\nsecret = " SECRET "\n",
          "f:1: rights must be there: one or more of publish, subscribe, admin, with commas between\n" },
        { "[key a]\nsecret = " SECRET "\nrights =\n",
          "f:1: rights must be there: one or more of publish, subscribe, admin, with commas between\n" },
        { "[key a]\nsecret = " SECRET "\nrights = publish, all\n",
          "f:1: \"all\" is no right: rights are one or more of publish, subscribe, admin, with commas between\n" },
        { "[key a]\nsecret = " SECRET "\nsecret = " SECRET "\nrights = admin",
          "f:3: secret: stands in this section twice\n" },
        { "[key a]\nsecret = " SECRET "\nrights = admin\nloops = 1",
          "f:4: loops: unknown here; there are: secret, secret_file, rights, channels\n" },
        { "[key a]\nsecret = " SECRET "\nrights = admin\n[key a]\nrights = admin",
          "f:4: key a: this key has a section already\n" },
        { "[key a]\nsecret = " SECRET "\nrights = admin\n[key b]\nrights = admin\nsecret = " SECRET,
          "f:4: another key has this secret already\n" },
        { "[key a]\nsecret = " SECRET "\nrights = admin\nchannels =", "f:1: channels is empty; leave it out, or name at least one pattern\n" },
        { "[key a]\nsecret = " SECRET "\nrights = admin\nchannels = topic:*, , x",
          "f:1: channels must be 1 to 100 patterns of channels with commas between, each of 1 to 233 bytes and with at most 8 "
          "stars\n" },
        { "[connect_hook]\n", "f:1: url must be there, and begin with https:// or http:// and a host\n" },
        { "[connect_hook]\nurl = file:///etc/passwd\n",
          "f:1: url must be there, and begin with https:// or http:// and a host\n" },
        { "[connect_hook]\nurl = http://a\ntimeout_s = 0\n", "f:3: timeout_s: must be a time from 1s to 30s\n" },
        { "[connect_hook]\nurl = http://a\nheaders = Cookie, a:b\n",
          "f:1: headers: a name is 1 to 63 letters, digits, - and _\n" },
        { "[connect_hook]\nurl = http://a\n[connect_hook]\nurl = http://b\n",
          "f:3: connect_hook: there is a hook already\n" },
        { "[backend a b]\n", "f:1: backend a b: a back end's name must be 1 to 32 letters, digits and -._\n" },
        { "[backend a]\n", "f:1: url must be there, and begin with https:// or http:// and a host\n" },
        { "[backend a]\nurl = http://a\n[backend a]\n", "f:3: backend a: this back end has a section already\n" },
        { "[backend a]\nurl = http://a/\n", ADDRESSES },
        { "[backend a]\nurl = http://me:" SECRET "@a\n", ADDRESSES },
        { "[backend a]\nurl = http://a, ftp://b\n", ADDRESSES },
        { "[backend a]\nurl = http://a, b\n", ADDRESSES },
        { "[backend a]\nurl = https://a\nprotocol = h2c\n",
          "f:1: protocol = h2c is HTTP/2 without TLS, and an address begins with https://; leave protocol out\n" },
        { "[backend a]\nurl = http://a\ntimeout_s = 0\n", "f:3: timeout_s: must be a time from 1s to 10m\n" },
        { "[backend a]\nurl = http://a\nretries = 16\n", "f:3: retries: must be a number from 0 to 15\n" },
        { "[uplink a]\nbackend = a\n", "f:1: path must be there and begin with /; a star stands for a whole segment, ** for the rest at the end\n" },
        { "[uplink a]\nbackend = a\npath = /a*\n", "f:1: path must be there and begin with /; a star stands for a whole segment, ** for the rest at the end\n" },
        { "[uplink a]\nbackend = a\npath = /**/a\n", "f:1: path must be there and begin with /; a star stands for a whole segment, ** for the rest at the end\n" },
        { "[uplink a]\nbackend = a\npath = /a?b\n", "f:1: path must be there and begin with /; a star stands for a whole segment, ** for the rest at the end\n" },
        { "[uplink a]\npath = /\n", "f:1: backend must be there, and name a [backend]\n" },
        { "[uplink a]\npath = /\nbackend = a\nmethods = get\n",
          "f:1: methods must be some of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, with commas between\n" },
        { "[uplink a]\npath = /\nbackend = a\nmethods =\n", "f:1: methods is empty; leave it out, or name at least one\n" },
        { "[uplink a]\npath = /\nbackend = a\nallow = member\n", "f:1: allow: a path has no members; take user, grant or another word\n" },
        { "[uplink a]\npath = /\nbackend = a\nheaders = Accept, a b\n",
          "f:1: headers must be at most 16 names of 1 to 63 letters, digits, - and _, with commas between\n" },
        { "[uplink a]\npath = /\nbackend = a\nheaders = Accept, Longwire-User\n",
          "f:1: headers: Longwire-User is written by the server itself, or belongs to one connection; a client's own is never passed on\n" },
        { "[uplink a]\npath = /\nbackend = a\nheaders = transfer-encoding\n",
          "f:1: headers: transfer-encoding is written by the server itself, or belongs to one connection; a client's own is never passed on\n" },
        { "[uplink a]\npath = /\nbackend = a\n[uplink a]\n", "f:4: uplink a: this uplink has a section already\n" },
        { "[webhook a]\nevents = connected\nsecret = " SECRET "\n",
          "f:1: url must be there, and begin with https:// or http:// and a host, without @\n" },
        { "[webhook a]\nurl = http://a\nsecret = " SECRET "\n", "f:1: events must be there: some of " KINDS ", with commas between\n" },
        { "[webhook a]\nurl = http://a\nsecret = " SECRET "\nevents = connected, all\n",
          "f:1: events must be some of " KINDS ", with commas between\n" },
        { "[webhook a]\nurl = http://a\nevents = connected\n",
          "f:1: secret must be there: 16 to 128 letters, digits and -._~+/, with = only at the end; or secret_file\n" },
        { "[webhook a]\nurl = http://a\nevents = connected\nsecret = fifteen-letters\n",
          "f:1: the secret must have 16 to 128 letters, digits and -._~+/, with = only at the end\n" },
        { "[webhook a]\nurl = http://a\nevents = connected\nsecret = " SECRET "\nsecret_file = /x\n",
          "f:1: there is a secret and a secret_file; keep one of them\n" },
        { "[webhook a]\nurl = http://a\nevents = connected\nsecret_file = x\n",
          "f:1: secret_file must be an absolute path of at most 255 bytes\n" },
        { "[webhook a]\nurl = http://a\nevents = connected\nsecret = " SECRET "\n[webhook a]", "f:5: webhook a: this webhook has a section already\n" },
        { "[events]\nkeep = connected, gone\n", "f:1: keep must be some of " KINDS ", with commas between\n" },
        { "[events]\n", "f:1: keep must be there: some of " KINDS ", with commas between\n" },
        { "[events]\nkeep = connected\n[events]\n", "f:3: events: there is an [events] section already\n" },
        { "[namespace n]\nforward = shop\n", "f:1: forward must be BACKEND/path: the name of a [backend], and a path without blanks, ? and #\n" },
        { "[namespace n]\nforward = /up\n", "f:1: forward must be BACKEND/path: the name of a [backend], and a path without blanks, ? and #\n" },
        { "[namespace n]\nforward = shop/a b\n", "f:1: forward must be BACKEND/path: the name of a [backend], and a path without blanks, ? and #\n" },
        { "[namespace live]\nforward = shop/up\n",
          "f:1: forward: only durable messages of clients and applications are carried to a back end; set durability = durable, or "
          "leave forward out\n" },
        { "[namespace n]\nforward_batch = 0\n", "f:2: forward_batch: must be a number from 1 to 1000\n" },
        { "[jwt a b]\n", "f:1: jwt a b: an issuer's name must be 1 to 32 letters, digits and -._\n" },
        { "[jwt a]\n", "f:1: one of secret, secret_file, key_file and jwks must be there, and only one\n" },
        { "[jwt a]\nsecret = " SECRET "\n[jwt a]\n", "f:3: jwt a: this issuer has a section already\n" },
        { "[jwt a]\nsecret = " SECRET "\nsecret_file = /x\n",
          "f:1: one of secret, secret_file, key_file and jwks must be there, and only one\n" },
        { "[jwt a]\nsecret = too-short\n", "f:1: the secret has 9 bytes; it must have 16 to 512\n" },
        { "[jwt a]\nsecret = " SECRET "\nalgorithms = HS256, none\n",
          "f:1: algorithms: there is no none here; there are HS256, HS384, HS512, RS256, RS384, RS512, PS256, ES256, ES384, "
          "EdDSA\n" },
        { "[jwt a]\nsecret = " SECRET "\nalgorithms = \n", "f:1: algorithms is empty; leave it out, or name at least one\n" },
        { "[jwt a]\nsecret = " SECRET "\nleeway_s = 2h\n", "f:3: leeway_s: must be a time from 0 to 1h\n" },
        { "[jwt a]\nkey_file = /nowhere/at/all\n", "f:1: key_file: /nowhere/at/all can't be read: No such file or directory\n" },
        { "[jwt a]\njwks = a/b\n",
          "f:1: jwks must be an absolute path, or an address that begins with https:// or http://\n" },
        { "[jwt a]\nkey_file = a/b\n", "f:1: key_file must be an absolute path\n" },
        { "[namespace News]\n", "f:1: namespace News: a namespace's name must be a small letter, then up to 31 small "
                                "letters, digits, - and _\n" },
        { "[namespace n]\n[namespace n]\n", "f:2: namespace n: this namespace has a section already\n" },
        { "[namespace topic]\n[namespace topic]\n", "f:2: namespace topic: this namespace has a section already\n" },
        { "[namespace n]\nkeep = 1",
          "f:2: keep: unknown here; there are: durability, keep_age, keep_count, keep_bytes, payload_bytes_max, "
          "ttl_default, subscribe, publish, presence, forward, forward_batch, forward_tries\n" },
        { "[namespace n]\ndurability = eternal", "f:2: durability: must be one of: durable, memory, none\n" },
        { "[namespace n]\nkeep_age = 3651d", "f:2: keep_age: must be a time from 0 to 3650d\n" },
        { "[namespace n]\nkeep_count = 1T", "f:2: keep_count: must be a number from 0 to 1099511627776\n" },
        { "[namespace n]\nkeep_bytes = 1025T", "f:2: keep_bytes: must be a size from 0 to 1024T\n" },
        { "[namespace n]\npayload_bytes_max = 0", "f:2: payload_bytes_max: must be a size from 1 to 64M\n" },
        { "[namespace n]\nttl_default = soon", "f:2: ttl_default: must be a time from 0 to 3650d\n" },
        { "[namespace n]\nsubscribe = all", "f:2: subscribe: must be one of: nobody, key, grant, member, user, anyone\n" },
        { "[namespace n]\npublish = all", "f:2: publish: must be one of: nobody, key, grant, member, user, anyone\n" },
        { "[namespace n]\nkeep_age = 5m\ndurability = none",
          "f:1: with durability none nothing is kept: leave out keep_age, keep_count and keep_bytes\n" },
        { "[namespace live]\nkeep_count = 0",
          "f:1: with durability memory keep_count or keep_bytes must be above 0, or memory would fill up\n" },
        { "[namespace sys]\npublish = anyone", "f:1: only the server publishes to sys: publish must be nobody\n" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (reads(rows[i].text))
            fail_msg("taken: %s", rows[i].text);
        assert_string_equal(said(), rows[i].say);
        assert_null(strstr(say.at, SECRET));
    }
}

static void what_is_no_text_is_refused(void **state)
{
    (void)state;
    static char long_line[10000], many_lines[400];

    assert_false(config_read(&settings, "f", SPAN("loops = 1\0\n"), &say));
    assert_string_equal(said(), "f:1: a line must be text; this one has a NUL byte\n");

    memset(long_line, 'a', sizeof long_line - 1);
    memcpy(long_line, "data = ", 7);
    assert_false(reads(long_line));
    assert_string_equal(said(), "f:1: a line may be at most 8192 bytes long\n");

    for (size_t i = 0; i < sizeof many_lines / 4; i++)
        memcpy(many_lines + 4 * i, "x=1\n", 4);
    many_lines[sizeof many_lines - 1] = '\0';
    assert_false(reads(many_lines));
    assert_non_null(strstr(said(), "f:20: x: there is"));
    assert_null(strstr(say.at, "f:21:"));
    assert_non_null(strstr(say.at, "f: too many faults, the rest was not read\n"));
}

static void a_file_says_what_it_says(void **state)
{
    (void)state;
    static char origins[4200] = "origins = https://a.example";

    assert_true(reads("\xef\xbb\xbfloops = 2   ; two\r\n"
                      "# a comment\n"
                      "data = ./lw # remark\n"
                      "log_format = json\t# remark ; and more\n"
                      "  heartbeat-s = 1m\n"
                      "outbox_bytes_max=1M\n"
                      "origins = \n"
                      "[ key  app ]  ; the application\n"
                      "rights = publish,subscribe\n"
                      "secret = " SECRET "==\n"
                      "[key op.s] # of us\n"
                      "secret = another-secret-of-mine\n"
                      "rights = admin # all"));
    assert_string_equal(settings.data, "./lw");
    assert_int_equal(settings.log_format, LOG_JSON);
    assert_int_equal(settings.loops, 2);
    assert_int_equal(settings.line_of[SETTING_loops], 1);
    assert_int_equal(settings.heartbeat_s, 60);
    assert_int_equal(settings.line_of[SETTING_heartbeat_s], 5);
    assert_int_equal(settings.outbox_bytes_max, 1024 * 1024);
    assert_int_equal(settings.key_count, 2);
    assert_string_equal(settings.keys[0].name, "app");
    assert_string_equal(settings.keys[0].secret, SECRET "==");
    assert_int_equal(settings.keys[0].rights, RIGHT_PUBLISH | RIGHT_SUBSCRIBE);
    assert_string_equal(settings.keys[1].name, "op.s");
    assert_int_equal(settings.keys[1].rights, RIGHT_ADMIN);

    /* Far longer than the lines inih takes by itself. */
    for (int i = 0; i < 60; i++)
        sprintf(origins + strlen(origins), ", https://a-rather-long-name-number-%d.example", i);
    assert_true(reads(origins));
    assert_int_equal(settings.origin_count, 61);
}

static void back_ends_uplinks_webhooks_and_events_are_read(void **state)
{
    (void)state;
    if (!reads("[backend shop]\nurl = http://10.0.0.1:9000/api, https://shop.example\nrequests_max = 8\n"
               "[uplink orders]\npath = /orders/*\nbackend = shop\nmethods = GET, POST\nheaders = Accept, If-Match\n"
               "delivery = at_least_once\nallow = grant\nbody_bytes_max = 64K\n"
               "[uplink rest]\nbackend = shop\npath = /**\n"
               "[webhook crm]\nurl = https://crm.example/in?x=1\nevents = connected, disconnected\nsecret = " SECRET "\n"
               "[events]\nkeep = disconnected\n"
               "[namespace up]\nforward = shop/in/positions\nforward_batch = 7\n") ||
        !settings_finish(&settings, &say))
        fail_msg("%s", said());
    const struct backend_section *shop = settings_backend(&settings, SPAN("shop"));
    assert_int_equal(shop->url_count, 2);
    assert_int_equal(shop->timeout_s, 10);
    assert_int_equal(shop->connect_timeout_s, 3);
    assert_int_equal(shop->connections_max, 64);
    assert_int_equal(shop->requests_max, 8);
    assert_int_equal(shop->retries, 2);
    assert_int_equal(settings.uplink_count, 2);
    const struct uplink_section *orders = &settings.uplinks[0], *rest = &settings.uplinks[1];
    assert_int_equal(orders->methods, REQUEST_GET | REQUEST_POST);
    assert_string_equal(orders->headers, "accept,if-match");
    assert_int_equal(orders->delivery, AT_LEAST_ONCE);
    assert_int_equal(orders->allow, ALLOW_GRANT);
    assert_int_equal(orders->body_bytes_max, 65536);
    assert_int_equal(rest->methods, REQUEST_GET | REQUEST_POST | REQUEST_PUT | REQUEST_PATCH | REQUEST_DELETE);
    assert_string_equal(rest->headers, "");
    assert_int_equal(rest->allow, ALLOW_USER);
    assert_int_equal(settings.webhooks[0].events, EVENT_KIND_CONNECTED | EVENT_KIND_DISCONNECTED);
    assert_string_equal(settings.webhooks[0].secret, SECRET);
    assert_int_equal(settings.webhooks[0].retry_for_s, 86400);
    assert_int_equal(settings.events.keep, EVENT_KIND_DISCONNECTED);
    const struct namespace *up = namespaces_find(&settings.namespaces, SPAN("up"));
    assert_true(namespace_forwards(up) && span_eq(namespace_forward_backend(up), SPAN("shop")));
    assert_true(span_eq(namespace_forward_path(up), SPAN("/in/positions")));
    assert_int_equal(up->forward_batch, 7);
    assert_int_equal(up->forward_tries, 5);
    assert_false(namespace_forwards(namespaces_find(&settings.namespaces, SPAN("topic"))));

    buf_clear(&say);
    settings_print_in_force(&settings, &say);
    assert_null(strstr(said(), SECRET));
    assert_non_null(strstr(say.at, "[webhook crm]\nurl = https://crm.example/in?x=1\nevents = connected, disconnected\nsecret = ****"));
    assert_non_null(strstr(say.at, "[uplink orders]\nmethods = GET, POST\npath = /orders/*\nbackend = shop\n"));
}

static void what_is_printed_of_the_uplink_is_read_again(void **state)
{
    (void)state;
    assert_true(reads("[backend b]\nurl = http://a, http://b\nprotocol = h2c\n[uplink u]\nbackend = b\npath = /a/**\nheaders = a,b\n"));
    buf_clear(&say);
    backend_section_print(&settings.backends[0], &say);
    uplink_section_print(&settings.uplinks[0], &say);
    char *first = strdup(said());
    if (!reads(first))
        fail_msg("%s", said());
    buf_clear(&say);
    backend_section_print(&settings.backends[0], &say);
    uplink_section_print(&settings.uplinks[0], &say);
    assert_string_equal(said(), first);
    free(first);
}

static void a_back_end_that_is_named_must_be_there(void **state)
{
    (void)state;
    assert_true(reads("[uplink a]\npath = /\nbackend = shop\n"));
    assert_false(settings_finish(&settings, &say));
    assert_string_equal(said(), "[uplink a]: there is no [backend shop]");
    assert_true(reads("[namespace up]\nforward = shop/up\n"));
    assert_false(settings_finish(&settings, &say));
    assert_string_equal(said(), "[namespace up]: forward: there is no [backend shop]");
}

static void namespaces_get_their_policy(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name;
        enum durability durability;
        enum id_kind id_kind;
        msec keep_ms;
        uint64_t keep_count, keep_bytes;
        enum allowed subscribe, publish;
    } rows[] = {
        { "[namespace news]", "news", DURABLE, ID_OPEN, 604800000, 0, 0, ALLOW_ANYONE, ALLOW_GRANT },
        { "[namespace news]\nkeep_age=30d\nkeep_bytes=64M\nkeep_count=10\nsubscribe=key\npublish=nobody", "news",
          DURABLE, ID_OPEN, INT64_C(2592000000), 10, 64 << 20, ALLOW_KEY, ALLOW_NOBODY },
        { "[namespace news]\ndurability=memory", "news", MEMORY, ID_MEMORY, 300000, 1000, 0, ALLOW_ANYONE, ALLOW_GRANT },
        { "[namespace news]\nkeep_count=5\ndurability=memory\nkeep_age=0", "news", MEMORY, ID_MEMORY, 0, 5, 0,
          ALLOW_ANYONE, ALLOW_GRANT },
        { "[namespace news]\ndurability=none\nkeep_age=0", "news", NONE, ID_MEMORY, 0, 0, 0, ALLOW_ANYONE, ALLOW_GRANT },
        { "[namespace user]\nkeep_age=90", "user", DURABLE, ID_DIRECT, 90000, 0, 0, ALLOW_MEMBER, ALLOW_KEY },
        { "[namespace user]\ndurability=memory", "user", MEMORY, ID_MEMORY, 300000, 1000, 0, ALLOW_MEMBER, ALLOW_KEY },
        { "[namespace live]\ndurability=durable", "live", DURABLE, ID_OPEN, 604800000, 0, 0, ALLOW_ANYONE, ALLOW_GRANT },
        { "[namespace live]\ndurability=memory\nkeep_age=10m", "live", MEMORY, ID_MEMORY, 600000, 1000, 0, ALLOW_ANYONE,
          ALLOW_GRANT },
        { "[namespace sys]\nsubscribe=key", "sys", MEMORY, ID_MEMORY, 300000, 1000, 0, ALLOW_KEY, ALLOW_NOBODY },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!reads(rows[i].text))
            fail_msg("%s: %s", rows[i].text, said());
        const struct namespace *space = namespaces_find(&settings.namespaces, span_str(rows[i].name));
        if (space->durability != rows[i].durability || space->id_kind != rows[i].id_kind ||
            space->keep_ms != rows[i].keep_ms || space->keep_count != rows[i].keep_count ||
            space->keep_bytes != rows[i].keep_bytes || space->subscribe != rows[i].subscribe ||
            space->publish != rows[i].publish)
            fail_msg("%s is misread", rows[i].text);
    }
    assert_true(reads("[namespace a]\npayload_bytes_max = 64M\nttl_default = 1d\n"));
    const struct namespace *space = namespaces_find(&settings.namespaces, SPAN("a"));
    assert_int_equal(space->payload_bytes_max, 64 << 20);
    assert_int_equal(space->ttl_s_default, 86400);
}

static void payloads_must_fit_into_what_may_wait(void **state)
{
    (void)state;
    assert_true(reads("publish_waiting_bytes_max = 1M\n[namespace a]\npayload_bytes_max = 2M\n"));
    assert_false(settings_finish(&settings, &say));
    assert_string_equal(said(), "[namespace a]: payload_bytes_max must not be above publish_waiting_bytes_max, or its "
                                "largest messages could never be published");
}

/* --- order --------------------------------------------------------------------------------------------------- */

/* A file that is gone at the test's end. */
static const char *file_with(const char *text, mode_t mode)
{
    static char path[64];
    strcpy(path, "/tmp/longwire-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0 && fchmod(fd, mode) == 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    return path;
}

static void flags_beat_environment_beats_file_beats_default(void **state)
{
    (void)state;
    const char *path = file_with("loops = 2\n", 0600);
    char        config[96];
    snprintf(config, sizeof config, "LONGWIRE_CONFIG=%s", path);

    for (unsigned bits = 0; bits < 8; bits++) {
        char *argv[] = { "longwired", bits & 4 ? "--loops=4" : NULL, NULL };
        char *env[3] = { "PATH=/bin" }, **next = env + 1;
        if (bits & 1)
            *next++ = config;
        if (bits & 2)
            *next++ = "LONGWIRE_LOOPS=3";
        char *env_whole[] = { env[0], env[1], next == env + 3 ? env[2] : NULL, NULL };

        static const struct { uint64_t loops; enum setting_source source; } wants[8] = {
            { 0, FROM_DEFAULT }, { 2, FROM_FILE }, { 3, FROM_ENVIRONMENT }, { 3, FROM_ENVIRONMENT },
            { 4, FROM_FLAG },    { 4, FROM_FLAG }, { 4, FROM_FLAG },        { 4, FROM_FLAG },
        };
        if (load(argv, env_whole) != CONFIG_RUN || settings.loops != wants[bits].loops ||
            settings.source_of[SETTING_loops] != wants[bits].source)
            fail_msg("case %u: %s", bits, said());
    }

    char *other[] = { "longwired", "--config", "/nonexistent/longwire.conf", NULL };
    char *env[]   = { config, NULL };
    assert_int_equal(load(other, env), CONFIG_EXIT_BAD);
    assert_string_equal(said(), "/nonexistent/longwire.conf: can't be read: No such file or directory\n");
    unlink(path);
}

static void flags_come_in_all_their_forms(void **state)
{
    (void)state;
    char *argv[] = { "longwired", "--http", "127.0.0.1:0", "--data=/a=b", "--log_level", "warn", "--log-format=json",
                     "--diagnostic-echo", "--store", "memory", NULL };
    assert_int_equal(load(argv, nothing), CONFIG_RUN);
    assert_int_equal(say.len, 0);
    assert_string_equal(settings.http, "127.0.0.1:0");
    assert_string_equal(settings.data, "/a=b");
    assert_int_equal(settings.log_level, LOG_WARN);
    assert_int_equal(settings.log_format, LOG_JSON);
    assert_int_equal(settings.store_kind, STORE_MEMORY);
    assert_true(settings.diagnostic_echo);

    char *off[] = { "longwired", "--diagnostic-echo", "off", NULL };
    assert_int_equal(load(off, nothing), CONFIG_RUN);
    assert_false(settings.diagnostic_echo);
}

/* threat 26 */
static void flags_and_variables_are_refused_by_name(void **state)
{
    (void)state;
    static const struct { const char *one, *two, *env, *say; } rows[] = {
        { "--lops", "1", NULL, "--lops: there is no such flag; longwired --help lists them all\n" },
        { "-v", NULL, NULL, "-v: is not a flag; flags begin with --, and longwired --help lists them all\n" },
        { "serve", NULL, NULL, "serve: is not a flag; flags begin with --, and longwired --help lists them all\n" },
        { "--loops", NULL, NULL, "--loops: needs a value\n" },
        { "--loops", "--check", NULL, "--loops: needs a value\n" },
        { "--loops=99", NULL, NULL, "--loops: must be a number from 0 to 64\n" },
        { "--loops=", NULL, NULL, "--loops: must be a number from 0 to 64\n" },
        { "--http=127.0.0.1:1", "--http=127.0.0.1:2", NULL,
          "--http: is given twice; a list is one value, with commas\n" },
        { "--tcp", "7400", NULL, "--tcp: must be different numeric ADDRESS:PORT with commas between, like "
          "127.0.0.1:8080, [::1]:8080\n" },
        { "--config", NULL, NULL, "--config: needs the path of one file, once\n" },
        { "--config=/a", "--config=/b", NULL, "--config: needs the path of one file, once\n"
          "/a: can't be read: No such file or directory\n" },
        { "--config", "/", NULL, "/: can't be read: Is a directory\n" },
        { "--secret=" SECRET, NULL, NULL, "--secret: there is no such flag; longwired --help lists them all\n" },
        { NULL, NULL, "LONGWIRE_LOOPS=99", "LONGWIRE_LOOPS: must be a number from 0 to 64\n" },
        { NULL, NULL, "LONGWIRE_DATA=\"/lw\"",
          "LONGWIRE_DATA: must stand without quotes: nothing takes them off here\n" },
        { "--data=/lw ", NULL, NULL, "--data: must neither begin nor end with a blank\n" },
        { "--data= /lw", NULL, NULL, "--data: must neither begin nor end with a blank\n" },
        { "--data=~/lw", NULL, NULL,
          "--data: must be the path itself: neither ~ nor variables are replaced here\n" },
        /* threat 105 */
        { "--http=0.0.0.0:8080", NULL, NULL,
          "http: 0.0.0.0:8080 can be reached from other machines, but neither an API key nor an issuer is configured, so that anyone could "
          "publish; add a [key NAME] section to the configuration file, or listen on 127.0.0.1\n" },
        { "--tcp=0.0.0.0:7400", NULL, NULL,
          "tcp: 0.0.0.0:7400 can be reached from other machines, but neither an API key nor an issuer is configured, so that "
          "anyone could publish; add a [key NAME] section to the configuration file, or listen on 127.0.0.1\n" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *argv[] = { "longwired", (char *)rows[i].one, (char *)rows[i].two, NULL };
        char *env[]  = { (char *)rows[i].env, NULL };
        if (load(argv, env) != CONFIG_EXIT_BAD)
            fail_msg("%s%s is taken", rows[i].one != NULL ? rows[i].one : "", rows[i].env != NULL ? rows[i].env : "");
        assert_string_equal(said(), rows[i].say);
    }
}

static void variables_that_platforms_make_are_only_warned_of(void **state)
{
    (void)state;
    char *argv[] = { "longwired", NULL };
    char *env[]  = { "LONGWIRE_SERVER=http://a", "LONGWIRE_KEY=a", "LONGWIRE_PORT=tcp://10.0.0.1:80",
                     "LONGWIRE_loops=9",
                     "LONG=1", NULL };
    assert_int_equal(load(argv, env), CONFIG_RUN);
    assert_string_equal(said(), "LONGWIRE_PORT: warning: there is no such setting, so this variable does nothing\n"
                                "LONGWIRE_loops: warning: there is no such setting, so this variable does nothing\n");
    assert_int_equal(settings.loops, 0);
}

/* The flags that everyone scripts against are --http, --tcp, --data and --config: all four are taken. */
static void the_native_protocol_has_addresses_of_its_own(void **state)
{
    (void)state;
    char *flags[] = { "longwired", "--http=127.0.0.1:1", "--tcp", "127.0.0.1:7400", "--data=/a", NULL };
    char *none[]  = { "longwired", NULL };
    char *env[]   = { "LONGWIRE_TCP=127.0.0.1:7400, [::1]:7400", NULL };

    char *off[]   = { "LONGWIRE_TCP=", NULL };

    assert_int_equal(load(none, nothing), CONFIG_RUN);
    assert_string_equal(settings.native_listens[0].text, "127.0.0.1:7400");
    assert_int_equal(load(flags, nothing), CONFIG_RUN);
    assert_string_equal(said(), "");
    assert_int_equal(settings.native_listen_count, 1);
    assert_true(settings.native_listens[0].is_native && !settings.listens[0].is_native);
    assert_int_equal(load(none, env), CONFIG_RUN);
    assert_int_equal(settings.native_listen_count, 2);
    assert_string_equal(settings.native_listens[1].text, "[::1]:7400");
    assert_int_equal(load(none, off), CONFIG_RUN);
    assert_int_equal(settings.native_listen_count, 0);
}

/* threat 105 */
static void with_a_key_the_network_may_come(void **state)
{
    (void)state;
    const char *path = file_with("http = 0.0.0.0:8080\n[key app]\nsecret = " SECRET "\nrights = publish\n", 0644);
    char *argv[] = { "longwired", "--config", (char *)path, NULL };
    char  want[200];

    assert_int_equal(load(argv, nothing), CONFIG_RUN);
    snprintf(want, sizeof want,
             "%s: warning: every user of this machine can read its keys; chmod o-r would end that\n", path);
    assert_string_equal(said(), want);
    assert_false(settings.listens[0].is_loopback);
    unlink(path);
}

/* threat 108: secrets stay where they are. */
static void check_says_what_is_in_force_and_from_where(void **state)
{
    (void)state;
    const char *path = file_with("loops = 2\n[key app]\nsecret = " SECRET "\nrights = publish, admin\n", 0600);
    char *argv[] = { "longwired", "--check", "--heartbeat-s=30", "--config", (char *)path, NULL };
    char *env[]  = { "LONGWIRE_LOG_LEVEL=debug", NULL };

    assert_int_equal(load(argv, env), CONFIG_EXIT_OK);
    static const char *const parts[] = {
        "http = 127.0.0.1:8080                        ; default\n",
        "loops = 2                                    ; file, line 1\n",
        "log_level = debug                            ; LONGWIRE_LOG_LEVEL\n",
        "heartbeat_s = 30s                            ; --heartbeat-s\n",
        "[key app]\nsecret = ****************\nrights = publish, admin\n",
        "[namespace live]\ndurability = memory\nkeep_age = 5m\nkeep_count = 1000\n",
    };
    said();
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(say.at, parts[i]) == NULL)
            fail_msg("missing: %s in\n%s", parts[i], say.at);
    assert_null(strstr(say.at, SECRET));
    unlink(path);
}

/* --- secrets in files of their own ---------------------------------------------------------------------------- */

static void a_secret_may_stand_in_a_file(void **state)
{
    (void)state;
    static const struct { const char *text, *secret; } rows[] = {
        { SECRET, SECRET },
        { SECRET "\n", SECRET },
        { SECRET "\r\n", SECRET },
        { SECRET "==\nwhat follows is nobody's secret\n", SECRET "==" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *path = file_with(rows[i].text, 0600);
        char        text[200];

        snprintf(text, sizeof text, "[key app]\nrights = publish\nsecret_file = %s # of the platform\n", path);
        if (!reads(text))
            fail_msg("%s: %s", rows[i].text, said());
        assert_string_equal(settings.keys[0].secret, rows[i].secret);
        assert_string_equal(settings.keys[0].secret_file, path);
        unlink(path);
    }
}

/* Threats 26, 108: the message names the file and never the secret. %s stands for the file. */
static void a_secret_file_is_refused_by_its_name(void **state)
{
    (void)state;
    static const char line[] = "f:1: secret_file: the first line of %s must be the secret: 16 to 128 letters, digits and "
                               "-._~+/, with = only at the end\n";
    static const struct { const char *text, *more, *say; } rows[] = {
        { "", "", line },
        { "\n" SECRET "\n", "", line },
        { "fifteen-letters\n", "", line },
        { " " SECRET "\n", "", line },
        { SECRET "!\n", "", line },
        { SECRET SECRET SECRET SECRET SECRET SECRET SECRET, "", line },
        { SECRET, "secret = another-secret-of-mine\n",
          "f:1: there is a secret and a secret_file; keep one of them\n" },
        { SECRET, "secret_file = /other\n", "f:4: secret_file: stands in this section twice\n" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *path = file_with(rows[i].text, 0600);
        char        text[300], want[300];

        snprintf(text, sizeof text, "[key app]\nrights = publish\nsecret_file = %s\n%s", path, rows[i].more);
        snprintf(want, sizeof want, rows[i].say, path);
        assert_false(reads(text));
        assert_string_equal(said(), want);
        unlink(path);
    }
    static const struct { const char *text, *say; } paths[] = {
        { "[key app]\nrights = publish\nsecret_file = /nonexistent/key\n",
          "f:1: secret_file: /nonexistent/key can't be read: No such file or directory\n" },
        { "[key app]\nrights = publish\nsecret_file = /dev/null\n",
          "f:1: secret_file: /dev/null must be a regular file\n" },
        { "[key app]\nrights = publish\nsecret_file = /\n",
          "f:1: secret_file must be an absolute path of at most 255 bytes\n" },
        { "[key app]\nrights = publish\nsecret_file = key\n",
          "f:1: secret_file must be an absolute path of at most 255 bytes\n" },
        { "[key app]\nrights = publish\nsecret_file =\n",
          "f:1: secret_file must be an absolute path of at most 255 bytes\n" },
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        assert_false(reads(paths[i].text));
        assert_string_equal(said(), paths[i].say);
    }
}

/* Threat 108 */
static void check_says_the_file_of_a_secret_and_not_the_secret(void **state)
{
    (void)state;
    char path[64], config[300], want[300];

    strcpy(path, file_with(SECRET "\n", 0644));
    snprintf(config, sizeof config, "[key app]\nsecret_file = %s\nrights = publish\n", path);
    const char *file   = file_with(config, 0644);
    char       *argv[] = { "longwired", "--check", "--config", (char *)file, NULL };

    assert_int_equal(load(argv, nothing), CONFIG_EXIT_OK);
    said();
    snprintf(want, sizeof want, "[key app]\nsecret_file = %s\nrights = publish\n", path);
    assert_non_null(strstr(say.at, want));
    assert_null(strstr(say.at, SECRET));
    snprintf(want, sizeof want,
             "%s: warning: every user of this machine can read this secret; chmod o-r would end that\n", path);
    assert_true(span_starts(buf_span(&say), span_str(want)));  /* and nothing of the configuration file */
    unlink(path);
    unlink(file);
}

static void subscribe_requests_are_granted_before_anything_can_be_wrong(void **state)
{
    (void)state;
    static const struct { const char *flag, *head; } rows[] = {
        { "--help", "longwired - the Longwire push server\n\nUsage: " },
        { "--version", "longwired " LONGWIRE_VERSION "\n" },
        { "--print-config", "; Configuration of longwired" },
        { "--print-docs", "# Configuration\n" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *argv[] = { "longwired", "--lops", (char *)rows[i].flag, NULL };
        char *env[]  = { "LONGWIRE_LOOPS=many", NULL };
        assert_int_equal(load(argv, env), CONFIG_EXIT_OK);
        if (!span_starts(buf_span(&say), span_str(rows[i].head)))
            fail_msg("%s: %s", rows[i].flag, said());
    }
}

/* Threat 25: what can't be read again is no empty file. */
static void only_a_file_that_lies_there_is_read_again(void **state)
{
    (void)state;
    char        path[] = "/tmp/longwire-config-XXXXXX";
    char        fifo[64], gone[64];
    const char *file = file_with("loops = 2\n", 0600);

    assert_non_null(mkdtemp(path));
    snprintf(fifo, sizeof fifo, "%s/fifo", path);
    snprintf(gone, sizeof gone, "%s/gone", path);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    const struct { const char *path; bool is_fine; const char *said; } rows[] = {
        { file, true, "" },
        { gone, false, ": can't be read: No such file or directory\n" },
        { path, false, ": is no regular file, and a reload reads only regular files; a restart would read it\n" },
        { fifo, false, ": is no regular file, and a reload reads only regular files; a restart would read it\n" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *argv[] = { "longwired", "--config", (char *)rows[i].path, "--linger-s", "3", NULL };
        char *env[]  = { "LONGWIRE_POLL_WAIT_S=4", NULL };
        buf_clear(&say);
        assert_int_equal(config_load_again(argv, env, &settings, &say), rows[i].is_fine);
        if (!rows[i].is_fine)
            assert_string_equal(said() + strlen(rows[i].path), rows[i].said);
        assert_int_equal(settings.loops, rows[i].is_fine ? 2 : 0);
    }
    unlink(file);
    unlink(fifo);
    rmdir(path);
}

static void secrets_are_wiped_at_the_end(void **state)
{
    (void)state;
    assert_true(reads("[key app]\nsecret = " SECRET "\nrights = publish\n"));
    settings_fini(&settings);
    assert_null(memmem(&settings, sizeof settings, SECRET, strlen(SECRET)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_refused_with_line_name_and_what_is_allowed, begin, end),
        cmocka_unit_test_setup_teardown(what_is_no_text_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(a_file_says_what_it_says, begin, end),
        cmocka_unit_test_setup_teardown(namespaces_get_their_policy, begin, end),
        cmocka_unit_test_setup_teardown(back_ends_uplinks_webhooks_and_events_are_read, begin, end),
        cmocka_unit_test_setup_teardown(what_is_printed_of_the_uplink_is_read_again, begin, end),
        cmocka_unit_test_setup_teardown(a_back_end_that_is_named_must_be_there, begin, end),
        cmocka_unit_test_setup_teardown(payloads_must_fit_into_what_may_wait, begin, end),
        cmocka_unit_test_setup_teardown(flags_beat_environment_beats_file_beats_default, begin, end),
        cmocka_unit_test_setup_teardown(flags_come_in_all_their_forms, begin, end),
        cmocka_unit_test_setup_teardown(flags_and_variables_are_refused_by_name, begin, end),
        cmocka_unit_test_setup_teardown(variables_that_platforms_make_are_only_warned_of, begin, end),
        cmocka_unit_test_setup_teardown(the_native_protocol_has_addresses_of_its_own, begin, end),
        cmocka_unit_test_setup_teardown(with_a_key_the_network_may_come, begin, end),
        cmocka_unit_test_setup_teardown(check_says_what_is_in_force_and_from_where, begin, end),
        cmocka_unit_test_setup_teardown(a_secret_may_stand_in_a_file, begin, end),
        cmocka_unit_test_setup_teardown(a_secret_file_is_refused_by_its_name, begin, end),
        cmocka_unit_test_setup_teardown(check_says_the_file_of_a_secret_and_not_the_secret, begin, end),
        cmocka_unit_test_setup_teardown(subscribe_requests_are_granted_before_anything_can_be_wrong, begin, end),
        cmocka_unit_test_setup_teardown(only_a_file_that_lies_there_is_read_again, begin, end),
        cmocka_unit_test_setup_teardown(secrets_are_wiped_at_the_end, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
