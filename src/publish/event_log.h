/* event_log.h - what happens on a loop, as messages of sys:events/N.
 *
 * An event is written only if its kind is asked for; else a note costs one bit test. N follows from the user, or from the
 * connection of nobody, by a rule that never changes, so that the events of one user, and of each of its devices, are in one log.
 *
 *     note ──► waits in its lane (one for each N) ──► publish, one at a time a lane ──► done
 *                              ▲                                │ refused: busy, full, away
 *                              └────── again, at the next tick ─┘
 *
 * So what a loop notes keeps its order. At most EVENTS_WAITING_MAX wait on a loop; further ones are counted as lost. One thread:
 * that of the loop; the counters may be read by any. */
#ifndef PUBLISH_EVENT_LOG_H
#define PUBLISH_EVENT_LOG_H

#include "base/list.h"
#include "message/event_facts.h"
#include "message/namespace.h"
#include "node/shard.h"

enum { EVENTS_WAITING_MAX = 65536 };

struct event_lane {
    struct channel_name *channel;  /* owns a reference */
    struct list          waiting;  /* the first one is under way, if is_away */
    bool                 is_away;
    bool                 is_refused;  /* the first one was: it goes again at the next tick */
};

struct event_log {
    struct shard     *shard;
    unsigned          kinds;       /* bits of enum event_kind: those that are asked for */
    struct event_lane lanes[EVENT_LOGS];
    struct counter    waiting, written, refused, lost;
};

void event_log_init(struct event_log *log, struct shard *shard, struct namespaces *namespaces, const struct hash_key *hash_key);
/* No publish is under way. What still waits is lost, and counted. */
void event_log_fini(struct event_log *log);

/* `log` may be NULL: nobody asks. */
static inline bool event_log_wants(const struct event_log *log, enum event_kind kind)
{
    return log != NULL && (log->kinds & (unsigned)kind) != 0;
}

/* Only if it is wanted. Copies the facts. */
void event_log_note(struct event_log *log, const struct event_facts *facts);

/* About once a second: what was refused goes again. */
void event_log_tick(struct event_log *log);

#endif
