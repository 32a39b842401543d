#include "auth/hook_question.h"

#include "base/must.h"
#include "base/utf8.h"
#include "message/user_name.h"

enum { HOOK_EXPIRES_S_MAX = 10 * 365 * 86400, HOOK_STRINGS_BYTES_MAX = 2 * HOOK_ANSWER_BYTES_MAX };

/* --- the question -------------------------------------------------------------------------------------------- */

static void put_headers(struct buf *buf, const struct credential *credential)
{
    const char *comma = "";

    buf_put_lit(buf, ",\"headers\":{");
    for (size_t i = 0; i < credential->field_count; i++) {
        const struct credential_field *field = &credential->fields[i];
        if (!utf8_is_valid(field->value))
            continue;  /* it can't be said in JSON */
        buf_put(buf, span_str(comma));
        json_put_string(buf, field->name);
        buf_putc(buf, ':');
        json_put_string(buf, field->value);
        comma = ",";
    }
    buf_putc(buf, '}');
}

bool hook_put_question(struct buf *buf, const struct credential *credential)
{
    struct buf address;

    if (!utf8_is_valid(credential->token))
        return false;
    buf_putf(buf, "{\"connection\":\"%016llx\",\"transport\":\"%s\",\"address\":",
             (unsigned long long)credential->connection, credential->transport);
    const struct ip_address sender = credential_address(credential);
    buf_init(&address, IP_TEXT_BYTES_MAX);
    ip_put(&sender, &address);
    if (address.len > 0)
        json_put_string(buf, buf_span(&address));
    else
        buf_put_lit(buf, "null");
    buf_fini(&address);
    put_headers(buf, credential);
    if (credential->kind == CREDENTIAL_TOKEN) {
        buf_put_lit(buf, ",\"token\":");
        json_put_string(buf, credential->token);
    }
    buf_putc(buf, '}');
    return true;
}

/* --- the answer ---------------------------------------------------------------------------------------------- */

void hook_reader_init(struct hook_reader *reader)
{
    json_doc_init(&reader->doc);
    json_doc_init(&reader->inner);
    buf_init(&reader->strings, HOOK_STRINGS_BYTES_MAX);
    buf_init(&reader->reason, HOOK_REASON_BYTES_MAX + 1);
}

void hook_reader_fini(struct hook_reader *reader)
{
    json_doc_fini(&reader->doc);
    json_doc_fini(&reader->inner);
    buf_fini(&reader->strings);
    buf_fini(&reader->reason);
}

static struct identified hook_refusal(unsigned status, const char *reason)
{
    return (struct identified){ .refusal = { .status = status, .reason = reason } };
}

static struct identified hook_garbage(void)
{
    return hook_refusal(502, "the application gave no usable answer about this connection");
}

static struct identified hook_useless(struct hook_reader *reader, const char *fault)
{
    reader->fault = fault;
    return hook_garbage();
}

/* An answer is read with all its levels: they are few. */
static bool read_json(struct hook_reader *reader, struct span body)
{
    static const struct json_limits limits = { .depth_max = 8, .depth_kept = 8, .members_max = 64 };

    buf_clear(&reader->strings);
    if (!json_parse(json_skip_mark(body), &limits, &reader->doc) || json_root(&reader->doc)->type != JSON_OBJECT)
        return false;
    /* Grants and channels point into `strings`, which must not move. */
    char *room = buf_extend(&reader->strings, body.len);
    must(room != NULL);
    reader->strings.len = 0;
    return true;
}

/* A member that is a string; empty if it is not there. False: it is something else. */
static bool read_member_text(struct hook_reader *reader, const char *name, struct span *ret)
{
    const struct json_token *token = json_member(&reader->doc, json_root(&reader->doc), span_str(name));

    *ret = SPAN("");
    return token == NULL || token->type == JSON_NULL || json_string(token, &reader->strings, ret);
}

static bool is_plain_text(struct span text)
{
    return !span_has_control(text) && utf8_is_valid(text);
}

static struct identified read_refusal(struct hook_reader *reader, unsigned status, struct span body)
{
    struct span reason;

    if (!read_json(reader, body) || !read_member_text(reader, "reason", &reason))
        reason = SPAN("");
    if (reason.len == 0 || reason.len > HOOK_REASON_BYTES_MAX || !is_plain_text(reason))
        return hook_refusal(status, "the application refused this connection");
    buf_clear(&reader->reason);
    buf_put(&reader->reason, reason);
    buf_putc(&reader->reason, '\0');
    return hook_refusal(status, reader->reason.at);
}

