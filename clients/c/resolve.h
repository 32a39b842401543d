/* resolve.h - turns a host's name into addresses without making the loop wait: a thread of its own asks, and a descriptor
 * becomes readable when the answer is there. An address in digits is answered at once, without a thread. */
#ifndef CLIENT_RESOLVE_H
#define CLIENT_RESOLVE_H

#include <netdb.h>
#include <stdbool.h>

#include "base/rc.h"

struct resolving;

/* Both texts are copied. RC_NOMEM: no thread or descriptor. */
enum rc resolving_start(const char *host, const char *port, struct resolving **ret) RC_MUST_USE;

/* Readable when resolving_take() has an answer. */
int resolving_fd(const struct resolving *resolving);

/* False: not yet. *ret_found is the caller's, to be given to freeaddrinfo(); NULL: *ret_why says why, a literal of the
 * system's. */
bool resolving_take(struct resolving *resolving, struct addrinfo **ret_found, const char **ret_why);

/* At any time; a thread that is still asking gives its answer back to nobody. NULL is fine. */
void resolving_free(struct resolving *resolving);

#endif
