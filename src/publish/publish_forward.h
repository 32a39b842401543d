/* publish_forward.h - publishes to connections of other nodes. A connection's log is where the connection is, so the publish travels
 * there by a question of the cluster (node/peer_question.h), and its answer comes back. */
#ifndef PUBLISH_PUBLISH_FORWARD_H
#define PUBLISH_PUBLISH_FORWARD_H

#include "node/peer_question.h"

struct shard;

/* For shard_port.forward. If no node has the tag, or none answers, the publish ends as one to a connection that is not there;
 * one that is too large to travel is refused. */
void publish_forward(struct shard *shard, struct publish_command *publish, uint16_t tag);

/* A question of another node, PEER_PUBLISH, at a loop: published, and answered in a later turn. Takes it. */
void publish_forward_serve(struct shard *shard, struct namespaces *namespaces, const struct hash_key *hash_key,
                           struct peer_call *call);

#endif
