#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "base/utf8.h"
#include "codec/json/json_priv.h"

/* --- one parse ---------------------------------------------------------------------------------------------- */

enum { NO_TOKEN = UINT32_MAX };

struct json_reader {
    struct json_place  place;
    struct json_limits limits;
    struct json_doc   *doc;    /* NULL: only whether it's valid */
    uint32_t           depth;  /* containers open */
    uint32_t           open;   /* the innermost of them that is a token; its `next` names the one around it */
    uint64_t           objects[JSON_DEPTH_MAX / 64];  /* a bit for each open container: is it an object? */
};

static bool refuse_limit(struct json_reader *reader, size_t at, const char *reason, uint32_t limit)
{
    json_refuse(&reader->place, at, reason);
    reader->place.fault->limit = limit;
    return false;
}

static bool reader_keeps(const struct json_reader *reader)
{
    return reader->doc != NULL && reader->depth <= reader->limits.depth_kept;
}

static void doc_grow(struct json_doc *doc)
{
    if (doc->count < doc->cap)
        return;
    uint32_t           cap    = doc->cap == 0 ? 32 : doc->cap * 2;
    struct json_token *tokens = realloc(doc->tokens, cap * sizeof *tokens);
    must(tokens != NULL);
    doc->tokens = tokens;
    doc->cap    = cap;
}

/* A token for what stands from `start` to the place; a container's end is not known yet. */
static bool add_token(struct json_reader *reader, enum json_type type, size_t start, bool has_escapes)
{
    struct json_doc *doc = reader->doc;
    if (doc->count >= reader->limits.tokens_max)
        return refuse_limit(reader, start, "too many values", reader->limits.tokens_max);
    doc_grow(doc);
    uint32_t index     = doc->count++;
    doc->tokens[index] = (struct json_token){
        .raw         = span_of(reader->place.text.at + start, reader->place.at - start),
        .type        = type,
        .has_escapes = has_escapes,
        .next        = index + 1,
    };
    return true;
}

static bool add_value(struct json_reader *reader, enum json_type type, size_t start, bool has_escapes)
{
    if (!reader_keeps(reader))
        return true;
    if (reader->open != NO_TOKEN)
        reader->doc->tokens[reader->open].count++;
    return add_token(reader, type, start, has_escapes);
}

/* --- containers --------------------------------------------------------------------------------------------- */

static bool is_in_object(const struct json_reader *reader)
{
    uint32_t inner = reader->depth - 1;
    return (reader->objects[inner / 64] >> inner % 64 & 1) != 0;
}

static bool open_container(struct json_reader *reader, bool is_object)
{
    uint32_t depth = reader->depth;
    uint64_t bit   = (uint64_t)1 << depth % 64;

    if (depth >= reader->limits.depth_max)
        return refuse_limit(reader, reader->place.at, "nested too deeply", reader->limits.depth_max);
    size_t start = reader->place.at++;
    if (!add_value(reader, is_object ? JSON_OBJECT : JSON_ARRAY, start, false))
        return false;
    if (reader_keeps(reader)) {
        uint32_t           index = reader->doc->count - 1;
        struct json_token *token = &reader->doc->tokens[index];
        token->is_kept = depth < reader->limits.depth_kept;
        token->next    = reader->open;
        reader->open   = index;
    }
    reader->objects[depth / 64] = is_object ? reader->objects[depth / 64] | bit : reader->objects[depth / 64] & ~bit;
    reader->depth++;
    return true;
}

static void close_container(struct json_reader *reader)
{
    reader->place.at++;
    reader->depth--;
    if (!reader_keeps(reader))
        return;
    struct json_token *token  = &reader->doc->tokens[reader->open];
    uint32_t           around = token->next;
    token->raw.len = (size_t)(reader->place.text.at + reader->place.at - token->raw.at);
    token->next    = reader->doc->count;
    reader->open   = around;
}

/* --- names -------------------------------------------------------------------------------------------------- */

static struct span inside(struct span string)
{
    return span_of(string.at + 1, string.len - 2);
}

/* Do the insides of two strings say the same, however it is escaped? */
static bool says_same(struct span a, struct span b)
{
    struct span piece_a = { 0 }, piece_b = { 0 };
    char        scratch_a[4], scratch_b[4];

    for (;;) {
        if (piece_a.len == 0 && a.len > 0)
            piece_a = json_string_piece(&a, scratch_a);
        if (piece_b.len == 0 && b.len > 0)
            piece_b = json_string_piece(&b, scratch_b);
        size_t both = piece_a.len < piece_b.len ? piece_a.len : piece_b.len;
        if (both == 0)
            return piece_a.len == piece_b.len;
        if (memcmp(piece_a.at, piece_b.at, both) != 0)
            return false;
        piece_a = span_skip(piece_a, both);
        piece_b = span_skip(piece_b, both);
    }
}

