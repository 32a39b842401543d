#include "auth/identity.h"

#include <stdlib.h>

#include "base/must.h"
#include "base/span_keep.h"
#include "message/user_name.h"

/* --- who vouches ------------------------------------------------------------------------------------------------ */

static struct authority *authority_ref(struct authority *authority)
{
    if (authority != NULL)
        authority->refs++;
    return authority;
}

struct authority *authority_new(struct authority *above)
{
    struct authority *authority = calloc(1, sizeof *authority);

    must(authority != NULL && (above == NULL || above->above == NULL));
    authority->refs  = 1;
    authority->above = authority_ref(above);
    return authority;
}

void authority_move(struct authority *authority, struct authority *above)
{
    struct authority *before = authority->above;

    authority->above = authority_ref(above);
    authority_unref(before);
}

void authority_unref(struct authority *authority)
{
    if (authority == NULL)
        return;
    must(authority->refs > 0);
    if (--authority->refs > 0)
        return;
    authority_unref(authority->above);
    free(authority);
}

void authority_revoke(struct authority *authority)
{
    must(!authority->is_revoked);
    authority->is_revoked = true;
    authority_unref(authority);
}

/* --- making one ------------------------------------------------------------------------------------------------- */

static size_t text_bytes(const struct identity_facts *facts)
{
    size_t bytes = sizeof "user:" + facts->user.len + facts->key.len + facts->device.len + facts->jti.len;

    for (size_t i = 0; i < facts->grant_count; i++)
        bytes += facts->grants[i].match.len;
    return bytes;
}

static size_t from_put(char **at, const struct identity_facts *facts)
{
    char *begin = *at;

    if (facts->user.len > 0)
        span_keep(SPAN("user:"), at);
    span_keep(facts->user.len > 0 ? facts->user : facts->key, at);
    return (size_t)(*at - begin);
}

static void grants_put(struct grant *grants, char **at, const struct identity_facts *facts)
{
    for (size_t i = 0; i < facts->grant_count; i++)
        grants[i] = (struct grant){ span_keep(facts->grants[i].match, at), facts->grants[i].can };
}

/* Who says a later time means one that never comes. */
static msec time_within(msec at)
{
    return at < IDENTITY_TIME_MAX ? at : IDENTITY_TIME_MAX;
}

struct identity *identity_new(const struct identity_facts *facts)
{
    must((facts->rights & ~(unsigned)KEY_RIGHTS_ALL) == 0 && facts->grant_count <= GRANTS_MAX &&
         facts->follow_count <= facts->grant_count);
    must(facts->device.len <= UINT8_MAX && facts->jti.len <= UINT16_MAX && facts->key.len <= KEY_NAME_BYTES_MAX);
    must(facts->user.len == 0 || (facts->key.len == 0 && user_name_is_valid(facts->user)));
    size_t           grant_bytes = facts->grant_count * sizeof facts->grants[0];
    struct identity *identity    = malloc(sizeof *identity + grant_bytes + text_bytes(facts));
    must(identity != NULL);
    struct grant *grants = (struct grant *)(void *)identity->text;
    char         *at     = identity->text + grant_bytes;

    *identity = (struct identity){
        .refs        = 1,
        .is_open     = facts->is_open,
        .rights      = facts->rights & KEY_RIGHTS_ALL,
        .grant_count = (uint8_t)facts->grant_count,
        .follow_count = (uint8_t)facts->follow_count,
        .issued_at   = time_within(facts->issued_at),
        .expires_at  = time_within(facts->expires_at),
        .authority   = authority_ref(facts->authority),
    };
    identity->from_len   = (uint16_t)from_put(&at, facts);
    identity->device_len = (uint8_t)span_keep(facts->device, &at).len;
    identity->jti_len    = (uint16_t)span_keep(facts->jti, &at).len;
    grants_put(grants, &at, facts);
    return identity;
}

/* --- holding one ------------------------------------------------------------------------------------------------ */

struct identity *identity_ref(struct identity *identity)
{
    must(identity->refs > 0 && identity->refs < UINT32_MAX);
    identity->refs++;
    return identity;
}

void identity_unref(struct identity *identity)
{
    if (identity == NULL)
        return;
    must(identity->refs > 0);
    if (--identity->refs > 0)
        return;
    authority_unref(identity->authority);
    free(identity);
}

void identity_revoke(struct identity *identity)
{
    must(!identity->is_revoked);
    identity->is_revoked = true;
    identity_unref(identity);
}

bool identity_is_granted(const struct identity *identity, struct span channel, unsigned can)
{
    for (size_t i = 0; i < identity->grant_count; i++)
        if ((identity_grants(identity)[i].can & can) != 0 && grant_pattern_fits(identity_grants(identity)[i].match, channel))
            return true;
    return false;
}
