/* Which routes are wanted and which stand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/interest.h"

#include <cmocka.h>

enum { LINGER = 1000 };

static const struct hash_key key = { 1, 2 };

struct bench {
    struct namespaces    spaces;
    struct channel_name *names[8];
    struct interest     *interest;
    struct interest_batch batch;
    msec                 now;
    char                 told[256];
};

static const char *const texts[8] = { "topic:a", "topic:b", "user:ann", "device:ann/phone", "device:ann/pad", "group:g" };

static struct bench *bench_new(void)
{
    struct bench *bench = calloc(1, sizeof *bench);

    must(bench != NULL);
    namespaces_init(&bench->spaces);
    for (int i = 0; i < 6; i++)
        assert_int_equal(channel_name_new(&bench->spaces, &key, span_str(texts[i]), &bench->names[i]), CHANNEL_NAME_OK);
    bench->interest = interest_new(&key, LINGER);
    return bench;
}

static void bench_free(struct bench *bench)
{
    interest_free(bench->interest);
    for (int i = 0; i < 6; i++)
        channel_name_unref(bench->names[i]);
    free(bench);
}

static void bench_say(struct bench *bench, const char *what, struct span name)
{
    size_t len = strlen(bench->told);
    snprintf(bench->told + len, sizeof bench->told - len, "%s%.*s ", what, SPAN_ARG(name));
}

static void on_routed(void *ctx, struct channel_name *channel)
{
    bench_say(ctx, "routed ", channel_name_span(channel));
}

/* The steps, a letter each, and the number of a channel behind it: f follow, u unfollow, + a batch is taken, = it is done,
 * ! it failed, n a new life, r release, t the linger time passes. */
static void bench_runs(struct bench *bench, const char *steps)
{
    for (; *steps != '\0'; steps++) {
        struct channel_name *name = steps[1] >= '0' && steps[1] <= '5' ? bench->names[steps[1] - '0'] : NULL;
        switch (*steps) {
        case 'f':
            if (interest_follow(bench->interest, name))
                bench_say(bench, "stands ", channel_name_span(name));
            break;
        case 'u': interest_unfollow(bench->interest, name, bench->now); break;
        case '+':
            interest_take_batch(bench->interest, &bench->batch);
            for (size_t i = 0; i < bench->batch.count; i++)
                bench_say(bench, bench->batch.names[i].is_removed ? "-" : "+", bench->batch.names[i].name);
            break;
        case '=':
        case '!': interest_batch_done(bench->interest, &bench->batch, *steps == '=', on_routed, bench); break;
        case 'n': interest_renew(bench->interest); break;
        case 'r': interest_release(bench->interest, on_routed, bench); break;
        case 't':
            bench->now += LINGER;
            interest_tick(bench->interest, bench->now);
            break;
        default: break;
        }
    }
}

