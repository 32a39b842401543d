/* origin.h - which web pages may use the server from a browser, and by which names browsers may call it. Pure. */
#ifndef AUTH_ORIGIN_H
#define AUTH_ORIGIN_H

#include "settings/settings.h"

enum origin_standing {
    ORIGIN_REFUSED,
    ORIGIN_OPEN,   /* allowed like any other: the setting `origins` says `*` */
    ORIGIN_KNOWN,  /* allowed by its name */
};

/* `host` is the Host that the page asked for. The server's own pages are always allowed. Beside them, with a list in the
 * settings, what it names; without one, pages of this machine. */
enum origin_standing origin_judge(const struct settings *settings, struct span origin, struct span host);

/* Is a request for this Host served?
 *
 * Without keys everyone who reaches the server may do everything, and that is to be this machine alone. But a page of
 * another site reaches the server too, when the site's name is made to lead to 127.0.0.1 (DNS rebinding, threat 76): to
 * the browser page and server are then one origin. The Host betrays it. So without keys a Host is an address,
 * localhost, a name below localhost, or one that `origins` lists; and none at all is fine, because browsers send one. */
bool host_is_served(const struct settings *settings, struct span host);

#endif
