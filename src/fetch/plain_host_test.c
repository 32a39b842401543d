/* Which servers our own client remembers, and for how long. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "fetch/fetch_priv.h"

#include <cmocka.h>

struct table {
    struct fetch *fetch;
    struct fetch_call *call;
};

static struct table table_open(const char *url)
{
    struct table table = { fetch_new(&(struct fetch_limits){ 1, 1, 1 }), fetch_call_new("GET", span_str(url)) };

    table.fetch->loop->now = 1000;
    return table;
}

static void table_close(struct table *table)
{
    fetch_call_free(table->call);
    fetch_free(table->fetch);
}

static struct plain_host *get(struct table *table, const char *text)
{
    struct plain_url url;

    must(plain_url_read(span_str(text), &url));
    return plain_host_get(&table->fetch->plain, &url);
}

static void digits_are_known_at_once(void **state)
{
    (void)state;
    struct table table = table_open("http://192.0.2.7:9/");

    struct plain_host         *v4    = get(&table, "http://192.0.2.7:9/"), *v6 = get(&table, "http://[2001:db8::7]/");
    const struct sockaddr_in  *four  = (const struct sockaddr_in *)&v4->address;
    const struct sockaddr_in6 *six   = (const struct sockaddr_in6 *)&v6->address;
    assert_true(v4->is_known && v4->known_until == 0 && four->sin_family == AF_INET && four->sin_port == htons(9));
    assert_int_equal(ntohl(four->sin_addr.s_addr), 0xc0000207);
    assert_true(v6->is_known && six->sin6_family == AF_INET6 && six->sin6_port == htons(80) && six->sin6_addr.s6_addr[15] == 7);
    assert_ptr_equal(get(&table, "http://192.0.2.7:9/other?x"), v4);
    assert_ptr_not_equal(get(&table, "http://192.0.2.7/"), v4);
    assert_false(get(&table, "http://127.1/")->is_known);
    table_close(&table);
}

static void a_name_is_known_after_a_look(void **state)
{
    (void)state;
    struct table       table = table_open("http://app.example:9/x");
    struct plain_host *host  = get(&table, "http://app.example:9/");

    assert_false(host->is_known);
    host->is_looked_up = true;
    plain_looked_up(table.fetch, table.call, SPAN("192.0.2.7"));
    assert_true(host->is_known && !host->is_looked_up && host->known_until == 1000 + PLAIN_NAME_MS);
    uint32_t generation = host->generation;

    table.fetch->loop->now = 2000;  /* the same, for longer */
    plain_looked_up(table.fetch, table.call, SPAN("192.0.2.7"));
    assert_true(host->generation == generation && host->known_until == 2000 + PLAIN_NAME_MS);
    plain_looked_up(table.fetch, table.call, SPAN("192.0.2.8"));  /* another: connections to the first are not kept */
    assert_true(host->is_known && host->generation != generation);
    plain_looked_up(table.fetch, table.call, SPAN(""));  /* nobody has answered */
    assert_false(host->is_known);
    table_close(&table);
}

static void a_table_has_an_end(void **state)
{
    (void)state;
    struct table table = table_open("http://app.example:9/x");
    char         text[64];

    for (unsigned i = 0; i < PLAIN_HOSTS_MAX; i++) {
        snprintf(text, sizeof text, "http://a%u/", i);
        get(&table, text)->conn_count = 1;
    }
    assert_null(get(&table, "http://one.too.many/"));
    plain_looked_up(table.fetch, table.call, SPAN("192.0.2.7"));  /* of one that is not there: nothing */
    get(&table, "http://a7/")->conn_count = 0;
    get(&table, "http://one.too.many/")->conn_count = 1;
    assert_null(get(&table, "http://a7/"));  /* it was forgotten */
    for (struct list *at = table.fetch->plain.hosts.next; at != &table.fetch->plain.hosts; at = at->next)
        container_of(at, struct plain_host, link)->conn_count = 0;
    table_close(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_are_known_at_once),
        cmocka_unit_test(a_name_is_known_after_a_look),
        cmocka_unit_test(a_table_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
