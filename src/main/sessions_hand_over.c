#include "main/sessions_hand_over.h"

#include "codec/handover/handover.h"
#include "device/session_move.h"

/* --- telling ----------------------------------------------------------------------------------------------------- */

struct sessions_teller {
    struct buf *buf;
    uint64_t    count;
};

static uint32_t session_flag_if(bool is_set, uint32_t flag)
{
    return is_set ? flag : 0;
}

static void tell_moving_session(void *ctx, const struct moving_session *session)
{
    struct sessions_teller *teller = ctx;

    handover_put_session(teller->buf, &(struct handover_session){
        .user = session->user, .device = session->device, .device_class = session->device_class, .generation = session->generation,
        .since = (uint64_t)session->since, .seen = (uint64_t)session->seen, .from_back = session->from_back,
        .flags = session_flag_if(session->is_seen_dirty, HANDOVER_IS_SEEN_DIRTY) | session_flag_if(session->is_roaming, HANDOVER_IS_ROAMING),
    });
    teller->count++;
}

static void tell_moving_place(void *ctx, const struct moving_place *place)
{
    struct sessions_teller *teller = ctx;

    handover_put_place(teller->buf, &(struct handover_place){
        .channel = channel_name_span(place->name), .epoch = place->epoch, .seq = place->seq,
        .flags = session_flag_if(place->is_moved, HANDOVER_PLACE_MOVED) | session_flag_if(place->is_dirty, HANDOVER_PLACE_DIRTY) |
                 session_flag_if(place->is_new, HANDOVER_PLACE_NEW) | session_flag_if(place->is_kept, HANDOVER_PLACE_KEPT) |
                 session_flag_if(place->is_gone, HANDOVER_PLACE_GONE),
    });
    teller->count++;
}

uint64_t sessions_put(const struct devices *devices, struct buf *buf)
{
    static const struct session_visitor visitor = { tell_moving_session, tell_moving_place };
    struct sessions_teller              teller  = { .buf = buf };

    devices_visit_linked(devices, &visitor, &teller);
    return teller.count;
}

/* --- taking ------------------------------------------------------------------------------------------------------ */

struct sessions_taker {
    struct devices        *devices;
    struct namespaces     *namespaces;
    const struct hash_key *key;
    struct standing       *standing;  /* whose places come; NULL: they are left out */
};

static bool take_told_session(struct sessions_taker *taker, struct span body)
{
    struct handover_session told;

    taker->standing = NULL;
    if (!handover_get_session(body, &told))
        return false;
    taker->standing = devices_take_session(taker->devices, &(struct moving_session){
        .user = told.user, .device = told.device, .device_class = told.device_class, .generation = told.generation,
        .since = (msec)told.since, .seen = (msec)told.seen, .from_back = told.from_back,
        .is_seen_dirty = (told.flags & HANDOVER_IS_SEEN_DIRTY) != 0, .is_roaming = (told.flags & HANDOVER_IS_ROAMING) != 0,
    });
    return taker->standing != NULL;
}

static bool take_told_place(struct sessions_taker *taker, struct span body)
{
    struct handover_place told;
    struct channel_name  *name = NULL;

    if (taker->standing == NULL || !handover_get_place(body, &told) ||
        channel_name_new(taker->namespaces, taker->key, told.channel, &name) != CHANNEL_NAME_OK)
        return false;
    bool is_taken = standing_take_moving_place(taker->devices, taker->standing, &(struct moving_place){
        .name = name, .epoch = told.epoch, .seq = told.seq, .is_moved = (told.flags & HANDOVER_PLACE_MOVED) != 0,
        .is_dirty = (told.flags & HANDOVER_PLACE_DIRTY) != 0, .is_new = (told.flags & HANDOVER_PLACE_NEW) != 0,
        .is_kept = (told.flags & HANDOVER_PLACE_KEPT) != 0, .is_gone = (told.flags & HANDOVER_PLACE_GONE) != 0,
    });
    channel_name_unref(name);
    return is_taken;
}

size_t sessions_take(struct devices *devices, struct namespaces *namespaces, const struct hash_key *key, struct span records)
{
    struct sessions_taker taker = { .devices = devices, .namespaces = namespaces, .key = key };
    enum handover_kind    kind;
    struct span           body;
    size_t                lost = 0;

    while (handover_next(&records, &kind, &body) && kind != HANDOVER_END)
        if (kind == HANDOVER_SESSION)
            lost += !take_told_session(&taker, body);
        else if (kind == HANDOVER_PLACE)
            lost += !take_told_place(&taker, body);
    return lost;
}
