/* take_over_path.h - what the two processes of a hand-over have to agree on: where they meet, and which data they serve. */
#ifndef MAIN_TAKE_OVER_PATH_H
#define MAIN_TAKE_OVER_PATH_H

#include "base/buf.h"
#include "settings/settings.h"

/* The path of the socket, with a NUL behind it. False: there is none. */
bool take_over_path(const struct settings *settings, struct buf *ret);
/* A name of the data, the same for all processes that would serve it. */
void take_over_data(const struct settings *settings, struct buf *ret);

#endif
