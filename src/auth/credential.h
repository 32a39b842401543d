/* credential.h - what a request or a `connect` frame shows of who sent it. Pure.
 *
 * A request shows a token as `Authorization: Bearer TOKEN` or, for browsers that can't set headers, as ?access_token=
 * (RFC 6750 2.1, 2.3). The header beats the query, and of several parameters the last counts. A header with another
 * scheme, such as Basic, is somebody else's: it counts as none. */
#ifndef AUTH_CREDENTIAL_H
#define AUTH_CREDENTIAL_H

#include "base/buf.h"

enum credential_kind {
    CREDENTIAL_NONE,    /* nothing was shown */
    CREDENTIAL_TOKEN,
    CREDENTIAL_UNUSABLE /* a broken encoding: no identity has it */
};

struct credential {
    enum credential_kind kind;
    struct span          token;  /* borrowed */
};

/* `authorization`: the header's value; its `at` is NULL without one. The token points into one of these or into
 * `scratch`. */
struct credential credential_of_request(struct span authorization, struct span query, struct buf *scratch);
struct credential credential_of_token(struct span token);

#endif
