/* parcel_socket.h - messages with descriptors between two processes of one machine, over a socket in the file system. It
 * blocks: for the few moments in which one process hands over to another. Who may open the path may connect, so it is made with
 * mode 0600. */
#ifndef REACTOR_PARCEL_SOCKET_H
#define REACTOR_PARCEL_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/msec.h"
#include "base/rc.h"
#include "base/span.h"

enum {
    PARCEL_BYTES_MAX   = 64 * 1024,
    PARCEL_SOCKETS_MAX = 253,        /* what Linux takes in one message */
};

/* A listening socket at this path; what a process that is gone has left there is replaced. A path may be longer than the
 * address of a socket. RC_BUSY: somebody listens there. */
enum rc parcel_listen(const char *path, int *ret_fd) RC_MUST_USE;

/* RC_GONE: nobody listens there. */
enum rc parcel_connect(const char *path, int *ret_fd) RC_MUST_USE;

/* One that waits; -1: none does. Only processes of this user, or of root, are let in. */
int parcel_accept(int fd);

/* The process that opened the other end: a descriptor that parcel_await() tells of once it has ended; -1: not known. */
int parcel_peer(int fd);
/* Waits until there is something to read. False: there is nothing. */
bool parcel_await(int fd, msec within_ms);

/* False: the peer is gone, or takes nothing for `within_ms`. The descriptors stay the caller's. */
bool parcel_send(int fd, struct span bytes, const int *sockets, size_t count, msec within_ms);

/* The next message: its length; 0: the peer is gone; -1: nothing came within that time, or it was no such message. The
 * descriptors are the caller's. */
int parcel_receive(int fd, char bytes[PARCEL_BYTES_MAX], int sockets[PARCEL_SOCKETS_MAX], size_t *ret_count, msec within_ms);

/* A file in memory with these bytes, to be sent; -1: there is no room. */
int  parcel_file(struct span bytes);
/* All of such a file, to be read; RC_BAD: it is none. */
enum rc parcel_map(int file, struct span *ret) RC_MUST_USE;
void    parcel_unmap(struct span bytes);

#endif
