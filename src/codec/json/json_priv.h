/* json_priv.h - the words of JSON's grammar: strings and numbers (RFC 8259 6, 7). Stays in this folder. */
#ifndef CODEC_JSON_JSON_PRIV_H
#define CODEC_JSON_JSON_PRIV_H

#include "codec/json/json.h"

/* Where a text is being read. */
struct json_place {
    struct span        text;
    size_t             at;
    struct json_fault *fault;
};

/* Fills in the fault and returns false. */
bool json_refuse(struct json_place *place, size_t at, const char *reason);

extern const char json_ends_early[];

/* Stands at a quote; goes behind the closing one. The text is UTF-8. False: refused. */
bool json_scan_string(struct json_place *place, bool *ret_has_escapes);

/* Stands at a minus or a digit; goes behind the number. False: refused. */
bool json_scan_number(struct json_place *place);

/* Goes behind spaces, if any stand here. */
void json_scan_space(struct json_place *place);

/* How many bytes from the start can stand in a JSON string as they are. Says nothing of UTF-8. */
size_t json_plain_len(struct span text);

/* The next piece of what the inside of a valid string says: a run of the text itself, or one decoded escape in
 * `scratch`. Takes it off *rest, which must not be empty. */
struct span json_string_piece(struct span *rest, char scratch[4]);

#endif
