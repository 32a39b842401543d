#include <stdlib.h>
#include <yajl/yajl_parse.h>

#include "base/must.h"
#include "codec/json/json_priv.h"

/* --- memory for yajl: a few hundred bytes that live as long as one parse ------------------------------------ */

struct arena {
    _Alignas(16) char bytes[1024];
    size_t used;
};

static bool arena_has(const struct arena *arena, const void *block)
{
    return (const char *)block >= arena->bytes && (const char *)block < arena->bytes + sizeof arena->bytes;
}

static void *arena_malloc(void *ctx, size_t size)
{
    struct arena *arena = ctx;
    size_t        whole = (size + 15) & ~(size_t)15;
    void         *block;

    if (size <= sizeof arena->bytes && whole <= sizeof arena->bytes - arena->used) {
        block = arena->bytes + arena->used;
        arena->used += whole;
    } else {
        block = malloc(size);
        must(block != NULL);
    }
    return block;
}

static void *arena_realloc(void *ctx, void *old, size_t size)
{
    struct arena *arena = ctx;
    void         *block;

    if (old == NULL)
        return arena_malloc(ctx, size);
    if (!arena_has(arena, old)) {
        block = realloc(old, size);
        must(block != NULL);
        return block;
    }
    /* The old size isn't known, but no block reaches beyond what is used. */
    size_t most = arena->used - (size_t)((char *)old - arena->bytes);
    block       = malloc(size);
    must(block != NULL);
    memcpy(block, old, size < most ? size : most);
    return block;
}

static void arena_free(void *ctx, void *block)
{
    if (!arena_has(ctx, block))
        free(block);
}

/* --- one parse ---------------------------------------------------------------------------------------------- */

enum { NO_TOKEN = UINT32_MAX };

struct reader {
    struct span        text;
    struct json_limits limits;
    struct json_doc   *doc;           /* NULL: only whether it's valid */
    struct json_fault *fault;
    yajl_handle        yajl;
    bool               is_finishing;  /* the text is fed; yajl looks at what it held back */
    size_t             end;           /* of the last token that yajl told us of */
    uint32_t           depth;         /* containers open */
    uint32_t           open;          /* the innermost of them that is a token; its `next` names the one around it */
};

static bool reader_keeps(const struct reader *reader)
{
    return reader->doc != NULL && reader->depth <= reader->limits.depth_kept;
}

/* How far yajl has come: the end of the token it tells of. What ends with the text it tells of afterwards only. */
static size_t reader_at(const struct reader *reader)
{
    return reader->is_finishing ? reader->text.len : yajl_get_bytes_consumed(reader->yajl);
}

static int refuse(struct reader *reader, const char *reason)
{
    json_fault_set(reader->fault, reader_at(reader), reason);
    return 0;
}

/* yajl tells where a token ends, and only spaces, commas and colons stand between two. */
static struct span reader_slice(struct reader *reader)
{
    size_t start = json_skip_space(reader->text, reader->end);
    size_t end   = reader_at(reader);

    while (start < end && (reader->text.at[start] == ',' || reader->text.at[start] == ':'))
        start = json_skip_space(reader->text, start + 1);
    must(start < end && end <= reader->text.len);
    reader->end = end;
    return span_of(reader->text.at + start, end - start);
}

static bool doc_grow(struct json_doc *doc, uint32_t tokens_max)
{
    if (doc->count >= tokens_max)
        return false;
    if (doc->count < doc->cap)
        return true;
    uint32_t           cap    = doc->cap == 0 ? 32 : doc->cap * 2;
    struct json_token *tokens = realloc(doc->tokens, cap * sizeof *tokens);
    must(tokens != NULL);
    doc->tokens = tokens;
    doc->cap    = cap;
    return true;
}

static int add_token(struct reader *reader, enum json_type type)
{
    struct json_doc *doc = reader->doc;
    if (!doc_grow(doc, reader->limits.tokens_max))
        return refuse(reader, "too many values");

    uint32_t index     = doc->count++;
    doc->tokens[index] = (struct json_token){ .raw = reader_slice(reader), .type = type, .next = index + 1 };
    return 1;
}

static int on_value(struct reader *reader, enum json_type type)
{
    if (!reader_keeps(reader))
        return 1;
    if (!add_token(reader, type))
        return 0;
    if (reader->open != NO_TOKEN)
        reader->doc->tokens[reader->open].count++;
    return 1;
}

