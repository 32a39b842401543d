#include "codec/jwt/jwt.h"

#include <math.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/must.h"
#include "message/user_name.h"

enum { DATE_BYTES = 32, PART_BYTES = 64 * 1024 };

/* Beyond it a date is a mistake: the year 33658. */
#define DATE_S_MAX 1e12

void jwt_reader_init(struct jwt_reader *reader)
{
    json_doc_init(&reader->doc);
    buf_init(&reader->header, PART_BYTES);
    buf_init(&reader->claims, PART_BYTES);
    buf_init(&reader->signature, PART_BYTES);
    buf_init(&reader->strings, PART_BYTES);
    reader->grants = NULL;
}

void jwt_reader_fini(struct jwt_reader *reader)
{
    json_doc_fini(&reader->doc);
    buf_fini(&reader->header);
    buf_fini(&reader->claims);
    buf_fini(&reader->signature);
    buf_fini(&reader->strings);
    free(reader->grants);
}

/* --- the three parts -------------------------------------------------------------------------------------------- */

struct jwt_parts {
    struct span header, claims, signature;
};

static bool token_cut(struct span token, struct jwt_parts *ret)
{
    const char *first = token.len == 0 ? NULL : memchr(token.at, '.', token.len);
    const char *last  = token.len == 0 ? NULL : memrchr(token.at, '.', token.len);

    if (first == NULL || first == last)
        return false;
    ret->header    = span_of(token.at, (size_t)(first - token.at));
    ret->claims    = span_of(first + 1, (size_t)(last - first - 1));
    ret->signature = span_skip(token, (size_t)(last - token.at) + 1);
    return ret->claims.len == 0 || memchr(ret->claims.at, '.', ret->claims.len) == NULL;
}

bool jwt_is_like(struct span token)
{
    struct jwt_parts parts;
    return token_cut(token, &parts);
}

static bool part_decode(struct span text, struct buf *ret)
{
    buf_clear(ret);
    return text.len > 0 && base64url_get(text, ret);
}

/* NULL: it is no object. */
static const struct json_token *part_parse(struct jwt_reader *reader, const struct buf *part,
                                           const struct json_limits *limits)
{
    if (!json_parse(buf_span(part), limits, &reader->doc) || json_root(&reader->doc)->type != JSON_OBJECT)
        return NULL;
    return json_root(&reader->doc);
}

/* --- the header ------------------------------------------------------------------------------------------------- */

/* False: it is there, and is no string of at most `bytes_max` bytes. Empty: it isn't there. */
static bool text_of(struct jwt_reader *reader, const struct json_token *object, struct span name, size_t bytes_max,
                    struct span *ret)
{
    const struct json_token *token = json_member(&reader->doc, object, name);

    *ret = SPAN("");
    return token == NULL || (json_string(token, &reader->strings, ret) && ret->len <= bytes_max);
}

static const char *header_read(struct jwt_reader *reader, struct jwt *jwt)
{
    static const struct json_limits limits = { .depth_max = 8, .depth_kept = 1 };
    const struct json_token        *root   = part_parse(reader, &reader->header, &limits);
    struct span                     name;

    if (root == NULL)
        return "the token's header is no JSON object";
    if (!text_of(reader, root, SPAN("alg"), JWT_ID_BYTES_MAX, &name) || !jwt_algorithm_find(name, &jwt->algorithm))
        return "the token's algorithm is not known here";
    /* RFC 7515 4.1.11: who does not understand what is critical refuses it. */
    if (json_member(&reader->doc, root, SPAN("crit")) != NULL)
        return "the token's header names critical extensions; none is known here";
    if (!text_of(reader, root, SPAN("kid"), JWT_ID_BYTES_MAX, &jwt->kid))
        return "the token's kid is no string of at most 128 bytes";
    return NULL;
}

/* --- grants ----------------------------------------------------------------------------------------------------- */

static const char *can_read(const struct json_doc *doc, const struct json_token *list, struct buf *strings,
                            unsigned *ret_can)
{
    struct span word;

    if (list == NULL || list->type != JSON_ARRAY)
        return "a grant has `can`, a list of subscribe, publish, history, presence";
    for (const struct json_token *at = json_first(doc, list); at != NULL; at = json_next(doc, list, at)) {
        unsigned can = json_string(at, strings, &word) ? grant_can_of(word) : 0;
        if (can == 0)
            return "`can` of a grant has a word that is none of subscribe, publish, history, presence";
        *ret_can |= can;
    }
    return NULL;
}

static const char *grant_read(const struct json_doc *doc, const struct json_token *token, struct buf *strings,
                              struct grant *ret)
{
    *ret = (struct grant){ 0 };
    if (token->type != JSON_OBJECT)
        return "a grant is an object with `match` and `can`";
    if (!json_string(json_member(doc, token, SPAN("match")), strings, &ret->match) ||
        !grant_pattern_is_valid(ret->match))
        return "`match` of a grant is a pattern of channels: 1 to 233 bytes of UTF-8, with at most 8 stars";
    return can_read(doc, json_member(doc, token, SPAN("can")), strings, &ret->can);
}

const char *grants_read(const struct json_doc *doc, const struct json_token *list, struct buf *strings, struct grant *ret,
                        size_t *ret_count)
{
    *ret_count = 0;
    if (list == NULL || list->type == JSON_NULL)
        return NULL;
    if (list->type != JSON_ARRAY)
        return "`channels` is a list of grants";
    if (list->count > GRANTS_MAX)
        return "there are more than 100 grants in `channels`";
    for (const struct json_token *at = json_first(doc, list); at != NULL; at = json_next(doc, list, at)) {
        const char *why = grant_read(doc, at, strings, &ret[*ret_count]);
        if (why != NULL)
            return why;
        ++*ret_count;
    }
    return NULL;
}

