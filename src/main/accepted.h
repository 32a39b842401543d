/* accepted.h - from an accepted socket to whoever speaks its protocol, for the listeners of all four kinds. This is the
 * one place where a new connection and the address of its client are known together, before anything was spent on it: where
 * accepted_by is called (proxy_accept.h). The peer may be one of the setting trusted_proxies, whose connections carry requests
 * of many clients: those have addresses of their own, by http_client(). */
#ifndef MAIN_ACCEPTED_H
#define MAIN_ACCEPTED_H

#include "base/ip_address.h"

/* For listener_options.accepted, by the kind of the listener; ctx is the worker. */
extern void (*const accepted_by_kind[/* is_tls */ 2][/* is_native */ 2])(void *ctx, int fd, const struct ip_address *peer);

#endif
