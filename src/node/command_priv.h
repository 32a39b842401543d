/* command_priv.h - what the node's own kinds of commands do at a loop (shard.c) and at the writer. Private to the
 * node. */
#ifndef NODE_COMMAND_PRIV_H
#define NODE_COMMAND_PRIV_H

#include "node/command.h"

/* The tag of the node that has the connection which this publish is for; 0: it is for none, or for one of this node. */
uint16_t shard_publish_elsewhere(const struct shard *shard, const struct publish_command *publish);

/* A publish to a connection is made to visit its loop first. */
void shard_address_publish(struct shard *shard, struct publish_command *publish);

void shard_take_publish(struct command *command, struct shard *shard);
void shard_take_read(struct command *command, struct shard *shard);
void shard_take_follow(struct command *command, struct shard *shard);
void shard_take_deliver(struct command *command, struct shard *shard);
void shard_take_purged(struct command *command, struct shard *shard);
void shard_take_moved(struct command *command, struct shard *shard);
void shard_take_heartbeat(struct command *command, struct shard *shard);
void shard_take_stats(struct command *command, struct shard *shard);
void shard_take_count(struct command *command, struct shard *shard);
void shard_take_listing(struct command *command, struct shard *shard);

void writer_take_publish(struct command *command, struct writer *writer);
void writer_take_read(struct command *command, struct writer *writer);
void writer_take_follow(struct command *command, struct writer *writer);
void writer_take_unfollow(struct command *command, struct writer *writer);
void writer_take_heartbeat(struct command *command, struct writer *writer);
void writer_take_stats(struct command *command, struct writer *writer);
void writer_take_count(struct command *command, struct writer *writer);
void writer_take_purged(struct command *command, struct writer *writer);
void writer_take_listing(struct command *command, struct writer *writer);

#endif
