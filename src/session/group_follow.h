/* group_follow.h - how a link of a session follows the groups of its user. Private to this module.
 *
 * The session begins with the groups that the devices know (device/device_command.h). From then on the log of the user
 * says who joins and leaves what, and that log comes first: as long as it has something for this link, no message of any
 * other channel is drawn. So when a message of a group is drawn, the link knows of every change that was committed before
 * it was told of that message.
 *
 * Most groups are followed like any other channel. Only where the user has left, or was away in between, the link keeps
 * the spans that are the user's: it steps over the rest in silence, and unfollows at the end of the last span.
 *
 * Membership messages may be heard again, after a rewind, or although the session began behind them: the spans end up
 * the same (device/group_spans.h).
 *
 * In a cluster the two logs may come from two nodes, and what the group says may be faster. Then a link is given messages from behind
 * the end of a membership. If the user joins again, it is not given them once more. */
#ifndef SESSION_GROUP_FOLLOW_H
#define SESSION_GROUP_FOLLOW_H

#include "codec/token/token.h"
#include "device/group_spans.h"
#include "session/reader.h"

struct link;
struct group_bound;

/* Of one link of a session; zeroed at first. */
struct group_follow {
    struct group_bound *bounds;    /* groups of which not all is the user's */
    struct near         user_sub;  /* of the log of the user; NULL: it is not followed */
};

void group_follow_fini(struct group_follow *follow);

/* A subscription of the session of this user has begun, in place of `before` (NULL: there was none). `spans`: what of the
 * channel is the user's; NULL: all, or as before. */
void group_follow_note(struct group_follow *follow, struct span user, struct reader_sub *sub, const struct reader_sub *before,
                       const struct group_spans *spans);

/* All that was drawn has been sent: unfollows groups of which nothing more is the user's. */
void group_follow_settle(struct group_follow *follow, struct link *link);

/* The link begins at this place of the user's log, and with groups of which all is known that the log says up to `known`:
 * what it says of members up to there is passed over, because the link may begin with something newer. */
void group_follow_know(struct group_follow *follow, uint64_t epoch, uint64_t seq, uint64_t known);

/* A group that the user had left before the link began, and what the session was given of it. If the user's log says later that
 * the user joins it, which may be old news, the link goes on from there. */
void group_follow_note_over(struct group_follow *follow, struct channel_name *name, uint64_t epoch, uint64_t seq);

/* The place of a group that the link has left: up to where its client was given the group. False: the link has left none of this name,
 * or it was too long ago. The client acknowledges what it was given before it left, else that would come again with each link. */
bool group_follow_find_left(const struct group_follow *follow, struct span channel, struct channel_name **ret_name, uint64_t *ret_epoch,
                            uint64_t *ret_seq);
/* The client has acknowledged it up to that place. */
void group_follow_settle_left(struct group_follow *follow, const struct channel_name *name);
/* Those of them that are not acknowledged and that the reader does not follow otherwise, `max` at most. The names are borrowed. Returns
 * how many. */
size_t group_follow_put_left(const struct group_follow *follow, const struct reader *reader, struct place *places, size_t max);

/* What of it moves to another process with the link. */
struct moving_bound {
    enum moving_bound_kind {
        MOVING_BOUND,        /* of a subscription to this channel */
        MOVING_BOUND_LEFT,   /* of a group that the link has left */
        MOVING_BOUND_KNOWN,  /* of the log of the user */
    } kind;
    struct channel_name *channel;  /* borrowed; NULL: MOVING_BOUND_KNOWN */
    struct group_spans   spans;
};

/* The newest first. */
void group_follow_visit(const struct group_follow *follow, void (*visit)(void *ctx, const struct moving_bound *bound), void *ctx);
/* In that order. `sub`: of MOVING_BOUND. */
void group_follow_take(struct group_follow *follow, const struct moving_bound *bound, struct reader_sub *sub);

/* link_look() of a link of a session. */
struct reader_sub *group_follow_look(struct group_follow *follow, struct link *link, struct entry *ret_entry);

#endif
