#include "uplink/response_object.h"

#include <stdlib.h>

#include "base/base64.h"
#include "base/must.h"
#include "base/utf8.h"
#include "codec/h1/h1.h"
#include "codec/json/json.h"
#include "codec/url/url.h"

/* --- the head of an answer -------------------------------------------------------------------------------------- */

static bool head_next(struct span *rest, struct span *ret_name, struct span *ret_value)
{
    while (rest->len > 0) {
        const char *end   = memchr(rest->at, '\n', rest->len);
        size_t      len   = end == NULL ? rest->len : (size_t)(end - rest->at);
        const char *start = rest->at, *colon = memchr(start, ':', len);
        *rest             = span_skip(*rest, end == NULL ? len : len + 1);
        if (colon == NULL || colon == start)
            continue;
        *ret_name  = span_of(start, (size_t)(colon - start));
        *ret_value = span_trim(span_of(colon + 1, (size_t)(start + len - colon) - 1));
        return true;
    }
    return false;
}

struct span response_head_field(struct span head, struct span name)
{
    struct span one, value;

    while (head_next(&head, &one, &value))
        if (span_eq_nocase(one, name))
            return value;
    return SPAN("");
}

/* Longwire-… are instructions to this server. */
static bool is_own_field(struct span name)
{
    return name.len >= 9 && span_eq_nocase(span_head(name, 9), SPAN("longwire-"));
}

/* RFC 9110 7.6.1. */
static bool is_hop_field(struct span name)
{
    static const struct span names[] = {
        SPAN("connection"), SPAN("keep-alive"), SPAN("proxy-authenticate"), SPAN("proxy-connection"), SPAN("te"), SPAN("trailer"),
        SPAN("transfer-encoding"), SPAN("upgrade"), SPAN("alt-svc"),
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (name.len == names[i].len && span_eq_nocase(name, names[i]))
            return true;
    return is_own_field(name);
}

struct head_field { struct span name, value; };

/* All of them, in an array that is the caller's. */
static struct head_field *head_read(struct span head, size_t *ret_count)
{
    size_t             room = 1;
    struct head_field *fields;

    for (const char *at = head.at, *end = head.at + head.len; at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++)
        room++;
    fields = malloc(room * sizeof fields[0]);
    must(fields != NULL);
    for (*ret_count = 0; head_next(&head, &fields[*ret_count].name, &fields[*ret_count].value);)
        must(++*ret_count < room || head.len == 0);
    return fields;
}

static bool is_head_field(const struct head_field *field, struct span name)
{
    return field->name.len == name.len && span_eq_nocase(field->name, name);
}

/* The usual `keep-alive` names no field that would be passed on. */
static bool connection_names_fields(const struct head_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_head_field(&fields[i], SPAN("connection")) && !span_eq_nocase(fields[i].value, SPAN("keep-alive")))
            return true;
    return false;
}

/* RFC 9110 7.6.1: what `Connection` names is meant for this hop, too. */
static bool is_named_by_connection(const struct head_field *fields, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++) {
        struct span value = fields[i].value, token;
        while (is_head_field(&fields[i], SPAN("connection")) && span_cut(&value, ',', &token))
            if (span_eq_nocase(span_trim(token), name))
                return true;
    }
    return false;
}

static struct span first_value(const struct head_field *fields, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++)
        if (is_head_field(&fields[i], name))
            return fields[i].value;
    return SPAN("");
}

static bool comes_again(const struct head_field *fields, size_t from, size_t to, struct span name)
{
    for (size_t i = from; i < to; i++)
        if (is_head_field(&fields[i], name))
            return true;
    return false;
}

/* RFC 9110 5.5: bytes above ASCII mean nothing certain in a field; those that are no UTF-8 become question marks. */
static void put_field_text(struct buf *text, struct span value)
{
    bool is_utf8 = utf8_is_valid(value);

    for (size_t i = 0; i < value.len; i++)
        buf_putc(text, is_utf8 || (unsigned char)value.at[i] < 0x80 ? value.at[i] : '?');
}

/* All values of this field. */
static void put_field_values(struct buf *object, const struct head_field *fields, size_t count, struct span name)
{
    const char *comma = "";
    struct buf  text;

    buf_init(&text, SIZE_MAX / 2);
    for (size_t i = 0; i < count; i++) {
        if (!is_head_field(&fields[i], name))
            continue;
        buf_put(&text, span_str(comma));
        put_field_text(&text, fields[i].value);
        comma = ", ";
    }
    json_put_string(object, buf_span(&text));
    buf_fini(&text);
}

