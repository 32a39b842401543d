#include "session/joining.h"

#include "base/must.h"
#include "session/link.h"

void joining_init(struct joining *joining)
{
    *joining = (struct joining){ 0 };
    list_init(&joining->links);
}

/* Those that were marked in this turn have waited as long, and draw at its end. */
static void joining_release(struct timer *timer, msec now)
{
    struct session_worker *worker = container_of(timer, struct session_worker, joining.timer);

    (void)now;
    for (struct list *at; (at = list_pop(&worker->joining.links)) != NULL;)
        list_push(&worker->dirty, at);
    for (struct list *at = worker->dirty.next; at != &worker->dirty; at = at->next)
        container_of(at, struct link, in_dirty)->is_joining = false;
}

void joining_add(struct link *link)
{
    struct session_worker *worker  = link->worker;
    struct joining        *joining = &worker->joining;

    must(link->is_joining);
    if (list_is_linked(&link->in_dirty))
        return;
    list_push(&joining->links, &link->in_dirty);
    joining->timer.fire = joining_release;
    if (!timer_is_armed(&joining->timer))
        wheel_arm(&worker->loop->wheel, &joining->timer, worker->loop->now + JOINING_MS);
}
