/* open_work.h - an opening of a session while it is under way, and what its parts ask of each other. Private to this
 * module.
 *
 *     device_open.c   whose turn it is, what is decided, the fence, the answer
 *     open_load.c     what ledger and stores know of the session
 *     open_write.c    what is written
 *     open_ack.c      a call that acknowledges, and has no link
 */
#ifndef DEVICE_OPEN_WORK_H
#define DEVICE_OPEN_WORK_H

#include "device/devices_priv.h"

struct work_place {
    struct channel_name *name;     /* owns a reference */
    uint64_t             epoch, seq;
    bool                 is_kept;
    bool                 is_known; /* epoch and seq say where the session stands, or where a member begins */
    bool                 is_asked; /* its head was asked for: the place is to be stored */
    bool                 is_used;  /* of a stored place: it is one of a channel that the session follows */
    bool                 is_over;  /* of a group: nothing of it is for the session now; its place is remembered, in case the
                                    * user joins again */
    bool                 is_group; /* the user is or was a member of it */
    bool                 is_replayed; /* … and the user's log may say to the link that the user joined it, and left it again */
    struct group_spans  *spans;    /* of a group: owned, what of its log is the user's. NULL: it is none, or all is */
    uint64_t             generation;  /* of the group's row */
};

struct work_places {
    struct work_place *at;
    size_t             count, cap;
};

/* Another device of the user, whose session ends by devices_policy. */
struct work_device {
    struct session_row row;
    uint64_t           generation;
    size_t             len;
    char               name[DEVICE_TEXT_MAX];
    char               node[DEVICE_NODE_BYTES_MAX];  /* what row.node points into, once all are there */
};

enum { OPEN_OWN_COUNT = 2 };

struct open_work {
    struct device_round  round;         /* what is asked first … */
    struct device_read   read;          /* … and pages that follow */
    struct session_open *open;
    struct buf           prefix, place_prefix, after;
    struct channel_name *own[OPEN_OWN_COUNT];   /* of the user and the device: owned; their heads came with the round */
    struct store_head    own_heads[OPEN_OWN_COUNT];
    struct standing     *standing;
    unsigned             tries;
    bool                 has_row, is_damaged;
    uint64_t             row_generation;
    struct session_row   row;
    char                 row_class[DEVICE_CLASS_BYTES_MAX];
    uint64_t             read_generation;  /* of the row as it was read; 0: there was none */
    uint64_t             lost_to;     /* open_is_lost(); 0: it is not */
    uint64_t             raised;      /* the generation with which the row was sent to the ledger, and not refused; 0: it was not */
    uint64_t             epoch;       /* … and the life of the database that it was raised in; 0: not known */
    struct session_row   before;      /* … and what it said of the link: node, incarnation, is_roaming */
    char                 before_node[DEVICE_NODE_BYTES_MAX];
    bool                 is_replaced; /* the row that was read is a raise of this node that has asked nobody (device_unsure.c): this is the … */
    struct session_row   replaced;    /* … row before it */
    char                 replaced_node[DEVICE_NODE_BYTES_MAX];
    uint64_t             replaced_below; /* … and links of it have a lower generation than this */
    enum ledger_outcome  raise_outcome;  /* of the write that has the session's row */
    uint64_t             groups_moved; /* devices.groups_moved when the first page of groups was asked for */
    uint64_t             groups_seq;  /* the rows of groups know all messages of the user's log up to this one */
    uint32_t             device_count;
    struct work_device  *others;
    size_t               other_count;
    struct work_places   stored, groups, places;
    bool                 is_of_memory; /* row and places are what memory had, not what was read */
    bool                 is_unsettled; /* … while nobody knew what became of a write: the row may be newer */
    bool                 is_new;      /* the session begins with this link … */
    bool                 was_new;     /* … or did, before its groups were read once more */
    bool                 is_again;    /* the groups were read once more */
    bool                 is_behind;   /* the rows of groups are newer than the head where a new session begins in the user's log */
    bool                 is_untold;   /* another node may have stored places since they were read, and did not tell */
    bool                 has_new_kept;  /* that node told a place in a channel which the session keeps since the rows were read */
    bool                 is_parked;   /* waits until places of the session are written */
    struct list          in_storing;  /* open_store() */
    bool                 has_stored;  /* of a poll: it has waited for that */
    unsigned             store_count; /* of OPEN_ACK: the writes that it has waited for */
    uint32_t             writes_left, fences_left;
    uint32_t             loops_left;  /* of fences_left: loops of links of other sessions … */
    struct fence_wait    wait;        /* … which say so here */
    void               (*link_told)(struct open_work *work);  /* … and for that of this session's older link; NULL: nobody waits */
    enum ledger_outcome  outcome;     /* the worst of the writes */
};

