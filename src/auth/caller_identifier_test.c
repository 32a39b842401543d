/* Who is asked, and in which order: keys and issuers, key sets, the application; and what a revocation or a cancelled call
 * makes of it. The issuers and the application are this test's. */
#include "auth/caller_identifier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/wrong_secrets.h"
#include "base/must.h"

#include <cmocka.h>

enum { TIMEOUT_MS = 5000 };

struct stage {
    struct identifier         known;
    struct caller_identifier  callers;
    struct revocations        revocations;
    struct hash_key           key;
    struct wheel              wheel;
    msec                      wall;
    /* The issuers: */
    bool                      has_keys;
    unsigned                  looks;
    /* What the port is asked: */
    struct caller_wait       *asked;
    char                      question[1024];
    unsigned                  ask_count, cancel_count, await_count, wrong_count;
    bool                      may_await;
    uint64_t                  wrong_from;
    /* The answer: */
    struct identified         answer;
    unsigned                  answered;
};

/* --- the issuers: "ann" is known, "final" is theirs and refused, "keys" is ann's once the keys are there ------------ */

static struct identity *user_new(const char *user, msec issued_at)
{
    return identity_new(&(struct identity_facts){ .user = span_str(user), .device = SPAN("phone"), .jti = SPAN("j1"),
                                                  .issued_at = issued_at });
}

static bool known_look(struct identifier *identifier, const struct credential *credential, struct identified *ret)
{
    struct stage *stage = container_of(identifier, struct stage, known);
    struct span   token = credential->token;

    stage->looks++;
    if (credential->kind == CREDENTIAL_NONE)
        ret->identity = identity_new(&(struct identity_facts){ 0 });
    else if (span_eq(token, SPAN("ann")) || (span_eq(token, SPAN("keys")) && stage->has_keys))
        ret->identity = user_new("ann", 1000 * 1000);
    else
        *ret = (struct identified){ .refusal = { .status = 401, .reason = "not known" },
                                    .awaits_keys = span_eq(token, SPAN("keys")),
                                    .is_final    = span_eq(token, SPAN("final")) };
    return true;
}

static const struct identifier_ops known_ops = { .look = known_look };

/* --- the port ----------------------------------------------------------------------------------------------------- */

static void port_ask(void *ctx, struct caller_wait *wait, struct span json, void **ret_handle)
{
    struct stage *stage = ctx;

    stage->ask_count++;
    stage->asked = wait;
    must(json.len < sizeof stage->question);
    memcpy(stage->question, json.at, json.len);
    stage->question[json.len] = '\0';
    *ret_handle = stage;
}

static void port_cancel(void *ctx, void *handle)
{
    struct stage *stage = ctx;

    assert_ptr_equal(handle, stage);
    stage->cancel_count++;
}

static bool port_await_keys(void *ctx)
{
    struct stage *stage = ctx;

    stage->await_count++;
    return stage->may_await;
}

static void port_note_wrong(void *ctx, uint64_t address)
{
    struct stage *stage = ctx;

    stage->wrong_count++;
    stage->wrong_from = address;
}

static const struct caller_port port = { port_ask, port_cancel, port_await_keys, port_note_wrong };

/* --- the stage ---------------------------------------------------------------------------------------------------- */

static void stage_init(struct stage *stage, bool has_hook)
{
    static const struct identifier_limits limits = { .count_max = 10, .timeout_ms = TIMEOUT_MS };

    *stage = (struct stage){ .wall = 2000 * 1000, .may_await = true };
    wheel_init(&stage->wheel, 0);
    revocations_init(&stage->revocations, &stage->key);
    identifier_init(&stage->known, &known_ops, &stage->wheel, &limits);
    caller_identifier_init(&stage->callers, &stage->known, &stage->revocations, &stage->wall, &stage->wheel, &limits, &port,
                           stage);
    caller_identifier_set_hook(&stage->callers, has_hook, false);
}

static void stage_fini(struct stage *stage)
{
    identity_unref(stage->answer.identity);
    caller_identifier_fini(&stage->callers);
    identifier_fini(&stage->known);
    revocations_fini(&stage->revocations);
}

static void on_answer(void *owner, const struct identified *answer)
{
    struct stage *stage = owner;

    stage->answer = *answer;
    stage->answered++;
}

static bool get_address(const void *sender, struct ip_address *ret)
{
    return ip_read(span_str(sender), ret);
}

/* A link, or a call, that shows this; NULL: nothing. */
static struct identification *come(struct stage *stage, const char *token, bool is_link)
{
    struct credential credential = token == NULL ? (struct credential){ .kind = CREDENTIAL_NONE }
                                                 : credential_of_token(span_str(token));

    credential.is_link     = is_link;
    credential.connection  = 7;
    credential.transport   = "websocket";
    credential.get_address = get_address;
    credential.sender      = "192.0.2.7";
    struct identification *under_way = identify(&stage->callers.identifier, &credential, 0, on_answer, stage, &stage->answer);
    stage->answered += under_way == NULL;
    return under_way;
}

