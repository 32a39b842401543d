/* settings_priv.h - shared by settings*.c alone. */
#ifndef SETTINGS_SETTINGS_PRIV_H
#define SETTINGS_SETTINGS_PRIV_H

#include "settings/settings.h"
#include "settings/value.h"

extern const struct value_row setting_rows[SETTING_COUNT];

/* For texts that have a form of their own: checks the text, and puts addresses and origins into *settings as lists.
 * False: nothing changed, and `why` says what is allowed. */
bool setting_text_accept(struct settings *settings, enum setting setting, struct span text, struct buf *why);

#endif
