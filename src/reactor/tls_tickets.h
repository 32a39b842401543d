/* tls_tickets.h - the keys that encrypt TLS session tickets (RFC 5077, RFC 8446 4.6.1). All loops share them.
 *
 * A key is random, lives in memory alone, and encrypts for an hour; it decrypts for two more. Then it is wiped, so that
 * nobody who takes the process over later can read what older tickets protect. Other nodes have other keys: a client that
 * comes to another node makes a full handshake there. */
#ifndef REACTOR_TLS_TICKETS_H
#define REACTOR_TLS_TICKETS_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "base/msec.h"

enum { TLS_TICKET_KEYS = 3, TLS_TICKET_KEY_S = 3600 };

struct tls_tickets;

struct tls_tickets *tls_tickets_new(void);
void                tls_tickets_free(struct tls_tickets *tickets);  /* NULL is fine */

/* The connections of this context get their tickets from here. Borrowed until the context is freed. */
void tls_tickets_use(struct tls_tickets *tickets, SSL_CTX *context);

/* The moves, for the callback of OpenSSL and for tests. A key's name is 16 bytes. */
enum { TLS_TICKET_NAME_BYTES = 16, TLS_TICKET_SECRET_BYTES = 32 };
struct tls_ticket_key {
    unsigned char name[TLS_TICKET_NAME_BYTES];
    unsigned char cipher[TLS_TICKET_SECRET_BYTES];
    unsigned char mac[TLS_TICKET_SECRET_BYTES];
    msec          made_at;  /* monotonic; 0: there is no key */
};
/* The key to encrypt with; a new one if the last has served its time. False: no randomness. */
bool tls_tickets_newest(struct tls_tickets *tickets, msec now, struct tls_ticket_key *ret);
/* The key of this name. False: it never was, or it is gone. */
bool tls_tickets_find(struct tls_tickets *tickets, msec now, const unsigned char *name, struct tls_ticket_key *ret);

#endif
