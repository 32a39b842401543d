/* Every action by every kind of caller under every policy. */
#include "auth/may.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/must.h"

#include <cmocka.h>

static const struct hash_key key = { 1, 2 };

/* Columns of the tables. */
enum { OPEN, STRANGER, PUBLISHER, SUBSCRIBER, ADMIN, CALLERS };

static const struct identity callers[CALLERS] = {
    [OPEN]       = { .rights = KEY_RIGHTS_ALL },
    [STRANGER]   = { .rights = 0 },
    [PUBLISHER]  = { .rights = RIGHT_PUBLISH, .name = "p" },
    [SUBSCRIBER] = { .rights = RIGHT_SUBSCRIBE, .name = "s" },
    [ADMIN]      = { .rights = RIGHT_ADMIN, .name = "a" },
};

static const char follow[] = "following this channel needs an API key with the right to subscribe";
static const char look[]   = "reading this channel needs an API key with the right to subscribe";
static const char write[]  = "publishing here needs an API key with the right to publish";
static const char server[] = "only the server itself publishes in this namespace";
static const char list[]   = "listing the channels needs an API key with the right admin";
static const char purge[]  = "purging a channel needs an API key with the right admin";
static const char connections[] = "looking at connections and ending them needs an API key with the right admin";
static const char watch[]  = "metrics need an API key with the right admin";

static const struct {
    enum action  action;
    enum allowed policy;
    unsigned     want[CALLERS];
    const char  *reason;
} rows[] = {
    /*                                     open stranger pub sub admin */
    { ACTION_SUBSCRIBE, ALLOW_ANYONE,    { 0,   0,   0,   0,   0 }, NULL },
    { ACTION_SUBSCRIBE, ALLOW_KEY,       { 0,   401, 403, 0,   403 }, follow },
    { ACTION_SUBSCRIBE, ALLOW_NOBODY,    { 403, 403, 403, 403, 403 }, follow },
    { ACTION_HISTORY, ALLOW_ANYONE,      { 0,   0,   0,   0,   0 }, NULL },
    { ACTION_HISTORY, ALLOW_KEY,         { 0,   401, 403, 0,   403 }, look },
    { ACTION_HISTORY, ALLOW_NOBODY,      { 403, 403, 403, 403, 403 }, look },
    { ACTION_CHANNEL_INFO, ALLOW_ANYONE, { 0,   0,   0,   0,   0 }, NULL },
    { ACTION_CHANNEL_INFO, ALLOW_KEY,    { 0,   401, 403, 0,   403 }, look },
    { ACTION_CHANNEL_INFO, ALLOW_NOBODY, { 403, 403, 403, 403, 403 }, look },
    { ACTION_PUBLISH, ALLOW_ANYONE,      { 0,   0,   0,   0,   0 }, NULL },
    { ACTION_PUBLISH, ALLOW_KEY,         { 0,   401, 0,   403, 403 }, write },
    { ACTION_PUBLISH, ALLOW_NOBODY,      { 403, 403, 403, 403, 403 }, server },
    { ACTION_RECALL, ALLOW_ANYONE,       { 0,   0,   0,   0,   0 }, NULL },
    { ACTION_RECALL, ALLOW_KEY,          { 0,   401, 0,   403, 403 }, write },
    { ACTION_RECALL, ALLOW_NOBODY,       { 403, 403, 403, 403, 403 }, server },
    { ACTION_LIST, ALLOW_KEY,            { 0,   401, 403, 403, 0 }, list },
    { ACTION_PURGE, ALLOW_KEY,           { 0,   401, 403, 403, 0 }, purge },
    { ACTION_CONNECTIONS, ALLOW_KEY,     { 0,   401, 403, 403, 0 }, connections },
    { ACTION_METRICS, ALLOW_KEY,         { 0,   401, 403, 403, 0 }, watch },
};

static bool has_no_channel(enum action action)
{
    return action == ACTION_LIST || action == ACTION_PURGE || action == ACTION_CONNECTIONS ||
           action == ACTION_METRICS;
}

static void set_policy(struct namespaces *spaces, enum action action, enum allowed policy)
{
    struct namespace *space = namespaces_find(spaces, SPAN("topic"));
    bool              writes = action == ACTION_PUBLISH || action == ACTION_RECALL;

    /* The other policy says the opposite: it must not matter. */
    space->subscribe = writes ? (policy == ALLOW_NOBODY ? ALLOW_ANYONE : ALLOW_NOBODY) : policy;
    space->publish   = writes ? policy : (policy == ALLOW_NOBODY ? ALLOW_ANYONE : ALLOW_NOBODY);
}

static void the_table_holds(void **state)
{
    struct namespaces    spaces;
    struct channel_name *channel;

    (void)state;
    namespaces_init(&spaces);
    must(may_name(&spaces, &key, SPAN("topic:a"), &channel).status == 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set_policy(&spaces, rows[i].action, rows[i].policy);
        for (int who = 0; who < CALLERS; who++) {
            struct verdict verdict = may(&callers[who], has_no_channel(rows[i].action) ? NULL : channel,
                                         rows[i].action);
            if (verdict.status != rows[i].want[who])
                fail_msg("row %zu, caller %d: %u", i, who, verdict.status);
            assert_true((verdict.reason == NULL) == (verdict.status == 0));
            if (verdict.reason != NULL)
                assert_string_equal(verdict.reason, rows[i].reason);
        }
    }
    channel_name_unref(channel);
}

static void every_action_is_in_the_table(void **state)
{
    unsigned policies[ACTION_COUNT] = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        policies[rows[i].action] |= 1u << rows[i].policy;
    for (int action = 0; action < ACTION_COUNT; action++)
        assert_int_equal(policies[action], has_no_channel((enum action)action) ? 1u << ALLOW_KEY : 7);
}

static void a_batch_is_read_when_something_in_it_could_be_published(void **state)
{
    struct namespaces spaces;

    (void)state;
    namespaces_init(&spaces);
    for (int who = 0; who < CALLERS; who++)
        assert_int_equal(may_publish_at_all(&callers[who], &spaces).status, who == STRANGER ? 401 : 0);
    namespaces_find(&spaces, SPAN("live"))->publish = ALLOW_ANYONE;
    assert_int_equal(may_publish_at_all(&callers[STRANGER], &spaces).status, 0);
}

static void a_channel_has_a_name_and_a_namespace(void **state)
{
    static const struct { struct span text; unsigned status; } names[] = {
        { SPAN("topic:a"), 0 }, { SPAN("nope:a"), 404 }, { SPAN("topic:"), 400 }, { SPAN("topic"), 400 },
        { SPAN(""), 400 },      { SPAN("topic:\n"), 400 },
    };
    struct namespaces spaces;

    (void)state;
    namespaces_init(&spaces);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct channel_name *name    = NULL;
        struct verdict       verdict = may_name(&spaces, &key, names[i].text, &name);
        assert_int_equal(verdict.status, names[i].status);
        assert_true((name != NULL) == (verdict.status == 0));
        channel_name_unref(name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_holds),
        cmocka_unit_test(every_action_is_in_the_table),
        cmocka_unit_test(a_batch_is_read_when_something_in_it_could_be_published),
        cmocka_unit_test(a_channel_has_a_name_and_a_namespace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
