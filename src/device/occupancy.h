/* occupancy.h - which channels somebody is present in, on any node: the events `occupied` and `vacated`.
 *
 * The presence (presence.h) says when the first device of a channel has come to this node, and when the last one has left it. A
 * row of the channel names the starts of nodes that have devices there (row_kind.h). Each change of the row is conditional on what
 * was read, so that nodes which change it at the same moment do so one after the other; and the change that makes the
 * first name, or takes the last one, commits with the event. So there is one event for all nodes:
 *
 *     no row ──node a: first device, `occupied`──▶ [a] ──node b──▶ [a b] ──▶ [b] ──node b: last device, `vacated`──▶ no row
 *
 * Starts of nodes that have ended are taken out by whoever finds them: each change of the row does, and a walk over all rows, a while
 * after the start and after the nodes have changed, so that devices which come back in time make no event.
 *
 * It is owned beside the writer and runs on its thread. Nothing is done while nobody asks for one of the two events. Pure. */
#ifndef DEVICE_OCCUPANCY_H
#define DEVICE_OCCUPANCY_H

#include "device/event_outbox.h"
#include "device/presence.h"

enum { OCCUPANCY_AWAY_MAX = 64 };  /* channels whose rows are being changed; others wait */

struct occupancy_walk;

struct occupancies {
    struct writer         *writer;     /* borrowed, as the outbox and the presence */
    struct event_outbox   *outbox;     /* kinds, names of nodes, and which of them live */
    const struct presence *presence;
    struct namespaces     *namespaces;
    const struct hash_key *hash_key;
    struct map             works;      /* channels whose rows are to be changed */
    struct list            line;       /* … those that wait */
    uint32_t               away_count;
    uint32_t               pause_ticks;  /* the ledger or the log refused */
    struct occupancy_walk *walk;
    struct counter         works_count;  /* now */
};

void occupancies_init(struct occupancies *occupancies, struct event_outbox *outbox, const struct presence *presence,
                      struct namespaces *namespaces, const struct hash_key *hash_key);
/* Nothing is under way. */
void occupancies_fini(struct occupancies *occupancies);

/* The first device of this channel has come to this node, or the last one has left it. Shares the name. */
void occupancy_note(struct occupancies *occupancies, struct channel_name *name);
/* Other nodes live than before. */
void occupancies_nodes_changed(struct occupancies *occupancies);

/* After the commands of a turn, before writer_turn_end(). */
void occupancies_turn(struct occupancies *occupancies);
/* About ten times a second. */
void occupancies_tick(struct occupancies *occupancies);

/* Nothing is under way, and nothing waits that could be written. */
bool occupancies_are_idle(const struct occupancies *occupancies);

#endif
