/* worker_priv.h - between the files of a worker. */
#ifndef MAIN_WORKER_PRIV_H
#define MAIN_WORKER_PRIV_H

#include "main/worker.h"

/* worker_turn.c; ctx is the worker. */
extern const struct loop_hooks worker_hooks;
void worker_arm_tick(struct worker *worker);

/* worker_hand_over.c: at the beginning of a turn's end, and at its end. */
void worker_hold_if_asked(struct worker *worker);
void worker_stand_still_if_asked(struct worker *worker);

/* worker_ports.c; ctx is the worker. */
extern const struct shard_port   worker_shard_port;
extern const struct session_port worker_session_port;
extern const struct api_port     worker_api_port;

/* worker_node.c; see struct api_port, ctx is the worker. */
void worker_describe_node(void *ctx, struct api_node *ret);
const struct registry *worker_nodes(void *ctx);
void worker_addresses(void *ctx, struct span advertise, struct span ret[NODE_SCHEMES]);
msec worker_wait_ms(void *ctx, struct span region);
/* session_port.elsewhere. */
void worker_elsewhere(void *ctx, struct buf *where);
void worker_drain_node(void *ctx, msec within_ms);
void worker_drain_if_asked(struct worker *worker);

/* worker.c */
/* Is there room for one more connection? */
enum http_admission worker_admit(struct worker *worker, struct http_refusal *ret_refusal);
/* See struct http_service; ctx is the worker. */
enum http_admission worker_admit_stream(void *ctx, const struct stream *stream, struct http_refusal *ret_refusal);
bool worker_turns_away(void *ctx, const struct stream *stream, struct http_refusal *ret_refusal);
/* By the limits for each address. `is_named`: a proxy has named the client. False: the connection is closed at once. True: it
 * counts, or is to be told why it is refused, or is that of a proxy that the settings name, for which these limits do not hold. */
bool worker_lets_address_in(struct worker *worker, int fd, const struct ip_address *client, bool is_named);
/* The same of a connection that comes from another process: it counts, and is never refused. */
void worker_take_address(struct worker *worker, int fd, const struct ip_address *client, bool is_named);
/* A connection of the native protocol; takes the stream. */
void worker_open_native(void *ctx, struct stream *stream);
void worker_stop_listening(struct worker *worker);

#endif
