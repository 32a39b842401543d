/* Any bytes as JSON. The first byte chooses how deep tokens go and how many there may be (0: the default); the rest is
 * the text, in a block of its own. Reading never crashes; both doors agree; each token is a value for itself and holds
 * the same; strings and whole numbers survive writing; what stands before a fault is no fault. */
#include <stdlib.h>

#include "base/must.h"
#include "base/utf8.h"
#include "codec/json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_string(const struct json_token *token)
{
    const struct json_limits whole = { 0 };
    struct json_doc          doc;
    struct buf               said, written, again;
    struct span              text, back;

    json_doc_init(&doc);
    buf_init(&said, token->raw.len);
    buf_init(&written, 6 * token->raw.len + 2);
    buf_init(&again, token->raw.len);
    must(json_string(token, &said, &text));
    must(utf8_is_valid(text));
    json_put_string(&written, text);
    must(json_parse(buf_span(&written), &whole, &doc));
    must(json_string(json_root(&doc), &again, &back) && span_eq(text, back));
    buf_fini(&again);
    buf_fini(&written);
    buf_fini(&said);
    json_doc_fini(&doc);
}

/* Whole numbers are digits alone, and have one spelling. */
static void check_number(const struct json_token *token)
{
    uint64_t   value;
    struct buf again;

    if (!json_u64(token, &value))
        return;
    must(token->type == JSON_NUMBER);
    buf_init(&again, 20);
    buf_put_u64(&again, value);
    must(span_eq(buf_span(&again), token->raw));
    buf_fini(&again);
}

static void check_token(const struct json_token *token, uint32_t depth_kept)
{
    struct json_limits limits = { .depth_kept = depth_kept };
    struct json_doc    doc;

    json_doc_init(&doc);
    must(json_is_valid(token->raw, NULL));
    bool is_read = json_parse(token->raw, &limits, &doc);
    /* Read for itself it is kept to a greater depth, where a member may come twice. */
    must(is_read || (depth_kept > 0 && (token->type == JSON_OBJECT || token->type == JSON_ARRAY)));
    must(!is_read || (span_eq(json_root(&doc)->raw, token->raw) && json_root(&doc)->type == token->type));
    must(!is_read || !token->is_kept || json_root(&doc)->count == token->count);
    json_doc_fini(&doc);
    if (token->type == JSON_STRING)
        check_string(token);
    check_number(token);
}

/* Children lie in order within their container, and there are as many as it says. */
static void check_children(const struct json_doc *doc, const struct json_token *container)
{
    const char *end   = container->raw.at + 1;
    uint32_t    count = 0;

    for (const struct json_token *at = json_first(doc, container); at != NULL; at = json_next(doc, container, at)) {
        must(at->raw.at >= end && at->raw.at + at->raw.len < container->raw.at + container->raw.len);
        end = at->raw.at + at->raw.len;
        count++;
    }
    must(count == (container->type == JSON_OBJECT ? 2 * container->count : container->count));
}

/* All that stands before the place of a fault could have become JSON. Whether the text is UTF-8 is asked before, so
 * other faults may stand before that one. */
static void check_fault(struct span text, const struct json_limits *limits, const struct json_fault *fault)
{
    struct json_doc doc;

    must(fault->reason != NULL && fault->at <= text.len);
    if (strcmp(fault->reason, "not UTF-8") == 0)
        return;
    json_doc_init(&doc);
    bool is_read = json_parse(span_head(text, fault->at), limits, &doc);
    must(is_read || doc.fault.at == fault->at);
    must(is_read || strcmp(doc.fault.reason, "the text ends too early") == 0 ||
         strcmp(doc.fault.reason, "nothing there") == 0);
    json_doc_fini(&doc);
}

static void check(struct span text, uint32_t depth_kept, uint32_t tokens_max)
{
    struct json_limits limits = { .depth_kept = depth_kept, .tokens_max = tokens_max };
    struct json_doc    doc;

    json_doc_init(&doc);
    bool is_valid = json_is_valid(text, NULL);
    bool is_read  = json_parse(text, &limits, &doc);
    must(is_valid || !is_read);
    if (!is_read)
        check_fault(text, &limits, &doc.fault);
    /* What only kept objects refuse. */
    must(is_read || !is_valid || depth_kept > 0);
    must(!is_read || json_root(&doc)->next == doc.count);
    must(tokens_max == 0 || doc.count <= tokens_max);
    for (uint32_t i = 0; i < doc.count && i < 64; i++) {
        check_token(&doc.tokens[i], depth_kept);
        if (doc.tokens[i].type == JSON_OBJECT || doc.tokens[i].type == JSON_ARRAY)
            check_children(&doc, &doc.tokens[i]);
    }
    json_doc_fini(&doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len == 0)
        return 0;
    char *text = malloc(len - 1);
    must(text != NULL || len == 1);
    if (len > 1)
        memcpy(text, bytes + 1, len - 1);
    check(span_of(text, len - 1), bytes[0] % 8, bytes[0] / 8 % 8);
    free(text);
    return 0;
}
