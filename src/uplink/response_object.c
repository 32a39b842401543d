#include "uplink/response_object.h"

#include "base/base64.h"
#include "base/utf8.h"
#include "codec/h1/h1.h"
#include "codec/json/json.h"
#include "codec/url/url.h"

/* --- the head of an answer -------------------------------------------------------------------------------------- */

static bool head_next(struct span *rest, struct span *ret_name, struct span *ret_value)
{
    struct span line, name;

    while (span_cut(rest, '\n', &line)) {
        if (memchr(line.at, ':', line.len) == NULL || !span_cut(&line, ':', &name) || name.len == 0)
            continue;
        *ret_name  = name;
        *ret_value = span_trim(line);
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

/* RFC 9110 7.6.1, and what only says how the body was framed. Longwire-… are instructions to this server. */
static bool is_hop_field(struct span name)
{
    static const struct span names[] = {
        SPAN("connection"), SPAN("keep-alive"), SPAN("proxy-authenticate"), SPAN("proxy-connection"), SPAN("te"), SPAN("trailer"),
        SPAN("transfer-encoding"), SPAN("upgrade"), SPAN("content-length"), SPAN("alt-svc"),
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (span_eq_nocase(name, names[i]))
            return true;
    return name.len >= 9 && span_eq_nocase(span_head(name, 9), SPAN("longwire-"));
}

/* RFC 9110 7.6.1: what `Connection` names is meant for this hop, too. */
static bool is_named_by_connection(struct span head, struct span name)
{
    struct span one, value, token;

    while (head_next(&head, &one, &value))
        while (span_eq_nocase(one, SPAN("connection")) && span_cut(&value, ',', &token))
            if (span_eq_nocase(span_trim(token), name))
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

static bool head_has_before(struct span head, const char *at, struct span name)
{
    struct span one, value;

    while (head_next(&head, &one, &value) && one.at < at)
        if (span_eq_nocase(one, name))
            return true;
    return false;
}

/* All values of this field, which begins here. */
static void put_field_values(struct buf *object, struct span head, struct span name)
{
    struct span one, value;
    const char *comma = "";
    struct buf  text;

    buf_init(&text, SIZE_MAX / 2);
    while (head_next(&head, &one, &value)) {
        if (!span_eq_nocase(one, name))
            continue;
        buf_put(&text, span_str(comma));
        put_field_text(&text, value);
        comma = ", ";
    }
    json_put_string(object, buf_span(&text));
    buf_fini(&text);
}

static void put_response_fields(struct buf *object, struct span head)
{
    struct span rest = head, name, value;
    size_t      count = 0;

    buf_put_lit(object, ",\"headers\":{");
    while (head_next(&rest, &name, &value) && count < RESPONSE_FIELDS_MAX) {
        if (is_hop_field(name) || is_named_by_connection(head, name) || !utf8_is_valid(name) || head_has_before(head, name.at, name))
            continue;
        if (count++ > 0)
            buf_putc(object, ',');
        json_put_string(object, name);
        buf_putc(object, ':');
        put_field_values(object, head, name);
    }
    buf_putc(object, '}');
}

/* --- instructions ----------------------------------------------------------------------------------------------- */

/* Channels with commas between, each percent-encoded. */
static const char *read_instruction(struct span value, struct buf *words, struct span *ret, size_t *count)
{
    struct span one, plain;
    struct buf  scratch;
    const char *fault = NULL;

    buf_init(&scratch, 4096);
    while (fault == NULL && span_cut(&value, ',', &one)) {
        if ((one = span_trim(one)).len == 0)
            continue;
        if (*count == RESPONSE_INSTRUCTIONS_MAX || !url_decode(one, URL_PATH, &scratch, &plain) || !utf8_is_valid(plain)) {
            fault = "the back end's answer names more than 64 channels to follow or to leave, or one that is not percent-encoded";
            continue;
        }
        ret[(*count)++] = span_of(words->at + words->len, plain.len);
        buf_put(words, plain);
    }
    buf_fini(&scratch);
    return fault;
}

const char *response_instructions_read(struct span head, struct response_instructions *ret)
{
    struct span rest = head, name, value;
    const char *fault = NULL;

    *ret = (struct response_instructions){ .publish = SPAN("") };
    buf_init(&ret->words, SIZE_MAX / 2);
    buf_extend(&ret->words, head.len + 1);
    ret->words.len = 0;  /* there is room for all that comes: what is read does not move */
    while (fault == NULL && head_next(&rest, &name, &value)) {
        struct span publish[RESPONSE_INSTRUCTIONS_MAX];
        size_t      count = 0;
        if (span_eq_nocase(name, SPAN("longwire-subscribe")))
            fault = read_instruction(value, &ret->words, ret->subscribe, &ret->subscribe_count);
        else if (span_eq_nocase(name, SPAN("longwire-unsubscribe")))
            fault = read_instruction(value, &ret->words, ret->unsubscribe, &ret->unsubscribe_count);
        else if (span_eq_nocase(name, SPAN("longwire-publish")))
            fault = read_instruction(value, &ret->words, publish, &count);
        if (fault == NULL && (count > 1 || (count == 1 && ret->publish.len > 0)))
            fault = "the back end's answer is to be published in several channels; it may name one";
        if (count == 1)
            ret->publish = publish[0];
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

/* As the data of messages is written: JSON as it stands, text as a string, else octets. */
static void put_response_body(struct buf *object, struct span media, struct span body)
{
    struct span json = json_skip_mark(body);

    if (body.len == 0)
        return;
    if (json_is_media(media) && json_is_valid(json, NULL)) {
        buf_put_lit(object, ",\"body\":");
        buf_put(object, json);
    } else if (utf8_is_valid(body)) {
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
    put_begin(object, request, status);
    put_response_fields(object, head);
    if (has_body)
        put_response_body(object, response_head_field(head, SPAN("content-type")), body);
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
