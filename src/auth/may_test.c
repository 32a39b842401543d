/* Every action by every kind of caller under every policy (threat 104). */
#include "auth/may.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"

#include <cmocka.h>

static const struct hash_key key = { 1, 2 };

/* --- the callers: columns of the tables ------------------------------------------------------------------------- */

enum {
    OPEN, OPEN_USER, STRANGER, PUBLISHER, SUBSCRIBER, ADMIN, KEY_HERE, KEY_ELSEWHERE,
    USER, CAN_FOLLOW, CAN_WRITE, CAN_READ, CAN_ELSEWHERE, CALLERS
};

#define GRANTS(pattern, rights) .grants = (const struct grant[]){ { SPAN(pattern), rights } }, .grant_count = 1

static struct identity *caller_new(int who)
{
    const struct identity_facts facts[CALLERS] = {
        [OPEN]          = { .rights = KEY_RIGHTS_ALL, .is_open = true },
        [OPEN_USER]     = { .rights = KEY_RIGHTS_ALL, .is_open = true, .user = SPAN("ann") },
        [STRANGER]      = { 0 },
        [PUBLISHER]     = { .key = SPAN("p"), .rights = RIGHT_PUBLISH },
        [SUBSCRIBER]    = { .key = SPAN("s"), .rights = RIGHT_SUBSCRIBE },
        [ADMIN]         = { .key = SPAN("a"), .rights = RIGHT_ADMIN },
        [KEY_HERE]      = { .key = SPAN("h"), .rights = KEY_RIGHTS_ALL, GRANTS("*:here*", CAN_ALL) },
        [KEY_ELSEWHERE] = { .key = SPAN("e"), .rights = KEY_RIGHTS_ALL, GRANTS("topic:there*", CAN_ALL) },
        [USER]          = { .user = SPAN("ann") },
        [CAN_FOLLOW]    = { .user = SPAN("ann"), GRANTS("*:here", CAN_SUBSCRIBE) },
        [CAN_WRITE]     = { .user = SPAN("ann"), GRANTS("*:here", CAN_PUBLISH) },
        [CAN_READ]      = { .user = SPAN("ann"), GRANTS("*:here", CAN_HISTORY) },
        [CAN_ELSEWHERE] = { .user = SPAN("ann"), GRANTS("topic:there", CAN_ALL) },
    };
    return identity_new(&facts[who]);
}

/* --- the table -------------------------------------------------------------------------------------------------- */

static const char follow[] = "following this channel needs an API key with the right to subscribe, or the token of a user "
                             "who may";
static const char look[]   = "reading this channel needs an API key with the right to subscribe, or the token of a user "
                             "who may";
static const char sees[]   = "seeing who follows this channel needs an API key with the right to subscribe, or the token of "
                             "a user who may";
static const char write[]  = "publishing here needs an API key with the right to publish, or the token of a user who may";
static const char server[] = "only the server itself publishes in this namespace";
static const char recall[] = "taking back needs an API key with the right to publish";
static const char list[]   = "listing the channels needs an API key with the right admin";
static const char purge[]  = "purging a channel needs an API key with the right admin";
static const char ends[]   = "looking at connections and ending them needs an API key with the right admin";
static const char nodes[]  = "seeing the nodes and draining one needs an API key with the right admin";
static const char group[]  = "the members of groups need an API key with the right to publish";
static const char person[] = "looking at users needs an API key with the right to subscribe, or the user's own token";
static const char revokes[] = "revoking needs an API key with the right admin";
static const char receipts[] = "receipts need an API key with the right to subscribe, or the token of the user who published "
                               "the message";
static const char own_receipts[] = "you may ask only about messages that you published, or there is no such message";
static const char asks_why[] = "asking what became of a message needs an API key with the right to subscribe";
static const char sessions[] = "listing the sessions needs an API key with the right admin";
static const char forwards[] = "seeing what back ends have yet to take, and sending it again, needs an API key with the right admin";
static const char watch[]  = "metrics need an API key with the right admin";

/* Of the answers: `.` yes, `1` 401, `3` 403, `m` 403 unless the caller is a member, `p` unless the
 * caller published the message. */