/* Index of the key, among the tokens from `first` to before `end`, which are keys and whole values. */
static uint32_t find_key(const struct json_doc *doc, uint32_t first, uint32_t end, struct span name, bool has_escapes)
{
    for (uint32_t key = first; key < end; key = doc->tokens[key + 1].next) {
        struct span other = inside(doc->tokens[key].raw);
        if (has_escapes || doc->tokens[key].has_escapes ? says_same(name, other) : span_eq(name, other))
            return key;
    }
    return NO_TOKEN;
}

/* Stands at the key's quote. */
static bool read_key(struct json_reader *reader)
{
    size_t start = reader->place.at;
    bool   has_escapes;

    if (!json_scan_string(&reader->place, &has_escapes))
        return false;
    if (!reader_keeps(reader))
        return true;

    const struct json_doc *doc  = reader->doc;
    struct span            name = inside(span_of(reader->place.text.at + start, reader->place.at - start));
    if (doc->tokens[reader->open].count >= reader->limits.members_max)
        return refuse_limit(reader, start, "too many members in an object", reader->limits.members_max);
    if (find_key(doc, reader->open + 1, doc->count, name, has_escapes) != NO_TOKEN)
        return json_refuse(&reader->place, start, "a member comes twice");
    return add_token(reader, JSON_STRING, start, has_escapes);
}

/* --- the grammar (RFC 8259 2 to 5) -------------------------------------------------------------------------- */

/* What may come next, spaces aside. */
enum expected {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END,  /* behind [ */
    EXPECT_KEY,
    EXPECT_KEY_OR_END,    /* behind { */
    EXPECT_COLON,
    EXPECT_COMMA_OR_END,  /* behind a value in a container */
    EXPECT_NOTHING,       /* behind the text's value */
};

static bool read_literal(struct json_reader *reader, enum json_type type, struct span literal)
{
    size_t start = reader->place.at;

    if (!span_starts(span_skip(reader->place.text, start), literal))
        return json_refuse(&reader->place, start, "not a value");
    reader->place.at = start + literal.len;
    return add_value(reader, type, start, false);
}

/* A value that is no container. */
static bool read_scalar(struct json_reader *reader)
{
    size_t start       = reader->place.at;
    bool   has_escapes = false;

    switch (reader->place.text.at[start]) {
    case '"':
        return json_scan_string(&reader->place, &has_escapes) && add_value(reader, JSON_STRING, start, has_escapes);
    case 't': return read_literal(reader, JSON_TRUE, SPAN("true"));
    case 'f': return read_literal(reader, JSON_FALSE, SPAN("false"));
    case 'n': return read_literal(reader, JSON_NULL, SPAN("null"));
    case '-':
    case '0' ... '9':
        return json_scan_number(&reader->place) && add_value(reader, JSON_NUMBER, start, false);
    default:
        return json_refuse(&reader->place, start, "not a value");
    }
}

static enum expected behind_value(const struct json_reader *reader)
{
    return reader->depth == 0 ? EXPECT_NOTHING : EXPECT_COMMA_OR_END;
}

static bool read_value(struct json_reader *reader, enum expected *ret_next)
{
    char c = reader->place.text.at[reader->place.at];

    if (c == '{' || c == '[') {
        *ret_next = c == '{' ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
        return open_container(reader, c == '{');
    }
    *ret_next = behind_value(reader);
    return read_scalar(reader);
}

static bool read_mark(struct json_reader *reader, char mark, const char *reason)
{
    if (reader->place.text.at[reader->place.at] != mark)
        return json_refuse(&reader->place, reader->place.at, reason);
    reader->place.at++;
    return true;
}

/* The comma or the end of the innermost container. */
static bool read_comma_or_end(struct json_reader *reader, enum expected *ret_next)
{
    bool is_object = is_in_object(reader);

    if (reader->place.text.at[reader->place.at] == (is_object ? '}' : ']')) {
        close_container(reader);
        *ret_next = behind_value(reader);
        return true;
    }
    *ret_next = is_object ? EXPECT_KEY : EXPECT_VALUE;
    return read_mark(reader, ',', is_object ? "a comma or the end of the object belongs here"
                                            : "a comma or the end of the array belongs here");
}

/* All moves of the grammar. The place stands at a byte that is no space. */
static bool read_next(struct json_reader *reader, enum expected *expected)
{
    char c = reader->place.text.at[reader->place.at];

    switch (*expected) {
    case EXPECT_VALUE_OR_END:
        return c == ']' ? read_comma_or_end(reader, expected) : read_value(reader, expected);
    case EXPECT_VALUE:
        return read_value(reader, expected);
    case EXPECT_KEY_OR_END:
    case EXPECT_KEY:
        if (c == '}' && *expected == EXPECT_KEY_OR_END)
            return read_comma_or_end(reader, expected);
        *expected = EXPECT_COLON;
        return c == '"' ? read_key(reader) : json_refuse(&reader->place, reader->place.at,
                                                         "the name of a member belongs here, a string");
    case EXPECT_COLON:
        *expected = EXPECT_VALUE;
        return read_mark(reader, ':', "a colon belongs here");
    case EXPECT_COMMA_OR_END:
        return read_comma_or_end(reader, expected);
    case EXPECT_NOTHING:
        break;
    }
    return json_refuse(&reader->place, reader->place.at, "more than one value");
}

