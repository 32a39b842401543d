/* Who is known by what they show, and what a reload makes of those who are inside. */
#include "auth/key_identifier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/must.h"

#include <cmocka.h>

#define SECRET_A "0123456789abcdef"
#define SECRET_B "0123456789abcdefg"

static struct settings *settings_new(bool has_keys)
{
    struct settings *settings = malloc(sizeof *settings);
    struct buf       why;

    must(settings != NULL);
    settings_init(settings);
    if (has_keys) {
        settings->keys[0]   = (struct api_key){ .name = "a", .secret = SECRET_A, .rights = RIGHT_PUBLISH };
        settings->keys[1]   = (struct api_key){ .name = "b", .secret = SECRET_B, .rights = RIGHT_SUBSCRIBE };
        settings->key_count = 2;
    }
    buf_init(&why, 1024);
    must(settings_finish(settings, &why));
    buf_fini(&why);
    return settings;
}

static void settings_drop(struct settings *settings)
{
    settings_fini(settings);
    free(settings);
}

static const struct identifier_limits limits = { 1, 1000 };
static const msec now = INT64_C(1800000000000);

static const struct hash_key  hash_key;
static struct usage_tables    tables;
static struct usage_limits    usage = { .tables = &tables, .hash_key = &hash_key };

static struct key_identifier *keys_new(const struct settings *settings)
{
    struct key_identifier *keys = malloc(sizeof *keys);

    must(keys != NULL);
    key_identifier_init(keys, NULL, &limits, settings, &usage, &now);  /* no timer is ever armed */
    return keys;
}

static void keys_free(struct key_identifier *keys)
{
    key_identifier_fini(keys);
    free(keys);
}

static void never(void *owner, const struct identified *answer)
{
    (void)owner, (void)answer;
    must(!"keys are known at once");
}

/* A reference; NULL: refused with 401. */
static struct identity *identity_of(struct key_identifier *keys, const struct credential *credential)
{
    struct identified answer;

    assert_null(identify(&keys->identifier, credential, 0, never, NULL, &answer));
    assert_int_equal(answer.refusal.status, answer.identity == NULL ? 401 : 0);
    return answer.identity;
}

static struct identity *holder_of(struct key_identifier *keys, const char *token)
{
    struct credential credential = token == NULL ? (struct credential){ .kind = CREDENTIAL_NONE }
                                                 : credential_of_token(span_str(token));
    return identity_of(keys, &credential);
}

/* "nobody" for a credential that is none of ours, "" for a stranger, else the key's name. */
static void expect_who(struct key_identifier *keys, const char *authorization, const char *query, const char *want)
{
    struct span value = authorization == NULL ? (struct span){ NULL, 0 } : span_str(authorization);
    struct credential_scratch scratch;

    credential_scratch_init(&scratch);
    struct credential credential = credential_of_request(value, span_str(query), &scratch);
    struct identity  *identity   = identity_of(keys, &credential);
    struct span       got        = identity == NULL ? SPAN("nobody") : identity_from(identity);
    if (!span_eq(got, span_str(want)))
        fail_msg("%s, %s: %.*s", authorization == NULL ? "-" : authorization, query, SPAN_ARG(got));
    identity_unref(identity);
    credential_scratch_fini(&scratch);
}

/* What a certificate says counts where nothing else is shown. */
static void a_certificate_is_its_user_unless_a_token_is_shown(void **state)
{
    struct settings       *settings  = settings_new(true), *open = settings_new(false);
    struct key_identifier *keys      = keys_new(settings), *open_keys = keys_new(open);
    struct credential      certified = { .certified = SPAN("ann"), .certified_from = now - 5000, .certified_until = now + 5000 };
    struct credential      with_key  = credential_of_token(SPAN(SECRET_A)), wrong = credential_of_token(SPAN("wrong"));

    (void)state;
    struct identity *ann = identity_of(keys, &certified);
    assert_true(span_eq(identity_user(ann), SPAN("ann")) && !ann->is_open && ann->rights == 0);
    assert_true(ann->issued_at == now - 5000 && ann->expires_at == now + 5000);
    identity_unref(ann);

    certified.certified_until = INT64_MAX;
    ann = identity_of(keys, &certified);
    assert_true(ann->expires_at == now + settings->token_life_s_max * 1000);
    identity_unref(ann);

    with_key.certified = wrong.certified = SPAN("ann");
    struct identity *holder = identity_of(keys, &with_key);
    assert_true(span_eq(identity_from(holder), SPAN("a")));
    identity_unref(holder);
    assert_null(identity_of(keys, &wrong));

    certified.certified = SPAN("spiffe://x/ann");
    assert_null(identity_of(keys, &certified));

    certified.certified = SPAN("ann");
    certified.user      = SPAN("ben");
    ann = identity_of(open_keys, &certified);
    assert_true(span_eq(identity_user(ann), SPAN("ann")) && ann->is_open);
    identity_unref(ann);
    keys_free(keys);
    keys_free(open_keys);
    settings_drop(settings);
    settings_drop(open);
}

