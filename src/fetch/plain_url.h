/* plain_url.h - the addresses that our own client of HTTP/1.1 takes (plain.h), apart: `http://host[:port][/path][?query]`.
 *
 * Only what has one meaning to everybody: no user, no other way to write an IPv4 address, no control character, no `.` or `..`
 * among the segments of its path. All else is libcurl's to read, or to refuse. */
#ifndef FETCH_PLAIN_URL_H
#define FETCH_PLAIN_URL_H

#include "base/span.h"

enum { PLAIN_AUTHORITY_BYTES_MAX = 262 };  /* a name of 253 bytes, in DNS the longest, a colon, a port */

/* Spans into the URL. */
struct plain_url {
    struct span authority;    /* as Host says it: without :80 */
    struct span host;         /* without [ ] */
    struct span target;       /* without a fragment */
    unsigned    port;
    bool        lacks_slash;  /* the target is empty or begins with `?`: a `/` belongs before it */
};

bool plain_url_read(struct span url, struct plain_url *ret);

#endif
