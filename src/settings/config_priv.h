/* config_priv.h - shared by config*.c alone. */
#ifndef SETTINGS_CONFIG_PRIV_H
#define SETTINGS_CONFIG_PRIV_H

#include "settings/config.h"

/* A name as it was given, which may be anything, for a message that goes to a terminal: cut, and only ASCII. */
void config_say_name(struct buf *say, struct span name);

#endif