/* --- claims ----------------------------------------------------------------------------------------------------- */

/* RFC 7519 2, NumericDate: seconds, perhaps with a fraction. False: it is there and is none. 0: it isn't there. */
static bool date_of(struct jwt_reader *reader, const struct json_token *object, struct span name, msec *ret)
{
    const struct json_token *token = json_member(&reader->doc, object, name);
    char                     text[DATE_BYTES + 1];

    *ret = 0;
    if (token == NULL)
        return true;
    if (token->type != JSON_NUMBER || token->raw.len > DATE_BYTES)
        return false;
    memcpy(text, token->raw.at, token->raw.len);
    text[token->raw.len] = '\0';
    double seconds       = strtod(text, NULL);
    if (!(seconds >= 0 && seconds <= DATE_S_MAX))
        return false;
    *ret = (msec)(seconds * 1000);
    return true;
}

static const char *dates_read(struct jwt_reader *reader, const struct json_token *root, struct jwt *jwt)
{
    if (!date_of(reader, root, SPAN("exp"), &jwt->expires_at) || !date_of(reader, root, SPAN("nbf"), &jwt->not_before) ||
        !date_of(reader, root, SPAN("iat"), &jwt->issued_at))
        return "exp, nbf and iat of a token are numbers of seconds since 1970";
    return jwt->expires_at == 0 ? "the token has no exp: it must end some time" : NULL;
}

static const char *names_read(struct jwt_reader *reader, const struct json_token *root, struct jwt *jwt)
{
    const struct json_token *device = json_member(&reader->doc, root, SPAN("device"));

    if (!text_of(reader, root, SPAN("sub"), PART_BYTES, &jwt->user) || !user_name_is_valid(jwt->user))
        return "the token's sub is no user's name: 1 to 128 bytes of UTF-8 without control characters and /";
    if (!text_of(reader, root, SPAN("device"), PART_BYTES, &jwt->device) ||
        (device != NULL && !device_name_is_valid(jwt->device)))
        return "the token's device is no device's name: 1 to 64 bytes of UTF-8 without control characters and /";
    if (!text_of(reader, root, SPAN("jti"), JWT_ID_BYTES_MAX, &jwt->jti) || memchr(jwt->jti.at, '\0', jwt->jti.len) != NULL)
        return "the token's jti is no string of at most 128 bytes without NUL";
    if (!text_of(reader, root, SPAN("iss"), PART_BYTES, &jwt->issuer))
        return "the token's iss is no string";
    return NULL;
}

static const char *claims_read(struct jwt_reader *reader, struct jwt *jwt)
{
    /* The token, its grants, one of them, what it can. */
    static const struct json_limits limits = { .depth_max = 32, .depth_kept = 4, .tokens_max = 4096 };
    const struct json_token        *root   = part_parse(reader, &reader->claims, &limits);

    if (root == NULL)
        return "the token's claims are no JSON object";
    const char *why = names_read(reader, root, jwt);
    if (why == NULL)
        why = dates_read(reader, root, jwt);
    if (why == NULL)
        why = grants_read(&reader->doc, json_member(&reader->doc, root, SPAN("channels")), &reader->strings,
                          reader->grants, &jwt->grant_count);
    jwt->audience = json_member(&reader->doc, root, SPAN("aud"));
    return why;
}

/* --- all of it -------------------------------------------------------------------------------------------------- */

/* So that what was decoded does not move: no string is longer than the text that it stands in. */
static void reader_reserve(struct jwt_reader *reader, size_t bytes)
{
    buf_clear(&reader->strings);
    must(buf_extend(&reader->strings, bytes) != NULL);
    buf_clear(&reader->strings);
    if (reader->grants == NULL)
        reader->grants = calloc(GRANTS_MAX, sizeof reader->grants[0]);
    must(reader->grants != NULL);
}

const char *jwt_read(struct jwt_reader *reader, struct span token, struct jwt *ret)
{
    struct jwt_parts parts;
    struct jwt       jwt = { 0 };

    if (token.len > PART_BYTES || !token_cut(token, &parts))
        return "the token is no signed JWT: header, claims and signature with dots between";
    if (!part_decode(parts.header, &reader->header) || !part_decode(parts.claims, &reader->claims))
        return "the token's header or claims are not base64url";
    if (!part_decode(parts.signature, &reader->signature))
        return "the token has no signature, or one that is not base64url";
    reader_reserve(reader, token.len);
    const char *why = header_read(reader, &jwt);
    if (why == NULL)
        why = claims_read(reader, &jwt);
    if (why != NULL)
        return why;
    jwt.signed_part = span_head(token, token.len - parts.signature.len - 1);
    jwt.signature   = buf_span(&reader->signature);
    jwt.grants      = reader->grants;
    *ret            = jwt;
    return NULL;
}

bool jwt_is_for(struct jwt_reader *reader, const struct jwt *jwt, struct span audience)
{
    const struct json_doc *doc = &reader->doc;
    struct span            name;

    if (jwt->audience == NULL || jwt->audience->type != JSON_ARRAY)
        return json_string(jwt->audience, &reader->strings, &name) && span_eq(name, audience);
    for (const struct json_token *at = json_first(doc, jwt->audience); at != NULL; at = json_next(doc, jwt->audience, at))
        if (json_string(at, &reader->strings, &name) && span_eq(name, audience))
            return true;
    return false;
}
