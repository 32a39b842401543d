#include "device/session_move.h"

#include <stdlib.h>

#include "base/must.h"
#include "device/devices_priv.h"
#include "message/user_name.h"

/* --- the old process --------------------------------------------------------------------------------------------- */

/* An opening under way may have raised the generation in the ledger, and a write may or may not have been done. */
static bool standing_may_move(const struct standing *standing)
{
    return standing->home != NULL && standing->is_loaded && !standing->is_unsettled && standing->op == NULL && !standing->is_writing &&
           !standing->is_fencing && standing->link_back == 0;
}

static void standing_show(const struct devices *devices, const struct standing *standing, const struct session_visitor *visitor, void *ctx)
{
    visitor->session(ctx, &(struct moving_session){
        .user = standing_user(standing), .device = standing_device(standing), .device_class = standing_class(standing),
        .generation = standing->generation, .since = standing->since, .seen = standing->seen, .from_back = standing->from_back,
        .is_seen_dirty = standing->is_seen_dirty, .is_roaming = standing->is_roaming,
    });
    for (uint32_t i = 0; i < standing->place_count; i++) {
        const struct standing_place *place = &standing->places[i];
        visitor->place(ctx, &(struct moving_place){
            .name = place->name, .epoch = standing_place_epoch(devices, standing, place), .seq = place->seq,
            .is_moved = place->is_moved, .is_dirty = place->is_dirty, .is_new = place->is_new, .is_kept = place->is_kept, .is_gone = place->is_gone,
        });
    }
}

static void standings_visit(const struct devices *devices, const struct near_list *list, const struct session_visitor *visitor, void *ctx)
{
    for (const struct near_list *at = near_list_next(list); at != list; at = near_list_next(at))
        if (standing_may_move(container_of(at, struct standing, link)))
            standing_show(devices, container_of(at, struct standing, link), visitor, ctx);
}

void devices_visit_linked(const struct devices *devices, const struct session_visitor *visitor, void *ctx)
{
    standings_visit(devices, &devices->lists->held, visitor, ctx);
    standings_visit(devices, &devices->lists->dirty, visitor, ctx);
}

/* --- the new process --------------------------------------------------------------------------------------------- */

struct standing *devices_take_session(struct devices *devices, const struct moving_session *session)
{
    if (!user_name_is_valid(session->user) || !device_name_is_valid(session->device) || session->generation == 0 ||
        session->since > SESSION_TIME_MAX || session->seen > SESSION_TIME_MAX || session->from_back > session->generation ||
        session->device_class.len > DEVICE_CLASS_BYTES_MAX ||
        standing_find(devices, session->user, session->device) != NULL)
        return NULL;
    struct standing *standing = standing_get(devices, session->user, session->device);
    standing->generation      = session->generation;
    standing->since           = session->since;
    standing->seen            = session->seen;
    standing->from_back       = session->from_back;
    standing->is_seen_dirty   = session->is_seen_dirty;
    standing->is_roaming      = session->is_roaming;
    standing->is_loaded       = true;
    standing_set_class(standing, session->device_class);
    return standing;
}

bool standing_take_moving_place(struct devices *devices, struct standing *standing, const struct moving_place *place)
{
    const uint32_t count = standing->place_count;

    if (count > 0 && span_order(channel_name_span(standing->places[count - 1].name), channel_name_span(place->name)) >= 0)
        return false;
    struct standing_place *to = standing_place_add(standing, place->name);
    standing_place_set_epoch(devices, standing, to, place->epoch);
    to->seq      = place->seq;
    to->is_moved = place->is_moved;
    to->is_dirty = place->is_dirty;
    to->is_new   = place->is_new;
    to->is_kept  = place->is_kept;
    to->is_gone  = place->is_gone;
    return true;
}

enum open_outcome devices_take_link(struct devices *devices, const struct moving_session *session, struct device_home *home, uint64_t key,
                                    const char *transport, struct standing **ret_standing)
{
    struct standing *standing = standing_find(devices, session->user, session->device);

    if (standing == NULL || standing->home != NULL)
        return OPEN_NONE;
    if (standing->generation != session->generation || standing->since != session->since)
        return OPEN_STALE;
    standing->home      = home;
    standing->key       = key;
    standing_set_transport(devices, standing, transport);
    standing->handle_count++;
    counter_add(&devices->counters.linked, 1);
    *ret_standing = standing;
    return OPEN_DONE;
}

/* What moves to another list is at its end, and is not looked at again. */
void devices_settle_taken(struct devices *devices)
{
    const struct near_list *held = &devices->lists->held, *last = near_list_prev(held), *at;

    if (near_list_is_empty(held))
        return;
    do {
        at = near_list_next(held);
        standing_settle(devices, container_of(at, struct standing, link));
    } while (at != last);
}
