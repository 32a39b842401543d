/* membership_left.h - all loops of all nodes are told that a user has left a group, for links that are no session's: they don't
 * read the user's log. Other nodes are told by a notice (node/peer_question.h). */
#ifndef DEVICE_MEMBERSHIP_LEFT_H
#define DEVICE_MEMBERSHIP_LEFT_H

#include "node/writer.h"

struct shard;
struct peer_call;

/* user:U, group:G; shares the names. At the writer. */
void membership_left_tell(struct writer *writer, struct channel_name *user, struct channel_name *group);

/* A notice of another node, PEER_LEFT, at a loop. Takes it. */
void shard_serve_left(struct shard *shard, struct namespaces *namespaces, const struct hash_key *hash_key,
                      struct peer_call *call);

#endif
