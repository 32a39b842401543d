/* tls_host.h - TLS in the server: from the [tls NAME] sections of the settings to connections of its workers.
 *
 * The main thread reads the files, at the start and at each reload; a worker takes the new sections together with the
 * configuration that they are of. Links that are open go on with the sections that they began with. */
#ifndef MAIN_TLS_HOST_H
#define MAIN_TLS_HOST_H

#include "reactor/tls_accept.h"
#include "settings/settings.h"

struct worker;

/* Reads the files of the settings' [tls NAME] sections. *ret is NULL if there are none. False: `why` says what is wrong, as
 * a sentence with section and file. */
bool tls_host_read(const struct settings *settings, struct tls_tickets *tickets, struct tls_sections **ret, struct buf *why);
/* The same to see whether it would go well. */
bool tls_host_check(const struct settings *settings, struct buf *why);

/* The worker's handshakes, by its snapshot; its loop is open. */
void tls_host_open(struct worker *worker);
/* By the new snapshot. */
void tls_host_adopt(struct worker *worker);

/* A connection of `https` or `tcps` was accepted; takes the descriptor. `named`: as in tls_accept_begin(). */
void tls_host_accepted(struct worker *worker, int fd, const struct ip_address *named);
void tls_host_accepted_native(struct worker *worker, int fd, const struct ip_address *named);

#endif