static void a_key_is_known_by_all_of_its_bytes(void **state)
{
    (void)state;
    static const struct { const char *authorization, *query, *want; } rows[] = {
        { NULL, "", "" },
        { NULL, "channel=topic:a", "" },
        { "Bearer " SECRET_A, "", "a" },
        { "bEARER   " SECRET_A, "", "a" },
        { "Bearer " SECRET_B, "", "b" },
        { "Bearer " SECRET_B "h", "", "nobody" },
        { "Bearer 0123456789abcde", "", "nobody" },
        { "Bearer 0123456789abcdeF", "", "nobody" },
        { "Bearer 1", "", "nobody" },
        { "Bearer " SECRET_A " " SECRET_A, "", "nobody" },
        { "Bearer", "", "nobody" },
        { "Bearer ", "", "nobody" },
        { "", "", "" },
        { SECRET_A, "", "" },  /* no scheme */
        { "Basic " SECRET_A, "", "" },  /* another scheme is for somebody else on the way */
        { "Basic x", "access_token=" SECRET_A, "a" },
        { "Basic x", "access_token=" SECRET_A "1", "nobody" },
        { "Basic", "", "" },
        { "Bearers " SECRET_A, "", "" },
        { "DPoP Bearer " SECRET_A, "", "" },
        { "Bearer x", "access_token=" SECRET_A, "nobody" },  /* what the header says counts */
        { "Bearer " SECRET_B, "access_token=" SECRET_A, "b" },
        { NULL, "access_token=" SECRET_A, "a" },
        { NULL, "x=y&access_token=%30123456789abcdef", "a" },
        { NULL, "access_token=", "nobody" },
        { NULL, "access_token", "nobody" },
        { NULL, "access_token=%", "nobody" },
        { NULL, "access_token=" SECRET_A "%00", "nobody" },
        { NULL, "Access_token=" SECRET_A, "" },
        { NULL, "channel=%26access_token=" SECRET_A, "" },
    };
    struct settings       *settings = settings_new(true);
    struct key_identifier *keys     = keys_new(settings);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_who(keys, rows[i].authorization, rows[i].query, rows[i].want);
    static const struct { const char *token; unsigned rights; } tokens[] = {
        { SECRET_A, RIGHT_PUBLISH }, { SECRET_B, RIGHT_SUBSCRIBE }, { NULL, 0 },
    };
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        struct identity *identity = holder_of(keys, tokens[i].token);
        assert_int_equal(identity->rights, tokens[i].rights);
        identity_unref(identity);
    }
    struct credential longer = credential_of_token(SPAN(SECRET_A "\0"));
    assert_null(identity_of(keys, &longer));
    assert_null(holder_of(keys, ""));
    keys_free(keys);
    settings_drop(settings);
}

static void without_keys_everyone_may(void **state)
{
    (void)state;
    struct settings       *settings = settings_new(false);
    struct key_identifier *keys     = keys_new(settings);
    struct identity       *unasked = holder_of(keys, NULL), *asked = holder_of(keys, "x");

    assert_int_equal(unasked->rights, KEY_RIGHTS_ALL);
    assert_ptr_equal(unasked, asked);
    assert_int_equal(unasked->refs, 3);
    identity_unref(unasked);
    identity_unref(asked);
    expect_who(keys, "Bearer whatever", "", "");
    expect_who(keys, "Basic whatever", "access_token=%", "");
    /* They are who they say they are. */
    expect_who(keys, NULL, "user=ann", "user:ann");
    expect_who(keys, NULL, "user=ann&device=phone", "user:ann");
    expect_who(keys, "Bearer whatever", "user=%41nn", "user:Ann");
    expect_who(keys, NULL, "device=phone", "");
    keys_free(keys);
    settings_drop(settings);
}