/* {"match":"topic:*","can":["subscribe"]} */
static bool read_grant(struct hook_reader *reader, const struct json_token *object, struct grant *ret)
{
    const struct json_token *can = json_member(&reader->doc, object, SPAN("can"));
    struct span              word;

    *ret = (struct grant){ 0 };
    if (!json_string(json_member(&reader->doc, object, SPAN("match")), &reader->strings, &ret->match) ||
        !grant_pattern_is_valid(ret->match) || can == NULL || can->type != JSON_ARRAY)
        return false;
    for (const struct json_token *at = json_first(&reader->doc, can); at != NULL; at = json_next(&reader->doc, can, at)) {
        if (!json_string(at, &reader->strings, &word))
            return false;
        ret->can |= grant_can_of(word);  /* a word that a newer server knows grants nothing here */
    }
    return true;
}

/* A channel that is followed: a pattern that stands for itself alone. */
static bool read_followed(struct hook_reader *reader, const struct json_token *token, struct grant *ret)
{
    *ret = (struct grant){ .can = CAN_SUBSCRIBE | CAN_HISTORY };
    return json_string(token, &reader->strings, &ret->match) && grant_pattern_is_valid(ret->match) &&
           memchr(ret->match.at, '*', ret->match.len) == NULL && memchr(ret->match.at, ':', ret->match.len) != NULL;
}

static bool read_grants(struct hook_reader *reader, const char *name,
                        bool (*read)(struct hook_reader *, const struct json_token *, struct grant *),
                        struct grant grants[static GRANTS_MAX], size_t *count)
{
    const struct json_token *list = json_member(&reader->doc, json_root(&reader->doc), span_str(name));

    if (list == NULL || list->type == JSON_NULL)
        return true;
    if (list->type != JSON_ARRAY)
        return false;
    for (const struct json_token *at = json_first(&reader->doc, list); at != NULL;
         at = json_next(&reader->doc, list, at))
        if (*count == GRANTS_MAX || !read(reader, at, &grants[(*count)++]))
            return false;
    return true;
}

/* Seconds from now; not there: never. */
static bool read_expiry(struct hook_reader *reader, msec wall, msec *ret)
{
    const struct json_token *token = json_member(&reader->doc, json_root(&reader->doc), SPAN("expires_in"));
    uint64_t                 seconds;

    *ret = 0;
    if (token == NULL || token->type == JSON_NULL)
        return true;
    if (!json_u64(token, &seconds) || seconds == 0)
        return false;
    *ret = wall + (msec)(seconds > HOOK_EXPIRES_S_MAX ? HOOK_EXPIRES_S_MAX : seconds) * 1000;
    return true;
}

static struct identified read_identity(struct hook_reader *reader, struct authority *authority, msec wall)
{
    struct identity_facts facts = { .authority = authority, .issued_at = wall };
    struct grant          grants[GRANTS_MAX];
    size_t                count = 0;

    if (!read_member_text(reader, "user", &facts.user) || !user_name_is_valid(facts.user))
        return hook_useless(reader, "`user` is not there, or no user's name");
    if (!read_member_text(reader, "device", &facts.device) || (facts.device.len > 0 && !device_name_is_valid(facts.device)))
        return hook_useless(reader, "`device` is no device's name");
    if (!read_expiry(reader, wall, &facts.expires_at))
        return hook_useless(reader, "`expires_in` is no whole number of seconds from 1");
    if (!read_grants(reader, "subscribe", read_followed, grants, &count))
        return hook_useless(reader, "`subscribe` is no list of channels, or too long");
    facts.follow_count = count;
    if (!read_grants(reader, "channels", read_grant, grants, &count))
        return hook_useless(reader, "`channels` is no list of grants, or too long");
    facts.grants      = grants;
    facts.grant_count = count;
    return (struct identified){ .identity = identity_new(&facts) };
}

struct identified hook_read_answer(struct hook_reader *reader, enum hook_end end, unsigned status, struct span body,
                                   struct authority *authority, msec wall)
{
    reader->fault = NULL;
    switch (end) {
    case HOOK_SILENT:
        return hook_refusal(503, "the application did not say in time who this is; try again a little later");
    case HOOK_GARBAGE: return hook_garbage();
    case HOOK_ANSWERED: break;
    }
    if (status == 401 || status == 403)
        return read_refusal(reader, status, body);
    if (status == 429 || status == 503)
        return hook_refusal(503, "the application can't say just now who this is; try again a little later");
    if (status != 200)
        return hook_garbage();
    if (!read_json(reader, body))
        return hook_useless(reader, "the body is no JSON object");
    return read_identity(reader, authority, wall);
}