static void hook_says(struct stage *stage, unsigned status, const char *body)
{
    caller_hook_ended(stage->asked, HOOK_ANSWERED, status, span_str(body), 12);
}

static void expect_user(struct stage *stage, const char *user)
{
    assert_int_equal(stage->answered, 1);
    assert_non_null(stage->answer.identity);
    assert_true(span_eq(identity_user(stage->answer.identity), span_str(user)));
}

static void expect_refusal(const struct stage *stage, unsigned status, const char *reason)
{
    assert_int_equal(stage->answered, 1);
    assert_null(stage->answer.identity);
    assert_int_equal(stage->answer.refusal.status, status);
    assert_string_equal(stage->answer.refusal.reason, reason);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void who_is_asked(void **state)
{
    static const struct { const char *name, *token; bool has_hook, is_link, asks; unsigned status; } rows[] = {
        { "a known token",                    "ann",   true,  true,  false, 0 },
        { "a known token, no hook",           "ann",   false, true,  false, 0 },
        { "an unknown token of a link",       "x",     true,  true,  true,  0 },
        { "an unknown token of a call",       "x",     true,  false, true,  0 },
        { "an unknown token, no hook",        "x",     false, true,  false, 401 },
        { "a link that shows nothing",        NULL,    true,  true,  true,  0 },
        { "a call that shows nothing",        NULL,    true,  false, false, 0 },
        { "nothing, no hook",                 NULL,    false, true,  false, 0 },
        { "an issuer's token, refused",       "final", true,  true,  false, 401 },
        { "a token that JSON can't say",      "\xff",  true,  true,  false, 401 },
    };
    struct stage stage;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%s\n", rows[i].name);
        stage_init(&stage, rows[i].has_hook);
        struct identification *under_way = come(&stage, rows[i].token, rows[i].is_link);
        assert_int_equal(under_way != NULL, rows[i].asks);
        assert_int_equal(stage.ask_count, rows[i].asks);
        assert_int_equal(stage.answer.refusal.status, rows[i].status);
        if (under_way != NULL)
            identify_cancel(under_way);
        assert_int_equal(stage.cancel_count, rows[i].asks);
        stage_fini(&stage);
    }
}

static void the_application_lets_in(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage, true);
    assert_non_null(come(&stage, "x", true));
    assert_string_equal(stage.question, "{\"connection\":\"0000000000000007\",\"transport\":\"websocket\","
                                        "\"address\":\"192.0.2.7\",\"headers\":{},\"token\":\"x\"}");
    assert_int_equal(stage.answered, 0);
    hook_says(&stage, 200, "{\"user\":\"bob\"}");
    expect_user(&stage, "bob");
    assert_int_equal(stage.answer.connection, 7);   /* the application knows this key */
    assert_int_equal(stage.answer.identity->issued_at, stage.wall);
    assert_int_equal(stage.wrong_count, 0);
    assert_int_equal(counter_get(&stage.callers.counters.let_in), 1);
    assert_int_equal(counter_get(&stage.callers.counters.took_ms_sum), 12);
    stage_fini(&stage);
}

/* Threat 107: a token that the application does not know is a wrong one, what it knows and forbids is not, and neither is
 * one that it says nothing about. */
static void wrong_tokens_are_counted(void **state)
{
    static const struct { const char *name, *token; enum hook_end end; unsigned status, want_status; unsigned wrong; } rows[] = {
        { "not known",         "x",  HOOK_ANSWERED, 401, 401, 1 },
        { "known, forbidden",  "x",  HOOK_ANSWERED, 403, 403, 0 },
        { "later",             "x",  HOOK_ANSWERED, 429, 503, 0 },
        { "nothing was shown", NULL, HOOK_ANSWERED, 401, 401, 0 },
        { "garbage",           "x",  HOOK_GARBAGE,  0,   502, 0 },
        { "silence",           "x",  HOOK_SILENT,   0,   503, 0 },
    };
    struct stage stage;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%s\n", rows[i].name);
        stage_init(&stage, true);
        assert_non_null(come(&stage, rows[i].token, true));
        caller_hook_ended(stage.asked, rows[i].end, rows[i].status, SPAN("{}"), 1);
        assert_int_equal(stage.answer.refusal.status, rows[i].want_status);
        assert_int_equal(stage.wrong_count, rows[i].wrong);
        if (rows[i].wrong > 0)
            {
            struct ip_address sender;
            assert_true(ip_read(SPAN("192.0.2.7"), &sender));
            assert_true(stage.wrong_from == ip_customer(&sender));
        }
        stage_fini(&stage);
    }
}