/* Names that nobody can have are refused, where names are believed. */
static void a_name_that_cannot_be_is_refused(void **state)
{
    (void)state;
    static const char *const queries[] = { "user=a/b", "user=%", "user=%01", "user=a&device=%", "user=%ff", "user=a&device=b/c" };
    struct settings       *settings = settings_new(false);
    struct key_identifier *keys     = keys_new(settings);

    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        struct credential_scratch scratch;
        struct identified         answer;
        credential_scratch_init(&scratch);
        struct credential credential = credential_of_request((struct span){ NULL, 0 }, span_str(queries[i]), &scratch);
        assert_null(identify(&keys->identifier, &credential, 0, never, NULL, &answer));
        if (answer.refusal.status != 400)
            fail_msg("%s", queries[i]);
        credential_scratch_fini(&scratch);
    }
    keys_free(keys);
    settings_drop(settings);
}

/* With keys, what a caller says about itself counts for nothing. */
static void with_keys_nobody_is_who_they_say(void **state)
{
    (void)state;
    struct settings       *settings = settings_new(true);
    struct key_identifier *keys     = keys_new(settings);

    expect_who(keys, NULL, "user=ann&device=phone", "");
    expect_who(keys, "Bearer " SECRET_A, "user=ann&device=phone", "a");
    expect_who(keys, NULL, "user=%", "");
    keys_free(keys);
    settings_drop(settings);
}

static bool get_test_address(const void *sender, struct ip_address *ret)
{
    return ip_read(span_str(sender), ret);
}

static unsigned status_of(struct key_identifier *keys, const char *token, const char *sender)
{
    struct credential credential = credential_of_token(span_str(token));
    struct identified answer;

    credential.get_address = get_test_address;
    credential.sender      = sender;
    assert_null(identify(&keys->identifier, &credential, 0, never, NULL, &answer));
    identity_unref(answer.identity);
    return answer.identity != NULL ? 200 : answer.refusal.status;
}

/* Threat 107: beyond so many wrong ones an address is told nothing more about keys, for the rest of the minute. */
static void who_guesses_is_slowed(void **state)
{
    (void)state;
    struct settings       *settings = settings_new(true);
    struct key_identifier *keys     = keys_new(settings);
    msec                   time     = now;

    usage_tables_init(&tables);
    usage.max[USAGE_WRONG_SECRETS_OF_ADDRESS] = 3;
    keys->wall                                = &time;
    for (int i = 0; i < 3; i++)
        assert_int_equal(status_of(keys, i == 1 ? "a.b.c" : "guess", "192.0.2.7"), 401);
    assert_int_equal(status_of(keys, "guess", "192.0.2.7"), 429);
    assert_int_equal(status_of(keys, SECRET_A, "192.0.2.7"), 429);
    assert_int_equal(counter_get(&usage.refused[USAGE_WRONG_SECRETS_OF_ADDRESS].count), 2);
    assert_string_equal(usage.refused[USAGE_WRONG_SECRETS_OF_ADDRESS].who, "192.0.2.7");
    assert_int_equal(status_of(keys, SECRET_A, "192.0.2.8"), 200);
    expect_who(keys, NULL, "", "");
    time += 60 * 1000;
    assert_int_equal(status_of(keys, SECRET_A, "192.0.2.7"), 200);
    usage.max[USAGE_WRONG_SECRETS_OF_ADDRESS] = 0;
    for (int i = 0; i < 10; i++)
        assert_int_equal(status_of(keys, "guess", "192.0.2.7"), 401);
    usage_tables_fini(&tables);
    keys_free(keys);
    settings_drop(settings);
}

