/* networks.h - which heartbeat the networks of clients bear, learned from links that were lost. Pure.
 *
 * Some networks forget a connection that is silent for too long (their address translators do). Then every link of such
 * a network is lost in its first silence. So what one link has suffered is told to the next one as its first interval:
 * the start value of its network, that is of the first 24 bits of an IPv4 address or the first 48 of an IPv6 one.
 *
 *   - three links lost in silence, none having borne it in between: the start value becomes three quarters of what was
 *     lost;
 *   - sixteen silences borne, each of three quarters of the start value or more, none lost in between: it rises by a
 *     quarter, up to what anybody is offered; then the network is forgotten.
 *
 * A network on which nothing was lost costs nothing. The table is bounded: a network that was not heard of for longest
 * makes room for a new one. One thread. */
#ifndef SESSION_NETWORKS_H
#define SESSION_NETWORKS_H

#include <stddef.h>
#include <stdint.h>

#include "base/msec.h"

enum {
    NETWORKS_MAX         = 4096,  /* of one loop */
    NETWORK_WAYS         = 4,     /* places in the table where one network can stand */
    NETWORK_LOST_MANY    = 3,
    NETWORK_BORNE_MANY   = 16,
};

struct network {
    uint32_t key;        /* 0: free */
    uint32_t used_at;    /* s */
    uint32_t start_ms;   /* 0: not learned yet */
    uint16_t lost, borne;
};

struct networks {
    struct network *at;     /* NETWORKS_MAX, from the first loss on; NULL before */
    size_t          count;  /* that are known */
};

void networks_init(struct networks *networks);
void networks_fini(struct networks *networks);

/* The network of an address: 4 bytes or 16, in the network's order. 0: of any other length, and nothing is learned.
 * IPv4 in IPv6 counts as IPv4. Networks of IPv6 share a key once in 2^31. */
uint32_t network_key(const uint8_t *address, size_t len);

/* The start value; 0: not known. */
msec networks_bear(const struct networks *networks, uint32_t key);

/* A link was given up after a silence that was to last `silent_ms`. `least_ms`: no start value is less. */
void networks_lost(struct networks *networks, uint32_t key, msec silent_ms, msec least_ms, msec now);

/* A link has borne such a silence. `most_ms`: what anybody is offered. */
void networks_borne(struct networks *networks, uint32_t key, msec silent_ms, msec most_ms, msec now);

#endif
