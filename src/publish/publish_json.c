#include "publish/publish_json.h"

#include "base/base64.h"
#include "base/must.h"

enum { SPARE_BYTES = 64 };

void publish_json_reserve(struct buf *strings, size_t text_bytes)
{
    buf_clear(strings);
    must(buf_extend(strings, 2 * text_bytes + SPARE_BYTES) != NULL);  /* octets need the base64 text beside them */
    buf_clear(strings);
}

bool publish_json_octets(const struct json_token *token, struct buf *strings, struct span *ret)
{
    struct span text;

    if (!json_string(token, strings, &text))
        return false;
    size_t begin = strings->len;
    if (!base64_get(text, strings))
        return false;
    *ret = span_skip(buf_span(strings), begin);
    return true;
}

/* The payload and its default media type: `data` as JSON value or text, `data_base64` as octets. */
static const char *read_payload(const struct json_doc *doc, const struct json_token *object, struct buf *strings,
                                struct publish_json *ret)
{
    const struct json_token *data = json_member(doc, object, SPAN("data"));
    const struct json_token *b64  = json_member(doc, object, SPAN("data_base64"));

    if ((data == NULL) == (b64 == NULL))
        return "a message has one of `data` and `data_base64`";
    if (b64 != NULL) {
        ret->media = SPAN("application/octet-stream");
        return publish_json_octets(b64, strings, &ret->payload) ? NULL : "`data_base64` is not base64 (RFC 4648 4)";
    }
    if (data->type == JSON_STRING) {
        ret->media = SPAN("text/plain");
        return json_string(data, strings, &ret->payload) ? NULL : "`data` is too long";
    }
    ret->media   = SPAN("application/json");
    ret->payload = data->raw;
    return NULL;
}

/* A member that may be absent. False: it is no string. */
static bool read_word(const struct json_doc *doc, const struct json_token *object, struct span name, struct buf *strings,
                      struct span *ret)
{
    const struct json_token *token = json_member(doc, object, name);
    return token == NULL || json_string(token, strings, ret);
}

const char *publish_json_read(const struct json_doc *doc, const struct json_token *object, struct buf *strings,
                              struct publish_json *ret)
{
    *ret = (struct publish_json){ .key = SPAN("") };
    if (object->type != JSON_OBJECT)
        return "a message is an object";

    const struct json_token *media = json_member(doc, object, SPAN("media"));
    const struct json_token *key   = json_member(doc, object, SPAN("key"));
    const struct json_token *event = json_member(doc, object, SPAN("event"));
    const struct json_token *ttl   = json_member(doc, object, SPAN("ttl"));
    const char              *fault = read_payload(doc, object, strings, ret);
    struct span              named = SPAN("");

    if (fault != NULL)
        return fault;
    if (media != NULL && !json_string(media, strings, &named))
        return "`media` is a string";
    if (named.len > 0)
        ret->media = named;
    if (key != NULL && !json_string(key, strings, &ret->key))
        return "`key` is a string";
    if (event != NULL && !json_string(event, strings, &ret->event))
        return "`event` is a string";
    if (!read_word(doc, object, SPAN("collapse_key"), strings, &ret->collapse_key))
        return "`collapse_key` is a string";
    if (!read_word(doc, object, SPAN("priority"), strings, &ret->priority))
        return "`priority` is now or beat";
    ret->has_ttl = ttl != NULL;
    if (ttl != NULL && !json_u64(ttl, &ret->ttl_s))
        return "`ttl` is a whole number of seconds";
    return NULL;
}
