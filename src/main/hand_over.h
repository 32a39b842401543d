/* hand_over.h - this process serves, and another one comes to take its place: `longwired --take-over` (take_over.h;
 * docs/decisions/0124). All of it happens on main's thread.
 *
 *     new                                          this process
 *     HELLO: version, data, loops  ──────────────► refused by a sentence, or
 *                                  ◄────────────── OFFER, its listening sockets, READY
 *     READY: it has read all it can ─────────────► stands still (hand_over_gate.h), closes the store
 *                                  ◄────────────── its live links, what is in memory, READY
 *     opens the store, goes on with the links
 *     TAKEN                        ──────────────► GONE; lets the rest of its clients go, and ends
 *
 * Until TAKEN has come, whatever happens to the new process, this one opens the store again and goes on. */
#ifndef MAIN_HAND_OVER_H
#define MAIN_HAND_OVER_H

#include <stdbool.h>

#include "base/buf.h"

struct server;
struct settings;

struct hand_over {
    struct buf path;
    int        fd;         /* a listening socket; -1: there is none */
    int        successor;  /* of the talk with the process that has taken over; -1: none has */
};

/* Listens for a process that wants to take over; what stands in the way is logged. */
void hand_over_open(struct hand_over *hand, const struct settings *settings);
void hand_over_close(struct hand_over *hand);

/* Somebody has connected. True: another process serves now, and this one has to let its clients go. False: this one goes on. */
bool hand_over_serve(struct hand_over *hand, struct server *server);
/* … and then: waits until the other process has told the service manager that it is the main one now, so that the end of this one
 * is none of the service's. It is not waited for long. */
void hand_over_await_successor(struct hand_over *hand);

#endif
