/* What a link does with the instructions of a response: on which links they count, whose rights hold, what is kept and left. */
#include "session/instruction.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "message/control_message.h"
#include "session/conn_follow.h"
#include "session/device_link.h"
#include "session/session_battery.h"

#include <cmocka.h>

/* A link of ann; with `device` it has a session. */
struct told_link {
    struct stage     stage;
    struct link      link;
    struct reader    reader;
    struct sim_link *far;
    struct buf       follows;
};

static void on_lost(struct link *link)
{
    (void)link;
    must(!"nothing is written here");
}

static const struct link_kind kind = { .lost = on_lost, .leave = on_lost };

static struct told_link *told_link_new(enum transport transport, bool has_session)
{
    struct told_link *told = calloc(1, sizeof *told);

    must(told != NULL);
    stage_init(&told->stage, 1);
    reader_init(&told->reader);
    buf_init(&told->follows, 1024);
    link_init(&told->link, &told->stage.worker, &kind, &told->reader, transport, ENCODING_JSON, 0);
    link_take_holder(&told->link, identity_new(&(struct identity_facts){ .user = SPAN("ann"), .device = SPAN("phone") }));
    if (has_session)
        link_set_device(&told->link, pool_take(&told->stage.worker.device_links));
    return told;
}

static void told_link_free(struct told_link *told)
{
    struct device_link *device = link_device(&told->link);

    for (uint32_t i = 0; device != NULL && device->acks != NULL && i < device->acks->count; i++)
        channel_name_unref(device->acks->acks[i].name);
    if (device != NULL && device->acks != NULL)
        list_take(&device->acks->in_acking);
    if (device != NULL) {
        free(device->acks);
        group_follow_fini(&device->groups);
        pool_give(&told->stage.worker.device_links, device);
    }
    link_set_device(&told->link, NULL);  /* its standing is the devices', and there are none here */
    link_fini(&told->link);
    reader_fini(&told->reader, &told->stage.worker.readers, told->stage.sim.loop.now);
    buf_fini(&told->follows);
    stage_fini(&told->stage);
    free(told);
}

static struct reader_sub *follow(struct told_link *told, const char *channel)
{
    struct stage_log  *log = stage_log(&told->stage, channel, 1, 0);
    struct reader_sub *sub = link_follow(&told->link, log->name, (struct start){ .kind = START_NOW });

    near_list_take(&told->link.in_dirty);
    return sub;
}

/* A response that says so comes, and is drawn. */
static void hear(struct told_link *told, const char *type, const char *object)
{
    struct channel_name *home;

    must(channel_name_new(&told->stage.spaces, told->stage.worker.hash_key, SPAN("device:ann/phone"), &home) == CHANNEL_NAME_OK);
    struct message *message = control_message_new(home, span_str(type), span_str(object), SPAN(""));
    instruction_note(&told->link, message);
    message_unref(message);
    channel_name_unref(home);
}

static bool carry_out(struct told_link *told)
{
    bool has_some = instructions_carry_out(&told->stage.worker);

    near_list_take(&told->link.in_dirty);
    return has_some;
}

/* "topic:a topic:b+", what it follows, the latest first; + what the session keeps. */
static const char *follows(struct told_link *told)
{
    buf_clear(&told->follows);
    for (const struct reader_sub *sub = reader_subs(&told->reader); sub != NULL; sub = reader_sub_next(sub)) {
        if (told->follows.len > 0)
            buf_putc(&told->follows, ' ');
        buf_put(&told->follows, channel_name_span(subscription_name(&sub->sub)));
        if (sub->sub.is_kept)
            buf_putc(&told->follows, '+');
    }
    buf_putc(&told->follows, '\0');
    return told->follows.at;
}

#define RESPONSE(more) "{\"request\":\"1\",\"status\":200,\"headers\":{}," more "}"

/* --- tests ------------------------------------------------------------------------------------------------------ */

