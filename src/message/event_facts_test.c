/* Events as text, and the log that each of them goes to. */
#include "message/event_facts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Threat 58. */
static void an_event_is_an_object_that_names_cannot_break(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 1024);
    event_facts_put(&out, &(struct event_facts){ .kind = EVENT_KIND_DISCONNECTED, .user = SPAN("a\"},{\n"), .device = SPAN("phone"),
                                           .connection = 0x4f1d2c8a90b3e657, .channel = SPAN("topic:\"x"), .reason = "cut off" }, 1795297177250);
    static const char want[] = "{\"type\":\"disconnected\",\"time\":1795297177250,\"user\":\"a\\\"},{\\u000a\",\"device\":\"phone\","
                               "\"connection\":\"4f1d2c8a90b3e657\",\"channel\":\"topic:\\\"x\",\"reason\":\"cut off\"}";
    assert_true(span_eq(buf_span(&out), span_str(want)));
    buf_clear(&out);
    event_facts_put(&out, &(struct event_facts){ .kind = EVENT_KIND_CONNECTED }, 7);
    assert_true(span_eq(buf_span(&out), SPAN("{\"type\":\"connected\",\"time\":7}")));
    buf_fini(&out);
}

static void the_devices_of_a_user_share_a_log(void **state)
{
    struct event_facts facts = { .user = SPAN("ann"), .device = SPAN("phone"), .connection = 1 };
    unsigned           seen  = 0;

    (void)state;
    unsigned number = event_facts_log(&facts);
    assert_int_equal(number, 1);  /* never another one: events of before are there */
    facts.device     = SPAN("tablet");
    facts.connection = 2;
    assert_int_equal(event_facts_log(&facts), number);
    facts.user = SPAN("");
    for (facts.connection = 1; facts.connection < 200; facts.connection++)
        seen |= 1u << event_facts_log(&facts);
    assert_int_equal(seen, 0xffff);
}

static void a_seq_is_the_last_member(void **state)
{
    struct event_facts facts = { .kind = EVENT_KIND_JOINED, .user = SPAN("ann"), .channel = SPAN("group:a") };
    struct buf         early, late;

    (void)state;
    buf_init(&early, EVENT_TEXT_BYTES);
    buf_init(&late, EVENT_TEXT_BYTES);
    event_facts_put(&early, &facts, 7);
    event_text_add_seq(&early, 12);
    facts.seq = 12;
    event_facts_put(&late, &facts, 7);
    assert_true(span_eq(buf_span(&late), SPAN("{\"type\":\"joined\",\"time\":7,\"user\":\"ann\",\"channel\":\"group:a\",\"seq\":12}")));
    assert_true(span_eq(buf_span(&early), buf_span(&late)));
    buf_fini(&early);
    buf_fini(&late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_an_object_that_names_cannot_break),
        cmocka_unit_test(the_devices_of_a_user_share_a_log),
        cmocka_unit_test(a_seq_is_the_last_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
