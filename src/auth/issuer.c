#include "auth/issuer.h"

#include <stdlib.h>

#include "base/must.h"

/* --- the sections ----------------------------------------------------------------------------------------------- */

static struct span key_text_of(const struct settings *settings, const struct jwt_section *section)
{
    return span_of(settings->key_text + section->key_at, section->key_len);
}

static bool issuer_read_keys(struct issuer *issuer, const struct settings *settings, struct buf *why)
{
    const struct jwt_section *section = issuer->section;
    const struct span         text    = key_text_of(settings, section);

    switch (section->source) {
    case JWT_SECRET:
        return verify_keys_of_secret(&issuer->keys, issuer->authority, section->algorithms, text, why);
    case JWT_KEY_FILE:
        return verify_keys_of_pem(&issuer->keys, issuer->authority, section->algorithms, text, why);
    case JWT_JWKS_FILE:
        return verify_keys_of_jwks(&issuer->keys, issuer->authority, section->algorithms, true, text, why);
    case JWT_JWKS_URL:
        break;  /* issuer_adopt_jwks() brings them */
    }
    return true;
}

/* Does each algorithm of the section have a key? One without would refuse tokens in silence. */
static bool issuer_serves_all(const struct issuer *issuer, struct buf *why)
{
    unsigned served = 0;

    for (size_t i = 0; i < issuer->keys.count; i++)
        served |= 1u << issuer->keys.at[i].algorithm;
    for (int i = 0; i < JWT_ALGORITHM_COUNT; i++)
        if ((issuer->section->algorithms & ~served & 1u << i) != 0) {
            buf_putf(why, "`algorithms` says %s, but no key serves it", jwt_algorithm_name((enum jwt_algorithm)i));
            return false;
        }
    return true;
}

static bool issuer_init(struct issuer *issuer, const struct settings *settings, const struct jwt_section *section,
                        struct buf *why)
{
    struct buf reason;

    *issuer = (struct issuer){ .section = section, .authority = authority_new(NULL) };
    buf_init(&reason, 1024);
    bool is_good = issuer_read_keys(issuer, settings, &reason) &&
                   (section->source == JWT_JWKS_URL || issuer_serves_all(issuer, &reason));
    if (!is_good)
        buf_putf(why, "[jwt %s]: %s: %.*s", section->name, jwt_source_name(section->source), SPAN_ARG(buf_span(&reason)));
    buf_fini(&reason);
    return is_good;
}

bool issuers_init(struct issuers *issuers, const struct settings *settings, struct buf *why)
{
    *issuers = (struct issuers){ .settings = settings, .at = calloc(ISSUERS_MAX, sizeof issuers->at[0]) };
    must(issuers->at != NULL && settings->issuer_count <= ISSUERS_MAX);
    jwt_reader_init(&issuers->reader);
    while (issuers->count < settings->issuer_count) {
        size_t at = issuers->count++;
        if (!issuer_init(&issuers->at[at], settings, &settings->issuers[at], why))
            return false;
    }
    return true;
}

void issuers_fini(struct issuers *issuers)
{
    for (size_t i = 0; i < issuers->count; i++) {
        verify_keys_fini(&issuers->at[i].keys);
        authority_unref(issuers->at[i].authority);
    }
    free(issuers->at);
    jwt_reader_fini(&issuers->reader);
}

bool issuers_check(const struct settings *settings, struct buf *why)
{
    struct issuers issuers;
    bool           is_good = issuers_init(&issuers, settings, why);

    issuers_fini(&issuers);
    return is_good;
}

/* --- a change of settings or keys ------------------------------------------------------------------------------- */

/* Those of a section whose users would not be let in by the other one are others. */
static bool section_is_like(const struct jwt_section *before, const struct jwt_section *now)
{
    return strcmp(before->name, now->name) == 0 && strcmp(before->issuer, now->issuer) == 0 &&
           strcmp(before->audience, now->audience) == 0 && before->source == now->source &&
           (now->source != JWT_JWKS_URL || (strcmp(before->place, now->place) == 0 &&
                                            before->algorithms == now->algorithms));
}

static void revoke_left_over(struct verify_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        if (keys->at[i].authority != NULL) {
            authority_revoke(keys->at[i].authority);
            keys->at[i].authority = NULL;
        }
}

/* `before` keeps what `now` has no use for, which is revoked. */
static void issuer_take_over(struct issuer *now, struct issuer *before)
{
    struct authority *authority = now->authority;

    now->authority    = before->authority;
    before->authority = NULL;
    if (now->section->source == JWT_JWKS_URL) {
        now->keys          = before->keys;
        before->keys.count = 0;
    }
    verify_keys_take_over(&now->keys, &before->keys);
    for (size_t i = 0; i < now->keys.count; i++)
        authority_move(now->keys.at[i].authority, now->authority);
    revoke_left_over(&before->keys);
    authority_unref(authority);
}

static struct issuer *find_like(struct issuers *before, const struct jwt_section *section)
{
    for (size_t i = 0; i < before->count; i++)
        if (before->at[i].authority != NULL && section_is_like(before->at[i].section, section))
            return &before->at[i];
    return NULL;
}