/* The `at`th, which begins here. */
static void put_response_field(struct buf *object, const struct head_field *fields, size_t count, size_t at)
{
    const struct head_field *field = &fields[at];

    json_put_string(object, field->name);
    buf_putc(object, ':');
    if (!comes_again(fields, at + 1, count, field->name) && utf8_is_valid(field->value))
        json_put_string(object, field->value);
    else
        put_field_values(object, fields, count, field->name);
}

/* RFC 9110 8.6: behind HEAD, and in a 304, the length is that of a body which did not come. Else it only says how the body
 * was framed; a 204 has none. */
static bool tells_of_absent_body(const struct head_field *field, unsigned status, struct span body)
{
    return status != 204 && body.len == 0 && field->value.len > 0 && !span_eq(field->value, SPAN("0"));
}

static void put_response_fields(struct buf *object, unsigned status, const struct head_field *fields, size_t count, struct span body)
{
    const bool names_fields = connection_names_fields(fields, count);
    size_t     put          = 0;

    buf_put_lit(object, ",\"headers\":{");
    for (size_t i = 0; i < count && put < RESPONSE_FIELDS_MAX; i++) {
        const struct span name = fields[i].name;
        if (is_hop_field(name) || (names_fields && is_named_by_connection(fields, count, name)) || !utf8_is_valid(name) ||
            comes_again(fields, 0, i, name) ||
            (is_head_field(&fields[i], SPAN("content-length")) && !tells_of_absent_body(&fields[i], status, body)))
            continue;
        if (put++ > 0)
            buf_putc(object, ',');
        put_response_field(object, fields, count, i);
    }
    buf_putc(object, '}');
}

/* --- instructions ----------------------------------------------------------------------------------------------- */

enum { FOLLOW, LEAVE, PUBLISH, INSTRUCTION_COUNT };

/* What an instruction is called, and what is told of one that can't be carried out. */
static const struct {
    struct span name;
    const char *many, *garbled;
} instruction_rows[INSTRUCTION_COUNT] = {
    [FOLLOW]  = { SPAN("longwire-subscribe"), "Longwire-Subscribe in the back end's answer names more than 64 channels",
                  "Longwire-Subscribe in the back end's answer names a channel that is not percent-encoded UTF-8" },
    [LEAVE]   = { SPAN("longwire-unsubscribe"), "Longwire-Unsubscribe in the back end's answer names more than 64 channels",
                  "Longwire-Unsubscribe in the back end's answer names a channel that is not percent-encoded UTF-8" },
    [PUBLISH] = { SPAN("longwire-publish"), "Longwire-Publish in the back end's answer names several channels; it may name one",
                  "Longwire-Publish in the back end's answer names a channel that is not percent-encoded UTF-8" },
};

static size_t instruction_of(struct span name)
{
    size_t at = 0;

    while (at < INSTRUCTION_COUNT && !span_eq_nocase(name, instruction_rows[at].name))
        at++;
    return at;
}

/* Channels with commas between, each percent-encoded; at most `most` with those that were read before. */
static const char *read_instruction(size_t instruction, struct span value, struct buf *words, struct span *ret, size_t *count, size_t most)
{
    struct span one, plain;
    struct buf  scratch;
    const char *fault = NULL;

    buf_init(&scratch, 4096);
    while (fault == NULL && span_cut(&value, ',', &one)) {
        if ((one = span_trim(one)).len == 0)
            continue;
        if (*count == most) {
            fault = instruction_rows[instruction].many;
        } else if (!url_decode(one, URL_PATH, &scratch, &plain) || !utf8_is_valid(plain)) {
            fault = instruction_rows[instruction].garbled;
        } else {
            ret[(*count)++] = span_of(words->at + words->len, plain.len);
            buf_put(words, plain);
        }
    }
    buf_fini(&scratch);
    return fault;
}

