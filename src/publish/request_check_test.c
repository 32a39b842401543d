/* Which requests may be sent to which back end, and what of them is passed on. */
#include "publish/request_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "settings/settings.h"

#include <cmocka.h>

static const struct hash_key key      = { 1, 2 };
static const struct identity stranger = { 0 };
static const struct identity everyone = { .rights = RIGHT_PUBLISH | RIGHT_SUBSCRIBE | RIGHT_ADMIN };
static const struct identity reader   = { .rights = RIGHT_SUBSCRIBE, .from_len = 6, .text = "reader" };
static const struct identity ann      = { .from_len = 8, .text = "user:ann" };

static struct settings *settings;

static struct uplink_section *add_uplink(const char *name, unsigned methods, const char *path, enum allowed allow)
{
    struct uplink_section *section = &settings->uplinks[settings->uplink_count++];

    *section = (struct uplink_section){ .methods = methods, .allow = allow, .body_bytes_max = 10 };
    strcpy(section->name, name);
    strcpy(section->path, path);
    strcpy(section->backend, name);
    return section;
}

static int set_up(void **state)
{
    (void)state;
    settings = calloc(1, sizeof *settings);
    must(settings != NULL);
    namespaces_init(&settings->namespaces);
    strcpy(add_uplink("orders", REQUEST_GET | REQUEST_POST, "/orders/*", ALLOW_USER)->headers, "accept,x-a,host,longwire-user");
    add_uplink("admin", REQUEST_GET, "/admin", ALLOW_KEY);
    add_uplink("closed", REQUEST_GET, "/closed/**", ALLOW_NOBODY);
    add_uplink("open", REQUEST_GET, "/open", ALLOW_ANYONE);
    add_uplink("api", REQUEST_GET | REQUEST_PUT, "/api/**", ALLOW_USER)->delivery = AT_LEAST_ONCE;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(settings);
    return 0;
}

static unsigned judge(const struct identity *identity, const struct request_asked *asked, struct request_command **ret)
{
    struct request_routes *routes = request_routes_new(settings);
    struct channel_name   *name;
    char                   why[REQUEST_WHY_BYTES];

    must(channel_name_new(&settings->namespaces, &key, SPAN("device:ann/phone"), &name) == CHANNEL_NAME_OK);
    const struct request_sender sender = { .identity = identity, .channel = name, .user = SPAN("ann"), .device = SPAN("phone"),
                                           .key = 7, .address = SPAN("192.0.2.1") };
    struct verdict verdict = request_check(routes, &sender, asked, why, ret);
    assert_int_equal(verdict.status == 0, verdict.reason == NULL);
    channel_name_unref(name);
    request_routes_free(routes);
    return verdict.status;
}

static void the_first_route_that_matches_counts(void **state)
{
    (void)state;
    static const struct {
        const char            *method, *target;
        const struct identity *identity;
        unsigned               status;
        const char            *backend;
    } rows[] = {
        { "GET", "/orders/7", &ann, 0, "orders" },
        { "GET", "/orders/7?x=/../%2f", &ann, 0, "orders" },
        { "POST", "/orders/a%20b", &ann, 0, "orders" },
        { "GET", "/%6frders/7", &ann, 0, "orders" },
        { "GET", "/orders/", &ann, 404, NULL },
        { "GET", "/orders", &ann, 404, NULL },
        { "GET", "/orders/7/8", &ann, 404, NULL },
        { "PUT", "/orders/7", &ann, 404, NULL },
        { "get", "/orders/7", &ann, 400, NULL },
        { "", "/orders/7", &ann, 400, NULL },
        { "GET", "/api/", &ann, 0, "api" },
        { "GET", "/api/a/b/", &ann, 0, "api" },
        { "GET", "/api", &ann, 404, NULL },
        { "GET", "/apis/a", &ann, 404, NULL },
        { "GET", "/", &ann, 404, NULL },
        { "GET", "/orders/7", &stranger, 401, NULL },
        { "GET", "/orders/7", &reader, 403, NULL },
        { "GET", "/orders/7", &everyone, 0, "orders" },
        { "GET", "/admin", &ann, 403, NULL },
        { "GET", "/%61dmin", &ann, 403, NULL },
        { "GET", "/admin", &everyone, 0, "admin" },
        { "GET", "/closed/a", &everyone, 403, NULL },
        { "GET", "/closed/a", &stranger, 403, NULL },
        { "GET", "/open", &stranger, 0, "open" },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct request_asked asked = { .id = SPAN("1"), .method = span_str(rows[i].method),
                                             .target = span_str(rows[i].target) };
        struct request_command    *request = NULL;
        unsigned                   status  = judge(rows[i].identity, &asked, &request);
        if (status != rows[i].status)
            print_error("%s %s: %u\n", rows[i].method, rows[i].target, status);
        assert_int_equal(status, rows[i].status);
        if (status != 0)
            continue;
        assert_true(span_eq(request->backend, span_str(rows[i].backend)));
        assert_true(span_eq(request->target, asked.target));
        assert_int_equal(request->is_at_least_once, strcmp(rows[i].backend, "api") == 0);
        command_free(&request->command);
    }
}

