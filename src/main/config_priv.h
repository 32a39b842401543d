/* config_priv.h - shared by config*.c alone. */
#ifndef MAIN_CONFIG_PRIV_H
#define MAIN_CONFIG_PRIV_H

#include "main/config.h"

/* A name as it was given, which may be anything, for a message that goes to a terminal: cut, and only ASCII. */
void config_say_name(struct buf *say, struct span name);

#endif
