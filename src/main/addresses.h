/* addresses.h - how many connections each address has, and how often it opens one: connections_per_address_max and
 * connects_per_address_per_s (auth/usage_limits.h), for the whole process. Addresses are those of ip_customer(): IPv6 by its first 64 bits.
 *
 *     enters            FINE       its connection counts until it is closed
 *       │ above a limit
 *       ├───────────▶   OVER       it stays for the moment of an answer that says why: ADDRESS_BRIEF_MAX of an address
 *       └───────────▶   REFUSED    so many are being answered already: it is closed
 *
 * What a connection counts as stands by its descriptor. A connection of a time when both limits were off counts as none.
 * Both limits 0: nothing is kept, and no call does anything. */
#ifndef MAIN_ADDRESSES_H
#define MAIN_ADDRESSES_H

#include "auth/usage_limits.h"
#include "base/count_table.h"
#include "base/ip_address.h"

enum {
    ADDRESS_BRIEF_MAX       = 16,
    ADDRESS_DESCRIPTORS_MAX = 1 << 24,  /* connections whose descriptors are above it are not counted */
};

struct addresses {
    struct count_table counts;
    size_t             size;                   /* descriptors */
    _Atomic uint64_t  *by_descriptor;          /* what its connection counts as; 0: nothing */
};

enum address_verdict { ADDRESS_FINE, ADDRESS_OVER, ADDRESS_REFUSED };

/* `descriptors`: that the process may have. */
void addresses_init(struct addresses *addresses, uint64_t descriptors);
void addresses_fini(struct addresses *addresses);  /* a zeroed struct is fine */

/* The connection `fd` comes from this address. A refusal is counted in `limits`. */
enum address_verdict addresses_enter(struct addresses *addresses, struct usage_limits *limits, int fd,
                                     const struct ip_address *address, msec now);
/* The connection has come from another process, where it has entered: it counts, also beyond the limits. */
void addresses_take(struct addresses *addresses, const struct usage_limits *limits, int fd, const struct ip_address *address);
/* It is about to be closed. */
void addresses_leave(struct addresses *addresses, int fd);
/* Did it enter as ADDRESS_OVER? Then *ret is the limit. */
bool addresses_is_over(const struct addresses *addresses, int fd, enum usage_limit *ret);

#endif
