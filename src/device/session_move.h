/* session_move.h - the sessions whose links move to another process of this server (docs/decisions/0124). The new process knows
 * of them what the old one knew, and reads nothing: no generation is raised, and places that were not stored yet are stored there.
 *
 * All of it is called while no thread of the server runs, or while all stand still. */
#ifndef DEVICE_SESSION_MOVE_H
#define DEVICE_SESSION_MOVE_H

#include "device/devices.h"

struct moving_session {
    struct span user, device, device_class;
    uint64_t    generation;
    msec        since, seen;
    uint8_t     from_back;      /* see struct standing */
    bool        is_seen_dirty, is_roaming;
};

struct moving_place {
    struct channel_name *name;
    uint64_t             epoch, seq;
    bool                 is_moved, is_dirty, is_new, is_kept, is_gone;
};

/* --- the old process --- */

struct session_visitor {
    void (*session)(void *ctx, const struct moving_session *session);
    void (*place)(void *ctx, const struct moving_place *place);  /* of the session that was visited last */
};

/* Each session that has a link, unless something of it is under way. */
void devices_visit_linked(const struct devices *devices, const struct session_visitor *visitor, void *ctx);

/* --- the new process --- */

/* NULL: there is one of this name already, or it is no session. */
struct standing *devices_take_session(struct devices *devices, const struct moving_session *session);
/* In the order in which they were visited. False: there is one of this channel, or of a later one. */
bool standing_take_moving_place(struct devices *devices, struct standing *standing, const struct moving_place *place);

/* A link goes on with its session: *ret_standing is for session_acks and session_close. OPEN_STALE: a newer link had taken the
 * session over. OPEN_NONE: it is not known here, or has a link. */
enum open_outcome devices_take_link(struct devices *devices, const struct moving_session *session, struct device_home *home, uint64_t key,
                                    const char *transport, struct standing **ret_standing);

/* All links are there: sessions without one are as after the end of their links. */
void devices_settle_taken(struct devices *devices);

#endif
