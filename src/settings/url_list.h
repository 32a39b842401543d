/* url_list.h - lists of URLs as settings have them, with commas between; and how they are shown, without their
 * passwords. */
#ifndef SETTINGS_URL_LIST_H
#define SETTINGS_URL_LIST_H

#include "base/buf.h"

/* The next URL of a list, without the blanks around it. A comma ends a URL only where another one begins behind it:
 * postgres://a,b/db names two hosts of one database. False: there is none any more. */
bool url_list_next(struct span *rest, struct span *ret_url);

/* Is it http or https, with a host, and without anything that a line can't hold? */
bool url_is_http(struct span url);

/* Is it the name of a header field: 1 to `bytes_max` letters, digits, - and _? */
bool header_name_is_plain(struct span name, size_t bytes_max);

/* Puts text in which URLs may stand. Where a URL has a password, *** stands: behind the colon of its user, and as the
 * parameters password= and sslpassword=. A password that is not percent-encoded is hidden as well. */
void url_put_shown(struct buf *out, struct span text);

/* Would anything be hidden? */
bool url_has_secret(struct span text);

#endif
