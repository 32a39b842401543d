/* event_outbox.h - events on their way to the logs sys:events/N: those that arise at the writer, and those that loops note
 * (event_log.h).
 *
 * An event of the writer that must not be lost is first a row of the ledger, which commits with what the event tells of (event_row.h). After
 * that commit it waits in the lane of its log, and its row is deleted once the log has it. What a server leaves behind when it
 * dies is found in the ledger (event_sweep.c).
 *
 *     cause + row ──one commit──▶ waits in its lane ──▶ message in sys:events/N ──▶ row deleted
 *                                       ▲
 *     rows that were left behind ───────┘
 *
 * A row has a name that is given once. It is the idempotency key of the message, so that an event which is tried again, or is
 * found a second time, is written once.
 *
 * Order. Of the events of one user one is on its way at a time, and one that the store refuses holds back those behind it.
 * Events of different users go together.
 *
 * Links. The row of a live link is written and deleted in the commits of its events. Rows of a start of a node that has ended are
 * found, and each has its `disconnected` with the reason node_lost (event_lost.c).
 *
 * At most OUTBOX_WAITING_MAX wait. Further ones that have a row are found again later; the others are lost, and counted.
 *
 * It is owned beside the writer and runs on its thread. The counters may be read by any. Pure. */
#ifndef DEVICE_EVENT_OUTBOX_H
#define DEVICE_EVENT_OUTBOX_H

#include "base/counter.h"
#include "device/event_row.h"
#include "device/link_row.h"
#include "node/writer.h"

enum { OUTBOX_WAITING_MAX = 65536 };

/* The row behind one or more events, which is deleted when all who hold it have let go. */
struct event_debt;

struct outbox_batch;
struct event_sweep;
struct lost_links;

/* What becomes of the row of a link, in the commit of its event. */
enum event_row_way { EVENT_ROW_NONE, EVENT_ROW_BEGIN, EVENT_ROW_END };

/* What a loop notes (event_log.h). */
struct event_note {
    struct command       command;
    struct event_outbox *outbox;
    enum event_kind      kind;
    unsigned             log;         /* N */
    uint64_t             order;
    msec                 time;
    enum event_row_way   way;
    uint64_t             connection;
    uint8_t              user_len, device_len;
    uint32_t             text_len;    /* 0: nothing is told, the row alone is written */
    char                 bytes[];     /* user, device, text */
};

struct outbox_lane {
    struct channel_name *channel;     /* owns a reference */
    struct list          waiting;
    uint32_t             away_count;  /* of them, those that the store has */
    bool                 is_refused;  /* nothing is tried before the next tick */
};

struct event_outbox {
    struct writer       *writer;      /* borrowed */
    unsigned             kinds;       /* bits of enum event_kind: those that are asked for; may change between two turns */
    struct event_names   names;       /* of rows */
    struct outbox_lane   lanes[EVENT_LOGS];
    struct list          debts;       /* rows to be deleted */
    struct outbox_batch *batch;       /* of deletions, under way; NULL: none */
    struct event_sweep  *sweep;
    struct lost_links   *lost_links;
    char                 node[65];    /* the name of this node; empty: it is alone */
    /* Does that start of another node live? NULL: there are no other nodes. */
    bool               (*lives)(void *ctx, const struct link_row *row);
    void                *lives_ctx;
    void               (*task_found)(void *ctx, const struct event_row *row, uint64_t seq);  /* NULL: tasks are left alone */
    void                *task_ctx;
    uint32_t             tick;
    uint32_t             pause_ticks; /* the ledger did not delete: not before so many ticks */
    struct counter       waiting, written, refused, lost, found;
    struct counter       links_lost;  /* events with the reason node_lost */
};

void event_outbox_init(struct event_outbox *outbox, struct writer *writer, struct namespaces *namespaces,
                       const struct hash_key *hash_key, msec wall, uint64_t incarnation);
/* Nothing is under way. */
void event_outbox_fini(struct event_outbox *outbox);

/* `outbox` may be NULL: nobody asks. */
static inline bool event_outbox_wants(const struct event_outbox *outbox, enum event_kind kind)
{
    return outbox != NULL && (outbox->kinds & (unsigned)kind) != 0;
}

/* A row for an event, to be written together with its cause: sets *ret_change, which points into `row`. With `takes_seq` the
 * event's seq is that of the append that carries the change; otherwise it is facts->seq, which is not 0. `owner` is the name with
 * which the row's key begins (row_kind.h). */
void event_row_prepare(struct event_outbox *outbox, struct event_row *row, struct span owner, const struct event_facts *facts,
                       bool takes_seq, struct ledger_change *ret_change);
/* The row was committed: its event is written soon. */
void event_outbox_send(struct event_outbox *outbox, const struct event_row *row, uint64_t seq);

/* The same for a row that stands for several events, a task: whoever finds out which holds the row until then. */
void               event_row_prepare_task(struct event_outbox *outbox, struct event_row *row, struct span owner,
                                          enum event_kind kind, struct span channel, struct ledger_change *ret_change);
struct event_debt *event_debt_new(struct span key);
struct event_debt *event_debt_hold(struct event_debt *debt);
void               event_debt_release(struct event_outbox *outbox, struct event_debt *debt);
/* One of its events; copies the facts. */
void               event_outbox_add(struct event_outbox *outbox, const struct event_facts *facts, msec time,
                                    struct event_debt *debt);

/* Borrows the note. */
void event_outbox_take(struct event_outbox *outbox, const struct event_note *note);
/* Other nodes live than before: links of those that are gone are looked for soon. */
void event_outbox_nodes_changed(struct event_outbox *outbox);

/* Once a turn, before writer_turn_end(). */
void event_outbox_turn_end(struct event_outbox *outbox);
/* About ten times a second. */
void event_outbox_tick(struct event_outbox *outbox);

/* Nothing waits that the store would take. */
bool event_outbox_is_idle(const struct event_outbox *outbox);

#endif
