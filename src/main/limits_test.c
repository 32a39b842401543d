/* What each setting changes in the modules: a setting has one meaning (docs/decisions/0023). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "main/limits.h"

#include <cmocka.h>

struct limits {
    struct http_limits    http;
    struct session_limits session;
    struct api_limits     api;
    struct shard_limits   shard;
    struct writer_limits  writer;
};

#define FIELD(member) { #member, offsetof(struct limits, member), sizeof(((struct limits *)NULL)->member) }

static const struct { const char *name; size_t offset, size; } fields[] = {
    FIELD(http.pipeline_max), FIELD(http.answer_bytes_max), FIELD(http.owed_bytes_max), FIELD(http.request_timeout_ms),
    FIELD(http.head_timeout_ms), FIELD(http.body_bytes_per_s_min),
    FIELD(http.keepalive_timeout_ms), FIELD(http.body_bytes_max), FIELD(http.linger_ms), FIELD(http.ease_bytes_max),
    FIELD(http.taken_bytes_min),
    FIELD(session.heartbeat.asked_ms), FIELD(session.heartbeat.pong_timeout_ms),
    FIELD(session.heartbeat.least_ms), FIELD(session.heartbeat.most_ms), FIELD(session.heartbeat.offered_ms),
    FIELD(session.slow_reader_timeout_ms),
    FIELD(session.poll_wait_ms), FIELD(session.poll_wait_ms_max), FIELD(session.sse_retry_ms),
    FIELD(session.reconnect), FIELD(session.admission.per_s), FIELD(session.admission.burst),
    FIELD(session.connect_timeout_ms),
    FIELD(session.close_timeout_ms), FIELD(session.channels_max),
    FIELD(session.frame_bytes_max), FIELD(session.gathered_bytes_max), FIELD(session.gather_timeout_ms),
    FIELD(session.waiting_publishes_max), FIELD(session.echo_bytes_max), FIELD(session.has_echo),
    FIELD(session.has_compression),
    FIELD(api.payload_bytes_max), FIELD(api.batch_bytes_max), FIELD(api.batch_messages_max),
    FIELD(api.history_limit_max), FIELD(api.history_bytes_max), FIELD(shard.hub.linger_ms),
    FIELD(shard.page_count_max), FIELD(shard.page_bytes_max), FIELD(shard.publish_count_max),
    FIELD(shard.publish_bytes_max), FIELD(writer.waiting_count_max), FIELD(writer.waiting_bytes_max),
    FIELD(writer.batch_count_max), FIELD(writer.batch_bytes_max), FIELD(writer.tail_bytes_max),
    FIELD(writer.tail_messages_max),
};

static struct limits limits_of(const struct settings *settings)
{
    struct limits limits;

    memset(&limits, 0, sizeof limits);
    limits.http    = http_limits_of(settings);
    limits.session = session_limits_of(settings, 2);
    limits.api     = api_limits_of(settings);
    limits.shard   = shard_limits_of(settings);
    limits.writer  = writer_limits_of(settings);
    return limits;
}

static void put_changed(const struct limits *one, const struct limits *other, struct buf *out)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (memcmp((const char *)one + fields[i].offset, (const char *)other + fields[i].offset, fields[i].size) != 0)
            buf_putf(out, "%s%s", out->len == 0 ? "" : " ", fields[i].name);
    buf_putc(out, '\0');
}

static void a_setting_changes_what_it_names(void **state)
{
    (void)state;
    static const struct { const char *name, *value, *changed; } rows[] = {
        { "pipeline_max", "9", "http.pipeline_max" },
        { "publishes_per_connection_max", "9", "session.waiting_publishes_max" },
        { "request_timeout_s", "9", "http.request_timeout_ms" },
        { "head_timeout_s", "9", "http.head_timeout_ms session.connect_timeout_ms" },
        { "body_bytes_per_s_min", "9", "http.body_bytes_per_s_min" },
        { "frame_timeout_s", "9", "session.gather_timeout_ms" },
        { "sse_retry_ms", "9", "session.sse_retry_ms" },
        { "reconnect_ms", "9", "session.reconnect" },
        { "reconnect_ms_max", "9", "session.reconnect" },
        { "reconnect_factor_percent", "900", "session.reconnect" },
        { "reconnect_jitter_percent", "9", "session.reconnect" },
        { "admissions_per_s", "9", "session.admission.per_s" },
        { "admissions_burst", "9", "session.admission.burst" },
        { "keepalive_timeout_s", "9", "http.keepalive_timeout_ms" },
        { "answers_bytes_max", "9M", "http.ease_bytes_max" },
        { "answer_progress_bytes", "9K", "http.taken_bytes_min" },
        { "outbox_bytes_max", "9K", "http.answer_bytes_max" },
        { "heartbeat_s", "9", "session.heartbeat.asked_ms" },
        { "heartbeat_s_min", "9", "session.heartbeat.least_ms" },
        { "heartbeat_s_max", "900", "session.heartbeat.most_ms" },
        { "heartbeat_s_offered", "90", "session.heartbeat.offered_ms" },
        { "history_limit_max", "9", "api.history_limit_max" },
        { "history_limit_max", "1000", "" },
        { "linger_s", "9", "shard.hub.linger_ms" },
        { "publish_waiting_max", "99", "shard.publish_count_max writer.waiting_count_max" },
        { "publish_waiting_bytes_max", "9M", "http.owed_bytes_max http.body_bytes_max session.gathered_bytes_max "
                                             "shard.publish_bytes_max writer.waiting_bytes_max" },
    };
    static struct settings settings;
    struct buf             why, changed;
    enum setting           setting;

    buf_init(&why, 1024);
    buf_init(&changed, 4096);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        settings_init(&settings);
        struct limits before = limits_of(&settings);
        assert_true(setting_find(span_str(rows[i].name), &setting));
        assert_true(settings_set(&settings, setting, span_str(rows[i].value), &why));
        struct limits after = limits_of(&settings);
        buf_clear(&changed);
        put_changed(&before, &after, &changed);
        if (strcmp(changed.at, rows[i].changed) != 0)
            fail_msg("%s changes \"%s\", not \"%s\"", rows[i].name, changed.at, rows[i].changed);
    }
    buf_fini(&why);
    buf_fini(&changed);
}

/* Those who stay, those who are answered once and the server's own files have to get along with the descriptors. */
static void connections_leave_descriptors_for_short_requests(void **state)
{
    (void)state;
    static const struct { uint64_t max, descriptors, allowed, brief; } rows[] = {
        { 2, 1 << 20, 2, 16 },
        { 1000, 1 << 20, 1000, 62 },
        { 200000, 1 << 20, 200000, 12500 },
        { 200000, 20000, 17616, 1101 },
        { 0, 20000, 17616, 1101 },
        { 17000, 20000, 17000, 1062 },
        { 0, UINT64_MAX, UINT64_C(17361641481138400304), UINT64_C(1085102592571150019) },
        { 100, 1024, 100, 16 },
        { 5000, 1024, 5000, 312 },
        { 0, 1024, UINT64_MAX, UINT64_MAX / 16 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t allowed = connections_allowed(rows[i].max, rows[i].descriptors);
        if (allowed != rows[i].allowed || connections_brief(allowed) != rows[i].brief)
            fail_msg("row %zu: %llu, %llu", i, (unsigned long long)allowed,
                     (unsigned long long)connections_brief(allowed));
    }
}

/* A node with few descriptors must not draw all clients to itself. */
static void capacity_is_what_descriptors_allow(void **state)
{
    static const struct { uint64_t max, descriptors, capacity; } rows[] = {
        { 200000, 1 << 20, 200000 },
        { 200000, 20000, 17616 },
        { 200000, 4096, 3072 },
        { 200000, 1024, 768 },
        { 100, 1024, 100 },
        { 0, 1024, 768 },
        { 0, 20000, 17616 },
        { 200000, UINT64_MAX, 200000 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(connections_capacity(rows[i].max, rows[i].descriptors), rows[i].capacity);
}

static void set(struct settings *settings, const char *name, const char *value)
{
    struct buf   why;
    enum setting setting;

    buf_init(&why, 1024);
    assert_true(setting_find(span_str(name), &setting));
    assert_true(settings_set(settings, setting, span_str(value), &why));
    buf_fini(&why);
}

/* Six bytes of JSON for each byte of the largest payload, unless it is set; and what does not fit is said. */
static void what_fits_the_payload_limit_fits_the_others(void **state)
{
    (void)state;
    static const struct { const char *frame; uint64_t payload; size_t want; const char *misfits; } rows[] = {
        { "0", 1 << 20, (6 << 20) + (64 << 10), "" },
        { "0", 1000, 6000 + (64 << 10), "" },
        { "2M", 1 << 20, 2 << 20, "frame_bytes_max is 2097152: " },
        { "0", 2 << 20, (12 << 20) + (64 << 10), "batch_bytes_max is 8388608: " },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static struct settings settings;
        struct buf             misfits;
        buf_init(&misfits, 4096);
        settings_init(&settings);
        set(&settings, "frame_bytes_max", rows[i].frame);
        for (size_t at = 0; at < settings.namespaces.count; at++)
            settings.namespaces.at[at].payload_bytes_max = rows[i].payload;
        assert_int_equal(session_limits_of(&settings, 1).frame_bytes_max, rows[i].want);
        limits_put_misfits(&settings, &misfits);
        assert_int_equal(misfits.len == 0, rows[i].misfits[0] == '\0');
        assert_true(span_starts(buf_span(&misfits), span_str(rows[i].misfits)));
        buf_fini(&misfits);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_setting_changes_what_it_names),
        cmocka_unit_test(connections_leave_descriptors_for_short_requests),
        cmocka_unit_test(capacity_is_what_descriptors_allow),
        cmocka_unit_test(what_fits_the_payload_limit_fits_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