/* docs/decisions/0015 */
static void a_reload_revokes_who_lost_something(void **state)
{
    (void)state;
    enum { GONE = 0 };
    static const struct api_key a = { "a", SECRET_A, RIGHT_PUBLISH }, b = { "b", SECRET_B, RIGHT_SUBSCRIBE };
    static const struct api_key more   = { "a", SECRET_A, RIGHT_PUBLISH | RIGHT_ADMIN },
                                less   = { "a", SECRET_A, RIGHT_ADMIN },
                                secret = { "a", SECRET_A "x", RIGHT_PUBLISH },
                                name   = { "c", SECRET_A, RIGHT_PUBLISH };
    static const struct { const char *name; const struct api_key *keys[2]; unsigned rights; } rows[] = {
        { "the same", { &a, &b }, RIGHT_PUBLISH },
        { "in another order", { &b, &a }, RIGHT_PUBLISH },
        { "one is gone", { &b }, GONE },
        { "a right more", { &more, &b }, RIGHT_PUBLISH | RIGHT_ADMIN },
        { "a right less", { &less, &b }, GONE },
        { "another secret", { &secret, &b }, GONE },
        { "another name", { &name, &b }, GONE },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct settings       *before = settings_new(true), *after = settings_new(true);
        struct key_identifier *keys = keys_new(before);
        struct identity       *held_a = holder_of(keys, SECRET_A), *held_b = holder_of(keys, SECRET_B),
                              *stranger = holder_of(keys, NULL);

        after->key_count = 0;
        for (size_t key = 0; key < 2 && rows[i].keys[key] != NULL; key++)
            after->keys[after->key_count++] = *rows[i].keys[key];
        key_identifier_adopt(keys, after);
        settings_drop(before);
        if (held_a->is_revoked != (rows[i].rights == GONE) || (!held_a->is_revoked && held_a->rights != rows[i].rights))
            fail_msg("%s", rows[i].name);
        assert_true(span_eq(identity_from(held_a), SPAN("a")));
        struct identity *again_b = holder_of(keys, SECRET_B), *again = holder_of(keys, NULL);
        assert_true(!held_b->is_revoked && again_b == held_b);
        assert_true(!stranger->is_revoked && again == stranger);
        struct identity *all[] = { held_a, held_b, stranger, again_b, again };
        for (size_t at = 0; at < sizeof all / sizeof all[0]; at++)
            identity_unref(all[at]);
        keys_free(keys);
        settings_drop(after);
    }
}

/* A key that comes back is another one: whoever came by it before is revoked all the same. */
static void a_revoked_identity_stays_revoked(void **state)
{
    (void)state;
    struct settings       *with = settings_new(true), *without = settings_new(true);
    struct key_identifier *keys = keys_new(with);
    struct identity       *held_a = holder_of(keys, SECRET_A), *held_b = holder_of(keys, SECRET_B);

    without->key_count = 1;
    key_identifier_adopt(keys, without);
    assert_null(holder_of(keys, SECRET_B));
    key_identifier_adopt(keys, with);
    struct identity *new_b = holder_of(keys, SECRET_B);
    assert_true(held_b->is_revoked && !held_a->is_revoked && !new_b->is_revoked && new_b != held_b);
    assert_int_equal(held_b->refs, 1);
    identity_unref(held_a);
    identity_unref(held_b);
    identity_unref(new_b);
    keys_free(keys);
    settings_drop(with);
    settings_drop(without);
}

static void with_the_first_key_everybody_is_revoked(void **state)
{
    (void)state;
    struct settings       *open = settings_new(false), *closed = settings_new(true);
    struct key_identifier *keys = keys_new(open);
    struct identity       *before = holder_of(keys, NULL);
    struct credential      claim  = { .kind = CREDENTIAL_NONE, .user = SPAN("ann"), .device = SPAN("phone") };
    struct identity       *ann    = identity_of(keys, &claim);

    assert_true(!identity_is_revoked(ann) && ann->is_open && span_eq(identity_device(ann), SPAN("phone")));
    key_identifier_adopt(keys, closed);
    struct identity *after = holder_of(keys, NULL);
    assert_true(identity_is_revoked(before) && identity_is_revoked(ann) && !identity_is_revoked(after));
    assert_int_equal(after->rights, 0);
    identity_unref(before);
    identity_unref(ann);
    identity_unref(after);
    keys_free(keys);
    settings_drop(open);
    settings_drop(closed);
}