static void routes_follow_their_followers(void **state)
{
    (void)state;
    static const struct { const char *name, *steps, *told; size_t count; bool is_settled; } rows[] = {
        { "added", "f0 + =", "+topic:a routed topic:a ", 1, true },
        { "not yet", "f0 +", "+topic:a ", 1, false },
        { "once", "f0 + = + f0", "+topic:a routed topic:a stands topic:a ", 1, true },
        { "two wait", "f0 f0 + =", "+topic:a routed topic:a routed topic:a ", 1, true },
        { "one waits for what is under way", "f0 + f0 =", "+topic:a routed topic:a routed topic:a ", 1, true },
        { "a user's channels share one", "f2 f3 + = f4", "+user:ann routed device:ann/phone routed user:ann stands device:ann/pad ", 1, true },
        { "several at once", "f0 f1 f5 + =", "+topic:a +topic:b +group:g routed topic:a routed topic:b routed group:g ", 3, true },
        { "lingers", "f0 + = u0 +", "+topic:a routed topic:a ", 1, true },
        { "comes back while it lingers", "f0 + = u0 f0 t +", "+topic:a routed topic:a stands topic:a ", 1, true },
        { "removed", "f0 + = u0 t + =", "+topic:a routed topic:a -topic:a ", 0, true },
        { "comes back while it is being removed", "f0 + = u0 t + f0 = + =",
          "+topic:a routed topic:a -topic:a +topic:a routed topic:a ", 1, true },
        { "not removed for one of two", "f2 f3 + = u2 t +", "+user:ann routed device:ann/phone routed user:ann ", 1, true },
        { "goes while it is being added", "f0 + u0 = t + =", "+topic:a routed topic:a -topic:a ", 0, true },
        { "goes before it is added", "f0 u0 + = t + =", "+topic:a routed topic:a -topic:a ", 0, true },
        { "failed, and told all the same", "f0 + !", "+topic:a routed topic:a ", 1, false },
        { "failed, and repeated", "f0 + ! + =", "+topic:a routed topic:a +topic:a ", 1, true },
        { "failed, and gone: perhaps it stands", "f0 + u0 ! + = t + =",
          "+topic:a routed topic:a +topic:a -topic:a ", 0, true },
        { "a removal that failed is repeated", "f0 + = u0 t + ! + =", "+topic:a routed topic:a -topic:a -topic:a ", 0, true },
        { "a new life", "f0 f1 + = u1 n + =", "+topic:a +topic:b routed topic:a routed topic:b +topic:a -topic:b ", 1, true },
        { "a removal that failed, and followed again: perhaps it was carried out", "f0 + = u0 t + f0 ! + =",
          "+topic:a routed topic:a -topic:a routed topic:a +topic:a ", 1, true },
        { "… or followed again before it is repeated", "f0 + = u0 t + ! f0 + =",
          "+topic:a routed topic:a -topic:a +topic:a routed topic:a ", 1, true },
        { "an addition that failed, and is not wanted: perhaps it was carried out", "f0 + ! u0 + =",
          "+topic:a routed topic:a -topic:a ", 0, true },
        { "gone after a new life, before it was put again: perhaps it stands", "f0 + = n u0 + =",
          "+topic:a routed topic:a -topic:a ", 0, true },
        { "a new life while it is being added", "f0 + n = + =", "+topic:a +topic:a routed topic:a ", 1, true },
        { "a new life while it is being removed", "f0 + = u0 t + n = +", "+topic:a routed topic:a -topic:a ", 0, true },
        { "released", "f0 r +", "routed topic:a +topic:a ", 1, false },
        { "released, and nobody follows", "f0 u0 r +", "routed topic:a ", 0, true },
        { "released while under way", "f0 + r =", "+topic:a routed topic:a ", 1, true },
        { "released, then gone", "f0 r u0 +", "routed topic:a ", 0, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bench *bench = bench_new();
        bench_runs(bench, rows[i].steps);
        if (strcmp(bench->told, rows[i].told) != 0 || interest_count(bench->interest) != rows[i].count ||
            interest_is_settled(bench->interest) != rows[i].is_settled)
            fail_msg("%s: %s, %zu routes", rows[i].name, bench->told, interest_count(bench->interest));
        bench_free(bench);
    }
}

static void a_batch_is_bounded(void **state)
{
    (void)state;
    struct bench *bench = bench_new();

    for (int i = 0; i < INTEREST_BATCH_MAX + 5; i++) {
        char                 text[32];
        struct channel_name *name;
        snprintf(text, sizeof text, "topic:%d", i);
        assert_int_equal(channel_name_new(&bench->spaces, &key, span_str(text), &name), CHANNEL_NAME_OK);
        assert_false(interest_follow(bench->interest, name));
        channel_name_unref(name);
    }
    assert_true(interest_take_batch(bench->interest, &bench->batch));
    assert_int_equal(bench->batch.count, INTEREST_BATCH_MAX);
    interest_batch_done(bench->interest, &bench->batch, true, NULL, NULL);
    assert_true(interest_take_batch(bench->interest, &bench->batch));
    assert_int_equal(bench->batch.count, 5);
    assert_false(interest_is_settled(bench->interest));
    interest_batch_done(bench->interest, &bench->batch, true, NULL, NULL);
    assert_true(interest_is_settled(bench->interest));
    assert_false(interest_take_batch(bench->interest, &bench->batch));
    bench_free(bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_follow_their_followers),
        cmocka_unit_test(a_batch_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
