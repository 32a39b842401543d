/* wire.h - one connection to a server: TCP, or TLS over it (OpenSSL). Never waits, and raises no SIGPIPE.
 *
 * It tries the addresses of a name one after the other. Before it is open, wire_advance() carries it on; afterwards
 * wire_read() and wire_write() do. wire_events() says what to wait for. One thread. */
#ifndef CLIENT_WIRE_H
#define CLIENT_WIRE_H

#include <netdb.h>
#include <openssl/ssl.h>

#include "base/msec.h"
#include "base/span.h"

enum { WIRE_FAULT_BYTES = 160, WIRE_CONNECT_MS = 10 * 1000 };

enum wire_state { WIRE_CLOSED, WIRE_CONNECTING, WIRE_HANDSHAKE, WIRE_OPEN };

struct wire {
    enum wire_state  state;
    int              fd;         /* -1: none */
    unsigned         serial;     /* of the socket: another one may have the same fd */
    struct addrinfo *found;      /* owned; what was resolved */
    struct addrinfo *next;       /* the address to try next */
    SSL             *ssl;        /* NULL: no TLS */
    SSL_CTX         *tls;        /* borrowed; NULL: no TLS */
    const char      *host;       /* borrowed; the certificate must name it */
    bool             wants_out;  /* wait until the socket takes bytes, too */
    msec             until;      /* while it isn't open: the address or the handshake is given up then */
    char             fault[WIRE_FAULT_BYTES];  /* why it failed */
};

enum wire_result {
    WIRE_DONE,   /* it goes on; for reads and writes: at least one byte */
    WIRE_WAITS,  /* for the socket, or the peer */
    WIRE_ENDED,  /* wire->fault says why: the peer has closed, or the connection failed */
};

/* NULL: the file can't be used, or OpenSSL fails. `ca_file` NULL: those that the system trusts. */
SSL_CTX *wire_tls_new(const char *ca_file);

void wire_init(struct wire *wire);
void wire_close(struct wire *wire);  /* closed already: fine */

/* Takes *found. `tls` NULL: plain TCP. */
void wire_open(struct wire *wire, struct addrinfo **found, SSL_CTX *tls, const char *host, msec now);

/* DONE: it is open now. */
enum wire_result wire_advance(struct wire *wire, msec now);

enum wire_result wire_read(struct wire *wire, char *into, size_t max, size_t *ret_len);
enum wire_result wire_write(struct wire *wire, struct span bytes, size_t *ret_len);

/* EPOLLIN, and EPOLLOUT where needed. `has_output`: bytes wait for wire_write(). */
uint32_t wire_events(const struct wire *wire, bool has_output);

#endif
