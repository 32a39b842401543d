/* conn_follow.h - how a connection comes to follow `conn:KEY`, its own channel.
 *
 * By the key that the server gave it, it follows when somebody publishes there for the first time (node/conn_publish.c);
 * that publish waits until the channel has answered. By a key that a request brings in the header that the setting
 * connection_key_header names, it follows from the start.
 *
 * Such a subscription was not asked for by the client: it is not told `subscribed`, it stands in no cursor token, and
 * ends with the connection. */
#ifndef SESSION_CONN_FOLLOW_H
#define SESSION_CONN_FOLLOW_H

#include "session/link.h"
#include "session/subscribe_request.h"

enum { CONNECTION_KEY_HEADER_BYTES_MAX = 64 };

/* For shard_port.address. False: the publish goes on at once. True: it was taken, and goes on later. */
bool session_worker_address(struct session_worker *worker, struct publish_command *publish);
/* Publishes whose connection follows by now, or is gone, go on. Once a turn. */
void session_worker_send_addressed(struct session_worker *worker);
/* Frees those that still wait. */
void session_worker_drop_addressed(struct session_worker *worker);

/* The channel of the key that the request brings; *ret is NULL if it brings none. The caller owns the reference. False: the
 * key can't be one; the fault is set. */
bool conn_follow_read(struct subscribe_requests *requests, struct session_worker *worker,
                      const struct request_head *head, struct channel_name **ret);

/* Makes the link follow its own channel. */
struct reader_sub *link_follow_own(struct link *link, struct channel_name *name);

#endif
