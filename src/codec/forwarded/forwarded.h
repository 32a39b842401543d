/* forwarded.h - reads in a request's head whom a proxy in front names as the client: `Forwarded` (RFC 7239), else
 * `X-Forwarded-For` with `X-Forwarded-Proto`. Pure.
 *
 * Each proxy on the way appends the address that it was asked by. Only what a trusted proxy appended may be believed, and
 * the head does not say who appended what. So the rightmost address that is no trusted proxy's counts; whatever stands to
 * the left of it may be made up. If all are trusted the leftmost counts.
 *
 * A proxy may hide its client (for=unknown, for=_name), and a field may be broken. Then nothing to the left counts, and the
 * trusted proxy that stands to the right is all that is known. */
#ifndef CODEC_FORWARDED_FORWARDED_H
#define CODEC_FORWARDED_FORWARDED_H

#include "base/ip_range.h"
#include "codec/request_head.h"

enum forwarded_proto { FORWARDED_PROTO_UNKNOWN, FORWARDED_PROTO_PLAIN, FORWARDED_PROTO_SECRET };

struct forwarded {
    struct ip_address    client;  /* IP_UNKNOWN: no address was said, or none that counts; the link's peer is all that is known */
    enum forwarded_proto proto;   /* by which that client asked: https (or wss) is secret, http (or ws) is plain */
};

/* Of a head that came from a trusted proxy. */
struct forwarded forwarded_read(const struct request_head *head, const struct ip_ranges *trusted);

#endif
