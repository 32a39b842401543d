/* fields.h - reads the server's answers with the server's own JSON reader (codec/json): the fields of an object, the
 * elements of a list.
 *
 * It finds values and does not rebuild them: their raw bytes are handed on as they came. */
#ifndef LONGWIRE_FIELDS_H
#define LONGWIRE_FIELDS_H

#include "codec/json/json.h"

/* A field that the caller looks for. The caller fills in `name`, fields_read() fills in the rest. */
struct field {
    const char    *name;
    bool           is_there;
    enum json_type type;
    struct span    raw;   /* as it stands in the input; a string with its quotes */
    struct span    text;  /* of a string: decoded, any byte possible; else the same as raw */
};

static inline bool field_is_string(const struct field *field)
{
    return field->is_there && field->type == JSON_STRING;
}

/* The number in a field; false if there is none, or not a whole one that fits. */
bool field_u64(const struct field *field, uint64_t *ret_value);

/* Finds fields of the one object that `input` is. False: it isn't exactly one JSON object, or names a field twice. The
 * spans are valid as long as `input` and until `decoded`, where unescaped text lies, is changed. */
bool fields_read(struct span input, struct field *fields, size_t count, struct buf *decoded);

/* Calls back with each field of the one object that `input` is, in order; false as above. `text` is a string's,
 * decoded, and of other values what stands in the input. */
typedef void field_fn(void *arg, struct span name, struct span text);
bool         fields_each(struct span input, field_fn *fn, void *arg);

/* Calls back with each element of {"…":…, "messages":[{…},{…}], …}, as it stands in the input. False from the callback
 * stops the reading. False: not such an object, or stopped. */
typedef bool element_fn(void *arg, struct span element);
bool         elements_each(struct span input, const char *list_name, element_fn *fn, void *arg);

#endif
