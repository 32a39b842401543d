/* shed.c - memory is short: some of the newest links are ended, those of nobody known before the others. */
#include "base/must.h"
#include "session/link.h"

enum { SHED_PART = 16, SHED_LEAST = 4 };

static bool link_is_known(const struct link *link)
{
    return link->holder != NULL && !identity_is_stranger(link->holder);
}

/* From the newest to older ones. A link that was told before, and is still there, goes without a further word. */
static size_t shed_newest(struct near_list *links, size_t most, bool are_known)
{
    size_t ended = 0;

    for (struct near_list *at = near_list_prev(links), *older; at != links && ended < most; at = older) {
        struct link *link = container_of(at, struct link, in_worker);
        older             = near_list_prev(at);  /* end() and lost() may free this link, and no other */
        if (link_is_known(link) != are_known)
            continue;
        ended += !link->is_over;
        if (link->is_over)
            link->kind->lost(link);
        else
            link->kind->end(link, LINK_END_SHORT_MEMORY);
    }
    return ended;
}

size_t session_worker_shed(struct session_worker *worker, bool are_known)
{
    const size_t part  = session_worker_count(worker) / SHED_PART;
    const size_t most  = part > SHED_LEAST ? part : SHED_LEAST;

    must(loop_is_here(worker->loop));
    size_t ended = shed_newest(&worker->lists->polls, most, are_known);
    ended += shed_newest(&worker->lists->links, most, are_known);
    counter_add(are_known ? &worker->counters.shed_known : &worker->counters.shed_strangers, ended);
    return ended;
}
