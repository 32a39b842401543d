/* origin.h - which web pages may use the server from a browser. Pure. */
#ifndef AUTH_ORIGIN_H
#define AUTH_ORIGIN_H

#include "settings/settings.h"

/* `host` is the Host that the page asked for. With a list in the settings, only what the list names; without one, the
 * server's own pages, and pages of this machine. */
bool origin_is_allowed(const struct settings *settings, struct span origin, struct span host);

#endif
