#include "publish/request_json.h"

#include "publish/publish_json.h"

bool request_asked_add(struct request_asked *asked, struct span name, struct span value)
{
    if (asked->field_count == REQUEST_HEADERS_MAX)
        return false;
    asked->fields[asked->field_count++] = (struct request_field){ name, value };
    return true;
}

void request_asked_describe_body(struct request_asked *asked, struct span media)
{
    for (size_t i = 0; i < asked->field_count; i++)
        if (span_eq_nocase(asked->fields[i].name, SPAN("content-type")))
            return;
    asked->fields[asked->field_count++] = (struct request_field){ SPAN("Content-Type"), media };
}

/* A member that may be absent. */
static bool read_request_word(const struct json_doc *doc, const struct json_token *object, struct span name, struct buf *strings,
                              struct span *ret)
{
    const struct json_token *token = json_member(doc, object, name);

    return token == NULL || json_string(token, strings, ret);
}

/* The header fields stand below what is kept of an object, so their text is parsed for itself. */
static const char *read_request_fields(struct span text, struct buf *strings, struct request_asked *ret)
{
    static const struct json_limits limits = { .depth_kept = 1, .members_max = REQUEST_HEADERS_MAX };
    const char                     *fault  = NULL;
    struct json_doc                 doc;
    struct span                     word, value;

    json_doc_init(&doc);
    if (!json_parse(text, &limits, &doc))
        fault = doc.fault.limit == REQUEST_HEADERS_MAX ? "`headers` has at most 32 members"
                                                      : "`headers` names a field twice, or is not an object of strings";
    else if (json_root(&doc)->type != JSON_OBJECT)
        fault = "`headers` is an object: {\"Accept\":\"text/plain\"}";
    for (const struct json_token *name = fault == NULL ? json_first(&doc, json_root(&doc)) : NULL, *token;
         name != NULL && fault == NULL; name = json_next(&doc, json_root(&doc), token)) {
        token = json_next(&doc, json_root(&doc), name);
        if (!json_string(name, strings, &word) || !json_string(token, strings, &value) ||
            !request_asked_add(ret, word, value))
            fault = "the values of `headers` are strings";
    }
    json_doc_fini(&doc);
    return fault;
}

static const char *read_request_body(const struct json_doc *doc, const struct json_token *object, struct buf *strings,
                                     struct request_asked *ret)
{
    const struct json_token *body = json_member(doc, object, SPAN("body"));
    const struct json_token *b64  = json_member(doc, object, SPAN("body_base64"));

    if (body != NULL && b64 != NULL)
        return "a request has one of `body` and `body_base64`, or none";
    if (b64 != NULL) {
        if (!publish_json_octets(b64, strings, &ret->body))
            return "`body_base64` is not base64 (RFC 4648 4)";
        request_asked_describe_body(ret, SPAN("application/octet-stream"));
    } else if (body != NULL && body->type == JSON_STRING) {
        if (!json_string(body, strings, &ret->body))
            return "`body` is too long";
        request_asked_describe_body(ret, SPAN("text/plain; charset=utf-8"));
    } else if (body != NULL) {
        ret->body = body->raw;
        request_asked_describe_body(ret, SPAN("application/json"));
    }
    return NULL;
}

const char *request_json_read(const struct json_doc *doc, const struct json_token *object, struct buf *strings,
                              struct request_asked *ret)
{
    *ret = (struct request_asked){ .field_count = 0 };
    if (object->type != JSON_OBJECT)
        return "a request is an object";

    const struct json_token *headers = json_member(doc, object, SPAN("headers"));
    const struct json_token *timeout = json_member(doc, object, SPAN("timeout_ms"));

    if (!read_request_word(doc, object, SPAN("id"), strings, &ret->id))
        return "`id` is a string";
    if (!read_request_word(doc, object, SPAN("method"), strings, &ret->method))
        return "`method` is a string";
    if (!read_request_word(doc, object, SPAN("path"), strings, &ret->target))
        return "`path` is a string";
    if (timeout != NULL && !json_u64(timeout, &ret->timeout_ms))
        return "`timeout_ms` is a whole number of milliseconds";
    const char *fault = headers == NULL ? NULL : read_request_fields(headers->raw, strings, ret);
    return fault != NULL ? fault : read_request_body(doc, object, strings, ret);
}
