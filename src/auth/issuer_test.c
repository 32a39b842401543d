/* Whose user is it; and what a change of sections and keys makes of the users who are inside. */
#include "auth/issuer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/bio.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#include "base/base64.h"
#include "base/must.h"

#include <cmocka.h>

#define SECRET_A "the-first-secret-of-the-issuer-0123456789"
#define SECRET_B "another-secret-of-the-issuer-0123456789"

static const msec now = INT64_C(1800000000000);

static struct settings *settings_new(void)
{
    struct settings *settings = malloc(sizeof *settings);

    must(settings != NULL);
    settings_init(settings);
    return settings;
}

static void settings_drop(struct settings *settings)
{
    settings_fini(settings);
    free(settings);
}

static struct jwt_section *section_add(struct settings *settings, const char *name, enum jwt_source source, struct span text)
{
    struct jwt_section *section = &settings->issuers[settings->issuer_count++];

    *section = (struct jwt_section){ .source = source, .key_at = settings->key_text_len, .key_len = (uint32_t)text.len,
                                     .leeway_s = 30 };
    snprintf(section->name, sizeof section->name, "%s", name);
    memcpy(settings->key_text + settings->key_text_len, text.at, text.len);
    settings->key_text_len += (uint32_t)text.len;
    return section;
}

/* --- making tokens ---------------------------------------------------------------------------------------------- */

static void token_begin(struct buf *token, const char *header, const char *claims)
{
    buf_clear(token);
    base64url_put(token, span_str(header));
    buf_putc(token, '.');
    base64url_put(token, span_str(claims));
}

static void token_sign(struct buf *token, const char *secret)
{
    unsigned char made[EVP_MAX_MD_SIZE];
    unsigned      len;

    must(HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)token->at, token->len, made, &len) != NULL);
    buf_putc(token, '.');
    base64url_put(token, span_of(made, len));
}

static struct identity *identity_of(struct issuers *issuers, const char *secret, const char *header, const char *claims,
                                    msec wall, struct verdict *ret_refusal)
{
    struct identity *identity = NULL;
    struct buf       token;

    buf_init(&token, 65536);
    token_begin(&token, header, claims);
    token_sign(&token, secret);
    enum issuers_verdict verdict = issuers_identify(issuers, buf_span(&token), wall, &identity, ret_refusal);
    assert_true((verdict == ISSUERS_KNOWN) == (identity != NULL) && (ret_refusal->status == 401) == (identity == NULL));
    buf_fini(&token);
    return identity;
}

#define HEADER "{\"alg\":\"HS256\"}"
#define CLAIMS "{\"sub\":\"ann\",\"device\":\"phone\",\"jti\":\"j\",\"iat\":1799999000,\"exp\":1800000600," \
               "\"channels\":[{\"match\":\"topic:*\",\"can\":[\"publish\"]}]}"

static struct identity *ann_of(struct issuers *issuers, const char *secret)
{
    struct verdict refusal;
    return identity_of(issuers, secret, HEADER, CLAIMS, now, &refusal);
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

static void a_token_becomes_a_user(void **state)
{
    struct settings *settings = settings_new();
    struct issuers   issuers;
    struct buf       why;

    (void)state;
    buf_init(&why, 1024);
    section_add(settings, "a", JWT_SECRET, SPAN(SECRET_A));
    assert_true(issuers_init(&issuers, settings, &why));
    for (int round = 0; round < 3; round++) {
        struct identity *ann = ann_of(&issuers, SECRET_A);
        assert_true(span_eq(identity_user(ann), SPAN("ann")) && span_eq(identity_device(ann), SPAN("phone")));
        assert_true(span_eq(identity_from(ann), SPAN("user:ann")) && span_eq(identity_jti(ann), SPAN("j")) && !ann->is_open);
        assert_int_equal(ann->rights, 0);
        assert_int_equal(ann->expires_at, INT64_C(1800000630000));  /* with the leeway */
        assert_int_equal(ann->issued_at, INT64_C(1799999000000));
        assert_true(identity_is_granted(ann, SPAN("topic:x"), CAN_PUBLISH));
        assert_false(identity_is_granted(ann, SPAN("topic:x"), CAN_SUBSCRIBE));
        identity_unref(ann);
        assert_null(ann_of(&issuers, SECRET_B));
    }
    issuers_fini(&issuers);
    buf_fini(&why);
    settings_drop(settings);
}

/* Threat 102: the end is exp and the leeway, and at most token_life_s_max behind iat. */
static void a_token_has_its_time(void **state)
{
    static const struct { const char *claims; msec from, until; } rows[] = {
        { "{\"sub\":\"a\",\"exp\":1800000000}", 0, 1800000030 },
        { "{\"sub\":\"a\",\"exp\":1800000000,\"nbf\":1799990000}", 1799989970, 1800000030 },
        { "{\"sub\":\"a\",\"exp\":1800000000,\"iat\":1799990000}", 1799989970, 1800000030 },
        { "{\"sub\":\"a\",\"exp\":1900000000,\"iat\":1800000000}", 1799999970, 1800000000 + 2592000 + 30 },
    };
    struct settings *settings = settings_new();
    struct issuers   issuers;
    struct buf       why;

    (void)state;
    buf_init(&why, 1024);
    section_add(settings, "a", JWT_SECRET, SPAN(SECRET_A));
    assert_true(issuers_init(&issuers, settings, &why));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const msec tried[]  = { rows[i].from * 1000 - 1, rows[i].from * 1000, rows[i].until * 1000 - 1, rows[i].until * 1000 };
        const bool wanted[] = { rows[i].from == 0, true, true, false };
        for (size_t at = 0; at < 4; at++) {
            struct verdict   refusal;
            struct identity *identity = identity_of(&issuers, SECRET_A, HEADER, rows[i].claims, tried[at], &refusal);
            if ((identity != NULL) != wanted[at])
                fail_msg("row %zu, time %zu: %s", i, at, refusal.reason);
            if (identity != NULL)
                assert_int_equal(identity->expires_at, rows[i].until * 1000);
            identity_unref(identity);
        }
    }
    issuers_fini(&issuers);
    buf_fini(&why);
    settings_drop(settings);
}

