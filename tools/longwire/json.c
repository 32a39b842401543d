#include "longwire/json.h"

#include <yajl/yajl_gen.h>

#include "base/must.h"

/* --- one object ------------------------------------------------------------------------------------------------ */

struct walk {
    yajl_handle   parser;
    struct span   input;
    struct span   name;      /* of the outer field whose value is awaited or being read */
    struct buf    name_text; /* where it lies: the parser's own copy is gone by the time the value ends */
    size_t        value_at;  /* where that value begins */
    unsigned      depth;     /* 1: in the outer object */
    json_each_fn *fn;
    void         *arg;
};

enum { NAME_BYTES_MAX = 64 * 1024 };

static size_t consumed(const struct walk *walk)
{
    return yajl_get_bytes_consumed(walk->parser);
}

/* A value has ended: if it belongs to the outer object, it is told. Something else than an object outside of all
 * is no object: stop. */
static int walk_value(struct walk *walk, enum json_kind kind, const struct span *decoded)
{
    if (walk->depth == 0)
        return 0;
    if (walk->depth > 1)
        return 1;
    struct span raw = span_of(walk->input.at + walk->value_at, consumed(walk) - walk->value_at);
    walk->fn(walk->arg, walk->name, kind, decoded != NULL ? *decoded : raw);
    return 1;
}

static int on_null(void *arg)
{
    return walk_value(arg, JSON_NULL, NULL);
}

static int on_bool(void *arg, int value)
{
    (void)value;
    return walk_value(arg, JSON_BOOL, NULL);
}

static int on_number(void *arg, const char *text, size_t len)
{
    (void)text;
    (void)len;
    return walk_value(arg, JSON_NUMBER, NULL);
}

static int on_string(void *arg, const unsigned char *text, size_t len)
{
    struct span decoded = span_of(text, len);
    return walk_value(arg, JSON_STRING, &decoded);
}

static int on_key(void *arg, const unsigned char *text, size_t len)
{
    struct walk *walk = arg;
    if (walk->depth != 1)
        return 1;

    buf_clear(&walk->name_text);
    buf_put(&walk->name_text, span_of(text, len));
    walk->name = buf_span(&walk->name_text);

    /* Behind the key come spaces, one colon, spaces; then the value. */
    size_t at = consumed(walk);
    while (at < walk->input.len && memchr(" \t\r\n:", walk->input.at[at], 5) != NULL)
        at++;
    walk->value_at = at;
    return !buf_is_over(&walk->name_text);
}

static int on_map_start(void *arg)
{
    struct walk *walk = arg;
    walk->depth++;
    return 1;
}

static int on_array_start(void *arg)
{
    struct walk *walk = arg;
    if (walk->depth == 0)
        return 0;
    walk->depth++;
    return 1;
}

static int on_map_end(void *arg)
{
    struct walk *walk = arg;
    walk->depth--;
    return walk->depth == 0 || walk_value(walk, JSON_OBJECT, NULL);
}

static int on_array_end(void *arg)
{
    struct walk *walk = arg;
    walk->depth--;
    return walk_value(walk, JSON_ARRAY, NULL);
}

static const yajl_callbacks walk_callbacks = {
    .yajl_null = on_null,          .yajl_boolean = on_bool,           .yajl_number = on_number,
    .yajl_string = on_string,      .yajl_start_map = on_map_start,    .yajl_map_key = on_key,
    .yajl_end_map = on_map_end,    .yajl_start_array = on_array_start, .yajl_end_array = on_array_end,
};

bool json_each(struct span input, json_each_fn *fn, void *arg)
{
    struct walk walk = { .input = input, .fn = fn, .arg = arg };
    buf_init(&walk.name_text, NAME_BYTES_MAX);
    walk.parser = yajl_alloc(&walk_callbacks, NULL, &walk);
    must(walk.parser != NULL);

    bool is_good = yajl_parse(walk.parser, (const unsigned char *)input.at, input.len) == yajl_status_ok &&
                   yajl_complete_parse(walk.parser) == yajl_status_ok;
    yajl_free(walk.parser);
    buf_fini(&walk.name_text);
    return is_good;
}

struct wish {
    struct json_field *fields;
    size_t             count;
    struct span        input;
    struct buf        *decoded;
};

static bool span_is_within(struct span part, struct span whole)
{
    return part.at >= whole.at && part.at + part.len <= whole.at + whole.len;
}

static void on_wish(void *arg, struct span name, enum json_kind kind, struct span text)
{
    struct wish *wish = arg;
    for (size_t i = 0; i < wish->count; i++) {
        struct json_field *field = &wish->fields[i];
        if (!span_eq(span_str(field->name), name))
            continue;
        field->kind = kind;
        field->text = text;
        /* Unescaped text lies with the parser, for this moment only. */
        if (kind == JSON_STRING && !span_is_within(text, wish->input)) {
            size_t at = wish->decoded->len;
            buf_put(wish->decoded, text);
            field->text = span_of(wish->decoded->at + at, text.len);
        }
        return;
    }
}

