/* presence_move.h - the presence goes on in another process of this server (docs/decisions/0124): each device stays in its sets until
 * its link has been heard of there, so that nobody is told that it left and came.
 *
 * All of it is called while no thread of the server runs, or while all stand still. */
#ifndef DEVICE_PRESENCE_MOVE_H
#define DEVICE_PRESENCE_MOVE_H

#include "device/presence.h"

struct presence_visitor {
    /* `is_not_told`: those who are told of its changes have not been told all. */
    void (*channel)(void *ctx, const struct channel_name *name, bool is_not_told);
    /* … of the channel that was visited last, in the order of arrival; `key` is 0. */
    void (*member)(void *ctx, const struct presence_who *who, msec since);
};

void presence_visit_all(const struct presence *presence, const struct presence_visitor *visitor, void *ctx);

/* The new process. A channel of which not all was told: those who are told of it there are told the number first. */
void presence_take_channel(struct presence *presence, struct channel_name *name, bool is_not_told);
/* False: it is there, or there is no room. */
bool presence_take_member(struct presence *presence, struct channel_name *name, const struct presence_who *who, msec since);

#endif
