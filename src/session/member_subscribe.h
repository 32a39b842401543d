/* member_subscribe.h - channels that only members may follow, for connections that are no session's: the ledger is asked
 * before the connection follows them, and the connection leaves them when its user leaves the group. Private to this
 * module. */
#ifndef SESSION_MEMBER_SUBSCRIBE_H
#define SESSION_MEMBER_SUBSCRIBE_H

#include "session/client.h"
#include "session/subscribe_request.h"

/* Asks, then follows or says `error`. */
void client_ask_member(struct client *client, const struct subscribe_request *request, const char *not_member,
                       struct span ref);
/* A grant allowed what the link follows, and does so no longer: asks, then the link follows it as that of a member, or says `unsubscribed`. */
void client_ask_still_member(struct client *client, const struct reader_sub *sub);
/* Answers that come later are dropped. */
void client_forget_questions(struct client *client);

/* Asks for all of the requests that need it; then go() opens the stream or poll, or the exchange is refused. Takes what
 * the requests hold. */
struct media_row;
void subscribe_ask_members(struct session_worker *worker, struct http_exchange *exchange,
                           struct subscribe_requests *requests, const struct media_row *row,
                           void (*go)(struct session_worker *worker, struct http_exchange *exchange,
                                      const struct media_row *row, struct subscribe_requests *requests));

/* Does this connection follow it because its user is a member, and has it no session that would tell it of a leave? */
bool link_follows_as_member(const struct link *link, const struct subscription *sub);

/* For shard_port.left: connections of this user leave the channels of this group that they follow as a member. */
void session_worker_left(struct session_worker *worker, struct channel_name *user, struct channel_name *group);

#endif
