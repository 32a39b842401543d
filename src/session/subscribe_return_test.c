/* What is accepted can come back: the form of a stream's tokens, and what is refused because its token could not. */
#include "session/subscribe_return.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "codec/token/token.h"

#include <cmocka.h>

static const struct hash_key hash = { 1, 2 };

struct setting {
    struct namespaces         spaces;
    struct http_server        server;
    struct session_worker     worker;
    struct subscribe_requests requests;
    struct request_head       head;
    struct http_request       request;
};

/* `count` channels with names of so many bytes, asked for in this way. */
struct asked {
    size_t           count, name_bytes;
    const char      *namespace;
    enum http_method method;
    size_t           target_bytes;
    bool             names_stay;
    uint32_t         durable_logs;
};

static void setting_init(struct setting *setting, const struct asked *asked, uint32_t target_max, uint32_t head_max)
{
    static const struct identity anyone = { .rights = RIGHT_SUBSCRIBE };
    static char                  target[8192];
    char                         name[300];

    *setting = (struct setting){ .worker = { .namespaces = &setting->spaces, .hash_key = &hash } };
    namespaces_init(&setting->spaces);
    setting->worker.server              = &setting->server;
    setting->worker.limits.channels_max = TOKEN_PLACES_MAX;
    setting->worker.limits.durable_logs = asked->durable_logs;
    setting->server.limits.h1           = (struct h1_limits){ target_max, head_max };
    memset(target, 'x', sizeof target);
    setting->head    = (struct request_head){ .method = asked->method, .method_text = SPAN("GET"),
                                              .target = span_of(target, asked->target_bytes) };
    setting->request = (struct http_request){ .head = &setting->head, .path = SPAN("/v1/subscribe") };
    subscribe_requests_init(&setting->requests);
    setting->requests.names_stay = asked->names_stay;
    for (size_t i = 0; i < asked->count; i++) {
        int len = snprintf(name, sizeof name, "%s:%c%zu", asked->namespace, (char)('a' + i * 7 % 26), 1000 + i);
        memset(name + len, 'n', sizeof name - (size_t)len);
        if (!subscribe_requests_add(&setting->requests, &setting->worker, span_of(name, asked->name_bytes),
                                    (struct start){ .kind = START_NOW }, &anyone))
            fail_msg("%s", setting->requests.fault);
    }
}

static void a_stream_is_refused_if_its_token_cant_come_back(void **state)
{
    (void)state;
    static const struct {
        const char  *name;
        struct asked asked;
        uint32_t     head_max;
        bool         is_set;
        const char  *why;
    } rows[] = {
        { "one", { 1, 200, "topic", HTTP_GET, 300, true }, 16384, false, NULL },
        { "a few", { 20, 22, "topic", HTTP_GET, 700, true }, 16384, false, NULL },
        { "many", { 230, 22, "topic", HTTP_GET, 7500, true }, 16384, true, NULL },
        { "the most", { 512, 12, "topic", HTTP_GET, 8192, true }, 16384, true, NULL },
        { "one more", { 513, 12, "topic", HTTP_GET, 8192, true }, 16384, true, "513 channels: a stream takes 512" },
        { "the most, posted", { 512, 200, "live", HTTP_POST, 13, true }, 16384, true, NULL },
        { "many in memory, each of its own epoch", { 512, 12, "live", HTTP_GET, 8192, true }, 16384, true,
          "(request_head_bytes_max, 16384 bytes); name them in the body of POST" },
        { "names that do not stay", { 230, 22, "topic", HTTP_GET, 100, false }, 16384, false, NULL },
        { "too many that do not stay", { 512, 100, "topic", HTTP_GET, 100, false }, 16384, false,
          "512 channels: their cursor of up to" },
        { "a short head", { 100, 22, "topic", HTTP_GET, 700, true }, 1500, true, "(request_head_bytes_max, 1500 bytes)" },
        { "one database", { 100, 22, "topic", HTTP_GET, 700, true, 1 }, 2300, true, NULL },
        { "32 databases, each of its own epoch", { 100, 22, "topic", HTTP_GET, 700, true, 32 }, 2300, true,
          "(request_head_bytes_max, 2300 bytes)" },
        { "a short head, posted", { 200, 22, "topic", HTTP_POST, 13, true }, 1500, true, "take a WebSocket, or long polls" },
    };
    static struct setting setting;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        setting_init(&setting, &rows[i].asked, 8192, rows[i].head_max);
        bool is_fine = subscribe_check_stream_return(&setting.requests, &setting.worker, &setting.request);
        if (is_fine != (rows[i].why == NULL) || (is_fine && (setting.requests.set != 0) != rows[i].is_set) ||
            (!is_fine && (setting.requests.fault_status != 400 || strstr(setting.requests.fault, rows[i].why) == NULL)))
            fail_msg("%s: %d, %s", rows[i].name, is_fine, setting.requests.fault);
        subscribe_requests_fini(&setting.requests);
    }
}

static void a_poll_is_refused_if_its_cursor_cant_come_back(void **state)
{
    (void)state;
    static const struct { const char *name; struct asked asked; const char *query, *why; } rows[] = {
        { "one", { 1, 200, "topic", HTTP_GET, 300, true }, "channel=x", NULL },
        { "many", { 230, 22, "topic", HTTP_GET, 7500, true }, "", NULL },
        { "too many", { 300, 26, "topic", HTTP_GET, 8192, true }, "",
          "300 channels: their cursor of up to 11" },
        { "a posted poll", { 1000, 200, "live", HTTP_POST, 13, true }, "", NULL },
        { "a long key beside it", { 200, 22, "topic", HTTP_GET, 7500, true },
          "access_token=0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
          "&x=0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
          "&y=0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
          "&channel=0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
          NULL },
    };
    static struct setting setting;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        setting_init(&setting, &rows[i].asked, 8192, 16384);
        setting.request.query = span_str(rows[i].query);
        bool is_fine = subscribe_check_poll_return(&setting.requests, &setting.worker, &setting.request);
        if (is_fine != (rows[i].why == NULL) ||
            (!is_fine && (setting.requests.fault_status != 400 || strstr(setting.requests.fault, rows[i].why) == NULL)))
            fail_msg("%s: %d, %s", rows[i].name, is_fine, setting.requests.fault);
        subscribe_requests_fini(&setting.requests);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_refused_if_its_token_cant_come_back),
        cmocka_unit_test(a_poll_is_refused_if_its_cursor_cant_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
