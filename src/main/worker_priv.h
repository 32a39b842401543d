/* worker_priv.h - between the files of a worker. */
#ifndef MAIN_WORKER_PRIV_H
#define MAIN_WORKER_PRIV_H

#include "main/worker.h"

/* worker_turn.c; ctx is the worker. */
extern const struct loop_hooks worker_hooks;
void worker_arm_tick(struct worker *worker);

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
enum http_admission worker_admit(void *ctx, struct http_refusal *ret_refusal);  /* see struct http_service; ctx is the worker */
/* A connection of the native protocol; takes the stream. */
void worker_open_native(void *ctx, struct stream *stream);
void worker_stop_listening(struct worker *worker);

#endif
