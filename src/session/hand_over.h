/* hand_over.h - links that move from one process of the server to the next one, with their places (docs/decisions/0124).
 *
 * A link moves if its stream is a plain socket and nothing of it is under way: no publish, no question, no `connect`. Who holds the
 * loop (loop_hold()) and waits a moment finds nearly all of them so. The old process only describes its links; they go on
 * there unchanged if the new process fails. */
#ifndef SESSION_HAND_OVER_H
#define SESSION_HAND_OVER_H

#include "codec/handover/handover.h"
#include "device/device_command.h"
#include "session/session_worker.h"

/* What is told of one link. */
struct link_parcel {
    struct handover_link link;
    struct buf           words, state, scratch, peer;  /* what the spans of the link point into */
    struct buf           bounds;                       /* … and what follows its subscriptions */
};

/* --- the old process --- */

/* The loop is held: what waits to be told to the writer is told now, and polls are answered, so that their clients come
 * again. */
void session_worker_settle(struct session_worker *worker);
/* Is nothing under way on any link that could move? */
bool session_worker_is_settled(const struct session_worker *worker);

/* Before the next one: what clients have acknowledged until now. */
void session_worker_tell_acknowledged(struct session_worker *worker);
/* Appends the record of each link that can move, and calls moved() with its socket, in the order of the records. Returns how
 * many there are. Changes nothing. */
size_t session_worker_hand_over(struct session_worker *worker, struct buf *buf, void (*moved)(void *ctx, int socket), void *ctx);
/* The new process serves them: ends those that have moved here, without a word. */
void session_worker_forget_moved(struct session_worker *worker);

/* --- the new process --- */

/* Goes on with a link, by the body of its record. Takes the socket. False: this is no such link, and the socket is closed. */
bool session_worker_take_over(struct session_worker *worker, int socket, struct span body);

/* --- for the transports --- */

struct client;
struct link;
void client_hand_over(const struct client *client, struct link_parcel *parcel);
void client_take_over(struct client *client, const struct handover_link *told);
/* device_hand_over.c: the session of a link. False: not now. */
bool device_link_hand_over(const struct link *link, struct link_parcel *parcel);
/* Before the subscriptions. OPEN_DONE: the link has its session; else it is to end. */
enum open_outcome device_link_take_over(struct link *link, const struct handover_link *told);
/* Behind them, by what follows them in the record. */
void device_link_take_bounds(struct link *link, const struct handover_link *told, struct span bounds);
/* Each takes the stream; NULL: this is no such link, and the stream is closed. */
struct link *ws_session_take_over(struct session_worker *worker, struct stream *stream, const struct handover_link *told,
                                  struct identity *holder);
struct link *native_session_take_over(struct session_worker *worker, struct stream *stream, const struct handover_link *told,
                                      struct identity *holder);
struct link *stream_session_take_over(struct session_worker *worker, struct stream *stream, const struct handover_link *told,
                                      struct identity *holder);

#endif
