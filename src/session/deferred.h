/* deferred.h - links whose `accepted` waits for a moment, so that it leaves in one write with the response.
 *
 * A system call and a packet cost more than all else of `accepted`, and a quick back end has answered before the client could do
 * anything with it. What `accepted` says is true when it is written: the id is stored, and the back end is called after that. It only
 * leaves later: with the next message or other word that goes to the link, or after ACCEPTED_DEFERRED_MS.
 *
 * No link has a timer. The links stand in one line, in the order in which their time ends; session_worker_turn_end() looks at the
 * first, and the loop sleeps no longer than until session_worker_wake_at().
 *
 * Belongs to the loop of its worker. */
#ifndef SESSION_DEFERRED_H
#define SESSION_DEFERRED_H

#include "base/list.h"
#include "base/msec.h"

struct link;
struct session_worker;

/* A quick back end, and the commit of its answer on a disk, take less than ACCEPTED_DEFERRED_MS. For a client whose back end is slow that is
 * much less than a round trip by radio. More would gain little: of a back end that takes 10 ms few requests a second are under way. */
enum {
    ACCEPTED_DEFERRED_MS     = 5,
    DEFERRED_WORDS_BYTES_MAX = 32 * 1024,  /* of a link */
};

struct deferred {
    struct list links;  /* by link_waiting.in_deferred; the first has waited for longest */
};

void deferred_init(struct deferred *deferred);

/* `accepted` is about to be appended to the words that wait. False: they leave at once, because others wait there, the stream is full,
 * or they are too many. True: the link stands in the line. */
bool deferred_add(struct link *link);
bool link_is_deferred(const struct link *link);

/* Marks the links whose time is up. */
void deferred_release(struct session_worker *worker);
/* When the time of the first is up, by the loop's clock; 0: there is none. */
msec deferred_until(const struct deferred *deferred);

#endif
