#include "auth/vouch.h"

#include <openssl/sha.h>

#include "base/must.h"
#include "message/user_name.h"

_Static_assert((int)HANDOVER_GRANTS_MAX == (int)GRANTS_MAX && (int)HANDOVER_PRINT_BYTES == SHA256_DIGEST_LENGTH &&
               (int)HANDOVER_PRINT_BYTES == (int)KEY_PRINT_BYTES, "an identity fits into what is told of it");

/* --- fingerprints ----------------------------------------------------------------------------------------------- */

static void print_put(struct span text, unsigned char ret[static HANDOVER_PRINT_BYTES])
{
    SHA256((const unsigned char *)text.at, text.len, ret);
}

static bool print_is(struct span told, struct span text)
{
    unsigned char print[HANDOVER_PRINT_BYTES];

    print_put(text, print);
    return span_eq(told, span_of(print, sizeof print));
}

/* Of an issuer's section: what makes it another one to a reload. */
static void section_put(struct buf *scratch, const struct jwt_section *section)
{
    buf_putf(scratch, "%s\n%s\n%s\n%d", section->name, section->issuer, section->audience, (int)section->source);
    if (section->source == JWT_JWKS_URL)
        buf_putf(scratch, "\n%s\n%u", section->place, section->algorithms);
}

/* --- telling ---------------------------------------------------------------------------------------------------- */

static void tell_facts(const struct identity *identity, struct handover_identity *ret)
{
    const struct grant *grants = identity_grants(identity);

    ret->from         = identity_from(identity);
    ret->device       = identity_device(identity);
    ret->jti          = identity_jti(identity);
    ret->rights       = identity->rights;
    ret->issued_at    = (uint64_t)identity->issued_at;
    ret->expires_at   = (uint64_t)identity->expires_at;
    ret->follow_count = identity->follow_count;
    ret->grant_count  = identity->grant_count;
    for (size_t i = 0; i < identity->grant_count; i++)
        ret->grants[i] = (struct handover_grant){ grants[i].match, grants[i].can };
}

static const struct api_key *told_key_of(const struct key_identifier *keys, const struct identity *identity)
{
    for (size_t i = 0; i < keys->settings->key_count; i++)
        if (keys->holders[i] == identity)
            return &keys->settings->keys[i];
    return NULL;
}

static const struct verify_key *signer_of(const struct issuers *issuers, const struct authority *authority,
                                          const struct issuer **ret_issuer)
{
    for (size_t i = 0; i < issuers->count; i++)
        for (size_t at = 0; at < issuers->at[i].keys.count; at++)
            if (issuers->at[i].keys.at[at].authority == authority) {
                *ret_issuer = &issuers->at[i];
                return &issuers->at[i].keys.at[at];
            }
    return NULL;
}

/* Of a section whose keys come from an address: the key may be another by now. */
static const struct issuer *issuer_of(const struct issuers *issuers, const struct authority *authority)
{
    for (size_t i = 0; i < issuers->count; i++)
        if (issuers->at[i].authority == authority || issuers->at[i].authority == authority->above)
            return &issuers->at[i];
    return NULL;
}

static void tell_issuer(const struct key_identifier *keys, const struct identity *identity, struct buf *scratch,
                        struct handover_identity *ret)
{
    const struct issuer     *issuer = issuer_of(&keys->issuers, identity->authority);
    const struct verify_key *key    = signer_of(&keys->issuers, identity->authority, &issuer);

    ret->origin = issuer == NULL ? HANDOVER_REVOKED : HANDOVER_ISSUER;
    if (issuer == NULL)
        return;
    section_put(scratch, issuer->section);
    ret->section = buf_span(scratch);
    if (key != NULL)
        ret->print = span_of(key->print, sizeof key->print);
}

/* The fingerprint lies in `scratch`. */
static void tell_text(enum handover_origin origin, struct span section, struct span text, struct buf *scratch,
                      struct handover_identity *ret)
{
    unsigned char print[HANDOVER_PRINT_BYTES];

    print_put(text, print);
    buf_put(scratch, span_of(print, sizeof print));
    ret->origin  = origin;
    ret->section = section;
    ret->print   = buf_span(scratch);
}

void identity_tell(const struct key_identifier *keys, const struct caller_identifier *callers, const struct identity *identity,
                   struct buf *scratch, struct handover_identity *ret)
{
    const struct api_key *key = told_key_of(keys, identity);

    *ret = (struct handover_identity){ .origin = HANDOVER_ALONE };
    buf_clear(scratch);
    tell_facts(identity, ret);
    if (identity_is_revoked(identity))
        ret->origin = HANDOVER_REVOKED;
    else if (identity == keys->nobody)
        ret->origin = HANDOVER_NOBODY;
    else if (key != NULL)
        tell_text(HANDOVER_KEY, span_str(key->name), span_str(key->secret), scratch, ret);
    else if (identity->is_open)
        ret->origin = HANDOVER_OPEN;
    else if (identity->authority != NULL && identity->authority == callers->authority)
        tell_text(HANDOVER_HOOK, SPAN(""), span_str(keys->settings->hook.url), scratch, ret);
    else if (identity->authority != NULL)
        tell_issuer(keys, identity, scratch, ret);
}

