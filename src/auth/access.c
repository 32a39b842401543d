#include "auth/access.h"

#include <stdio.h>

#include "codec/url/url.h"

enum { NUMBER_OPEN, NUMBER_STRANGER, NUMBER_FIRST };

/* The number that this key had, or 0: it wasn't there, or could do more then. */
static uint32_t number_before(const struct access *before, const struct api_key *key)
{
    const struct settings *settings = before->settings;

    for (size_t i = 0; i < settings->key_count; i++)
        if (strcmp(settings->keys[i].name, key->name) == 0 && strcmp(settings->keys[i].secret, key->secret) == 0 &&
            (settings->keys[i].rights & ~key->rights) == 0)
            return before->holders[i].number;
    return 0;
}

void access_init(struct access *access, const struct settings *settings, const struct access *before)
{
    *access = (struct access){
        .settings    = settings,
        .open        = { .number = NUMBER_OPEN, .rights = RIGHT_PUBLISH | RIGHT_SUBSCRIBE | RIGHT_ADMIN },
        .stranger    = { .number = NUMBER_STRANGER },
        .next_number = before == NULL ? NUMBER_FIRST : before->next_number,
    };
    for (size_t i = 0; i < settings->key_count; i++) {
        uint32_t number          = before == NULL ? 0 : number_before(before, &settings->keys[i]);
        access->holders[i].number = number == 0 ? access->next_number++ : number;
        access->holders[i].rights = settings->keys[i].rights;
        snprintf(access->holders[i].name, sizeof access->holders[i].name, "%s", settings->keys[i].name);
    }
}

const struct identity *access_find(const struct access *access, uint32_t number)
{
    if (access->settings->key_count == 0)
        return number == NUMBER_OPEN ? &access->open : NULL;
    if (number == NUMBER_STRANGER)
        return &access->stranger;
    for (size_t i = 0; i < access->settings->key_count; i++)
        if (access->holders[i].number == number)
            return &access->holders[i];
    return NULL;
}

/* Takes as long for a wrong key as for the right one (threat 103). */
static bool secret_is(const char *secret, struct span token)
{
    size_t        len  = strlen(secret);
    unsigned char diff = len != token.len;

    for (size_t i = 0; i < token.len; i++)
        diff |= (unsigned char)(secret[i % (len + 1)] ^ token.at[i]);
    return diff == 0;
}

const struct identity *access_identify_token(const struct access *access, struct span token)
{
    const struct settings *settings = access->settings;
    const struct identity *found    = NULL;

    if (settings->key_count == 0)
        return &access->open;
    for (size_t i = 0; i < settings->key_count; i++)
        if (secret_is(settings->keys[i].secret, token))
            found = &access->holders[i];
    return found;
}

static struct span bearer_of(const struct h1_head *head)
{
    struct span value = h1_field(head, SPAN("authorization"));
    struct span scheme;

    if (!span_cut(&value, ' ', &scheme) || !span_eq_nocase(scheme, SPAN("bearer")))
        return SPAN("");
    return span_trim(value);
}

const struct identity *access_identify(const struct access *access, const struct h1_head *head, struct span query)
{
    struct span            token = bearer_of(head), name, value;
    const struct identity *found = &access->stranger;
    struct buf             scratch;

    if (access->settings->key_count == 0)
        return &access->open;
    if (h1_field(head, SPAN("authorization")).at != NULL)
        return access_identify_token(access, token);
    buf_init(&scratch, 1024);
    while (url_query_next(&query, &name, &value))
        if (span_eq(name, SPAN("access_token")))
            found = url_decode(value, URL_QUERY, &scratch, &token) ? access_identify_token(access, token) : NULL;
    buf_fini(&scratch);
    return found;
}

/* --- origins ------------------------------------------------------------------------------------------------- */

/* `rule` is in lower case; ":*" at its end stands for any port, or none. */
static bool origin_fits(struct span origin, struct span rule)
{
    if (span_eq(rule, SPAN("*")) || span_eq_nocase(origin, rule))
        return true;
    if (rule.len < 2 || rule.at[rule.len - 1] != '*' || rule.at[rule.len - 2] != ':')
        return false;

    struct span stem = span_head(rule, rule.len - 2), port;
    uint64_t    number;
    if (origin.len < stem.len || !span_eq_nocase(span_head(origin, stem.len), stem))
        return false;
    port = span_skip(origin, stem.len);
    return port.len == 0 || (port.at[0] == ':' && span_u64(span_skip(port, 1), &number) && number <= 65535);
}

static bool origin_is_own(struct span origin, struct span host)
{
    static const struct span schemes[] = { SPAN("http://"), SPAN("https://") };

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (span_starts(origin, schemes[i]) && host.len > 0 &&
            span_eq_nocase(span_skip(origin, schemes[i].len), host))
            return true;
    return false;
}

bool access_allows_origin(const struct access *access, struct span origin, struct span host)
{
    const struct settings *settings = access->settings;

    for (size_t i = 0; i < settings->origin_count; i++)
        if (origin_fits(origin, span_str(settings->origin_list[i])))
            return true;
    if (settings->origin_count > 0)
        return false;
    return origin_is_own(origin, host) || origin_fits(origin, SPAN("http://localhost:*")) ||
           origin_fits(origin, SPAN("http://127.0.0.1:*"));
}
