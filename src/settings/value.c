#include "settings/value.h"

#include "base/must.h"
#include "settings/unit.h"

static void *field_of(const struct value_row *row, void *base)
{
    return (char *)base + row->offset;
}

/* --- reading ------------------------------------------------------------------------------------------------- */

bool value_is_text(const struct value_row *row, struct span text)
{
    return text.len <= row->max && !span_has_control(text);
}

static bool text_set(const struct value_row *row, char *field, struct span text)
{
    if (!value_is_text(row, text))
        return false;
    memset(field, 0, row->max + 1);
    if (text.len > 0)
        memcpy(field, text.at, text.len);
    return true;
}

static bool choice_read(const struct value_row *row, struct span text, unsigned *ret_index)
{
    struct span words = span_str(row->words), word;
    for (unsigned i = 0; span_cut(&words, '|', &word); i++)
        if (span_eq(word, text)) {
            *ret_index = i;
            return true;
        }
    return false;
}

static bool switch_read(struct span text, bool *ret_is_on)
{
    static const struct { struct span word; bool is_on; } words[] = {
        { SPAN("true"), true },   { SPAN("on"), true },   { SPAN("yes"), true }, { SPAN("1"), true },
        { SPAN("false"), false }, { SPAN("off"), false }, { SPAN("no"), false }, { SPAN("0"), false },
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (span_eq_nocase(words[i].word, text)) {
            *ret_is_on = words[i].is_on;
            return true;
        }
    return false;
}

static bool time_read(struct span text, msec unit_ms, uint64_t *ret)
{
    msec ms;
    if (!unit_read_time(text, unit_ms, &ms) || ms % unit_ms != 0)
        return false;
    *ret = (uint64_t)(ms / unit_ms);
    return true;
}

static bool number_read(const struct value_row *row, struct span text, uint64_t *ret)
{
    uint64_t number;
    bool     is_number = row->kind == VALUE_COUNT     ? span_u64(text, &number)
                         : row->kind == VALUE_BYTES   ? unit_read_bytes(text, &number)
                         : row->kind == VALUE_SECONDS ? time_read(text, UNIT_S, &number)
                                                      : time_read(text, UNIT_MS, &number);
    if (!is_number || number < row->min || number > row->max)
        return false;
    *ret = number;
    return true;
}

static bool field_set(const struct value_row *row, void *field, struct span text)
{
    unsigned index;
    uint64_t number;
    bool     is_on;

    switch (row->kind) {
    case VALUE_TEXT:
        return text_set(row, field, text);
    case VALUE_CHOICE:
        if (!choice_read(row, text, &index))
            return false;
        memcpy(field, &index, sizeof index);
        return true;
    case VALUE_SWITCH:
        if (!switch_read(text, &is_on))
            return false;
        memcpy(field, &is_on, sizeof is_on);
        return true;
    case VALUE_COUNT:
    case VALUE_BYTES:
    case VALUE_SECONDS:
    case VALUE_MSECS:
        if (!number_read(row, text, &number))
            return false;
        /* The same bytes for uint64_t and int64_t, because no maximum is above INT64_MAX. */
        memcpy(field, &number, sizeof number);
        return true;
    }
    return false;
}

bool value_set(const struct value_row *row, void *base, struct span text, struct buf *why)
{
    must(row->kind != VALUE_CHOICE || row->words != NULL);
    must(row->max <= INT64_MAX && row->min <= row->max);
    if (field_set(row, field_of(row, base), text))
        return true;
    buf_put_lit(why, "must be ");
    value_put_allowed(row, why);
    return false;
}

/* --- writing ------------------------------------------------------------------------------------------------- */

static void choice_put(const struct value_row *row, unsigned index, struct buf *out)
{
    struct span words = span_str(row->words), word = { 0 };
    for (unsigned i = 0; i <= index; i++)
        must(span_cut(&words, '|', &word));
    buf_put(out, word);
}

static void number_put(const struct value_row *row, uint64_t number, struct buf *out)
{
    switch (row->kind) {
    case VALUE_TEXT: break;
    case VALUE_CHOICE: choice_put(row, (unsigned)number, out); break;
    case VALUE_SWITCH: buf_put(out, number != 0 ? SPAN("true") : SPAN("false")); break;
    case VALUE_COUNT: buf_put_u64(out, number); break;
    case VALUE_BYTES: unit_put_bytes(out, number); break;
    case VALUE_SECONDS: unit_put_time(out, (msec)number * UNIT_S); break;
    case VALUE_MSECS: unit_put_time(out, (msec)number * UNIT_MS); break;
    }
}

static uint64_t number_of(const struct value_row *row, const char *field)
{
    uint64_t number = 0;
    unsigned index;
    bool     is_on;

    if (row->kind == VALUE_CHOICE) {
        memcpy(&index, field, sizeof index);
        return index;
    }
    if (row->kind == VALUE_SWITCH) {
        memcpy(&is_on, field, sizeof is_on);
        return is_on;
    }
    memcpy(&number, field, sizeof number);
    return number;
}

void value_put(const struct value_row *row, const void *base, struct buf *out)
{
    const char *field = (const char *)base + row->offset;
    if (row->kind == VALUE_TEXT)
        buf_put(out, span_str(field));
    else
        number_put(row, number_of(row, field), out);
}

void value_put_default(const struct value_row *row, struct buf *out)
{
    if (row->kind == VALUE_TEXT)
        buf_put(out, span_str(row->text));
    else
        number_put(row, row->number, out);
}

static void words_put(struct span words, struct buf *out)
{
    struct span word;
    while (span_cut(&words, '|', &word)) {
        buf_put(out, word);
        if (words.len > 0)
            buf_put_lit(out, ", ");
    }
}

void value_put_allowed(const struct value_row *row, struct buf *out)
{
    switch (row->kind) {
    case VALUE_TEXT:
        buf_putf(out, "text of at most %llu bytes", (unsigned long long)row->max);
        return;
    case VALUE_CHOICE:
        buf_put_lit(out, "one of: ");
        words_put(span_str(row->words), out);
        return;
    case VALUE_SWITCH: buf_put_lit(out, "true or false"); return;
    case VALUE_COUNT: buf_put_lit(out, "a number from "); break;
    case VALUE_BYTES: buf_put_lit(out, "a size from "); break;
    case VALUE_SECONDS:
    case VALUE_MSECS: buf_put_lit(out, "a time from "); break;
    }
    number_put(row, row->min, out);
    buf_put_lit(out, " to ");
    number_put(row, row->max, out);
}

/* --- finding ------------------------------------------------------------------------------------------------- */

static bool is_name(struct span text, struct span name)
{
    if (text.len != name.len)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (text.at[i] != name.at[i] && !(text.at[i] == '-' && name.at[i] == '_'))
            return false;
    return true;
}

size_t value_find(const struct value_row *rows, size_t count, struct span name)
{
    size_t i = 0;
    while (i < count && !is_name(name, span_str(rows[i].name)))
        i++;
    return i;
}
