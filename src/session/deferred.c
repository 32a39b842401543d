#include "session/deferred.h"

#include "session/link.h"

void deferred_init(struct deferred *deferred)
{
    list_init(&deferred->links);
}

bool link_is_deferred(const struct link *link)
{
    return link_waiting(link) != NULL && list_is_linked(&link_waiting(link)->in_deferred);
}

static bool link_may_defer(const struct link *link)
{
    return link_waiting(link)->words.len == 0 && !cut_frame_is_there(&link_waiting(link)->cut) && !link->is_joining && !link->is_over &&
           !link_stream(link)->is_full;
}

bool deferred_add(struct link *link)
{
    struct session_worker *worker  = link->worker;
    struct link_waiting   *waiting = link_waiting(link);

    if (link_is_deferred(link)) {
        if (waiting->words.len <= DEFERRED_WORDS_BYTES_MAX)
            return true;
        list_take(&waiting->in_deferred);
        return false;
    }
    if (!link_may_defer(link))
        return false;
    waiting->deferred_until = worker->loop->now + ACCEPTED_DEFERRED_MS;
    list_push(&worker->deferred.links, &waiting->in_deferred);
    return true;
}

static struct link_waiting *first_of(const struct deferred *deferred)
{
    return list_is_empty(&deferred->links) ? NULL : container_of(deferred->links.next, struct link_waiting, in_deferred);
}

void deferred_release(struct session_worker *worker)
{
    struct link_waiting *first;

    while ((first = first_of(&worker->deferred)) != NULL && first->deferred_until <= worker->loop->now) {
        list_take(&first->in_deferred);
        link_mark(first->link);
    }
}

msec deferred_until(const struct deferred *deferred)
{
    const struct link_waiting *first = first_of(deferred);

    return first == NULL ? 0 : first->deferred_until;
}
