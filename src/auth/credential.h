/* credential.h - what a request or a `connect` frame shows of who sent it. Pure.
 *
 * A request shows a token as `Authorization: Bearer TOKEN` or, for browsers that can't set headers, as ?access_token=
 * (RFC 6750 2.1, 2.3). The header beats the query, and of several parameters the last counts. A header with another
 * scheme, such as Basic, is somebody else's: it counts as none. */
#ifndef AUTH_CREDENTIAL_H
#define AUTH_CREDENTIAL_H

#include "base/buf.h"
#include "base/ip_address.h"
#include "base/msec.h"

enum {
    CREDENTIAL_BYTES_MAX  = 8 * 1024,  /* of a token; a longer one is nobody's */
    CREDENTIAL_FIELDS_MAX = 16,        /* of a request, that the connect hook is told */
};

enum credential_kind {
    CREDENTIAL_NONE,    /* nothing was shown */
    CREDENTIAL_TOKEN,
    CREDENTIAL_UNUSABLE /* a broken encoding, or too long: no identity has it */
};

struct credential {
    enum credential_kind kind;
    struct span          token;         /* borrowed, as are the others */
    /* What the sender says about itself: the parameters user= and device=, or members of `connect`. It is believed only
     * where neither keys nor issuers are configured. */
    struct span          user, device;
    /* Whom the certificate names that the sender has shown in the TLS handshake, and when it is valid (wall). It counts
     * where no token is shown. Empty: there is none. */
    struct span          certified;
    msec                 certified_from, certified_until;
    /* The address of the sender. False: it is not known. Asked only when it is needed, because the answer costs a system
     * call. NULL: not known. */
    bool               (*get_address)(const void *sender, struct ip_address *ret);
    const void          *sender;
    /* Of the connection that it came on, for the application's connect hook. */
    bool                           is_link;     /* it opens a link: whoever shows nothing is asked about too */
    uint64_t                       connection;  /* its key; 0: it has none */
    const char                    *transport;   /* static; NULL: not known */
    const struct credential_field *fields;      /* of the request, those that the hook is told */
    size_t                         field_count;
};

struct credential_field {
    struct span name, value;
};

/* Where parameters are decoded; holds no memory until one needs it. */
struct credential_scratch {
    struct buf token, user, device;
};

void credential_scratch_init(struct credential_scratch *scratch);
void credential_scratch_fini(struct credential_scratch *scratch);

/* `authorization`: the header's value; its `at` is NULL without one. All spans point into one of these or into
 * `scratch`. */
struct credential credential_of_request(struct span authorization, struct span query,
                                        struct credential_scratch *scratch);
struct credential credential_of_token(struct span token);

/* The sender's address; IP_UNKNOWN: it is not known. */
struct ip_address credential_address(const struct credential *credential);
/* ip_customer() of it. */
uint64_t credential_customer(const struct credential *credential);

/* Is a query's parameter with this name read here? Then no call needs to know it. */
bool credential_is_parameter(struct span name);

#endif