/* --- threat 103 ------------------------------------------------------------------------------------------------ */

enum { TIMED_KINDS = 3, TIMED_ROUNDS = 34000, TIMED_SECRET_BYTES = 120,  /* 102,000 samples */
       TIMED_TRIES = 5 };

static int compare_u64(const void *one, const void *other)
{
    const uint64_t *a = one, *b = other;
    return (*a > *b) - (*a < *b);
}

static uint64_t clock_ns(void)
{
    struct timespec time;

    must(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Medians of samples that take turns, so that whatever else the machine does meets all of them. */
static bool all_take_as_long(struct key_identifier *keys, char wrong[TIMED_KINDS][TIMED_SECRET_BYTES + 1], uint64_t *took)
{
    uint64_t median[TIMED_KINDS];

    for (size_t round = 0; round < TIMED_ROUNDS; round++)
        for (size_t kind = 0; kind < TIMED_KINDS; kind++) {
            struct credential credential = credential_of_token(span_str(wrong[kind]));
            struct identified answer;
            uint64_t          began = clock_ns();
            (void)identify(&keys->identifier, &credential, 0, never, NULL, &answer);
            took[kind * TIMED_ROUNDS + round] = clock_ns() - began;
            must(answer.refusal.status == 401);
        }
    for (size_t kind = 0; kind < TIMED_KINDS; kind++) {
        qsort(&took[kind * TIMED_ROUNDS], TIMED_ROUNDS, sizeof *took, compare_u64);
        median[kind] = took[kind * TIMED_ROUNDS + TIMED_ROUNDS / 2];
        print_message("kind %zu: %llu ns\n", kind, (unsigned long long)median[kind]);
    }
    qsort(median, TIMED_KINDS, sizeof median[0], compare_u64);
    return median[TIMED_KINDS - 1] * 4 <= median[0] * 5;
}

/* How long a wrong secret takes says nothing of where it differs: at its first byte, in the middle, or at the last. A comparison that
 * tells is slower each time; what else may be slower is not. */
static void a_wrong_secret_takes_as_long_wherever_it_differs(void **state)
{
    static const size_t    differs_at[TIMED_KINDS] = { 0, TIMED_SECRET_BYTES / 2, TIMED_SECRET_BYTES - 1 };
    struct settings       *settings = settings_new(true);
    char                   wrong[TIMED_KINDS][TIMED_SECRET_BYTES + 1] = { 0 };
    uint64_t              *took = calloc(TIMED_KINDS * TIMED_ROUNDS, sizeof *took);
    bool                   is_as_long = false;

    (void)state;
    must(took != NULL && sizeof settings->keys[0].secret > TIMED_SECRET_BYTES);
    memset(settings->keys[0].secret, 's', TIMED_SECRET_BYTES);
    settings->keys[0].secret[TIMED_SECRET_BYTES] = '\0';
    for (size_t kind = 0; kind < TIMED_KINDS; kind++) {
        memset(wrong[kind], 's', TIMED_SECRET_BYTES);
        wrong[kind][differs_at[kind]] = 'x';
    }
    struct key_identifier *keys = keys_new(settings);
    for (int tries = 0; tries < TIMED_TRIES && !is_as_long; tries++)
        is_as_long = all_take_as_long(keys, wrong, took);
    assert_true(is_as_long);
    free(took);
    keys_free(keys);
    settings_drop(settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_is_its_user_unless_a_token_is_shown),
        cmocka_unit_test(a_key_is_known_by_all_of_its_bytes),
        cmocka_unit_test(without_keys_everyone_may),
        cmocka_unit_test(a_name_that_cannot_be_is_refused),
        cmocka_unit_test(with_keys_nobody_is_who_they_say),
        cmocka_unit_test(who_guesses_is_slowed),
        cmocka_unit_test(a_reload_revokes_who_lost_something),
        cmocka_unit_test(a_revoked_identity_stays_revoked),
        cmocka_unit_test(with_the_first_key_everybody_is_revoked),
        cmocka_unit_test(a_wrong_secret_takes_as_long_wherever_it_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
