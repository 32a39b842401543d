/* ip_address.h - the address of a client as a small value: what logs, limits and rates know it by. Pure.
 *
 * IPv4 is kept as IPv6 has it (::ffff:192.0.2.7, RFC 4291 2.5.5.2), so that a client has one address, whichever kind of
 * socket took it. The value of all zeroes is IP_UNKNOWN: nobody connects from `::`.
 *
 * Who asks for the address of a client asks one of these, and none looks at a socket:
 *
 *     stream_peer()           of a connection, as the PROXY protocol names it (reactor/stream.h); what links of sessions ask
 *     http_client()           of a request, as a trusted proxy names it in its head (http/http.h)
 *     http_exchange_client()  the same, when its head is gone
 *
 * A table by address is keyed by ip_customer(), not by the whole value. */
#ifndef BASE_IP_ADDRESS_H
#define BASE_IP_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum { IP_BYTES = 16, IP_TEXT_BYTES_MAX = 46 };

struct ip_address {
    uint8_t bytes[IP_BYTES];  /* in the network's order */
};

#define IP_UNKNOWN ((struct ip_address){ { 0 } })

/* From the bytes of either kind of address, in the network's order. */
struct ip_address ip_of_v4(const void *bytes);
struct ip_address ip_of_v6(const void *bytes);

/* 192.0.2.7 or 2001:db8::7, without a port, brackets or zone. False: it is none. */
bool ip_read(struct span text, struct ip_address *ret);

/* Appends it in the same form; nothing for IP_UNKNOWN. */
void ip_put(const struct ip_address *address, struct buf *out);

bool ip_is_known(const struct ip_address *address);
bool ip_is_v4(const struct ip_address *address);
bool ip_eq(const struct ip_address *one, const struct ip_address *other);

/* The number that stands for all addresses which a provider gives to one customer: an IPv4 address, or the first 64 bits
 * of an IPv6 one. Never 0, but for IP_UNKNOWN. Numbers of IPv4 and IPv6 differ. */
uint64_t ip_customer(const struct ip_address *address);

#endif