/* A stream or a poll without a session names its channels in its URL. */
static void what_instructions_do_on_each_kind_of_link(void **state)
{
    (void)state;
    static const struct { enum transport transport; bool has_session; const char *subscribed, *unsubscribed; } rows[] = {
        { TRANSPORT_WS, false, "topic:a topic:here", "topic:a" },
        { TRANSPORT_WS, true, "topic:a+ topic:here", "topic:a+" },
        { TRANSPORT_NATIVE, false, "topic:a topic:here", "topic:a" },
        { TRANSPORT_NATIVE, true, "topic:a+ topic:here", "topic:a+" },
        { TRANSPORT_SSE, false, "topic:here", "topic:here" },
        { TRANSPORT_SSE, true, "topic:a+ topic:here", "topic:a+ topic:here" },
        { TRANSPORT_NDJSON, false, "topic:here", "topic:here" },
        { TRANSPORT_NDJSON, true, "topic:a+ topic:here", "topic:a+ topic:here" },
        { TRANSPORT_MULTIPART, false, "topic:here", "topic:here" },
        { TRANSPORT_MULTIPART, true, "topic:a+ topic:here", "topic:a+ topic:here" },
        { TRANSPORT_POLL, false, "topic:here", "topic:here" },
        { TRANSPORT_POLL, true, "topic:a+ topic:here", "topic:a+ topic:here" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct told_link *told  = told_link_new(rows[i].transport, rows[i].has_session);
        bool              takes = strcmp(rows[i].subscribed, "topic:here") != 0;
        follow(told, "topic:here");
        hear(told, "response", RESPONSE("\"subscribe\":[\"topic:a\"]"));
        assert_int_equal(instructions_wait(&told->link), takes);
        assert_string_equal(follows(told), "topic:here");  /* not while something is drawn */
        assert_int_equal(carry_out(told), takes);
        assert_false(instructions_wait(&told->link));
        assert_string_equal(follows(told), rows[i].subscribed);
        hear(told, "response", RESPONSE("\"unsubscribe\":[\"topic:here\"]"));
        carry_out(told);
        assert_string_equal(follows(told), rows[i].unsubscribed);
        hear(told, "response", RESPONSE("\"unsubscribe\":[\"topic:a\"]"));
        carry_out(told);
        assert_null(strstr(follows(told), "topic:a"));
        told_link_free(told);
    }
}

static void which_responses_have_instructions(void **state)
{
    (void)state;
    static const struct { const char *type, *object, *want; } rows[] = {
        { "response", RESPONSE("\"subscribe\":[\"topic:a\",\"topic:b\"]"), "topic:b topic:a topic:here" },
        { "response", RESPONSE("\"subscribe\":[\"topic:a\"],\"unsubscribe\":[\"topic:here\"]"), "topic:a" },
        { "response", RESPONSE("\"unsubscribe\":[\"topic:here\"],\"subscribe\":[\"topic:here\"]"), "topic:here" },
        { "response", RESPONSE("\"subscribe\":[\"topic:\\u0061\"]"), "topic:a topic:here" },
        { "response", RESPONSE("\"subscribe\":[1,null,{},[\"topic:a\"],\"topic:b\"]"), "topic:b topic:here" },
        { "response", RESPONSE("\"subscribe\":[]"), "topic:here" },
        { "response", RESPONSE("\"body\":\"\\\"subscribe\\\":[\\\"topic:a\\\"]\""), "topic:here" },
        { "response", RESPONSE("\"body\":{\"subscribe\":[\"topic:a\"]}"), "topic:here" },
        { "response", RESPONSE("\"subscribe\":\"topic:a\",\"unsubscribe\":[]"), "topic:here" },
        { "response", RESPONSE("\"subscribe\":[\"topic:here\"]"), "topic:here" },
        { "membership", RESPONSE("\"subscribe\":[\"topic:a\"]"), "topic:here" },
        /* What the client may not follow, or nobody can, is passed over. */
        { "response", RESPONSE("\"subscribe\":[\"user:bob\",\"device:bob/phone\",\"topic:a\"]"), "topic:a topic:here" },
        { "response", RESPONSE("\"subscribe\":[\"nowhere:a\",\"topic:\",\"\",\"conn:0000000000000001\",\"group:lobby\"]"), "topic:here" },
        { "response", RESPONSE("\"unsubscribe\":[\"topic:b\",\"nowhere\",\"\"]"), "topic:here" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct told_link *told = told_link_new(TRANSPORT_WS, false);
        follow(told, "topic:here");
        for (int times = 0; times < 2; times++) {  /* drawn again, it changes nothing more */
            hear(told, rows[i].type, rows[i].object);
            carry_out(told);
            assert_string_equal(follows(told), rows[i].want);
        }
        told_link_free(told);
    }
}

static void what_a_session_follows_by_itself_stays(void **state)
{
    (void)state;
    struct told_link    *told = told_link_new(TRANSPORT_WS, true);
    struct session_place home = { .name = stage_log(&told->stage, "user:ann", 1, 0)->name, .epoch = 9 };
    struct channel_name *own;

    device_link_follow(&told->link, &home);
    must(channel_name_new(&told->stage.spaces, told->stage.worker.hash_key, SPAN("conn:0000000000000001"), &own) == CHANNEL_NAME_OK);
    link_follow_own(&told->link, own);
    hear(told, "response", RESPONSE("\"unsubscribe\":[\"user:ann\",\"conn:0000000000000001\"]"));
    carry_out(told);
    assert_string_equal(follows(told), "conn:0000000000000001 user:ann");
    channel_name_unref(own);
    told_link_free(told);
}

static void a_link_follows_no_more_than_it_may(void **state)
{
    (void)state;
    for (int has_session = 0; has_session < 2; has_session++) {
        struct told_link *told = told_link_new(TRANSPORT_NATIVE, has_session != 0);
        told->stage.worker.limits.channels_max = 2;
        hear(told, "response", RESPONSE("\"subscribe\":[\"topic:a\",\"topic:b\",\"topic:c\"]"));
        carry_out(told);
        assert_string_equal(follows(told), has_session ? "topic:b+ topic:a+" : "topic:b topic:a");
        told_link_free(told);
    }
}

static void a_link_that_ends_or_is_revoked_does_nothing(void **state)
{
    (void)state;
    struct told_link *told = told_link_new(TRANSPORT_WS, false);

    hear(told, "response", RESPONSE("\"subscribe\":[\"topic:a\"]"));
    instructions_forget(&told->link);
    assert_false(carry_out(told));
    hear(told, "response", RESPONSE("\"subscribe\":[\"topic:a\"]"));
    told->link.is_over = true;
    assert_true(carry_out(told));
    told->link.is_over = false;
    hear(told, "response", RESPONSE("\"subscribe\":[\"topic:a\"]"));
    identity_revoke(identity_ref(told->link.holder));
    assert_true(carry_out(told));
    assert_string_equal(follows(told), "");
    hear(told, "response", RESPONSE("\"subscribe\":[\"topic:a\"]"));  /* … and is forgotten with its link */
    told_link_free(told);
}

static void a_link_knows_the_log_of_its_device(void **state)
{
    (void)state;
    static const struct { const char *channel; bool is_home; } rows[] = {
        { "device:ann/phone", true },   { "device:ann/phones", false }, { "device:ann/phon", false }, { "device:anna/phone", false },
        { "device:bob/phone", false },  { "device:ann/car", false },    { "topic:ann/phone", false }, { "user:ann", false },
    };
    struct told_link *told = told_link_new(TRANSPORT_WS, false);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(follow(told, rows[i].channel)->sub.is_heard, rows[i].is_home);
    told_link_free(told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_instructions_do_on_each_kind_of_link),
        cmocka_unit_test(which_responses_have_instructions),
        cmocka_unit_test(what_a_session_follows_by_itself_stays),
        cmocka_unit_test(a_link_follows_no_more_than_it_may),
        cmocka_unit_test(a_link_that_ends_or_is_revoked_does_nothing),
        cmocka_unit_test(a_link_knows_the_log_of_its_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