/* Threat 54. */
static void paths_that_another_server_reads_otherwise_are_refused(void **state)
{
    (void)state;
    static const char *const targets[] = {
        "", "api/a", "http://api/a", "//api/a", "/api//a", "/api/../admin", "/api/..", "/api/%2e%2E/admin", "/api/.%2e/admin",
        "/api/./a", "/api/..;x/admin", "/api/a%2fb", "/api/a%2Fb", "/api/a%5cb", "/api/a\\b", "/api/%00", "/api/%", "/api/%g0",
        "/api/%c0%ae%c0%ae/admin", "/api/%ff", "/api/\xc3\xa9", "/api/a b", "/api/a#b", "/api/a\r\nHost: b", "/api/a?b\r\nc",
    };

    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        const struct request_asked asked = { .id = SPAN("1"), .method = SPAN("GET"), .target = span_str(targets[i]) };
        struct request_command    *request = NULL;
        if (judge(&ann, &asked, &request) != 400)
            fail_msg("%s", targets[i]);
        assert_null(request);
    }
}

static unsigned judge_field(const char *name, const char *value, size_t *ret_count)
{
    const struct request_asked asked = { .id = SPAN("1"), .method = SPAN("POST"), .target = SPAN("/orders/7"), .field_count = 1,
                                         .fields = { { span_str(name), span_str(value) } } };
    struct request_command    *request = NULL;
    unsigned                   status  = judge(&ann, &asked, &request);

    if (status == 0) {
        *ret_count = request->field_count;
        command_free(&request->command);
    }
    return status;
}

/* Threats 58, 59: who the client is, the server says, and no value ends its line. */
static void fields_are_passed_on_if_their_route_says_so(void **state)
{
    (void)state;
    static const struct { const char *name, *value; unsigned status; size_t count; } rows[] = {
        { "Content-Type", "a/b", 0, 1 }, { "Accept", "x", 0, 1 }, { "X-A", "", 0, 1 }, { "X-B", "x", 0, 0 },
        { "Host", "x", 0, 0 }, { "Longwire-User", "root", 0, 0 }, { "longwire-anything", "x", 0, 0 },
        { "Idempotency-Key", "x", 0, 0 }, { "X-Forwarded-For", "x", 0, 0 }, { "Connection", "close", 0, 0 },
        { "Transfer-Encoding", "chunked", 0, 0 }, { "X A", "x", 400, 0 }, { "", "x", 400, 0 }, { "X-A", "a\r\nHost: b", 400, 0 },
        { "X-A:", "x", 400, 0 },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t count = 0;
        assert_int_equal(judge_field(rows[i].name, rows[i].value, &count), rows[i].status);
        assert_int_equal(count, rows[i].count);
    }
}

static void bounds_are_kept(void **state)
{
    (void)state;
    struct request_asked    asked   = { .id = SPAN("1"), .method = SPAN("POST"), .target = SPAN("/orders/7"),
                                        .body = SPAN("0123456789") };
    struct request_command *request = NULL;
    char                    id[REQUEST_ID_BYTES_MAX + 1];

    assert_int_equal(judge(&ann, &asked, &request), 0);
    assert_true(span_eq(request->body, SPAN("0123456789")));
    command_free(&request->command);
    asked.body = SPAN("0123456789a");
    assert_int_equal(judge(&ann, &asked, &request), 413);
    asked.body = SPAN("");
    memset(id, 'a', sizeof id);
    asked.id = span_of(id, sizeof id);
    assert_int_equal(judge(&ann, &asked, &request), 400);
    asked.id = SPAN("a\nb");
    assert_int_equal(judge(&ann, &asked, &request), 400);
    asked.id = SPAN("\xff");
    assert_int_equal(judge(&ann, &asked, &request), 400);
    asked.id         = SPAN("1");
    asked.timeout_ms = REQUEST_TIMEOUT_MS_MAX + 1;
    assert_int_equal(judge(&ann, &asked, &request), 400);
}

static void hash_of_request(struct request_asked asked, uint8_t ret[16])
{
    struct request_command *request = NULL;

    must(judge(&ann, &asked, &request) == 0);
    memcpy(ret, request->hash, sizeof request->hash);
    command_free(&request->command);
}

/* The id, and what is not passed on, say nothing about whether it is the same request. */
static void the_hash_tells_requests_apart(void **state)
{
    (void)state;
    const struct request_asked base = { .id = SPAN("1"), .method = SPAN("POST"), .target = SPAN("/orders/7"), .body = SPAN("ab") };
    struct request_asked       other = base;
    uint8_t                    one[16], two[16];

    hash_of_request(base, one);
    other.id          = SPAN("2");
    other.field_count = 1;
    other.fields[0]   = (struct request_field){ SPAN("X-B"), SPAN("x") };
    hash_of_request(other, two);
    assert_memory_equal(one, two, sizeof one);
    other.fields[0].name = SPAN("X-A");
    hash_of_request(other, two);
    assert_memory_not_equal(one, two, sizeof one);
    other      = base;
    other.body = SPAN("ac");
    hash_of_request(other, two);
    assert_memory_not_equal(one, two, sizeof one);
}

static void a_trace_is_taken_on_if_it_is_well_formed(void **state)
{
    (void)state;
    static const struct { const char *value; bool is_taken; } rows[] = {
        { "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true },
        { "00-00000000000000000000000000000000-b7ad6b7169203331-01", false },
        { "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false },
        { "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false },
        { "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false },
        { "x", false },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct request_asked asked = { .id = SPAN("1"), .method = SPAN("GET"), .target = SPAN("/orders/7"), .field_count = 1,
                                             .fields = { { SPAN("Traceparent"), span_str(rows[i].value) } } };
        struct request_command    *request = NULL;
        assert_int_equal(judge(&ann, &asked, &request), 0);
        assert_int_equal(request->traceparent.len > 0, rows[i].is_taken);
        assert_int_equal(request->field_count, 0);
        command_free(&request->command);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_route_that_matches_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(paths_that_another_server_reads_otherwise_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fields_are_passed_on_if_their_route_says_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bounds_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_hash_tells_requests_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_trace_is_taken_on_if_it_is_well_formed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
