/* json_priv.h - what the reader asks about raw text, beyond the grammar. Stays in this folder. */
#ifndef CODEC_JSON_JSON_PRIV_H
#define CODEC_JSON_JSON_PRIV_H

#include "codec/json/json.h"

/* RFC 8259 where yajl is lenient: is it UTF-8, are the spaces between tokens the four that JSON knows, do \u escapes
 * name surrogates only in pairs? Says nothing of the grammar. On false *ret_fault tells. */
bool json_text_check(struct span text, struct json_fault *ret_fault);

/* Does a number of JSON's grammar fit into a double, however it is written? */
bool json_number_is_finite(struct span number);

/* The next piece of what the inside of a valid string says: a run of the text itself, or one decoded escape in
 * `room`. Takes it off *rest, which must not be empty. */
struct span json_string_piece(struct span *rest, char room[4]);

/* The first byte at or after `at` that isn't space, or text.len. */
size_t json_skip_space(struct span text, size_t at);

void json_fault_set(struct json_fault *fault, size_t at, const char *reason);

#endif
