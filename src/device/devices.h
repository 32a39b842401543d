/* devices.h - This module knows the devices of users: their sessions, generations, acknowledged places, and the channels
 * that a session follows by itself. It refuses to know links, frames and rights.
 *
 * A session outlives its links. It stands in the ledger (row_kind.h), and in memory while a link of it is open and for
 * some time after. All is asked and written asynchronously. What is in memory is believed only while the store has no
 * other writer; what must hold in any case is a condition of the write.
 *
 * Generation. Each new link of a session raises it, durably, before the link is told `connected`. By then the older
 * link has been fenced: it delivers nothing and its acknowledgements are dropped. If nobody knows whether the raise was
 * written (LEDGER_BROKEN), the opener is refused, and the next one reads the row anew. In a cluster this node remembers whom the
 * raise replaces, because the row may name this node by then (device_unsure.c).
 *
 * Other nodes. The row names the node that has the link. Whoever raises the generation asks that node to let go of it
 * (peer_fence.h), and each node compares its links with the ledger now and then, because a question may be lost.
 *
 * Places. A new session begins at the heads of its channels, and these places are stored with it. From then on a place
 * only moves forward within an epoch.
 *
 * It is owned beside the writer and runs on its thread: the commands come through the writer's mailbox, and answers
 * leave by the writer's port. Pure. */
#ifndef DEVICE_DEVICES_H
#define DEVICE_DEVICES_H

#include "base/counter.h"
#include "base/near_map.h"
#include "base/pool.h"
#include "device/device_command.h"
#include "node/writer.h"

struct presence;      /* presence.h */
struct event_outbox;  /* event_outbox.h */

enum device_policy {
    DEVICES_ALL,            /* every device has its session */
    DEVICES_ONE_PER_CLASS,  /* a new session ends those of other devices with the same class; no class counts as one */
    DEVICES_NEWEST,         /* a new session ends all others of the user */
};

struct devices_limits {
    msec               session_ttl_ms;   /* a session without a link for so long ends */
    msec               poll_lease_ms;    /* a session is present for so long after a poll */
    uint32_t           devices_max;      /* of a user */
    uint32_t           opens_max;        /* openings under way; others wait … */
    uint32_t           waiting_max;      /* … and beyond this they are OPEN_BUSY */
    uint32_t           idle_max;         /* sessions in memory that have no link */
    msec               compare_ms;       /* where other nodes write too: all sessions with a link are compared with the ledger
                                          * once in so long */
    enum device_policy policy;
    bool               sweeps_members;   /* rows of a group lie in other databases than those of its members: member_sweep.c */
};

struct devices_counters {
    struct counter opens, resumes, fences, stale, refused;  /* openings, and those that found a session */
    struct counter acks, stale_acks, places_stored, ended;
    struct counter redeliveries;                            /* handed to a link that ended before they were acknowledged */
    struct counter standing, linked;                        /* sessions in memory, and with a link, now */
    struct counter marks;                                   /* read marks set (read_mark.h) */
    struct counter peer_fences;                             /* other nodes asked to let a link go */
    struct counter untold;                                  /* … that did not say in time what was acknowledged there, or were not waited for */
    struct counter compared, overtaken;                     /* links compared with the ledger; of them, those found replaced */
};

struct device_peers;   /* peer_fence.h */
struct device_compare;
enum { DEVICE_DEAF_MAX = 16, DEVICE_OLDER_MAX = 1024, DEVICE_UNSURE_MAX = 1024, DEVICE_TRANSPORTS_MAX = 15, DEVICE_EPOCHS_MAX = 15 };

/* Questions about how far devices are (device_look.h). */
struct device_looks {
    struct list waiting;        /* those that wait for loops */
    uint64_t    last_id;
    uint32_t    receipt_count;  /* calls under way that ask for receipts … */
    uint32_t    why_count;      /* … for what became of a message … */
    uint32_t    listing_count;  /* … for pages of sessions */
};

/* Where sessions stand. In a pool, as they are, so that they can be near. */
struct standing_lists {
    struct near_list idle;    /* without link, opening and news; oldest first */
    struct near_list dirty;   /* with news to be stored, not being written */
    struct near_list held;    /* the others: with a link, an opening or a write */
    struct near_list parted;  /* where other nodes write too: whose link ended a moment ago; oldest first */
};