void issuers_adopt(struct issuers *issuers, const struct settings *settings)
{
    struct issuers now;
    struct buf     why;

    buf_init(&why, 1024);
    must(issuers_init(&now, settings, &why));
    buf_fini(&why);
    for (size_t i = 0; i < now.count; i++) {
        struct issuer *before = find_like(issuers, now.at[i].section);
        if (before != NULL)
            issuer_take_over(&now.at[i], before);
    }
    for (size_t i = 0; i < issuers->count; i++)
        if (issuers->at[i].authority != NULL) {
            authority_revoke(issuers->at[i].authority);
            issuers->at[i].authority = NULL;
        }
    issuers_fini(issuers);
    *issuers = now;
}

bool issuer_adopt_jwks(struct issuer *issuer, struct span document, struct buf *why)
{
    struct verify_keys keys = { .count = 0 };

    must(issuer->section->source == JWT_JWKS_URL);
    bool is_good = verify_keys_of_jwks(&keys, issuer->authority, issuer->section->algorithms, false, document, why);
    if (is_good) {
        struct verify_keys before = issuer->keys;
        verify_keys_take_over(&keys, &before);
        issuer->keys = keys;
        keys         = before;
    }
    verify_keys_fini(&keys);
    return is_good;
}

/* --- a token ---------------------------------------------------------------------------------------------------- */

static bool key_is_meant(const struct issuer *issuer, const struct verify_key *key, const struct jwt *jwt)
{
    struct span kid = span_str(key->kid), iss = span_str(issuer->section->issuer);

    return key->algorithm == jwt->algorithm && (kid.len == 0 || jwt->kid.len == 0 || span_eq(kid, jwt->kid)) &&
           (iss.len == 0 || span_eq(iss, jwt->issuer));
}

/* NULL: none fits. *ret_tried counts the signatures that were checked. */
static const struct verify_key *find_signer(struct issuers *issuers, const struct jwt *jwt, struct issuer **ret_issuer,
                                         size_t *ret_tried)
{
    for (size_t i = 0; i < issuers->count; i++) {
        struct issuer *issuer = &issuers->at[i];
        for (size_t at = 0; at < issuer->keys.count && *ret_tried < SIGNATURES_TRIED_MAX; at++) {
            const struct verify_key *key = &issuer->keys.at[at];
            if (!key_is_meant(issuer, key, jwt))
                continue;
            ++*ret_tried;
            *ret_issuer = issuer;
            if (verify_key_fits(key, jwt->signed_part, jwt->signature))
                return key;
        }
    }
    return NULL;
}

static bool some_keys_may_come(const struct issuers *issuers)
{
    for (size_t i = 0; i < issuers->count; i++)
        if (issuers->at[i].section->source == JWT_JWKS_URL)
            return true;
    return false;
}

/* When it ends, leeway included. A token that lives longer than any may is believed for as long as one may live: what
 * was revoked is remembered only that long. */
static msec end_of(const struct issuers *issuers, const struct issuer *issuer, const struct jwt *jwt)
{
    msec last = jwt->issued_at + issuers->settings->token_life_s_max * 1000;
    msec end  = jwt->issued_at != 0 && last < jwt->expires_at ? last : jwt->expires_at;

    return end + issuer->section->leeway_s * 1000;
}

/* NULL: what it says holds now, for this section. */
static const char *claims_fault(struct issuers *issuers, const struct issuer *issuer, const struct jwt *jwt, msec wall)
{
    const struct jwt_section *section = issuer->section;
    msec                      leeway  = section->leeway_s * 1000;

    if (wall >= jwt->expires_at + leeway)
        return "the token has expired";
    if (wall >= end_of(issuers, issuer, jwt))
        return "the token was issued longer ago than token_life_s_max";
    if (jwt->not_before > wall + leeway)
        return "the token is not valid yet (nbf)";
    if (jwt->issued_at > wall + leeway)
        return "the token was issued in the future (iat); are the clocks right?";
    if (section->audience[0] != '\0' && !jwt_is_for(&issuers->reader, jwt, span_str(section->audience)))
        return "the token is for another audience (aud)";
    return NULL;
}

enum issuers_verdict issuers_identify(struct issuers *issuers, struct span token, msec wall,
                                      struct identity **ret_identity, struct verdict *ret_refusal)
{
    struct issuer *issuer = NULL;
    struct jwt     jwt;
    size_t         tried = 0;
    const char    *why   = jwt_read(&issuers->reader, token, &jwt);

    *ret_refusal       = (struct verdict){ .status = 401, .reason = why };
    issuers->is_signed = false;
    if (why != NULL)
        return ISSUERS_WRONG;
    const struct verify_key *key = find_signer(issuers, &jwt, &issuer, &tried);
    if (key == NULL) {
        ret_refusal->reason = tried > 0 ? "the token's signature is wrong"
                                        : "no key for this token is known here: see its alg, kid and iss";
        return tried == 0 && some_keys_may_come(issuers) ? ISSUERS_NO_KEY : ISSUERS_WRONG;
    }
    issuers->is_signed  = true;
    ret_refusal->reason = claims_fault(issuers, issuer, &jwt, wall);
    if (ret_refusal->reason != NULL)
        return ISSUERS_REFUSED;
    *ret_refusal  = (struct verdict){ 0 };
    *ret_identity = identity_new(&(struct identity_facts){
        .user = jwt.user, .device = jwt.device, .jti = jwt.jti, .issued_at = jwt.issued_at,
        .expires_at = end_of(issuers, issuer, &jwt), .grants = jwt.grants, .grant_count = jwt.grant_count,
        .authority = key->authority,
    });
    return ISSUERS_KNOWN;
}