static const struct { enum action action; enum allowed policy; const char *want, *reason, *to_users; } rows[] = {
    /*                                      open  key      user
     *                                      - ann - psahe  - fwre */
    { ACTION_SUBSCRIBE, ALLOW_NOBODY,      "3 3   3 33333  3 3333", follow, "you may not follow this channel, or there is none" },
    { ACTION_SUBSCRIBE, ALLOW_KEY,         ". .   1 3...3  3 3333", follow, "you may not follow this channel, or there is none" },
    { ACTION_SUBSCRIBE, ALLOW_GRANT,       ". .   1 3...3  3 .333", follow, "you may not follow this channel, or there is none" },
    { ACTION_SUBSCRIBE, ALLOW_MEMBER,      ". .   1 3...3  m .mmm", follow, "you may not follow this channel, or there is none" },
    { ACTION_SUBSCRIBE, ALLOW_USER,        ". .   1 3...3  . ....", follow, NULL },
    { ACTION_SUBSCRIBE, ALLOW_ANYONE,      ". .   . .....  . ....", NULL, NULL },
    { ACTION_HISTORY, ALLOW_NOBODY,        "3 3   3 33333  3 3333", look, "you may not read this channel, or there is none" },
    { ACTION_HISTORY, ALLOW_KEY,           ". .   1 3...3  3 3333", look, "you may not read this channel, or there is none" },
    { ACTION_HISTORY, ALLOW_GRANT,         ". .   1 3...3  3 33.3", look, "you may not read this channel, or there is none" },
    { ACTION_HISTORY, ALLOW_MEMBER,        ". .   1 3...3  m mm.m", look, "you may not read this channel, or there is none" },
    { ACTION_HISTORY, ALLOW_USER,          ". .   1 3...3  . ....", look, NULL },
    { ACTION_HISTORY, ALLOW_ANYONE,        ". .   . .....  . ....", NULL, NULL },
    { ACTION_CHANNEL_INFO, ALLOW_NOBODY,   "3 3   3 33333  3 3333", look, "you may not read this channel, or there is none" },
    { ACTION_CHANNEL_INFO, ALLOW_KEY,      ". .   1 3...3  3 3333", look, "you may not read this channel, or there is none" },
    { ACTION_CHANNEL_INFO, ALLOW_GRANT,    ". .   1 3...3  3 .3.3", look, "you may not read this channel, or there is none" },
    { ACTION_CHANNEL_INFO, ALLOW_MEMBER,   ". .   1 3...3  m .m.m", look, "you may not read this channel, or there is none" },
    { ACTION_CHANNEL_INFO, ALLOW_USER,     ". .   1 3...3  . ....", look, NULL },
    { ACTION_CHANNEL_INFO, ALLOW_ANYONE,   ". .   . .....  . ....", NULL, NULL },
    { ACTION_PRESENCE, ALLOW_NOBODY,       "3 3   3 33333  3 3333", sees, "you may not see who follows this channel, or there is none" },
    { ACTION_PRESENCE, ALLOW_KEY,          ". .   1 3...3  3 3333", sees, "you may not see who follows this channel, or there is none" },
    { ACTION_PRESENCE, ALLOW_GRANT,        ". .   1 3...3  3 3333", sees, "you may not see who follows this channel, or there is none" },
    { ACTION_PRESENCE, ALLOW_MEMBER,       ". .   1 3...3  m mmmm", sees, "you may not see who follows this channel, or there is none" },
    { ACTION_PRESENCE, ALLOW_USER,         ". .   1 3...3  . ....", sees, NULL },
    { ACTION_PRESENCE, ALLOW_ANYONE,       ". .   . .....  . ....", NULL, NULL },
    { ACTION_PUBLISH, ALLOW_NOBODY,        "3 3   3 33333  3 3333", server, "you may not publish in this channel, or there is none" },
    { ACTION_PUBLISH, ALLOW_KEY,           ". .   1 .3..3  3 3333", write, "you may not publish in this channel, or there is none" },
    { ACTION_PUBLISH, ALLOW_GRANT,         ". .   1 .3..3  3 3.33", write, "you may not publish in this channel, or there is none" },
    { ACTION_PUBLISH, ALLOW_MEMBER,        ". .   1 .3..3  m m.mm", write, "you may not publish in this channel, or there is none" },
    { ACTION_PUBLISH, ALLOW_USER,          ". .   1 .3..3  . ....", write, NULL },
    { ACTION_PUBLISH, ALLOW_ANYONE,        ". .   . .....  . ....", NULL, NULL },
    { ACTION_RECALL, ALLOW_NOBODY,         "3 3   3 33333  3 3333", server, "you may not take back messages of this channel, or there is none" },
    { ACTION_RECALL, ALLOW_KEY,            ". .   1 .3..3  3 3333", recall, "you may not take back messages of this channel, or there is none" },
    { ACTION_RECALL, ALLOW_GRANT,          ". .   1 .3..3  3 3333", recall, "you may not take back messages of this channel, or there is none" },
    { ACTION_RECALL, ALLOW_MEMBER,         ". .   1 .3..3  3 3333", recall, "you may not take back messages of this channel, or there is none" },
    { ACTION_RECALL, ALLOW_USER,           ". .   1 .3..3  3 3333", recall, "you may not take back messages of this channel, or there is none" },
    { ACTION_RECALL, ALLOW_ANYONE,         ". .   . .....  . ....", NULL, NULL },
    { ACTION_PURGE, ALLOW_NOBODY,          ". .   1 33..3  3 3333", purge, purge },
    { ACTION_PURGE, ALLOW_ANYONE,          ". .   1 33..3  3 3333", purge, purge },
    { ACTION_MEMBERS, ALLOW_NOBODY,        ". .   1 .3..3  3 3333", group, group },
    { ACTION_MEMBERS, ALLOW_ANYONE,        ". .   1 .3..3  3 3333", group, group },
    { ACTION_USER, ALLOW_NOBODY,           ". .   1 3...3  3 3333", person, "you may not look at this user, or there is none" },
    { ACTION_USER, ALLOW_ANYONE,           ". .   1 3...3  3 3333", person, "you may not look at this user, or there is none" },
    { ACTION_LIST, ALLOW_ANYONE,           ". .   1 33.33  3 3333", list, list },
    { ACTION_CONNECTIONS, ALLOW_ANYONE,    ". .   1 33.33  3 3333", ends, ends },
    { ACTION_NODES, ALLOW_ANYONE,          ". .   1 33.33  3 3333", nodes, nodes },
    { ACTION_REVOKE, ALLOW_ANYONE,         ". .   1 33.33  3 3333", revokes, revokes },
    { ACTION_RECEIPTS, ALLOW_NOBODY,       ". .   1 3...3  p pppp", receipts, own_receipts },
    { ACTION_RECEIPTS, ALLOW_ANYONE,       ". .   1 3...3  p pppp", receipts, own_receipts },
    { ACTION_WHY, ALLOW_NOBODY,            ". .   1 3...3  3 3333", asks_why, asks_why },
    { ACTION_WHY, ALLOW_ANYONE,            ". .   1 3...3  3 3333", asks_why, asks_why },
    { ACTION_SESSIONS, ALLOW_ANYONE,       ". .   1 33.33  3 3333", sessions, sessions },
    { ACTION_FORWARDERS, ALLOW_ANYONE,     ". .   1 33.33  3 3333", forwards, forwards },
    { ACTION_METRICS, ALLOW_ANYONE,        ". .   1 33.33  3 3333", watch, watch },
};