struct devices {
    struct writer         *writer;       /* borrowed: its port, stores and time */
    struct namespaces     *namespaces;
    const struct hash_key *hash_key;
    const struct presence *presence;     /* borrowed; to list devices without a session. NULL: none */
    struct event_outbox   *events;       /* borrowed; NULL: nobody asks for `acknowledged` */
    struct devices_limits  limits;       /* may change between two turns */
    struct pool            standing_pool;
    const char            *transports[DEVICE_TRANSPORTS_MAX];  /* static texts, of links so far */
    uint64_t               epochs[DEVICE_EPOCHS_MAX];  /* that places of durable logs have had, so that a place needs 4 bits for its own */
    struct near_map        standings;    /* by the hash of the user: all of a user's lie in one row of the map */
    struct pool            list_pool;
    struct standing_lists *lists;
    struct session_open   *line, **line_end;  /* openings that wait for others to end */
    uint32_t               open_count, line_count;
    uint32_t               hold_ticks;   /* … or for so many ticks */
    struct list            storing;      /* openings that wait until places are stored: of those under way */
    uint32_t               idle_count;
    struct list            urgent, lazy; /* writes that wait for the batch under way */
    struct device_batch   *batch;        /* under way, or NULL */
    uint32_t               read_count;   /* reads and questions under way */
    /* What standing.is_groupless rests on. */
    uint64_t               groups_moved; /* how many changes of memberships have ended */
    uint32_t               groups_moving;/* … are under way, or ended and nobody knows how */
    bool                   is_opening;   /* an opening is being decided without a question to the ledger */
    uint32_t               mark_count;   /* read marks being set (read_mark.h) */
    bool                   have_loops_ended;
    msec                   may_be_asked_until; /* by the wall clock: another node has taken a session over, and asks for places that are
                                                * in memory here alone; or it has read that the link is here, before its end was
                                                * stored */
    msec                   stores_until; /* likewise: the loops have ended, and what the ledger has refused is tried again until then */
    uint32_t               pause_ticks;  /* the ledger refused: lazy writes wait so many ticks … */
    enum ledger_outcome    refused_with; /* … as it did last */
    bool                   is_unsettled; /* a write ended as LEDGER_BROKEN, and none behind it has settled what became of it: rows may
                                          * turn out to be newer than what is read now */
    struct device_looks    looks;
    struct device_sweep   *sweep;        /* finds sessions that have run out */
    struct member_sweep   *member_sweep; /* holds lists of members against the rows of users; NULL: not begun */
    /* Of a cluster; devices_join() sets them. */
    const struct device_peers *peers;    /* borrowed; NULL: there are no other nodes */
    void                  *peers_ctx;
    char                   node[DEVICE_NODE_BYTES_MAX + 1];
    uint64_t               incarnation;
    struct list            asks;         /* questions to other nodes under way */
    bool                   is_cut_off;   /* what carries questions is away … */
    bool                   is_cut_with_ledger; /* … and comes back as soon as the ledger does */
    msec                   gathers_until; /* who was away as long may not be there yet; by the wall clock */
    struct list            calls;        /* questions of other nodes that can't be answered yet */
    struct device_older {
        struct list        places;       /* that another node may ask for, oldest first … */
        uint32_t           count;        /* … DEVICE_OLDER_MAX at most */
    }                      older,
                           stranded;     /* … that were not stored, and can't be any more */
    struct list            unsure;       /* raises that may be written though nobody was asked, oldest first … */
    uint32_t               unsure_count; /* … DEVICE_UNSURE_MAX at most */
    struct device_deaf {                 /* nodes that did not answer lately */
        char               node[DEVICE_NODE_BYTES_MAX + 1];
        uint64_t           incarnation;
        uint32_t           missed_tick;  /* when that was noticed: one question may be lost, or late … */
        bool               is_deaf;      /* … but one that was asked since then was not answered either: nobody waits for it */
        uint32_t           until_tick;
    }                      deaf[DEVICE_DEAF_MAX];
    struct device_compare *compare;      /* NULL: nothing was compared yet */
    uint32_t               tick;
    struct devices_counters counters;
};

void devices_init(struct devices *devices, struct writer *writer, struct namespaces *namespaces,
                  const struct hash_key *hash_key, const struct devices_limits *limits);
/* This node is one of several that share the ledger. From now on rows name it, and others are asked to let links go. */
void devices_join(struct devices *devices, struct span node, uint64_t incarnation, const struct device_peers *peers,
                  void *peers_ctx);
/* The other nodes are not known yet: openings wait, but for so many ticks at most. A link that was opened before would have asked nobody, and
 * nobody would have known whom to ask about it. */
void devices_hold(struct devices *devices, uint32_t ticks);
/* … they are known. */
void devices_go_on(struct devices *devices);
/* What carries questions to other nodes is away. Openings ask nobody; or, where it is back as soon as the ledger is, they wait for it. */
void devices_cut_off(struct devices *devices, bool is_back_with_ledger);
/* … it is back. For a moment whoever does not answer is asked again. */
void devices_reach(struct devices *devices);
/* A change of a user's memberships is handed to the store; and has ended. Not known: nobody can say whether it is there. */
void devices_group_moves(struct devices *devices);
void devices_group_moved(struct devices *devices, struct span user, bool is_known);
/* What other nodes said may be lost: sessions with a link are compared with the ledger at once. */
void devices_compare_now(struct devices *devices);
/* … but at most so many in a tick, because other nodes may have the same reason, or as many as in peace, if that is more. 0, as at
 * first: as many as the ledger answers. */
void devices_compare_pace(struct devices *devices, uint32_t sessions);
/* To be called when nothing is under way in the stores, before writer_fini(). */
void devices_fini(struct devices *devices);

/* After the commands of a turn: hands writes to the ledger. Before writer_turn_end(). */
void devices_turn_end(struct devices *devices);
/* About ten times a second. */
void devices_tick(struct devices *devices);

/* The node stops: all loops have ended, and what they said has been taken. Who waits for one of them waits no more. */
void devices_loops_ended(struct devices *devices);

/* Whose session it is. They don't change as long as a link of it has not sent session_close, and any thread may read them. */
struct span standing_user(const struct standing *standing);
struct span standing_device(const struct standing *standing);

/* Nothing is under way, here or at another node, and nothing waits to be stored that the ledger would take. */
bool devices_is_idle(const struct devices *devices);

#endif
