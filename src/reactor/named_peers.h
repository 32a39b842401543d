/* named_peers.h - addresses of clients whose links end at a proxy, as the proxy has named them. One table a loop.
 *
 * A stream that came through a proxy holds a number here; all others hold none, and cost nothing. One thread. */
#ifndef REACTOR_NAMED_PEERS_H
#define REACTOR_NAMED_PEERS_H

#include "base/ip_address.h"

enum { NAMED_PEERS_MAX = (1 << 26) - 1 };  /* more than a loop has descriptors */

struct named_peer;

struct named_peers {
    struct named_peer *at;
    uint32_t           room;
    uint32_t           count;  /* places that were used ever */
    uint32_t           free;   /* the first free one of them; 0: none */
};

void named_peers_fini(struct named_peers *peers);

/* Returns the number of its place, 1 or more. */
uint32_t named_peers_add(struct named_peers *peers, const struct ip_address *address);
void     named_peers_take(struct named_peers *peers, uint32_t number);

struct ip_address named_peers_get(const struct named_peers *peers, uint32_t number);

#endif