static bool has_no_channel(enum action action)
{
    return action == ACTION_LIST || action == ACTION_CONNECTIONS || action == ACTION_NODES || action == ACTION_REVOKE ||
           action == ACTION_METRICS || action == ACTION_SESSIONS || action == ACTION_FORWARDERS;
}

static bool asks_a_policy(enum action action)
{
    return !has_no_channel(action) && action != ACTION_PURGE && action != ACTION_MEMBERS && action != ACTION_USER &&
           action != ACTION_RECEIPTS && action != ACTION_WHY;
}

static void set_policy(struct namespace *space, enum action action, enum allowed policy)
{
    bool writes = action == ACTION_PUBLISH || action == ACTION_RECALL;

    /* The other policy says the opposite: it must not matter. */
    space->subscribe = writes ? (policy == ALLOW_NOBODY ? ALLOW_ANYONE : ALLOW_NOBODY) : policy;
    space->publish   = writes ? policy : (policy == ALLOW_NOBODY ? ALLOW_ANYONE : ALLOW_NOBODY);
}

static char letter_of(struct verdict verdict)
{
    assert_true((verdict.reason == NULL) == (verdict.status == 0));
    assert_true(!verdict.needs_member || verdict.status == 403);
    assert_true(!verdict.needs_publisher || verdict.status == 403);
    return verdict.needs_member ? 'm' : verdict.needs_publisher ? 'p' : verdict.status == 0 ? '.' : verdict.status == 401 ? '1' : '3';
}

