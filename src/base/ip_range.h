/* ip_range.h - ranges of addresses, as settings list them: 10.0.0.0/8, 2001:db8::/32, 192.0.2.7. Pure.
 *
 * A range is of IPv4 or of IPv6, never of both: ::/0 has no IPv4 client in it. Bits behind the first BITS don't count. */
#ifndef BASE_IP_RANGE_H
#define BASE_IP_RANGE_H

#include "base/ip_address.h"

enum { IP_RANGES_MAX = 64 };

struct ip_range {
    struct ip_address first;
    uint8_t           bits;  /* of 128, also of an IPv4 range */
};

struct ip_ranges {
    struct ip_range at[IP_RANGES_MAX];
    size_t          count;
};

/* ADDRESS/BITS, or ADDRESS for one alone. False: it is none. */
bool ip_range_read(struct span text, struct ip_range *ret);

/* An address that is not known is in no range. */
bool ip_ranges_have(const struct ip_ranges *ranges, const struct ip_address *address);

#endif
