#include "longwire/template.h"

#include "longwire/nearest.h"

enum { PART_LITERAL = -1 };

void template_init(struct template *template)
{
    *template = (struct template){ .count = 0 };
    buf_init(&template->text, TEMPLATE_BYTES_MAX);
}

void template_fini(struct template *template)
{
    buf_fini(&template->text);
}

/* Literal text that follows literal text becomes one part with it. False: too many parts. */
static bool part_add(struct template *template, int field, size_t len)
{
    bool is_literal = field == PART_LITERAL;
    if (is_literal && template->count > 0 && template->parts[template->count - 1].field == PART_LITERAL) {
        template->parts[template->count - 1].len += len;
        return true;
    }
    if (template->count == TEMPLATE_PARTS_MAX)
        return false;
    template->parts[template->count].field = field;
    template->parts[template->count].len   = len;
    template->count++;
    return true;
}

static void unknown_say(struct span name, const char *const *names, size_t count, struct buf *why)
{
    struct nearest nearest;
    nearest_init(&nearest, name);
    for (size_t i = 0; i < count; i++)
        nearest_offer(&nearest, names[i]);
    buf_putf(why, "there is no field {%.*s}", SPAN_ARG(name));
    if (nearest.found != NULL)
        buf_putf(why, "; did you mean {%s}?", nearest.found);
    else
        buf_putc(why, '.');
    buf_put_lit(why, " The fields are");
    for (size_t i = 0; i < count; i++)
        buf_putf(why, " {%s}", names[i]);
}

/* *rest begins behind a "{". */
static bool field_take(struct template *template, struct span *rest, const char *const *names, size_t count,
                       struct buf *why)
{
    const char *end = rest->len > 0 ? memchr(rest->at, '}', rest->len) : NULL;
    if (end == NULL) {
        buf_put_lit(why, "a { has no }; write {{ for a brace");
        return false;
    }
    struct span name = span_head(*rest, (size_t)(end - rest->at));
    *rest            = span_skip(*rest, name.len + 1);
    for (size_t i = 0; i < count; i++) {
        if (!span_eq(name, span_str(names[i])))
            continue;
        if (part_add(template, (int)i, 0))
            return true;
        buf_putf(why, "at most %d fields and pieces of text are possible", TEMPLATE_PARTS_MAX);
        return false;
    }
    unknown_say(name, names, count, why);
    return false;
}

/* What two bytes at the beginning of `rest` stand for if they are an escape. */
static bool escape_read(struct span rest, char *ret)
{
    static const struct { const char *pair; char byte; } escapes[] = {
        { "{{", '{' }, { "}}", '}' }, { "\\n", '\n' }, { "\\t", '\t' }, { "\\0", '\0' }, { "\\\\", '\\' },
    };
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++)
        if (span_starts(rest, span_of(escapes[i].pair, 2))) {
            *ret = escapes[i].byte;
            return true;
        }
    return false;
}

static bool byte_take(struct template *template, struct span *rest, struct buf *why)
{
    char byte      = rest->at[0];
    bool is_escape = escape_read(*rest, &byte);
    if (byte == '}' && !is_escape) {
        buf_put_lit(why, "a } has no {; write }} for a brace");
        return false;
    }
    buf_putc(&template->text, byte);
    *rest = span_skip(*rest, is_escape ? 2 : 1);
    if (!buf_is_over(&template->text) && part_add(template, PART_LITERAL, 1))
        return true;
    buf_putf(why, "at most %d bytes, %d fields and pieces of text are possible", TEMPLATE_BYTES_MAX,
             TEMPLATE_PARTS_MAX);
    return false;
}

bool template_parse(struct template *template, struct span text, const char *const *names, size_t count,
                    struct buf *ret_why)
{
    bool is_good = true;

    buf_clear(&template->text);
    template->count = 0;
    for (struct span rest = text; rest.len > 0 && is_good;) {
        if (rest.at[0] == '{' && !span_starts(rest, SPAN("{{"))) {
            rest    = span_skip(rest, 1);
            is_good = field_take(template, &rest, names, count, ret_why);
        } else {
            is_good = byte_take(template, &rest, ret_why);
        }
    }
    return is_good;
}

void template_put(const struct template *template, template_field_fn *fn, const void *arg, struct buf *buf)
{
    struct span text = buf_span(&template->text);
    for (size_t i = 0; i < template->count; i++) {
        if (template->parts[i].field != PART_LITERAL) {
            fn(arg, template->parts[i].field, buf);
            continue;
        }
        buf_put(buf, span_head(text, template->parts[i].len));
        text = span_skip(text, template->parts[i].len);
    }
}