/* --- device_open.c --- */

/* All is loaded: decides, and goes on. */
void open_decide(struct session_open *open);
/* Every place is known: writes, acknowledges, or goes on with a poll. */
void open_act(struct session_open *open);
/* The generation is raised. */
void open_fence(struct session_open *open);
/* The loops of links of other sessions have ended. */
void open_loops_ended(struct session_open *open);
/* Another node has answered, or nobody waits for it any longer. */
void open_peer_back(struct session_open *open);
/* Answers, and lets the next one begin. */
void open_end(struct session_open *open, enum open_outcome outcome);
/* If it is one of a lower generation its link is let go as soon as it is there: nobody waits for it. */
void open_is_lost(struct session_open *open, uint64_t to);
/* Waits until a write of the session's places has ended, or none will be tried soon; then open_stored() or open_ack_stored(). */
void open_store(struct session_open *open);
/* Hands the session to the link. */
void open_answer(struct session_open *open);
/* What was loaded counts in memory from now on. A place that moved meanwhile stays. */
void standing_take(struct session_open *open);
/* The places that were read once more count in memory, too. True: one of them had been read before it moved, or was dropped. */
bool standing_take_stored(struct open_work *work);
/* Groups in which the session has no stored place get one, with the next write: else nobody knew later what of the group it
 * was given. */
void standing_store_new(struct open_work *work);

/* --- open_load.c --- */

void open_work_free(struct session_open *open);
/* Then open_decide(), or open_end(). */
void open_load(struct session_open *open);
/* The channels that the session follows by itself, and where it stands in them. */
void open_gather(struct open_work *work);
/* Asks for the heads of the channels whose places are not known; then open_act(), or open_end(). */
void open_ask_heads(struct session_open *open);
/* Do the rows of groups have to be read once more, now that the older link is fenced? Then open_answer(), or
 * open_end(). */
bool open_groups_are_old(const struct open_work *work);
void open_load_groups_again(struct open_work *work);
/* The places are read once more, now that no other node can store any; then open_answer(), or open_end(). */
void open_load_places_again(struct open_work *work);
bool row_has_run_out(const struct devices *devices, const struct session_row *row);
/* What the row says of the link, in memory of our own. */
void row_keep_link(struct session_row *to, const struct session_row *from, char node[DEVICE_NODE_BYTES_MAX]);
void open_take_row(struct open_work *work, const struct session_row *row, uint64_t generation);

void               work_places_free(struct work_places *places);
struct work_place *work_places_add(struct work_places *places, struct channel_name *take_name);
/* work_places_find() searches places that stand in the order of their names; work_places_add() puts one at the end. */
void               work_places_sort(struct work_places *places);
struct work_place *work_places_find(const struct work_places *places, struct channel_name *name);

/* --- open_write.c --- */

/* Then open_fence(), open_try_again(), or open_end(). */
void open_write(struct session_open *open);
/* Another node has the session since it was loaded: open_load() anew, or open_end() once that was so too often. */
void open_try_again(struct session_open *open);
/* How an opening ends whose write the ledger has refused. */
enum open_outcome open_refusal(enum ledger_outcome outcome);

/* --- open_ack.c --- */

/* All is loaded: does the session have a place in each named channel? Then open_ask_heads(), or open_end(). */
void open_ack_begin(struct session_open *open);
/* The heads are known, and nobody acknowledges beyond them. In a cluster waits until it is stored; then open_end(). */
void open_acknowledge(struct session_open *open);
/* open_store() has ended so. */
void open_ack_stored(struct session_open *open, enum ledger_outcome outcome);

#endif