/* --- reload ------------------------------------------------------------------------------------------------------ */

/* docs/decisions/0015, 0044 */
static void a_reload_revokes_whose_section_or_key_is_gone(void **state)
{
    enum change { SAME, MOVED, LEEWAY, MORE, GONE, OTHER_SECRET, OTHER_NAME, OTHER_ISSUER, OTHER_AUDIENCE, OTHER_ALGORITHM };
    static const struct { const char *name; enum change change; bool stays; } rows[] = {
        { "the same", SAME, true },                    { "at another place", MOVED, true },
        { "another leeway", LEEWAY, true },            { "one algorithm more", MORE, true },
        { "the section is gone", GONE, false },        { "another secret", OTHER_SECRET, false },
        { "another name", OTHER_NAME, false },         { "another issuer", OTHER_ISSUER, false },
        { "another audience", OTHER_AUDIENCE, false }, { "another algorithm", OTHER_ALGORITHM, false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct settings *before = settings_new(), *after = settings_new();
        struct issuers   issuers;
        struct buf       why;

        buf_init(&why, 1024);
        section_add(before, "a", JWT_SECRET, SPAN(SECRET_A));
        section_add(before, "b", JWT_SECRET, SPAN(SECRET_B));
        assert_true(issuers_init(&issuers, before, &why));
        struct identity *ann = ann_of(&issuers, SECRET_A), *ben = ann_of(&issuers, SECRET_B);
        if (rows[i].change == MOVED)
            section_add(after, "b", JWT_SECRET, SPAN(SECRET_B));
        if (rows[i].change != GONE) {
            struct jwt_section *section = section_add(after, rows[i].change == OTHER_NAME ? "c" : "a", JWT_SECRET,
                                                      rows[i].change == OTHER_SECRET ? SPAN(SECRET_B) : SPAN(SECRET_A));
            section->leeway_s   = rows[i].change == LEEWAY ? 60 : 30;
            section->algorithms = rows[i].change == MORE ? 1u << JWT_HS256 | 1u << JWT_HS512 :
                                  rows[i].change == OTHER_ALGORITHM ? 1u << JWT_HS512 : 0;
            if (rows[i].change == OTHER_ISSUER)
                strcpy(section->issuer, "i");
            if (rows[i].change == OTHER_AUDIENCE)
                strcpy(section->audience, "i");
        }
        if (rows[i].change != MOVED)
            section_add(after, "b", JWT_SECRET, SPAN(SECRET_B));
        issuers_adopt(&issuers, after);
        settings_drop(before);
        if (identity_is_revoked(ann) == rows[i].stays)
            fail_msg("%s", rows[i].name);
        assert_false(identity_is_revoked(ben));
        struct identity *again = ann_of(&issuers, SECRET_B);
        assert_true(again != NULL && again->authority != NULL);
        /* Whoever stayed is still revoked by the next change. */
        struct settings *none = settings_new();
        issuers_adopt(&issuers, none);
        assert_true(identity_is_revoked(ann) && identity_is_revoked(ben) && identity_is_revoked(again));
        identity_unref(ann);
        identity_unref(ben);
        identity_unref(again);
        issuers_fini(&issuers);
        settings_drop(after);
        settings_drop(none);
        buf_fini(&why);
    }
}

/* --- keys from an address ---------------------------------------------------------------------------------------- */

/* A document with the public parts of these keys. */
static void jwks_put(struct buf *document, EVP_PKEY *const *keys, size_t count)
{
    buf_clear(document);
    buf_put_lit(document, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0LXNlY3JldC1zZWNyZXQ\"}");
    for (size_t i = 0; i < count; i++) {
        unsigned char x[32];
        size_t        len = sizeof x;
        must(EVP_PKEY_get_raw_public_key(keys[i], x, &len) == 1);
        buf_putf(document, ",{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k%zu\",\"x\":\"", i);
        base64url_put(document, span_of(x, len));
        buf_put_lit(document, "\"}");
    }
    buf_put_lit(document, "]}");
}

static struct identity *user_by(struct issuers *issuers, EVP_PKEY *key, const char *kid, enum issuers_verdict *ret)
{
    struct identity *identity = NULL;
    struct verdict   refusal;
    struct buf       token, header;
    unsigned char    made[64];
    size_t           len = sizeof made;
    EVP_MD_CTX      *context = EVP_MD_CTX_new();

    buf_init(&token, 65536);
    buf_init(&header, 1024);
    buf_putf(&header, "{\"alg\":\"EdDSA\",\"kid\":\"%s\"}%c", kid, 0);
    token_begin(&token, header.at, CLAIMS);
    must(EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
         EVP_DigestSign(context, made, &len, (const unsigned char *)token.at, token.len) == 1);
    buf_putc(&token, '.');
    base64url_put(&token, span_of(made, len));
    *ret = issuers_identify(issuers, buf_span(&token), now, &identity, &refusal);
    EVP_MD_CTX_free(context);
    buf_fini(&header);
    buf_fini(&token);
    return identity;
}

static void keys_come_from_an_address(void **state)
{
    EVP_PKEY            *keys[] = { EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") };
    struct settings     *settings = settings_new(), *again = settings_new(), *elsewhere = settings_new();
    enum issuers_verdict verdict;
    struct issuers       issuers;
    struct buf           why, document;

    (void)state;
    buf_init(&why, 1024);
    buf_init(&document, 65536);
    strcpy(section_add(settings, "a", JWT_JWKS_URL, SPAN(""))->place, "https://a.example/keys");
    strcpy(section_add(again, "a", JWT_JWKS_URL, SPAN(""))->place, "https://a.example/keys");
    strcpy(section_add(elsewhere, "a", JWT_JWKS_URL, SPAN(""))->place, "https://b.example/keys");
    assert_true(issuers_init(&issuers, settings, &why));
    assert_null(user_by(&issuers, keys[0], "k0", &verdict));
    assert_int_equal(verdict, ISSUERS_NO_KEY);

    jwks_put(&document, keys, 1);
    assert_true(issuer_adopt_jwks(&issuers.at[0], buf_span(&document), &why));
    assert_int_equal(issuers.at[0].keys.count, 1);  /* no secrets from addresses */
    struct identity *ann = user_by(&issuers, keys[0], "k0", &verdict);
    assert_true(ann != NULL && verdict == ISSUERS_KNOWN);
    assert_null(user_by(&issuers, keys[1], "k1", &verdict));
    assert_int_equal(verdict, ISSUERS_NO_KEY);
    assert_null(user_by(&issuers, keys[1], "k0", &verdict));
    assert_int_equal(verdict, ISSUERS_WRONG);

    /* What can't be used changes nothing. */
    static const char *const bad[] = { "", "{}", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AA\"}]}", "null" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        buf_clear(&why);
        assert_false(issuer_adopt_jwks(&issuers.at[0], span_str(bad[i]), &why));
        assert_true(why.len > 0);
    }
    identity_unref(user_by(&issuers, keys[0], "k0", &verdict));
    assert_int_equal(verdict, ISSUERS_KNOWN);

    /* A new key, and the old one is gone: its users stay until their tokens end. A reload keeps the keys. */
    EVP_PKEY *swapped[] = { keys[1] };
    jwks_put(&document, swapped, 1);
    assert_true(issuer_adopt_jwks(&issuers.at[0], buf_span(&document), &why));
    issuers_adopt(&issuers, again);
    assert_null(user_by(&issuers, keys[0], "k0", &verdict));
    struct identity *ben = user_by(&issuers, keys[1], "k0", &verdict);
    assert_true(ben != NULL && !identity_is_revoked(ann) && !identity_is_revoked(ben));
    /* Another address is another issuer. */
    issuers_adopt(&issuers, elsewhere);
    assert_true(identity_is_revoked(ann) && identity_is_revoked(ben) && issuers.at[0].keys.count == 0);

    identity_unref(ann);
    identity_unref(ben);
    issuers_fini(&issuers);
    buf_fini(&why);
    buf_fini(&document);
    settings_drop(settings);
    settings_drop(again);
    settings_drop(elsewhere);
    EVP_PKEY_free(keys[0]);
    EVP_PKEY_free(keys[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_becomes_a_user),
        cmocka_unit_test(a_token_has_its_time),
        cmocka_unit_test(a_reload_revokes_whose_section_or_key_is_gone),
        cmocka_unit_test(keys_come_from_an_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
