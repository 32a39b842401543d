/* loop.h - many connections to a server on one epoll, as light as possible, so that the benchmark does not measure
 * itself.
 *
 * All connections of a loop share one input buffer; a connection has memory of its own only while an incomplete frame
 * waits in it. A loop and its connections belong to one thread, which may change only between turns. A connection that
 * the server ends, or that reads a fault, ends the run (die.h). */
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
    uint64_t now_ns;  /* when the bytes that are being read were received */
};

struct conn {
    struct loop   *loop;
    int            fd;
    bool           waits_for_room;  /* the socket was full; epoll tells when it isn't */
    bool           is_finished;     /* the owner is done with it: closed once its bytes are handled */
    struct client   client;
    struct buf     rest;  /* received, but not a whole unit yet */
    conn_on_heard *on_heard;
    void          *owner;
    uint32_t       index;  /* the owner's */
};

void loop_open(struct loop *loop);
void loop_close(struct loop *loop);

/* Waits up to `wait_ns` for events, then handles them. */
void loop_turn(struct loop *loop, uint64_t wait_ns);

/* From any thread: the loop's turn ends soon. */
void loop_wake(const struct loop *loop);

/* Connects, sends the greeting and joins the loop. The caller has set client (except `out`), on_heard, owner and
 * index. */
void conn_open(struct conn *conn, struct loop *loop, const struct sockaddr_in *server);
void conn_close(struct conn *conn);

/* Sends the client's output, as far as the socket takes it; the loop sends the rest. */
void conn_flush(struct conn *conn);

#endif
