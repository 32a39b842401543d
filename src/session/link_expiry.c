#include "session/link_expiry.h"


#include "base/must.h"
#include "session/presence_follow.h"

enum { LOOK_MS_MOST = 3600 * 1000, LOOK_MS_SOON = 200 };

enum link_expiry_step link_expiry_judge(msec expires_at, bool is_told, msec wall, msec *ret_wait)
{
    msec left  = expires_at - wall;
    bool tells = !is_told && left <= EXPIRING_MS;
    msec until = is_told || tells ? left : left - EXPIRING_MS;

    *ret_wait = until < LOOK_MS_MOST ? until : LOOK_MS_MOST;
    return left <= 0 ? LINK_EXPIRY_END : tells ? LINK_EXPIRY_TELL : LINK_EXPIRY_WAIT;
}

static void expiry_fire(struct timer *timer, msec now)
{
    struct link_expiry *expiry = container_of(timer, struct link_expiry, timer);
    struct link        *link   = expiry->link;
    struct loop        *loop   = link->worker->loop;
    msec                wait;

    if (link->is_over)
        return;
    switch (link_expiry_judge(link->holder->expires_at, expiry->is_told, loop->wall, &wait)) {
    case LINK_EXPIRY_END:
        counter_add(&link->worker->counters.expired, 1);
        link->kind->end(link, LINK_END_EXPIRED);
        return;
    case LINK_EXPIRY_TELL:
        expiry->is_told = link->kind->expiring == NULL ||
                          link->kind->expiring(link, link->holder->expires_at - loop->wall);
        if (!expiry->is_told && wait > LOOK_MS_SOON)
            wait = LOOK_MS_SOON;
        break;
    case LINK_EXPIRY_WAIT:
        break;
    }
    wheel_arm(&loop->wheel, timer, now + wait);
}

static void expiry_drop(struct link *link)
{
    if (link_expiry(link) == NULL)
        return;
    wheel_disarm(&link->worker->loop->wheel, &link_expiry(link)->timer);
    pool_give(&link->worker->expiries, link_expiry(link));
    link->near_expiry = near_to(NULL);
}

void link_take_holder(struct link *link, struct identity *identity)
{
    struct loop *loop = link->worker->loop;

    expiry_drop(link);
    if (link->is_counted)
        usage_uncount_link(link->worker->usage, link->holder);
    identity_unref(link->holder);
    link->holder     = identity;
    link->is_counted = usage_count_link(link->worker->usage, identity);
    presence_follow_rename(link);
    if (identity == NULL || identity->expires_at == 0)
        return;
    link->near_expiry             = near_to(pool_take(&link->worker->expiries));
    link_expiry(link)->timer.fire = expiry_fire;
    link_expiry(link)->link       = link;
    wheel_arm(&loop->wheel, &link_expiry(link)->timer, loop->now);
}
