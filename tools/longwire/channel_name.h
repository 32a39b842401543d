/* channel_name.h - what a channel's name on the command line looks like it was meant for.
 *
 * The server decides which names are good. This only warns of what people expect from other programs. */
#ifndef LONGWIRE_CHANNEL_NAME_H
#define LONGWIRE_CHANNEL_NAME_H

#include "base/span.h"

enum channel_name_doubt {
    NAME_FINE,
    NAME_NO_NAMESPACE,  /* "hello": no colon */
    NAME_WILDCARD,      /* "topic:*", "topic:a/#", "topic:a.>": patterns elsewhere, names here */
};

enum channel_name_doubt channel_name_judge(struct span name);

/* Prints a warning if there is a doubt. The command goes on. */
void channel_name_warn(const char *name);

#endif
