/* value.h - one configurable value: how it is read from text, what it may be, and how it is written.
 *
 * A row says where in a struct the value is and which bounds it has. The owner of the rows knows the type of the
 * struct. */
#ifndef SETTINGS_VALUE_H
#define SETTINGS_VALUE_H

#include "base/buf.h"

enum value_kind {
    VALUE_TEXT,     /* char[max + 1]: no control characters */
    VALUE_CHOICE,   /* an enum whose constants have the order of `words` */
    VALUE_SWITCH,   /* bool: true or false, also on, off, yes, no, 1, 0 */
    VALUE_COUNT,    /* uint64_t */
    VALUE_BYTES,    /* uint64_t */
    VALUE_SECONDS,  /* int64_t */
    VALUE_MSECS,    /* int64_t */
};

struct value_row {
    const char     *name;
    enum value_kind kind;
    size_t          offset;
    uint64_t        min, max;      /* of numbers, in the field's unit; max: of a text's bytes */
    uint64_t        number;        /* the default, if it is no text */
    const char     *text;          /* the default of a text */
    const char     *words;         /* of a choice: "a|b|c" */
    const char     *help;          /* sentences */
};

/* Reads `text` into the field. False: nothing changed, and `why` says "must be a number from 0 to 64". */
bool value_set(const struct value_row *row, void *base, struct span text, struct buf *why);

/* Is it a text that this row takes: short enough, without control characters? */
bool value_is_text(const struct value_row *row, struct span text);

/* Writes the value in a struct, or the default, as it would stand in a file. */
void value_put(const struct value_row *row, const void *base, struct buf *out);
void value_put_default(const struct value_row *row, struct buf *out);

/* "a number from 0 to 64" */
void value_put_allowed(const struct value_row *row, struct buf *out);

/* The row with this name ('-' is '_'), or `count`. */
size_t value_find(const struct value_row *rows, size_t count, struct span name);

#endif
