/* member_publish.h - a publish that only a member may make, to the channel NAME of some namespace: on its way it is asked
 * whether its user is a member of the group NAME.
 *
 * Such publishes keep their order among one another, whatever order the ledger answers in. Who is no member gets
 * PUBLISH_NO_MEMBER. */
#ifndef DEVICE_MEMBER_PUBLISH_H
#define DEVICE_MEMBER_PUBLISH_H

#include "device/membership.h"

/* Before shard_publish(). */
void publish_only_for_member(struct memberships *memberships, struct namespaces *spaces, const struct hash_key *key,
                             struct span user, struct publish_command *publish);

#endif
