/* json.h - reading what the server says: one object whole, or a long list piece by piece.
 *
 * Values are found, not rebuilt: raw bytes are handed on as they came. */
#ifndef LONGWIRE_JSON_H
#define LONGWIRE_JSON_H

#include <yajl/yajl_parse.h>

#include "base/buf.h"

enum json_kind { JSON_ABSENT, JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* A field of an object that somebody wants. `name` is filled in by whoever asks, the rest by json_object(). */
struct json_field {
    const char    *name;
    enum json_kind kind;
    struct span    raw;   /* as it stands in the input; a string with its quotes */
    struct span    text;  /* of a string: decoded, any byte possible; else the same as raw */
};

/* Finds fields of the one object that `input` is. False: it isn't exactly one JSON object. The spans are valid as
 * long as `input` and until `decoded`, where unescaped text lies, is changed. */
bool json_object(struct span input, struct json_field *fields, size_t count, struct buf *decoded);

/* The number in a field; false if there is none, or not a whole one that fits. */
bool json_u64(const struct json_field *field, uint64_t *ret);

/* Calls back with each field of the one object that `input` is, in order; false as above. The text of nested
 * values is raw. */
typedef void json_each_fn(void *arg, struct span name, enum json_kind kind, struct span text);
bool         json_each(struct span input, json_each_fn *fn, void *arg);

/* Cuts {"…":…, "messages":[{…},{…}], …} into the objects of its list while the bytes arrive, so that an answer of
 * any length needs the memory of its longest element. False from the callback stops the reading. */
typedef bool json_item_fn(void *arg, struct span item);

struct json_list {
    yajl_handle   parser;
    const char   *key;        /* the name of the list, borrowed */
    json_item_fn *fn;
    void         *arg;
    struct span   chunk;      /* what is being fed */
    size_t        item_from;  /* in chunk: where the current item begins or goes on */
    struct buf    item;       /* its part from earlier chunks */
    unsigned      depth;
    bool          is_key;     /* the last key of the outer object was `key` */
    bool          is_list;    /* we are inside the list */
    bool          is_item;    /* … and inside an item */
    bool          is_stopped; /* the callback said so */
};

/* `item_bytes_max`: a longer item is a fault. */
void json_list_init(struct json_list *list, const char *key, size_t item_bytes_max, json_item_fn *fn, void *arg);
void json_list_fini(struct json_list *list);
bool json_list_feed(struct json_list *list, struct span chunk);  /* false: not JSON, too long, or stopped */
bool json_list_end(struct json_list *list);                      /* false: it is not whole */

/* Puts `text` as a JSON string, quotes included. `text` must be UTF-8. */
void json_put_string(struct buf *buf, struct span text);

#endif