static int on_start(struct reader *reader, enum json_type type)
{
    if (reader->depth >= reader->limits.depth_max)
        return refuse(reader, "nested too deeply");
    if (!on_value(reader, type))
        return 0;
    if (reader_keeps(reader)) {
        uint32_t           index = reader->doc->count - 1;
        struct json_token *token = &reader->doc->tokens[index];
        token->is_kept = reader->depth < reader->limits.depth_kept;
        token->next    = reader->open;
        reader->open   = index;
    }
    reader->depth++;
    return 1;
}

static int on_end(struct reader *reader)
{
    reader->depth--;
    if (!reader_keeps(reader))
        return 1;
    struct json_token *token  = &reader->doc->tokens[reader->open];
    uint32_t           around = token->next;
    reader->end    = reader_at(reader);
    token->raw.len = (size_t)(reader->text.at + reader->end - token->raw.at);
    token->next    = reader->doc->count;
    reader->open   = around;
    return 1;
}

static struct span inside(const struct json_token *string)
{
    return span_of(string->raw.at + 1, string->raw.len - 2);
}

static bool says(const struct json_token *string, struct span name)
{
    struct span rest = inside(string);
    char        room[4];

    while (rest.len > 0) {
        struct span piece = json_string_piece(&rest, room);
        if (!span_starts(name, piece))
            return false;
        name = span_skip(name, piece.len);
    }
    return name.len == 0;
}

/* Index of the key, among the tokens from `first` to before `end`, which are keys and whole values. */
static uint32_t find_key(const struct json_doc *doc, uint32_t first, uint32_t end, struct span name)
{
    for (uint32_t key = first; key < end; key = doc->tokens[key + 1].next)
        if (says(&doc->tokens[key], name))
            return key;
    return NO_TOKEN;
}

/* --- what yajl calls ---------------------------------------------------------------------------------------- */

static int on_key(void *ctx, const unsigned char *name, size_t len)
{
    struct reader *reader = ctx;
    if (!reader_keeps(reader))
        return 1;

    const struct json_doc *doc = reader->doc;
    if (doc->tokens[reader->open].count >= reader->limits.members_max)
        return refuse(reader, "too many members in an object");
    if (find_key(doc, reader->open + 1, doc->count, span_of(name, len)) != NO_TOKEN)
        return refuse(reader, "a member comes twice");
    return add_token(reader, JSON_STRING);
}

static int on_null(void *ctx)
{
    return on_value(ctx, JSON_NULL);
}

static int on_boolean(void *ctx, int is_true)
{
    return on_value(ctx, is_true ? JSON_TRUE : JSON_FALSE);
}

static int on_number(void *ctx, const char *digits, size_t len)
{
    struct reader *reader = ctx;
    if (!json_number_is_finite(span_of(digits, len)))
        return refuse(reader, "a number too large for a double");
    return on_value(reader, JSON_NUMBER);
}

static int on_string(void *ctx, const unsigned char *at, size_t len)
{
    (void)at, (void)len;
    return on_value(ctx, JSON_STRING);
}

static int on_start_map(void *ctx)
{
    return on_start(ctx, JSON_OBJECT);
}

static int on_start_array(void *ctx)
{
    return on_start(ctx, JSON_ARRAY);
}

static int on_end_container(void *ctx)
{
    return on_end(ctx);
}

static const yajl_callbacks for_tokens = {
    .yajl_null        = on_null,
    .yajl_boolean     = on_boolean,
    .yajl_number      = on_number,
    .yajl_string      = on_string,
    .yajl_start_map   = on_start_map,
    .yajl_map_key     = on_key,
    .yajl_end_map     = on_end_container,
    .yajl_start_array = on_start_array,
    .yajl_end_array   = on_end_container,
};

/* Without a string callback yajl needn't decode escapes. */
static const yajl_callbacks for_validity = {
    .yajl_number      = on_number,
    .yajl_start_map   = on_start_map,
    .yajl_end_map     = on_end_container,
    .yajl_start_array = on_start_array,
    .yajl_end_array   = on_end_container,
};

/* The reason in yajl's words, without its line end; ours stands already if a callback refused. */
static bool explain(struct reader *reader, yajl_status status)
{
    if (status == yajl_status_client_canceled)
        return false;
    unsigned char *words = yajl_get_error(reader->yajl, 0, NULL, 0);
    words[strcspn((char *)words, "\n")] = '\0';
    refuse(reader, (char *)words);
    yajl_free_error(reader->yajl, words);
    return false;
}