/* The reason outlives the answer that brought it, and an application that makes up ever new ones is not quoted for ever. */
static void reasons_are_kept_and_bounded(void **state)
{
    struct stage stage;
    const char  *first = NULL;

    (void)state;
    stage_init(&stage, true);
    for (unsigned i = 0; i <= HOOK_REASONS_MAX; i++) {
        char body[64], want[32];
        snprintf(want, sizeof want, "reason %u", i);
        snprintf(body, sizeof body, "{\"reason\":\"%s\"}", want);
        stage.answered = 0;
        assert_non_null(come(&stage, "x", true));
        hook_says(&stage, 403, body);
        expect_refusal(&stage, 403, i < HOOK_REASONS_MAX ? want : "the application refused this connection");
        first = i == 0 ? stage.answer.refusal.reason : first;
    }
    assert_string_equal(first, "reason 0");
    stage.answered = 0;
    assert_non_null(come(&stage, "x", true));
    hook_says(&stage, 403, "{\"reason\":\"reason 0\"}");
    assert_ptr_equal(stage.answer.refusal.reason, first);
    stage_fini(&stage);
}

static void a_revoked_user_is_refused_whoever_knows_them(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage, true);
    revocations_add(&stage.revocations, &(struct revocation){ REVOKED_USER, SPAN("ann"), 1000 });
    assert_null(come(&stage, "ann", true));  /* issued in that second */
    expect_refusal(&stage, 401, "this token was revoked");
    revocations_add(&stage.revocations, &(struct revocation){ REVOKED_USER, SPAN("bob"), 2000 });
    stage.answered = 0;
    assert_non_null(come(&stage, "x", true));
    hook_says(&stage, 200, "{\"user\":\"bob\"}");
    expect_refusal(&stage, 401, "this token was revoked");
    stage.answered = 0;
    stage.wall += 1000;
    assert_non_null(come(&stage, "x", true));
    hook_says(&stage, 200, "{\"user\":\"bob\"}");
    expect_user(&stage, "bob");
    stage_fini(&stage);
}

static void a_token_waits_for_the_keys(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage, true);
    assert_non_null(come(&stage, "keys", true));
    assert_int_equal(stage.ask_count, 0);  /* the keys first */
    stage.has_keys = true;
    caller_keys_came(&stage.callers);
    expect_user(&stage, "ann");
    stage_fini(&stage);
}

static void keys_that_come_without_the_key(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage, true);
    assert_non_null(come(&stage, "keys", true));
    stage.may_await = false;
    caller_keys_came(&stage.callers);
    assert_int_equal(stage.ask_count, 1);  /* then the application may know it */
    hook_says(&stage, 200, "{\"user\":\"bob\"}");
    expect_user(&stage, "bob");
    stage_fini(&stage);

    stage_init(&stage, false);
    assert_non_null(come(&stage, "keys", true));
    stage.may_await = false;
    caller_keys_came(&stage.callers);
    expect_refusal(&stage, 401, "not known");
    stage.answered = 0;
    assert_null(come(&stage, "keys", true));  /* they were fetched a moment ago */
    expect_refusal(&stage, 401, "not known");
    stage_fini(&stage);
}

/* Two issuers have their keys at addresses, and the other one's came first. */
static void a_token_goes_on_waiting_while_keys_are_on_their_way(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage, false);
    assert_non_null(come(&stage, "keys", true));
    caller_keys_came(&stage.callers);
    assert_int_equal(stage.answered, 0);
    stage.has_keys = true;
    caller_keys_came(&stage.callers);
    expect_user(&stage, "ann");
    stage_fini(&stage);
}

static void nobody_waits_for_ever(void **state)
{
    struct stage stage;

    (void)state;
    for (int awaits_keys = 0; awaits_keys < 2; awaits_keys++) {
        stage_init(&stage, true);
        assert_non_null(come(&stage, awaits_keys ? "keys" : "x", true));
        wheel_turn(&stage.wheel, TIMEOUT_MS + WHEEL_TICK_MS);
        assert_int_equal(stage.answered, 1);
        assert_int_equal(stage.answer.refusal.status, 503);
        assert_int_equal(stage.cancel_count, !awaits_keys);
        stage_fini(&stage);
    }
}

static void another_hook_revokes_whom_the_old_one_let_in(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage, true);
    assert_non_null(come(&stage, "x", true));
    hook_says(&stage, 200, "{\"user\":\"bob\"}");
    caller_identifier_set_hook(&stage.callers, true, false);
    assert_false(identity_is_revoked(stage.answer.identity));
    caller_identifier_set_hook(&stage.callers, true, true);
    assert_true(identity_is_revoked(stage.answer.identity));
    stage_fini(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_asked),
        cmocka_unit_test(the_application_lets_in),
        cmocka_unit_test(wrong_tokens_are_counted),
        cmocka_unit_test(reasons_are_kept_and_bounded),
        cmocka_unit_test(a_revoked_user_is_refused_whoever_knows_them),
        cmocka_unit_test(a_token_waits_for_the_keys),
        cmocka_unit_test(keys_that_come_without_the_key),
        cmocka_unit_test(a_token_goes_on_waiting_while_keys_are_on_their_way),
        cmocka_unit_test(nobody_waits_for_ever),
        cmocka_unit_test(another_hook_revokes_whom_the_old_one_let_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
