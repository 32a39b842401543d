/* tls_accept.h - the TLS handshakes of one loop: from an accepted socket to a stream whose bytes are the peer's.
 *
 *     socket -> waits for the peer <-> is ready for a step -> a stream, given to accepted()
 *                     |                     |
 *                     +---------------------+--> failed: counted by its reason, and closed
 *
 * A handshake costs the loop up to a few milliseconds of arithmetic. So steps stand in a line, and each turn does some of
 * them, for a millisecond: deliveries go on between (docs/decisions/0111). A peer that has sent nothing costs no
 * connection of OpenSSL, only this struct. Handshakes end within handshake_ms. When handshakes_max are under way, the one
 * that has waited longest for its peer makes room; if none waits, because the loop itself is late, the newcomer is closed. */
#ifndef REACTOR_TLS_ACCEPT_H
#define REACTOR_TLS_ACCEPT_H

#include "base/counter.h"
#include "reactor/stream_tls.h"
#include "reactor/tls_section.h"

struct tls_limits {
    size_t handshakes_max;
    msec   handshake_ms;
};

enum tls_failure {
    TLS_FAILED_TIMEOUT,      /* handshake_ms were over */
    TLS_FAILED_CROWD,        /* it made room for a newer one, or there was none */
    TLS_FAILED_PLAIN,        /* what came is no TLS: plain HTTP, or something else */
    TLS_FAILED_LEFT,         /* the peer closed or reset the link */
    TLS_FAILED_VERSION,      /* older than 1.2 */
    TLS_FAILED_CIPHER,       /* none in common, or no key exchange */
    TLS_FAILED_PROTOCOL,     /* ALPN: none in common */
    TLS_FAILED_CERTIFICATE,  /* the client's is missing, bad, expired, or names nobody */
    TLS_FAILED_ALERT,        /* the client refused: it does not trust our certificate, most often */
    TLS_FAILED_OTHER,
    TLS_FAILURE_COUNT
};
/* "timeout", "crowd", … */
const char *tls_failure_name(enum tls_failure failure);

struct tls_counters {
    struct counter under_way;
    struct counter done[2];  /* of 1.2, of 1.3 */
    struct counter resumed;  /* of them */
    struct counter failed[TLS_FAILURE_COUNT];
};

/* What a listener's connections are for. */
struct tls_use {
    struct span protocols;     /* tls_sections_open() */
    bool        speaks_http;   /* plain HTTP is answered 400 */
    /* Takes the stream, which has had no owner, and starts it in the same call, or closes it. It is told to read in the next turn. */
    void      (*accepted)(void *ctx, struct stream *stream);
    void       *ctx;
};

struct tls_accept {
    struct tls_maker     maker;
    struct loop         *loop;
    struct tls_sections *sections;  /* of new handshakes; a reference. NULL: none */
    struct tls_limits    limits;
    struct list          waiting;   /* for their peers; the one that waits longest is the first */
    struct list          ready;     /* for a step; the same */
    struct tls_counters  counters;
};

void tls_accept_init(struct tls_accept *accept, struct loop *loop, const struct tls_limits *limits);
/* Closes the handshakes that are under way: the server leaves. */
void tls_accept_close_all(struct tls_accept *accept);
/* The same, and what closed streams have left; before the loop's end. */
void tls_accept_stop(struct tls_accept *accept);
/* Behind the loop's end. */
void tls_accept_fini(struct tls_accept *accept);

/* New handshakes use these; takes the reference. */
void tls_accept_set_sections(struct tls_accept *accept, struct tls_sections *sections);

/* Begins a handshake; takes the descriptor in any case. `named`: the client's address, as a proxy in front has named it;
 * NULL: none has. `use` is borrowed until the handshake ends. */
void tls_accept_begin(struct tls_accept *accept, int fd, const struct ip_address *named, const struct tls_use *use);

/* Does some of the steps that are due. Once a turn, when deliveries have been made. */
void tls_accept_turn_end(struct tls_accept *accept);

/* Is nothing under way, and has all that closed streams have left been sent? */
bool tls_accept_is_idle(const struct tls_accept *accept);

#endif
