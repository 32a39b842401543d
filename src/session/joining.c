#include "session/joining.h"

#include "base/must.h"
#include "session/link.h"

/* Those that were marked in this turn have waited as long, and draw at its end. */
static void joining_release(struct timer *timer, msec now)
{
    struct session_worker *worker = container_of(timer, struct session_worker, joining.timer);

    (void)now;
    for (struct near_list *at; (at = near_list_pop(&worker->lists->joining)) != NULL;)
        near_list_push(&worker->lists->dirty, at);
    for (struct near_list *at = near_list_next(&worker->lists->dirty); at != &worker->lists->dirty; at = near_list_next(at))
        container_of(at, struct link, in_dirty)->is_joining = false;
}

void joining_init(struct joining *joining)
{
    *joining = (struct joining){ .timer.fire = joining_release };
}

void joining_add(struct link *link)
{
    struct session_worker *worker  = link->worker;
    struct joining        *joining = &worker->joining;

    must(link->is_joining);
    if (near_list_is_linked(&link->in_dirty))
        return;
    near_list_push(&worker->lists->joining, &link->in_dirty);
    if (!timer_is_armed(&joining->timer))
        wheel_arm(&worker->loop->wheel, &joining->timer, worker->loop->now + JOINING_MS);
}