/* Outside of strings all is ASCII; so the text is UTF-8 if all of it is. */
static bool check_utf8(struct json_place *place)
{
    struct span text = place->text;

    if (json_skip_mark(text).len < text.len)
        return json_refuse(place, 0, "a byte order mark, which JSON has none of");
    if (utf8_is_valid(text))
        return true;

    struct utf8 utf8 = { 0 };
    size_t      at   = 0;
    while (at < text.len && utf8_feed(&utf8, span_of(text.at + at, 1)))
        at++;
    return json_refuse(place, at, "not UTF-8");
}

static bool read_text(struct json_reader *reader)
{
    enum expected      expected = EXPECT_VALUE;
    struct json_place *place    = &reader->place;

    if (!check_utf8(place))
        return false;
    for (json_scan_space(place); place->at < place->text.len; json_scan_space(place))
        if (!read_next(reader, &expected))
            return false;
    if (expected == EXPECT_NOTHING)
        return true;
    return json_refuse(place, place->at, reader->depth == 0 ? "nothing there" : json_ends_early);
}

/* --- entry points ------------------------------------------------------------------------------------------- */

const char *json_fault_say(const char *what, const struct json_fault *fault, char ret_text[JSON_FAULT_BYTES])
{
    char limit[32] = "";

    if (fault->limit != 0)
        snprintf(limit, sizeof limit, "; at most %u", fault->limit);
    if (fault->reason == NULL)
        snprintf(ret_text, JSON_FAULT_BYTES, "%s", what);
    else
        snprintf(ret_text, JSON_FAULT_BYTES, "%s: %s (byte %zu%s)", what, fault->reason, fault->at, limit);
    return ret_text;
}

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

struct span json_skip_mark(struct span text)
{
    static const struct span mark = { "\xef\xbb\xbf", 3 };

    return span_starts(text, mark) ? span_skip(text, mark.len) : text;
}

bool json_parse(struct span text, const struct json_limits *limits, struct json_doc *doc)
{
    struct json_reader reader = {
        .place  = { .text = text, .fault = &doc->fault },
        .doc    = doc,
        .open   = NO_TOKEN,
        .limits = {
            .depth_max   = or_default(limits->depth_max, JSON_DEPTH_DEFAULT),
            .depth_kept  = limits->depth_kept,
            .tokens_max  = or_default(limits->tokens_max, JSON_TOKENS_DEFAULT),
            .members_max = or_default(limits->members_max, JSON_MEMBERS_DEFAULT),
        },
    };
    must(limits->depth_max <= JSON_DEPTH_MAX);
    doc->count = 0;
    doc->fault = (struct json_fault){ .reason = NULL };
    if (read_text(&reader))
        return true;
    doc->count = 0;
    return false;
}

bool json_is_valid(struct span text, struct json_fault *ret_fault)
{
    struct json_fault unwanted;
    struct json_reader     reader = {
        .place  = { .text = text, .fault = ret_fault != NULL ? ret_fault : &unwanted },
        .open   = NO_TOKEN,
        .limits = { .depth_max = JSON_DEPTH_DEFAULT },
    };
    return read_text(&reader);
}

static uint32_t index_of(const struct json_doc *doc, const struct json_token *token)
{
    return (uint32_t)(token - doc->tokens);
}

const struct json_token *json_member(const struct json_doc *doc, const struct json_token *object, struct span name)
{
    if (object->type != JSON_OBJECT || !object->is_kept)
        return NULL;
    uint32_t key = find_key(doc, index_of(doc, object) + 1, object->next, name, false);
    return key == NO_TOKEN ? NULL : &doc->tokens[key + 1];
}

/* Is the name one of `known`, however it is escaped? */
static bool is_known_name(const struct json_token *name, struct known_words known)
{
    if (!name->has_escapes)
        return known_words_have(known, inside(name->raw));
    for (size_t i = 0; i < known.count; i++)
        if (says_same(inside(name->raw), known.at[i]))
            return true;
    return false;
}

const struct json_token *json_unknown_member(const struct json_doc *doc, const struct json_token *object,
                                             struct known_words known)
{
    if (object->type != JSON_OBJECT || !object->is_kept)
        return NULL;
    for (uint32_t key = index_of(doc, object) + 1; key < object->next; key = doc->tokens[key + 1].next)
        if (!is_known_name(&doc->tokens[key], known))
            return &doc->tokens[key];
    return NULL;
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
    struct span rest = inside(token->raw);
    if (!token->has_escapes) {
        *ret_text = rest;
        return true;
    }
    size_t start = scratch->len;
    char   piece[4];
    while (rest.len > 0)
        buf_put(scratch, json_string_piece(&rest, piece));
    if (buf_is_over(scratch))
        return false;
    *ret_text = span_skip(buf_span(scratch), start);
    return true;
}

bool json_u64(const struct json_token *token, uint64_t *ret_value)
{
    return token != NULL && token->type == JSON_NUMBER && span_u64(token->raw, ret_value);
}
