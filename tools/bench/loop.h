/* loop.h - many connections to a server on one epoll, as light as possible, so that the bench does not measure itself.
 *
 * All connections of a loop share one inbox; a connection has memory of its own only while half a frame waits in it.
 * A loop and its connections belong to one thread, which may change only between turns. A connection that the server
 * ends, or that hears a fault, ends the run (die.h). */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

#include <netinet/in.h>

#include "bench/dialect.h"

struct conn;
typedef void conn_on_heard(struct conn *conn, const struct note *note);

struct loop {
    int      epoll;
    int      wake;
    char    *inbox;
    uint64_t now_ns;  /* when the bytes that are being heard were received */
};

struct conn {
    struct loop   *loop;
    int            fd;
    bool           waits_for_room;  /* the socket was full; epoll tells when it isn't */
    bool           is_finished;     /* the owner wants no more of it: closed when what it heard is dealt with */
    struct client   client;
    struct buf     rest;  /* received, but not the whole of something */
    conn_on_heard *on_heard;
    void          *owner;
    uint32_t       index;  /* the owner's */
};

void loop_open(struct loop *loop);
void loop_close(struct loop *loop);

/* Waits up to `wait_ns` for something to happen, then deals with all that did. */
void loop_turn(struct loop *loop, uint64_t wait_ns);

/* From any thread: the loop's turn ends soon. */
void loop_wake(const struct loop *loop);

/* Connects, greets and joins the loop. The caller has set client (but for `out`), on_heard, owner and index. */
void conn_open(struct conn *conn, struct loop *loop, const struct sockaddr_in *server);
void conn_close(struct conn *conn);

/* Sends what the client has to say, as far as the socket takes it; the loop sends the rest. */
void conn_flush(struct conn *conn);

#endif
