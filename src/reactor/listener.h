/* listener.h - accepts on one address for one loop; every loop has its own (SO_REUSEPORT), so that a connection never
 * changes threads.
 *
 * What holds for all its connections is set on the listening socket once and inherited: no system call is spent on it
 * per connection. When descriptors run out, accepting rests for a tenth of a second instead of spinning. */
#ifndef REACTOR_LISTENER_H
#define REACTOR_LISTENER_H

#include "reactor/loop.h"

struct listener;
struct sockaddr;

struct listener_options {
    const struct sockaddr *address;
    unsigned    address_len;
    const char *address_text;        /* for logs: "127.0.0.1:8080" */
    const char *congestion_control;  /* "cubic", "reno", …; "" or one the kernel lacks: as the system has it */
    int         backlog;
    bool        is_first;            /* of this address in this process: nobody else may listen there */
    /* Takes the descriptor: connected, non-blocking. */
    void      (*accepted)(void *ctx, int fd);
    void       *ctx;
};

/* What the options point at is borrowed until it is freed. RC_BUSY: the address is in use; RC_DENIED: not ours to
 * bind; RC_BAD: no such address here. */
enum rc listener_new(struct loop *loop, const struct listener_options *options, struct listener **ret) RC_MUST_USE;
void    listener_free(struct listener *listener);  /* NULL is fine */

/* The port it really got, for addresses with port 0. */
unsigned listener_port(const struct listener *listener);

#endif
