/* settings_priv.h - shared by settings*.c alone. */
#ifndef SETTINGS_SETTINGS_PRIV_H
#define SETTINGS_SETTINGS_PRIV_H

#include "settings/settings.h"
#include "settings/value.h"

extern const struct value_row setting_rows[SETTING_COUNT];

/* Texts that mean more than themselves: is this one usable, and what does it say? Addresses and origins go into
 * *settings, taken apart. False: nothing changed, `why` says what is allowed. */
bool setting_text_accept(struct settings *settings, enum setting setting, struct span text, struct buf *why);

#endif
