/* bin_priv.h - which fields there are, and which frames have them: bin_fields.c. Private to codec/bin. */
#ifndef CODEC_BIN_BIN_PRIV_H
#define CODEC_BIN_BIN_PRIV_H

#include "codec/bin/bin.h"

enum bin_form { BIN_FORM_FLAG, BIN_FORM_NUMBER, BIN_FORM_BYTES, BIN_FORM_FIXED };

enum {
    BIN_FORM_BITS   = 3,
    BIN_VITAL       = 4,
    BIN_KEY_SHIFT   = 3,
    BIN_TYPE_BITS   = 0x3f,
    BIN_FIXED_BYTES = 8,
};

/* A byte a field: its form + 1, so that 0 is "no such field", and BIN_TEXT if its bytes must be UTF-8. */
enum { BIN_FORM_MASK = 0xf, BIN_TEXT = 0x10 };
extern const uint8_t bin_forms[BIN_FIELD_COUNT];

/* The form of a field; -1: there is no such field. */
static inline int bin_field_form(uint64_t field)
{
    return field >= BIN_FIELD_COUNT ? -1 : (bin_forms[field] & BIN_FORM_MASK) - 1;
}

/* The same of a field that is known to be there. */
static inline enum bin_form bin_form_of(enum bin_field field)
{
    return (enum bin_form)((bin_forms[field] & BIN_FORM_MASK) - 1);
}

static inline bool bin_field_is_text(enum bin_field field)
{
    return (bin_forms[field] & BIN_TEXT) != 0;
}

/* The fields that frames of this type may have, a bit each; false: this side sends no such frame. */
bool bin_type_fields(enum bin_side side, uint8_t type, uint64_t *ret_fields);
/* May (and must, for messages) a payload stand in such a frame? */
bool bin_type_has_payload(enum bin_side side, uint8_t type);

/* Cuts a varint off *bytes. False: it isn't whole, too long or not the shortest. */
bool bin_cut_long_varint(struct span *bytes, uint64_t *ret_value);

/* The same, where most have one byte. */
static inline bool bin_cut_varint(struct span *bytes, uint64_t *ret_value)
{
    if (bytes->len == 0 || (uint8_t)bytes->at[0] >= 0x80)
        return bin_cut_long_varint(bytes, ret_value);
    *ret_value = (uint8_t)bytes->at[0];
    *bytes     = span_skip(*bytes, 1);
    return true;
}

#endif