/* yajl's own check for bytes behind the value lets an unfinished string pass, so it's told to stop there and the
 * rest is looked at here. */
static bool feed(struct reader *reader)
{
    yajl_status status = yajl_parse(reader->yajl, (const unsigned char *)reader->text.at, reader->text.len);
    size_t      at     = yajl_get_bytes_consumed(reader->yajl);
    if (status != yajl_status_ok)
        return explain(reader, status);

    reader->is_finishing = true;
    status               = yajl_complete_parse(reader->yajl);
    if (status != yajl_status_ok)
        return explain(reader, status);

    at = json_skip_space(reader->text, at);
    if (at < reader->text.len) {
        json_fault_set(reader->fault, at, "more than one value");
        return false;
    }
    return true;
}

static bool reader_run(struct reader *reader, const yajl_callbacks *callbacks)
{
    if (!json_text_check(reader->text, reader->fault))
        return false;

    struct arena     arena;
    yajl_alloc_funcs memory = { .malloc = arena_malloc, .realloc = arena_realloc, .free = arena_free, .ctx = &arena };
    arena.used   = 0;
    reader->yajl = yajl_alloc(callbacks, &memory, reader);
    yajl_config(reader->yajl, yajl_dont_validate_strings, 1);  /* UTF-8 is checked before, and more strictly */
    yajl_config(reader->yajl, yajl_allow_trailing_garbage, 1); /* see feed() */
    bool is_valid = feed(reader);
    yajl_free(reader->yajl);
    return is_valid;
}

/* --- the doors ---------------------------------------------------------------------------------------------- */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

void json_doc_init(struct json_doc *doc)
{
    *doc = (struct json_doc){ 0 };
}

void json_doc_fini(struct json_doc *doc)
{
    free(doc->tokens);
    *doc = (struct json_doc){ 0 };
}

bool json_parse(struct span text, const struct json_limits *limits, struct json_doc *doc)
{
    struct reader reader = {
        .text   = text,
        .doc    = doc,
        .fault  = &doc->fault,
        .open   = NO_TOKEN,
        .limits = {
            .depth_max   = or_default(limits->depth_max, JSON_DEPTH_DEFAULT),
            .depth_kept  = limits->depth_kept,
            .tokens_max  = or_default(limits->tokens_max, JSON_TOKENS_DEFAULT),
            .members_max = or_default(limits->members_max, JSON_MEMBERS_DEFAULT),
        },
    };
    doc->count = 0;
    if (reader_run(&reader, &for_tokens))
        return true;
    doc->count = 0;
    return false;
}

bool json_is_valid(struct span text)
{
    struct json_fault fault;
    struct reader     reader = {
        .text = text, .fault = &fault, .open = NO_TOKEN, .limits = { .depth_max = JSON_DEPTH_DEFAULT },
    };
    return reader_run(&reader, &for_validity);
}

static uint32_t index_of(const struct json_doc *doc, const struct json_token *token)
{
    return (uint32_t)(token - doc->tokens);
}

const struct json_token *json_member(const struct json_doc *doc, const struct json_token *object, struct span name)
{
    if (object->type != JSON_OBJECT || !object->is_kept)
        return NULL;
    uint32_t key = find_key(doc, index_of(doc, object) + 1, object->next, name);
    return key == NO_TOKEN ? NULL : &doc->tokens[key + 1];
}

const struct json_token *json_first(const struct json_doc *doc, const struct json_token *container)
{
    return container->count == 0 ? NULL : &doc->tokens[index_of(doc, container) + 1];
}

const struct json_token *json_next(const struct json_doc *doc, const struct json_token *container,
                                   const struct json_token *child)
{
    return child->next < container->next ? &doc->tokens[child->next] : NULL;
}

bool json_string(const struct json_token *token, struct buf *scratch, struct span *ret_text)
{
    if (token == NULL || token->type != JSON_STRING)
        return false;
    struct span rest = inside(token);
    if (rest.len == 0 || memchr(rest.at, '\\', rest.len) == NULL) {
        *ret_text = rest;
        return true;
    }
    size_t start = scratch->len;
    char   room[4];
    while (rest.len > 0)
        buf_put(scratch, json_string_piece(&rest, room));
    if (buf_is_over(scratch))
        return false;
    *ret_text = span_skip(buf_span(scratch), start);
    return true;
}

bool json_u64(const struct json_token *token, uint64_t *ret_value)
{
    return token != NULL && token->type == JSON_NUMBER && span_u64(token->raw, ret_value);
}
