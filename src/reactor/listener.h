/* listener.h - accepts connections on one address, for one loop. Every loop has a listener of its own (SO_REUSEPORT),
 * so a connection never changes threads.
 *
 * Options of sockets are set once, on the listening socket, and its connections inherit them: no connection costs a
 * system call for them. When descriptors run out, or only those are left that others need (descriptors_max), accepting rests for a tenth of a second
 * at a time instead of spinning; who wants to come in waits in the kernel. */
#ifndef REACTOR_LISTENER_H
#define REACTOR_LISTENER_H

#include "base/ip_address.h"
#include "reactor/loop.h"

struct listener;
struct sockaddr;
struct sockaddr_storage;

struct listener_options {
    const struct sockaddr *address;
    unsigned    address_len;
    const char *address_text;        /* for logs: "127.0.0.1:8080" */
    const char *congestion_control;  /* "cubic", "reno", …; "", or one that the kernel lacks: that of the system */
    int         backlog;
    int         descriptors_max;     /* while so many are open in this process, nobody is accepted: the others are for files.
                                      * A connection for each listener may still come beyond it. 0: any number */
    bool        has_socket;  /* `socket` listens there already: another process has opened it and handed it over */
    int         socket;      /* taken on RC_OK */
    /* the first of this address in this process: fails if another process listens there */
    bool        is_first;
    /* Takes the descriptor: connected, non-blocking. `peer` is the address of its other end; IP_UNKNOWN: it has none. */
    void      (*accepted)(void *ctx, int fd, const struct ip_address *peer);
    void       *ctx;
};

/* What the options point at is borrowed until listener_free(). RC_BUSY: the address is in use; RC_DENIED: this process
 * may not bind it; RC_BAD: this machine has no such address. */
enum rc listener_new(struct loop *loop, const struct listener_options *options, struct listener **ret) RC_MUST_USE;
void    listener_free(struct listener *listener);  /* NULL is fine */

/* Between the two nobody is accepted: clients wait in the kernel's queue. */
void listener_hold(struct listener *listener);
void listener_release(struct listener *listener);

/* The listening socket, which stays the listener's. */
int listener_socket(const struct listener *listener);

/* The port it really got, for addresses with port 0. */
unsigned listener_port(const struct listener *listener);

/* IP_UNKNOWN: it is of another family. */
struct ip_address ip_of_socket(const struct sockaddr_storage *address);

#endif
