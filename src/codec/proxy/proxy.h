/* proxy.h - reads the header by which a proxy in front says whose connection it passes on: the PROXY protocol, versions 1
 * and 2, as HAProxy's proxy-protocol.txt describes it. Pure.
 *
 *     version 1   PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 CR LF        107 bytes at most
 *     version 2   12 bytes of signature · version and command · family · length · addresses · TLVs, which are skipped
 *
 * The header stands before everything else on the connection, before TLS too. The reader has no state: it is given all
 * that has come so far, each time that more has come. */
#ifndef CODEC_PROXY_PROXY_H
#define CODEC_PROXY_PROXY_H

#include "base/ip_address.h"

enum { PROXY_HEADER_BYTES_MAX = 4096 };  /* of version 2, with its TLVs; a longer one is refused */

enum proxy_verdict {
    PROXY_MORE,   /* so far it may become a header */
    PROXY_DONE,
    PROXY_FAULT,  /* it is none, or a bad one */
};

struct proxy_header {
    size_t            len;     /* of PROXY_DONE: what stands behind is the client's */
    /* … whose connection it is. IP_UNKNOWN: the proxy speaks for itself (LOCAL: its own health checks), or can't say (UNKNOWN,
     * UNSPEC, UNIX, UDP); then the connection is the proxy's own. */
    struct ip_address client;
    const char       *fault;   /* of PROXY_FAULT: static */
};

enum proxy_verdict proxy_read(struct span input, struct proxy_header *ret);

/* Does it begin as a header does? So that whoever sends one where none is taken can be told. */
bool proxy_is_begun(struct span input);

#endif