const char *response_instructions_read(struct span head, struct response_instructions *ret)
{
    struct span rest = head, name, value;
    const char *fault         = NULL;
    size_t      publish_count = 0;

    ret->subscribe_count = ret->unsubscribe_count = 0;
    ret->publish         = SPAN("");
    buf_init(&ret->words, SIZE_MAX / 2);
    while (fault == NULL && head_next(&rest, &name, &value)) {
        if (!is_own_field(name))
            continue;
        if (ret->words.cap == 0) {  /* there is room for all that comes: what is read does not move */
            buf_extend(&ret->words, head.len + 1);
            buf_clear(&ret->words);
        }
        const size_t instruction = instruction_of(name);
        if (instruction == FOLLOW)
            fault = read_instruction(FOLLOW, value, &ret->words, ret->subscribe, &ret->subscribe_count, RESPONSE_INSTRUCTIONS_MAX);
        else if (instruction == LEAVE)
            fault = read_instruction(LEAVE, value, &ret->words, ret->unsubscribe, &ret->unsubscribe_count, RESPONSE_INSTRUCTIONS_MAX);
        else if (instruction == PUBLISH)
            fault = read_instruction(PUBLISH, value, &ret->words, &ret->publish, &publish_count, 1);
    }
    return fault;
}

void response_instructions_fini(struct response_instructions *instructions)
{
    buf_fini(&instructions->words);
}

static void put_channels(struct buf *object, const char *member, const struct span *channels, size_t count)
{
    if (count == 0)
        return;
    buf_putf(object, ",\"%s\":[", member);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_putc(object, ',');
        json_put_string(object, channels[i]);
    }
    buf_putc(object, ']');
}

/* --- the object ------------------------------------------------------------------------------------------------- */

static void put_begin(struct buf *object, struct span request, unsigned status)
{
    buf_put_lit(object, "{\"request\":");
    json_put_string(object, request);
    buf_put_lit(object, ",\"status\":");
    buf_put_u64(object, status);
}

bool response_is_of(struct span object, struct span request)
{
    struct buf begin;

    buf_init(&begin, SIZE_MAX / 2);
    put_begin(&begin, request, 0);
    begin.len--;  /* without the status */
    bool is_of = span_starts(object, buf_span(&begin));
    buf_fini(&begin);
    return is_of;
}

/* As the data of messages is written: JSON as it stands, text as a string, else octets. Readers take a string under a media
 * type of JSON for a value of JSON, so what is said to be JSON and is not goes as octets, too. */
static void put_response_body(struct buf *object, struct span media, struct span body)
{
    struct span json    = json_skip_mark(body);
    bool        is_json = json_is_media(media);

    if (body.len == 0)
        return;
    if (is_json && json_is_valid(json, NULL)) {
        buf_put_lit(object, ",\"body\":");
        buf_put(object, json);
    } else if (!is_json && utf8_is_valid(body)) {
        buf_put_lit(object, ",\"body\":");
        json_put_string(object, body);
    } else {
        buf_put_lit(object, ",\"body_base64\":\"");
        base64_put(object, body);
        buf_putc(object, '"');
    }
}

void response_put_answer(struct buf *object, struct span request, unsigned status, struct span head, struct span body,
                         bool has_body, const struct response_instructions *instructions)
{
    size_t             count;
    struct head_field *fields = head_read(head, &count);

    put_begin(object, request, status);
    put_response_fields(object, status, fields, count, body);
    if (has_body)
        put_response_body(object, first_value(fields, count, SPAN("content-type")), body);
    free(fields);
    put_channels(object, "subscribe", instructions->subscribe, instructions->subscribe_count);
    put_channels(object, "unsubscribe", instructions->unsubscribe, instructions->unsubscribe_count);
    buf_putc(object, '}');
}

static const char *problem_title(unsigned status)
{
    switch (status) {
    case 499: return "Client Closed Request";
    case 502: return "Bad Gateway";
    case 504: return "Gateway Timeout";
    default: return h1_status_text(status);
    }
}

void response_put_problem(struct buf *object, struct span request, unsigned status, const char *detail, const char *outcome)
{
    put_begin(object, request, status);
    buf_put_lit(object, ",\"headers\":{\"Content-Type\":\"application/problem+json\"");
    if (outcome != NULL)
        buf_putf(object, ",\"Longwire-Outcome\":\"%s\"", outcome);
    buf_put_lit(object, "},\"body\":");
    json_put_problem(object, status, span_str(problem_title(status)), span_str(detail));
    buf_putc(object, '}');
}