bool json_object(struct span input, struct json_field *fields, size_t count, struct buf *decoded)
{
    struct wish wish = { fields, count, input, decoded };

    /* Decoded text is never longer than its source: with that much room at hand the buffer does not move, and
     * spans into it stay good. */
    buf_clear(decoded);
    if (buf_extend(decoded, input.len) == NULL)
        return false;
    buf_clear(decoded);

    for (size_t i = 0; i < count; i++)
        fields[i] = (struct json_field){ .name = fields[i].name };
    return json_each(input, on_wish, &wish) && !buf_is_over(decoded);
}

bool json_u64(const struct json_field *field, uint64_t *ret)
{
    return field->kind == JSON_NUMBER && span_u64(field->text, ret);
}

/* --- a long list ------------------------------------------------------------------------------------------------ */

enum { DEPTH_OUTER = 1, DEPTH_LIST = 2, DEPTH_ITEM = 3 };

static int list_enter(struct json_list *list, bool is_map)
{
    list->depth++;
    if (list->depth == DEPTH_LIST && list->is_key && !is_map)
        list->is_list = true;
    if (list->depth == DEPTH_ITEM && list->is_list && is_map) {
        list->is_item   = true;
        list->item_from = yajl_get_bytes_consumed(list->parser) - 1;
        buf_clear(&list->item);
    }
    return 1;
}

static int list_item(struct json_list *list)
{
    size_t      at   = yajl_get_bytes_consumed(list->parser);
    struct span rest = span_of(list->chunk.at + list->item_from, at - list->item_from);
    list->is_item    = false;
    if (list->item.len > 0) {
        buf_put(&list->item, rest);
        if (buf_is_over(&list->item))
            return 0;
        rest = buf_span(&list->item);
    }
    list->is_stopped = !list->fn(list->arg, rest);
    return !list->is_stopped;
}

static int list_leave(struct json_list *list)
{
    list->depth--;
    if (list->depth == DEPTH_LIST && list->is_item)
        return list_item(list);
    if (list->depth == DEPTH_OUTER)
        list->is_list = list->is_key = false;
    return 1;
}

static int list_on_map_start(void *arg)
{
    return list_enter(arg, true);
}

static int list_on_array_start(void *arg)
{
    return list_enter(arg, false);
}

static int list_on_end(void *arg)
{
    return list_leave(arg);
}

static int list_on_key(void *arg, const unsigned char *text, size_t len)
{
    struct json_list *list = arg;
    if (list->depth == DEPTH_OUTER)
        list->is_key = span_eq(span_of(text, len), span_str(list->key));
    return 1;
}

static const yajl_callbacks list_callbacks = {
    .yajl_start_map   = list_on_map_start,
    .yajl_map_key     = list_on_key,
    .yajl_end_map     = list_on_end,
    .yajl_start_array = list_on_array_start,
    .yajl_end_array   = list_on_end,
};

void json_list_init(struct json_list *list, const char *key, size_t item_bytes_max, json_item_fn *fn, void *arg)
{
    *list = (struct json_list){ .key = key, .fn = fn, .arg = arg };
    buf_init(&list->item, item_bytes_max);
    list->parser = yajl_alloc(&list_callbacks, NULL, list);
    must(list->parser != NULL);
}

void json_list_fini(struct json_list *list)
{
    yajl_free(list->parser);
    buf_fini(&list->item);
}

bool json_list_feed(struct json_list *list, struct span chunk)
{
    list->chunk     = chunk;
    list->item_from = 0;
    if (yajl_parse(list->parser, (const unsigned char *)chunk.at, chunk.len) != yajl_status_ok)
        return false;
    if (list->is_item)
        buf_put(&list->item, span_skip(chunk, list->item_from));
    return !buf_is_over(&list->item);
}

bool json_list_end(struct json_list *list)
{
    return yajl_complete_parse(list->parser) == yajl_status_ok;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

static void put_piece(void *arg, const char *text, size_t len)
{
    buf_put(arg, span_of(text, len));
}

void json_put_string(struct buf *buf, struct span text)
{
    yajl_gen gen = yajl_gen_alloc(NULL);
    must(gen != NULL);
    yajl_gen_config(gen, yajl_gen_print_callback, put_piece, buf);
    yajl_gen_status status = yajl_gen_string(gen, (const unsigned char *)text.at, text.len);
    must(status == yajl_gen_status_ok);
    yajl_gen_free(gen);
}
