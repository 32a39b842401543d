/* device_hand_over.c - the session of a link that moves to another process. What the session has acknowledged moves apart from it
 * (device/session_move.h); here is what the link alone knows: which of its subscriptions are the session's, and what of its groups
 * is its user's. */
#include "base/must.h"
#include "device/session_move.h"
#include "session/device_link.h"
#include "session/hand_over.h"

_Static_assert((int)MOVING_BOUND == (int)HANDOVER_BOUND && (int)MOVING_BOUND_LEFT == (int)HANDOVER_BOUND_LEFT &&
               (int)MOVING_BOUND_KNOWN == (int)HANDOVER_BOUND_KNOWN, "bounds are told as they are");

/* --- the old process --------------------------------------------------------------------------------------------- */

static void put_moving_bound(void *ctx, const struct moving_bound *bound)
{
    struct link_parcel *parcel = ctx;
    struct buf          spans;

    buf_init(&spans, GROUP_SPANS_BYTES_MAX);
    group_spans_put(&bound->spans, &spans);
    handover_put_bound(&parcel->bounds, &(struct handover_bound){
        (uint8_t)bound->kind, bound->channel == NULL ? SPAN("") : channel_name_span(bound->channel), buf_span(&spans) });
    buf_fini(&spans);
    parcel->link.bound_count++;
}

bool device_link_hand_over(const struct link *link, struct link_parcel *parcel)
{
    const struct device_link *device = link_device(link);

    buf_clear(&parcel->bounds);
    if (device == NULL)
        return true;
    if (link->is_fenced || device->acks != NULL)
        return false;
    parcel->link.flags |= HANDOVER_HAS_DEVICE | (link->has_joined ? HANDOVER_HAS_JOINED : 0);
    parcel->link.user       = device_link_user(device);
    parcel->link.device     = device_link_device(device);
    parcel->link.generation = device->generation;
    parcel->link.since      = (uint64_t)device->since;
    group_follow_visit(&device->groups, put_moving_bound, parcel);
    return parcel->link.bound_count <= HANDOVER_BOUNDS_MAX;
}

/* --- the new process --------------------------------------------------------------------------------------------- */

enum open_outcome device_link_take_over(struct link *link, const struct handover_link *told)
{
    const struct moving_session session = { .user = told->user, .device = told->device, .generation = told->generation,
                                            .since = (msec)told->since };
    struct standing            *standing;

    enum open_outcome outcome = devices_take_link(link->worker->devices, &session, &link->worker->home, link->key,
                                                  transport_text((enum transport)link->transport), &standing);
    if (outcome != OPEN_DONE)
        return outcome;
    link_set_device(link, pool_take(&link->worker->device_links));
    link_device(link)->near_standing = near_to(standing);
    link_device(link)->generation = session.generation;
    link_device(link)->since      = session.since;
    link->has_joined = (told->flags & HANDOVER_HAS_JOINED) != 0;
    return OPEN_DONE;
}

/* The last of this name that the session follows: one that listens in silence is never bound. */
static struct reader_sub *own_sub_of(const struct link *link, const struct channel_name *name)
{
    for (struct reader_sub *sub = reader_subs(link_reader(link)); sub != NULL; sub = reader_sub_next(sub))
        if (sub->sub.is_own && !sub->sub.is_unasked && channel_name_eq(subscription_name(&sub->sub), name))
            return sub;
    return NULL;
}

static void take_bound(struct link *link, const struct handover_bound *told)
{
    struct session_worker *worker = link->worker;
    struct moving_bound    bound  = { .kind = (enum moving_bound_kind)told->kind };
    struct reader_sub     *sub    = NULL;

    if (!group_spans_get(told->spans, &bound.spans))
        return;
    if (bound.kind != MOVING_BOUND_KNOWN &&
        channel_name_new(worker->namespaces, worker->hash_key, told->channel, &bound.channel) != CHANNEL_NAME_OK)
        return;
    if (bound.kind == MOVING_BOUND)
        sub = own_sub_of(link, bound.channel);
    if (bound.kind != MOVING_BOUND || sub != NULL)
        group_follow_take(&link_device(link)->groups, &bound, sub);
    channel_name_unref(bound.channel);
}

void device_link_take_bounds(struct link *link, const struct handover_link *told, struct span bounds)
{
    struct handover_bound bound;

    for (uint32_t i = 0; i < told->bound_count; i++) {
        must(handover_get_bound(&bounds, &bound));  /* handover_check() has seen them */
        if (link_device(link) != NULL)
            take_bound(link, &bound);
    }
}