static void the_table_holds(void **state)
{
    struct namespaces    spaces;
    struct channel_name *channel;

    (void)state;
    namespaces_init(&spaces);
    must(channel_name_new(&spaces, &key, SPAN("topic:here"), &channel) == CHANNEL_NAME_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *want = rows[i].want;
        set_policy(namespaces_find(&spaces, SPAN("topic")), rows[i].action, rows[i].policy);
        for (int who = 0; who < CALLERS; who++, want++) {
            struct identity *caller  = caller_new(who);
            struct verdict   verdict = may(caller, has_no_channel(rows[i].action) ? NULL : channel, rows[i].action);
            want += strspn(want, " ");
            if (letter_of(verdict) != *want)
                fail_msg("row %zu (action %d, policy %d), caller %d: %u", i, (int)rows[i].action, (int)rows[i].policy, who,
                         verdict.status);
            if (verdict.reason != NULL)
                assert_string_equal(verdict.reason, who >= USER ? rows[i].to_users : rows[i].reason);
            identity_unref(caller);
        }
        assert_string_equal(want, "");
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
        assert_true(asks_a_policy((enum action)action) ? policies[action] == 63 : policies[action] != 0);
}

/* --- what is one's own ------------------------------------------------------------------------------------------ */

static void what_is_ones_own_needs_no_grant(void **state)
{
    static const struct { const char *channel; bool is_anns; } owned[] = {
        { "user:ann", true },           { "user:Ann", false },      { "user:ann2", false },   { "user:an", false },
        { "user:bob", false },          { "user:ann/phone", false }, { "device:ann/phone", true }, { "device:ann/a b", true },
        { "device:ann/a/b", true },     { "device:ann", false },    { "device:ann/", false }, { "device:ann2/phone", false },
        { "device:bob/ann/x", false },  { "device:/ann", false },   { "conn:ann", false },    { "sys:ann", false },
    };
    struct namespaces spaces;
    struct identity  *ann = caller_new(USER);

    (void)state;
    namespaces_init(&spaces);
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        struct channel_name *channel;
        must(channel_name_new(&spaces, &key, span_str(owned[i].channel), &channel) == CHANNEL_NAME_OK);
        for (int action = ACTION_SUBSCRIBE; action <= ACTION_CHANNEL_INFO; action++)
            if (letter_of(may(ann, channel, (enum action)action)) != (owned[i].is_anns ? '.' : '3'))
                fail_msg("%s, action %d", owned[i].channel, action);
        assert_int_equal(letter_of(may(ann, channel, ACTION_USER)), owned[i].is_anns ? '.' : '3');
        assert_int_equal(letter_of(may(ann, channel, ACTION_PUBLISH)), '3');
        namespaces_find(&spaces, SPAN("user"))->publish = ALLOW_MEMBER;
        if (strcmp(owned[i].channel, "user:ann") == 0)
            assert_int_equal(letter_of(may(ann, channel, ACTION_PUBLISH)), '.');
        namespaces_find(&spaces, SPAN("user"))->publish = ALLOW_KEY;
        channel_name_unref(channel);
    }
    identity_unref(ann);
}

/* The server's own channels are read with the right admin, and by no grant. */
static void the_servers_channels_are_for_admins(void **state)
{
    static const char want[] = ". .   1 33.33  3 3333";
    const char       *at     = want;
    struct namespaces spaces;
    struct channel_name *channel;

    (void)state;
    namespaces_init(&spaces);
    must(channel_name_new(&spaces, &key, SPAN("sys:control"), &channel) == CHANNEL_NAME_OK);
    for (int who = 0; who < CALLERS; who++, at++) {
        struct identity *caller = caller_new(who);
        at += strspn(at, " ");
        for (int action = ACTION_SUBSCRIBE; action <= ACTION_CHANNEL_INFO; action++) {
            struct verdict verdict = may(caller, channel, (enum action)action);
            if (letter_of(verdict) != *at)
                fail_msg("caller %d, action %d", who, action);
            if (who < USER && verdict.reason != NULL)  /* a key with the right to subscribe must not read that it lacks that one */
                assert_string_equal(verdict.reason, "the server's own channels are read with an API key that has the right admin");
        }
        identity_unref(caller);
    }
    channel_name_unref(channel);
}

