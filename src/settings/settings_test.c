/* Settings: bounds of every one of them, texts that mean more, and what is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include "settings/config.h"
#include "settings/settings_priv.h"
#include "settings/unit.h"

#include <cmocka.h>

static struct settings settings;
static struct buf      why;

static int begin(void **state)
{
    (void)state;
    settings_init(&settings);
    buf_init(&why, 1024 * 1024);
    return 0;
}

static int end(void **state)
{
    (void)state;
    settings_fini(&settings);
    buf_fini(&why);
    return 0;
}

static const char *why_text(void)
{
    buf_putc(&why, '\0');
    return why.at;
}

static enum setting setting_of(const char *name)
{
    enum setting setting;
    if (!setting_find(span_str(name), &setting))
        fail_msg("no setting %s", name);
    return setting;
}

static bool set(const char *name, const char *value)
{
    buf_clear(&why);
    return settings_set(&settings, setting_of(name), span_str(value), &why);
}

/* --- units --------------------------------------------------------------------------------------------------- */

static void sizes_and_times_are_read_with_their_units(void **state)
{
    (void)state;
    static const struct { const char *text; bool is_size; uint64_t bytes; bool is_time; msec ms; } rows[] = {
        { "0", true, 0, true, 0 },
        { "12", true, 12, true, 12000 },
        { "64K", true, 65536, false, 0 },
        { "64KiB", true, 65536, false, 0 },
        { "8m", true, 8 << 20, true, 480000 },
        { "1G", true, 1 << 30, false, 0 },
        { "16777215T", true, UINT64_C(16777215) << 40, false, 0 },
        { "16777216T", false, 0, false, 0 },
        { "250ms", false, 0, true, 250 },
        { "30s", false, 0, true, 30000 },
        { "2h", false, 0, true, 7200000 },
        { "7d", false, 0, true, 604800000 },
        { "106751991168d", false, 0, false, 0 },
        { "", false, 0, false, 0 },
        { "K", false, 0, false, 0 },
        { "iB", false, 0, false, 0 },
        { "-1", false, 0, false, 0 },
        { "1.5M", false, 0, false, 0 },
        { "1 K", false, 0, false, 0 },
        { "18446744073709551616", false, 0, false, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t bytes = 0;
        msec     ms    = 0;
        if (unit_read_bytes(span_str(rows[i].text), &bytes) != rows[i].is_size || bytes != rows[i].bytes)
            fail_msg("size \"%s\"", rows[i].text);
        if (unit_read_time(span_str(rows[i].text), UNIT_S, &ms) != rows[i].is_time || ms != rows[i].ms)
            fail_msg("time \"%s\"", rows[i].text);
    }
}

/* --- bounds -------------------------------------------------------------------------------------------------- */

static bool set_number(enum setting setting, uint64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    buf_clear(&why);
    return settings_set(&settings, setting, span_str(text), &why);
}

/* threat 26: a number out of range is refused, and the sentence says what is allowed. */
static void every_number_takes_its_bounds_and_nothing_beyond(void **state)
{
    (void)state;
    int numbers = 0;
    for (enum setting setting = 0; setting < SETTING_COUNT; setting++) {
        const struct value_row *row = &setting_rows[setting];
        if (row->kind < VALUE_COUNT)
            continue;
        numbers++;
        if (row->number < row->min || row->number > row->max || row->max > INT64_MAX)
            fail_msg("%s: default out of bounds", row->name);
        if (!set_number(setting, row->max) || !set_number(setting, row->min))
            fail_msg("%s: a bound is refused: %s", row->name, why_text());
        if (set_number(setting, row->max + 1) || (row->min > 0 && set_number(setting, row->min - 1)))
            fail_msg("%s: beyond a bound is taken", row->name);
        if (strncmp(why_text(), "must be a ", 10) != 0 || strstr(why.at, " to ") == NULL)
            fail_msg("%s: says %s", row->name, why.at);
        if (set(row->name, "") || set(row->name, "many") || set(row->name, "-1") || set(row->name, "1x"))
            fail_msg("%s: takes what is no number", row->name);
    }
    assert_in_range(numbers, 25, SETTING_COUNT);
}

static void a_refused_value_changes_nothing(void **state)
{
    (void)state;
    static const struct { const char *name, *good, *bad, *why; } rows[] = {
        { "loops", "3", "65", "must be a number from 0 to 64" },
        { "outbox_bytes_max", "1M", "1K", "must be a size from 4K to 64M" },
        { "heartbeat_s", "30s", "1500ms", "must be a time from 1s to 1h" },
        { "sse_retry_ms", "2s", "2h", "must be a time from 0 to 1h" },
        { "reconnect_ms", "2s", "2h", "must be a time from 0 to 1h" },
        { "frame_timeout_s", "30s", "2h", "must be a time from 1s to 1h" },
        { "publishes_per_connection_max", "1", "0", "must be a number from 1 to 10000" },
        { "store", "memory", "Memory", "must be rocks, memory, or 1 to 32 different URLs with commas between, like "
          "postgres://longwire@db1/push, each at most 1023 bytes long" },
        { "log_level", "error", "rror", "must be one of: debug, info, warn, error" },
        { "log_format", "json", "json|", "must be one of: logfmt, json" },
        { "diagnostic_echo", "true", "maybe", "must be true or false" },
        { "data", "/srv/a b", "", "must name a directory" },
        { "data", "/srv", "/srv\x1b[2J", "must be text of at most 1023 bytes" },
        { "tcp", "", "7400",
          "must be different numeric ADDRESS:PORT with commas between, like 127.0.0.1:8080, [::1]:8080" },
        { "advertise", "https://a", "ftp://a",
          "must be addresses with commas between, like https://push.example or tcp://10.0.0.5:7400" },
        { "congestion_control", "bbr", "b b", "must be the name of a congestion control, like cubic or bbr" },
        { "http", "127.0.0.1:1", "", "must name at least one ADDRESS:PORT" },
        { "proxy_protocol", "10.0.0.0/8, ::1", "10.0.0.0/33",
          "must be numeric ADDRESS/BITS or ADDRESS with commas between, like 10.0.0.0/8, 192.0.2.7, fd00::/8" },
        { "trusted_proxies", "", "nginx",
          "must be numeric ADDRESS/BITS or ADDRESS with commas between, like 10.0.0.0/8, 192.0.2.7, fd00::/8" },
        { "http", "127.0.0.1:1", "example.org:80",
          "must be different numeric ADDRESS:PORT with commas between, like 127.0.0.1:8080, [::1]:8080" },
        { "origins", "https://a", "https://a/",
          "must be origins with commas between, like https://app.example, https://*.example.com or http://localhost:*, "
          "without a path; or null; "
          "or * for all" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf before, after;
        buf_init(&before, 4096);
        buf_init(&after, 4096);
        if (!set(rows[i].name, rows[i].good))
            fail_msg("%s: %s is refused", rows[i].name, rows[i].good);
        setting_print(&settings, setting_of(rows[i].name), &before);
        if (set(rows[i].name, rows[i].bad))
            fail_msg("%s: %s is taken", rows[i].name, rows[i].bad);
        assert_string_equal(why_text(), rows[i].why);
        setting_print(&settings, setting_of(rows[i].name), &after);
        assert_true(span_eq(buf_span(&before), buf_span(&after)));
        buf_fini(&before);
        buf_fini(&after);
    }
}

/* --- texts that mean more ------------------------------------------------------------------------------------ */

static void addresses_are_taken_apart(void **state)
{
    (void)state;
    static const struct { const char *text; size_t count; bool is_loopback; int family, port; } rows[] = {
        { "127.0.0.1:8080", 1, true, AF_INET, 8080 },
        { "127.255.0.9:0", 1, true, AF_INET, 0 },
        { "localhost:80", 1, true, AF_INET, 80 },
        { "0.0.0.0:65535", 1, false, AF_INET, 65535 },
        { "[::1]:8080", 1, true, AF_INET6, 8080 },
        { "[::]:8080", 1, false, AF_INET6, 8080 },
        { "[::ffff:127.0.0.1]:1", 1, false, AF_INET6, 1 },
        { " 10.0.0.1:1 , 127.0.0.1:2", 2, false, AF_INET, 1 },
        { "127.0.0.1:65536", 0, false, 0, 0 },
        { "127.0.0.1:", 0, false, 0, 0 },
        { "127.0.0.1", 0, false, 0, 0 },
        { ":8080", 0, false, 0, 0 },
        { "[]:8080", 0, false, 0, 0 },
        { "[:8080", 0, false, 0, 0 },
        { "::1:8080", 0, false, 0, 0 },
        { "127.1:80", 0, false, 0, 0 },
        { "127.0.0.1:80,,127.0.0.1:81", 0, false, 0, 0 },
        { "127.0.0.1:80,127.0.0.1:80", 0, false, 0, 0 },
        { "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001]:80", 0, false, 0, 0 },
        { "1.1.1.1:1,1.1.1.1:2,1.1.1.1:3,1.1.1.1:4,1.1.1.1:5,1.1.1.1:6,1.1.1.1:7,1.1.1.1:8,1.1.1.1:9,1.1.1.1:10,"
          "1.1.1.1:11,1.1.1.1:12,1.1.1.1:13,1.1.1.1:14,1.1.1.1:15,1.1.1.1:16,1.1.1.1:17", 0, false, 0, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (set("http", rows[i].text) != (rows[i].count > 0))
            fail_msg("%s", rows[i].text);
        if (rows[i].count == 0)
            continue;
        const struct listen_address *first = &settings.listens[0];
        const struct sockaddr_in    *four  = (const void *)&first->at;
        const struct sockaddr_in6   *six   = (const void *)&first->at;
        int port = ntohs(first->at.ss_family == AF_INET ? four->sin_port : six->sin6_port);
        if (settings.listen_count != rows[i].count || first->is_loopback != rows[i].is_loopback ||
            first->at.ss_family != rows[i].family || port != rows[i].port)
            fail_msg("%s is misread", rows[i].text);
    }
}

static void origins_are_whole_origins(void **state)
{
    (void)state;
    static const struct { const char *text; int count; const char *first; } rows[] = {
        { "", 0, "" },
        { "*", 1, "*" },
        { "https://App.Example", 1, "https://app.example" },
        { "http://localhost:*, https://b.example:8443", 2, "http://localhost:*" },
        { "https://[2001:db8::1]:8443", 1, "https://[2001:db8::1]:8443" },
        { "https://[2001:db8::1]:443", 1, "https://[2001:db8::1]" },
        { "https://a:443", 1, "https://a" },  /* browsers leave it out */
        { "http://a:80", 1, "http://a" },
        { "http://a:443", 1, "http://a:443" },
        { "app://a:80", 1, "app://a:80" },
        { "https://*.Example.com", 1, "https://*.example.com" },
        { "https://*.example.com:*", 1, "https://*.example.com:*" },
        { "null", 1, "null" },
        { "capacitor://localhost", 1, "capacitor://localhost" },
        { "chrome-extension://AbcDefghijklmnopabcdefghijklmnop", 1,
          "chrome-extension://abcdefghijklmnopabcdefghijklmnop" },
        { "app.example", -1, "" },
        { "https://", -1, "" },
        { "https://:80", -1, "" },
        { "https://a:", -1, "" },
        { "https://a:0", -1, "" },
        { "https://a:65536", -1, "" },
        { "https://a.example/path", -1, "" },
        { "https://*", -1, "" },
        { "https://*.", -1, "" },
        { "https://*example.com", -1, "" },
        { "https://a.*.example", -1, "" },
        { "https://*.*.example", -1, "" },
        { "https://a@b", -1, "" },
        { "https://[::1", -1, "" },
        { "https://[]", -1, "" },
        { "*://a", -1, "" },
        { "1a://a", -1, "" },
        { "://a", -1, "" },
        { "file://", -1, "" },
        { "none", -1, "" },
        { "https://a,,https://b", -1, "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool is_good = set("origins", rows[i].text);
        if (is_good != (rows[i].count >= 0))
            fail_msg("%s", rows[i].text);
        if (is_good && ((int)settings.origin_count != rows[i].count ||
                        (rows[i].count > 0 && strcmp(settings.origin_list[0], rows[i].first) != 0)))
            fail_msg("%s is misread", rows[i].text);
    }
    /* A NUL can't hide what follows it. */
    assert_true(set("origins", "https://a"));
    assert_false(settings_set(&settings, SETTING_origins, SPAN("https://b\0.evil"), &why));
    assert_string_equal(settings.origin_list[0], "https://a");
}

static void a_store_is_named_or_a_list_of_databases(void **state)
{
    (void)state;
    static const struct { const char *text; int kind; } rows[] = {
        { "rocks", STORE_ROCKS },
        { "memory", STORE_MEMORY },
        { "postgres://db1/push", STORE_POSTGRES },
        { "postgresql://ann:secret@db1:5433,db2/push?x=y", STORE_POSTGRES },
        { "postgres://db1/a, postgres://db1/b", STORE_POSTGRES },
        { "", -1 },
        { "mem", -1 },
        { "Rocks", -1 },
        { "mysql://db1/push", -1 },
        { "rocks,postgres://db1/push", -1 },
        { "postgres://db1/a,postgres://db1/a", -1 },
        { "postgres://db1/a,redis://db1/b", -1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum store_kind before  = settings.store_kind;
        bool            is_good = set("store", rows[i].text);
        if (is_good != (rows[i].kind >= 0) || (int)settings.store_kind != (is_good ? rows[i].kind : (int)before))
            fail_msg("%s", rows[i].text);
        if (!is_good && strncmp(why_text(), "must be rocks, memory, or 1 to 32 different URLs", 48) != 0)
            fail_msg("%s: %s", rows[i].text, why_text());
    }
}

static void settings_are_held_against_one_another(void **state)
{
    (void)state;
    static const struct { const char *name, *value, *why; } rows[] = {
        { "loops", "1", NULL },
        { "request_head_bytes_max", "4K",
          "request_target_bytes_max must not be above request_head_bytes_max: the target is a part of the head" },
        { "poll_wait_s", "61", "poll_wait_s must not be above poll_wait_s_max" },
        /* threat 105 */
        { "http", "127.0.0.1:8080, 0.0.0.0:8081",
          "http: 0.0.0.0:8081 can be reached from other machines, but neither an API key nor an issuer is configured, so that anyone could "
          "publish; add a [key NAME] section to the configuration file, or listen on 127.0.0.1" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        settings_init(&settings);
        assert_true(set(rows[i].name, rows[i].value));
        buf_clear(&why);
        assert_int_equal(settings_finish(&settings, &why), rows[i].why == NULL);
        if (rows[i].why != NULL)
            assert_string_equal(why_text(), rows[i].why);
    }
}

/* --- printing ------------------------------------------------------------------------------------------------ */

static void the_printed_file_is_read_again_and_says_the_defaults(void **state)
{
    (void)state;
    static struct settings again;
    struct buf file, one, other, say;
    buf_init(&file, 65536);
    buf_init(&one, 65536);
    buf_init(&other, 65536);
    buf_init(&say, 65536);

    settings_print_config(&file);
    for (size_t i = 0; i + 1 < file.len; i++)  /* as it says: take the # away */
        if (file.at[i] == '\n' && file.at[i + 1] == '#')
            file.at[i + 1] = ' ';
    settings_init(&again);
    if (!config_read(&again, "printed", buf_span(&file), &say))
        fail_msg("%.*s", SPAN_ARG(buf_span(&say)));
    for (enum setting setting = 0; setting < SETTING_COUNT; setting++) {
        if (again.source_of[setting] != FROM_FILE)
            fail_msg("%s isn't in the printed file", setting_name(setting));
        buf_clear(&one);
        buf_clear(&other);
        setting_print(&settings, setting, &one);
        setting_print(&again, setting, &other);
        assert_true(span_eq(buf_span(&one), buf_span(&other)));
    }
    buf_fini(&file);
    buf_fini(&one);
    buf_fini(&other);
    buf_fini(&say);
}

static void help_and_docs_know_every_setting(void **state)
{
    (void)state;
    struct buf help, docs;
    buf_init(&help, 65536);
    buf_init(&docs, 65536);
    settings_print_help(&help);
    settings_print_docs(&docs);
    assert_false(buf_is_over(&help) || buf_is_over(&docs));

    for (enum setting setting = 0; setting < SETTING_COUNT; setting++) {
        char flag[80], row[80];
        snprintf(flag, sizeof flag, "\n  --%s", setting_name(setting));
        snprintf(row, sizeof row, "\n| `%s` | ", setting_name(setting));
        for (char *at = flag; *at != '\0'; at++)
            *at = *at == '_' ? '-' : *at;
        if (memmem(help.at, help.len, flag, strlen(flag)) == NULL ||
            memmem(docs.at, docs.len, row, strlen(row)) == NULL)
            fail_msg("%s is missing", setting_name(setting));
    }
    buf_fini(&help);
    buf_fini(&docs);
}

static void the_page_in_docs_is_up_to_date(void **state)
{
    (void)state;
    static char page[65536];
    struct buf  docs;
    int         fd = open("docs/configuration.md", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("docs/configuration.md can't be read: run this from the root of the repository");
    ssize_t len = read(fd, page, sizeof page);
    close(fd);

    buf_init(&docs, sizeof page);
    settings_print_docs(&docs);
    if (len < 0 || !span_eq(buf_span(&docs), span_of(page, (size_t)len)))
        fail_msg("docs/configuration.md is old: longwired --print-docs > docs/configuration.md");
    buf_fini(&docs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_and_times_are_read_with_their_units),
        cmocka_unit_test_setup_teardown(every_number_takes_its_bounds_and_nothing_beyond, begin, end),
        cmocka_unit_test_setup_teardown(a_refused_value_changes_nothing, begin, end),
        cmocka_unit_test_setup_teardown(addresses_are_taken_apart, begin, end),
        cmocka_unit_test_setup_teardown(origins_are_whole_origins, begin, end),
        cmocka_unit_test_setup_teardown(a_store_is_named_or_a_list_of_databases, begin, end),
        cmocka_unit_test_setup_teardown(settings_are_held_against_one_another, begin, end),
        cmocka_unit_test_setup_teardown(the_printed_file_is_read_again_and_says_the_defaults, begin, end),
        cmocka_unit_test(help_and_docs_know_every_setting),
        cmocka_unit_test(the_page_in_docs_is_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
