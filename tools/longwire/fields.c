#include "longwire/fields.h"

/* Parses an object to a depth that tells its fields, or with 2 the elements of its lists, too. What a server passes on
 * stands deeper in its answer than it did where the server took it. */
static bool object_parse(struct span input, uint32_t depth_kept, struct json_doc *doc)
{
    const struct json_limits limits = { .depth_max = JSON_DEPTH_MAX, .depth_kept = depth_kept };

    return json_parse(input, &limits, doc) && json_root(doc)->type == JSON_OBJECT;
}

/* Decoded text is never longer than its source: with that much room at hand the buffer does not move, and spans into
 * it stay good. */
static bool decoded_reserve(struct buf *decoded, size_t bytes)
{
    buf_clear(decoded);
    bool is_there = buf_extend(decoded, bytes) != NULL;
    buf_clear(decoded);
    return is_there || bytes == 0;
}

static struct span token_text(const struct json_token *token, struct buf *decoded)
{
    struct span text = token->raw;
    (void)json_string(token, decoded, &text);
    return text;
}

bool fields_read(struct span input, struct field *fields, size_t count, struct buf *decoded)
{
    struct json_doc doc;

    json_doc_init(&doc);
    bool is_object = object_parse(input, 1, &doc) && decoded_reserve(decoded, input.len);
    for (size_t i = 0; i < count; i++) {
        const struct json_token *token =
            is_object ? json_member(&doc, json_root(&doc), span_str(fields[i].name)) : NULL;
        fields[i] = (struct field){ .name = fields[i].name, .is_there = token != NULL };
        if (token == NULL)
            continue;
        fields[i].type = token->type;
        fields[i].raw  = token->raw;
        fields[i].text = token_text(token, decoded);
    }
    json_doc_fini(&doc);
    return is_object;
}

bool field_u64(const struct field *field, uint64_t *ret_value)
{
    return field->is_there && field->type == JSON_NUMBER && span_u64(field->raw, ret_value);
}

bool fields_each(struct span input, field_fn *fn, void *arg)
{
    struct json_doc doc;
    struct buf      decoded;

    json_doc_init(&doc);
    buf_init(&decoded, input.len);
    bool is_object = object_parse(input, 1, &doc) && decoded_reserve(&decoded, input.len);
    const struct json_token *object = is_object ? json_root(&doc) : NULL;
    for (const struct json_token *name = is_object ? json_first(&doc, object) : NULL; name != NULL;) {
        const struct json_token *value = json_next(&doc, object, name);
        struct span              said  = token_text(name, &decoded);
        fn(arg, said, token_text(value, &decoded));
        name = json_next(&doc, object, value);
    }
    buf_fini(&decoded);
    json_doc_fini(&doc);
    return is_object;
}

bool elements_each(struct span input, const char *list_name, element_fn *fn, void *arg)
{
    struct json_doc          doc;
    const struct json_token *list = NULL;

    json_doc_init(&doc);
    if (object_parse(input, 2, &doc))
        list = json_member(&doc, json_root(&doc), span_str(list_name));
    bool is_whole = list != NULL && list->type == JSON_ARRAY;
    for (const struct json_token *at = is_whole ? json_first(&doc, list) : NULL; at != NULL && is_whole;
         at = json_next(&doc, list, at))
        is_whole = fn(arg, at->raw);
    json_doc_fini(&doc);
    return is_whole;
}