/* Where reading needs a grant, seeing who reads needs one of its own. */
static void a_grant_for_presence_is_one_of_its_own(void **state)
{
    const struct grant   grant   = { SPAN("topic:here"), CAN_PRESENCE };
    struct identity     *caller  = identity_new(&(struct identity_facts){ .user = SPAN("ann"), .grants = &grant,
                                                                          .grant_count = 1 });
    struct namespaces    spaces;
    struct channel_name *here, *there;

    (void)state;
    namespaces_init(&spaces);
    namespaces_find(&spaces, SPAN("topic"))->subscribe = ALLOW_GRANT;
    must(channel_name_new(&spaces, &key, SPAN("topic:here"), &here) == CHANNEL_NAME_OK);
    must(channel_name_new(&spaces, &key, SPAN("topic:there"), &there) == CHANNEL_NAME_OK);
    assert_int_equal(letter_of(may(caller, here, ACTION_PRESENCE)), '.');
    assert_int_equal(letter_of(may(caller, here, ACTION_SUBSCRIBE)), '3');
    assert_int_equal(letter_of(may(caller, there, ACTION_PRESENCE)), '3');
    channel_name_unref(here);
    channel_name_unref(there);
    identity_unref(caller);
}

/* --- batches and names ------------------------------------------------------------------------------------------ */

static void a_batch_is_read_when_something_in_it_could_be_published(void **state)
{
    struct namespaces spaces;

    (void)state;
    namespaces_init(&spaces);
    for (int who = 0; who < CALLERS; who++) {
        struct identity *caller = caller_new(who);
        assert_int_equal(may_publish_at_all(caller, &spaces).status, who == STRANGER ? 401 : 0);
        identity_unref(caller);
    }
    struct identity *stranger = caller_new(STRANGER);
    namespaces_find(&spaces, SPAN("live"))->publish = ALLOW_ANYONE;
    assert_int_equal(may_publish_at_all(stranger, &spaces).status, 0);
    identity_unref(stranger);
}

/* To users an unknown namespace is the same as a channel of somebody else. */
static void a_channel_has_a_name_and_a_namespace(void **state)
{
    static const struct { struct span text; unsigned status, to_users; } names[] = {
        { SPAN("topic:a"), 0, 0 },    { SPAN("nope:a"), 404, 403 }, { SPAN("topic:"), 400, 400 },
        { SPAN("topic"), 400, 400 },  { SPAN(""), 400, 400 },       { SPAN("topic:\n"), 400, 400 },
        { SPAN("user:bob"), 0, 0 },
    };
    struct namespaces spaces;

    (void)state;
    namespaces_init(&spaces);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        for (int who = 0; who < CALLERS; who++) {
            struct channel_name *name    = NULL;
            struct identity     *caller  = caller_new(who);
            struct verdict       verdict = may_name(caller, ACTION_HISTORY, &spaces, &key, names[i].text, &name);
            assert_int_equal(verdict.status, who >= USER ? names[i].to_users : names[i].status);
            assert_true((name != NULL) == (verdict.status == 0));
            if (verdict.status == 403)
                assert_string_equal(verdict.reason, "you may not read this channel, or there is none");
            channel_name_unref(name);
            identity_unref(caller);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_holds),
        cmocka_unit_test(every_action_is_in_the_table),
        cmocka_unit_test(what_is_ones_own_needs_no_grant),
        cmocka_unit_test(the_servers_channels_are_for_admins),
        cmocka_unit_test(a_grant_for_presence_is_one_of_its_own),
        cmocka_unit_test(a_batch_is_read_when_something_in_it_could_be_published),
        cmocka_unit_test(a_channel_has_a_name_and_a_namespace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
