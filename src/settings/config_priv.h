/* config_priv.h - shared by config*.c alone. */
#ifndef SETTINGS_CONFIG_PRIV_H
#define SETTINGS_CONFIG_PRIV_H

#include "settings/config.h"

/* Writes a name as it was given, for a message that goes to a terminal. The name may be anything, so it is cut and
 * only its ASCII characters are shown. */
void config_say_name(struct buf *say, struct span name);

#endif
