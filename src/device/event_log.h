/* event_log.h - what happens on a loop, as events: who connects, leaves, and follows a channel.
 *
 * A loop makes the text and sends it to the outbox at the writer (event_outbox.h), in the order in which it is noted. An event
 * that nobody asks for costs one bit test. One thread: that of the loop.
 *
 * Links. While somebody asks for `disconnected`, a link has a row in the ledger (link_row.h) from its beginning to its end, so that
 * another start of the server, or another node, tells its end if this one can't. Beginning and end commit with the events. */
#ifndef DEVICE_EVENT_LOG_H
#define DEVICE_EVENT_LOG_H

#include "device/event_outbox.h"
#include "node/shard.h"

struct event_log {
    struct shard        *shard;   /* borrowed */
    struct event_outbox *outbox;  /* borrowed; the writer's */
    unsigned             kinds;   /* bits of enum event_kind: those that are asked for */
};

/* `log` may be NULL: nobody asks. */
static inline bool event_log_wants(const struct event_log *log, enum event_kind kind)
{
    return log != NULL && (log->kinds & (unsigned)kind) != 0;
}

/* Only if it is wanted. Copies the facts. */
void event_log_note(struct event_log *log, const struct event_facts *facts);

/* `connected`, if it is wanted. *has_row: has the link a row? Set from here; true before: it has one as nobody's, which ends now. */
void event_log_note_begin(struct event_log *log, const struct event_facts *facts, bool *has_row);
/* `disconnected`, if it is wanted; and the end of the row. */
void event_log_note_end(struct event_log *log, const struct event_facts *facts, bool has_row);

#endif
