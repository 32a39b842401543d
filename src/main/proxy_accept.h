/* proxy_accept.h - connections of proxies that say first whose connection it is (codec/proxy/proxy.h): from the accepted
 * socket to the address of the client. Addresses in the setting proxy_protocol have to send such a header; nobody else may.
 *
 *     socket -> waits for the rest of the header -> accepted on, with the client's address
 *                          |
 *                          +--> closed: no header, a bad one, the time of a request's head is over
 *
 * The header is looked at without being taken, until it is whole; then it is taken alone. So whoever speaks behind it, TLS
 * too, finds the socket as a client would have left it. One that waits counts among the connections. */
#ifndef MAIN_PROXY_ACCEPT_H
#define MAIN_PROXY_ACCEPT_H

#include "base/counter.h"
#include "base/ip_address.h"
#include "base/list.h"

struct worker;

/* Goes on with the connection; takes the descriptor. `client` is whom it counts for; `is_named`: a proxy has said so, and the
 * socket's peer is that proxy. */
typedef void accepted_by(struct worker *worker, int fd, const struct ip_address *client, bool is_named);

struct proxy_accept {
    struct list    waiting;
    struct counter named;    /* connections whose client a header has named */
    struct counter local;    /* … whose header names none: a proxy's own */
    struct counter refused;  /* closed, because no good header came in time */
};

void proxy_accept_init(struct proxy_accept *proxies);

/* Does the setting ask this peer for a header? */
bool proxy_accept_expects(const struct worker *worker, const struct ip_address *peer);

/* Takes the descriptor. */
void proxy_accept_begin(struct worker *worker, int fd, const struct ip_address *peer, accepted_by *by);

/* Closes those that wait. */
void proxy_accept_close_all(struct worker *worker);

#endif
