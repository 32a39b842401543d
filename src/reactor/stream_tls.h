/* stream_tls.h - the maker of streams over TLS (stream.h). tls_accept.h makes the handshakes; this is what is left of a
 * connection afterwards, and how its bytes pass between OpenSSL and the socket.
 *
 * Nothing is buffered here while a link is idle: OpenSSL gives its buffers back, and reads and writes go to the socket
 * directly. What the socket does not take is kept, encrypted, until it does (`unsent`); nothing more is encrypted
 * before, so that this is one record, and what OpenSSL answers by itself. It is sent also if the stream has been closed
 * meanwhile (`rest`).
 *
 * Closing sends close_notify. A peer that leaves without one is a fault, not an end: it may have been cut off. */
#ifndef REACTOR_STREAM_TLS_H
#define REACTOR_STREAM_TLS_H

#include <openssl/ssl.h>

#include "base/counter.h"
#include "base/list.h"
#include "base/rc.h"
#include "base/wheel.h"
#include "reactor/loop.h"
#include "reactor/stream.h"

enum {
    TLS_UNSENT_BYTES_MAX = 64 * 1024,
    TLS_REST_MS          = 10 * 1000,  /* a closed stream's peer has so long to take what is left */
};

struct tls_person;

struct stream_tls {
    struct stream      stream;   /* `number` is the descriptor */
    SSL               *ssl;      /* NULL: the peer has not sent a byte yet */
    void              *handshake;  /* tls_accept's; NULL: it is done */
    struct tls_person *person;   /* whom the peer's certificate names; NULL: nobody. Owned */
    struct buf        *unsent;   /* NULL: nothing */
    bool               is_socket_empty;   /* the socket had nothing more, and no event has come since */
    bool               is_shut;  /* our direction is closed */
    bool               is_broken;/* OpenSSL or the socket has failed */
};

struct tls_maker {
    struct stream_maker maker;   /* first: a stream finds it by its source's kind */
    struct list         rests;   /* of closed streams */
    BIO_METHOD         *method;
    BIO                *bio;      /* of all its connections: they would pay 200 bytes each for one of their own */
    struct stream_tls  *current;  /* whose connection OpenSSL works on now */
    struct counter      links;    /* streams whose handshake is done */
    void              (*progress)(struct stream_tls *tls);  /* an event of one whose handshake is under way */
    void              (*dropped)(struct stream_tls *tls);   /* one whose handshake is under way is closed */
};

void tls_maker_init(struct tls_maker *maker, struct loop *loop);
/* Closes the rests; before the loop's end. */
void tls_maker_stop(struct tls_maker *maker);
/* Behind the loop's end: all streams are freed. */
void tls_maker_fini(struct tls_maker *maker);

/* Takes the descriptor on RC_OK only. The handshake is tls_accept's. */
enum rc stream_tls_new(struct tls_maker *maker, int fd, struct stream_tls **ret) RC_MUST_USE;
/* Gives it a connection of OpenSSL, which it takes. */
void stream_tls_open(struct stream_tls *tls, SSL *ssl);
/* SSL_do_handshake(). */
int stream_tls_shake(struct stream_tls *tls);

#endif
