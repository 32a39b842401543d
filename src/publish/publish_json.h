/* publish_json.h - a publish as a JSON object, the same in a batch and in a frame: what its members say
 * (docs/http-api.md, docs/protocol.md). Pure. */
#ifndef PUBLISH_PUBLISH_JSON_H
#define PUBLISH_PUBLISH_JSON_H

#include "base/buf.h"
#include "codec/json/json.h"

/* All borrowed, from the object's text or from the strings. */
struct publish_json {
    struct span payload;
    struct span media;    /* what the object names, else what follows from the kind of its data */
    struct span key;      /* empty: none */
    struct span event;    /* empty: none */
    struct span collapse_key, priority;  /* empty: none */
    bool        has_ttl;
    uint64_t    ttl_s;
};

/* NULL: *ret is what it says. Else why the object can't be read, a static sentence. What has to be decoded is appended
 * to `strings`, which publish_json_reserve() has made large enough for the text of the object: so nothing moves
 * there. */
const char *publish_json_read(const struct json_doc *doc, const struct json_token *object, struct buf *strings,
                              struct publish_json *ret);

/* Octets of a base64 string, decoded behind what is in `strings`. False: it is none. */
bool publish_json_octets(const struct json_token *token, struct buf *strings, struct span *ret);

/* The members of such an object; a frame has a type and a ref beside them, a message of a batch may have `channels`. */
#define PUBLISH_JSON_WORDS \
    SPAN("channel"), SPAN("data"), SPAN("data_base64"), SPAN("media"), SPAN("ttl"), SPAN("key"), SPAN("event"), \
    SPAN("collapse_key"), SPAN("priority")

/* Empties `strings` and makes room for all that a text of so many bytes can say. */
void publish_json_reserve(struct buf *strings, size_t text_bytes);

#endif