/* --- hearing ---------------------------------------------------------------------------------------------------- */

static struct identity *hear_facts(const struct handover_identity *told, struct authority *authority, bool is_open)
{
    struct grant grants[GRANTS_MAX];
    struct span  head    = SPAN("user:");
    bool         is_user = span_starts(told->from, head);

    for (uint32_t i = 0; i < told->grant_count; i++)
        grants[i] = (struct grant){ told->grants[i].match, told->grants[i].can & CAN_ALL };
    return identity_new(&(struct identity_facts){
        .key = is_user ? SPAN("") : told->from, .user = is_user ? span_skip(told->from, head.len) : SPAN(""),
        .rights = told->rights, .is_open = is_open, .device = told->device, .jti = told->jti,
        .issued_at = (msec)told->issued_at, .expires_at = (msec)told->expires_at, .grants = grants,
        .grant_count = told->grant_count, .follow_count = told->follow_count, .authority = authority,
    });
}

/* Would an identity be made of it, whoever says it? */
static bool told_is_sound(const struct handover_identity *told)
{
    struct span head    = SPAN("user:");
    bool        is_user = span_starts(told->from, head);
    bool        is_from = is_user ? user_name_is_valid(span_skip(told->from, head.len)) : told->from.len <= KEY_NAME_BYTES_MAX;

    for (uint32_t i = 0; i < told->grant_count; i++)
        if (!grant_pattern_is_valid(told->grants[i].match))
            return false;
    return is_from && (told->rights & ~(uint32_t)KEY_RIGHTS_ALL) == 0 && (told->device.len == 0 || device_name_is_valid(told->device));
}

static struct identity *hear_revoked(void)
{
    struct identity *identity = identity_new(&(struct identity_facts){ 0 });

    identity_revoke(identity_ref(identity));
    return identity;
}

/* As key_identifier_adopt() would: the same name, secret and channels, and no right less. */
static struct identity *hear_key(struct key_identifier *keys, const struct handover_identity *told)
{
    for (size_t i = 0; i < keys->settings->key_count; i++) {
        const struct api_key *key    = &keys->settings->keys[i];
        struct span           rest   = span_str(key->channels), pattern;
        bool                  is_kept = span_eq(told->section, span_str(key->name)) &&
                                        print_is(told->print, span_str(key->secret)) && (told->rights & ~key->rights) == 0;
        uint32_t              count  = 0;
        while (is_kept && span_cut(&rest, ',', &pattern))
            is_kept = count < told->grant_count && span_eq(told->grants[count++].match, span_trim(pattern));
        if (is_kept && count == told->grant_count)
            return identity_ref(keys->holders[i]);
    }
    return NULL;
}

static struct authority *issuer_authority(const struct issuer *issuer, struct span print)
{
    if (issuer->section->source == JWT_JWKS_URL)
        return issuer->authority;
    for (size_t i = 0; i < issuer->keys.count; i++)
        if (span_eq(print, span_of(issuer->keys.at[i].print, KEY_PRINT_BYTES)))
            return issuer->keys.at[i].authority;
    return NULL;
}

static struct identity *hear_user(struct key_identifier *keys, const struct handover_identity *told)
{
    struct authority *authority = NULL;
    struct buf        scratch;

    buf_init(&scratch, SIZE_MAX / 2);
    for (size_t i = 0; i < keys->issuers.count && authority == NULL; i++) {
        buf_clear(&scratch);
        section_put(&scratch, keys->issuers.at[i].section);
        if (span_eq(told->section, buf_span(&scratch)))
            authority = issuer_authority(&keys->issuers.at[i], told->print);
    }
    buf_fini(&scratch);
    return authority == NULL ? NULL : hear_facts(told, authority, false);
}

static struct identity *hear_known(struct key_identifier *keys, struct caller_identifier *callers,
                                   const struct handover_identity *told)
{
    switch ((enum handover_origin)told->origin) {
    case HANDOVER_NOBODY:
        return (told->rights == 0) == (keys->open == NULL) ? identity_ref(keys->nobody) : NULL;
    case HANDOVER_OPEN:
        return keys->open == NULL ? NULL : hear_facts(told, keys->open, true);
    case HANDOVER_KEY: return hear_key(keys, told);
    case HANDOVER_ISSUER: return hear_user(keys, told);
    case HANDOVER_HOOK:
        return callers->has_hook && print_is(told->print, span_str(keys->settings->hook.url))
                   ? hear_facts(told, callers->authority, false) : NULL;
    case HANDOVER_ALONE: return hear_facts(told, NULL, false);
    case HANDOVER_REVOKED:
    case HANDOVER_ORIGINS: break;
    }
    return NULL;
}

struct identity *identity_hear(struct key_identifier *keys, struct caller_identifier *callers,
                               const struct handover_identity *told)
{
    struct identity *identity = told_is_sound(told) ? hear_known(keys, callers, told) : NULL;

    if (identity == NULL)
        return hear_revoked();
    if (caller_is_revoked(callers->revocations, identity) && !identity->is_revoked)
        identity_revoke(identity_ref(identity));
    return identity;
}
