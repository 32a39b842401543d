/* tail.h - the recent end of one log, and which loops follow it. Private to the writer.
 *
 * A tail that nobody follows and that holds no messages is let go: it knows nothing that the store does not. One that is
 * followed and holds none is folded once the writer comes by: what is left of it is which loops follow, and the head
 * (struct tail_folded). Whoever looks for it finds a tail again. */
#ifndef NODE_TAIL_H
#define NODE_TAIL_H

#include "base/list.h"
#include "base/near_map.h"
#include "base/pool.h"
#include "message/message_ring.h"
#include "node/command.h"
#include "node/head_state.h"

enum { LOOPS_MAX = 64 };

/* What only a tail that holds messages needs. */
struct tail_ring {
    struct list          recent;    /* in tails.recent */
    uint64_t             moved_at;  /* tails.written when it was put at the end there */
    struct tail         *tail;
    struct message_ring *messages;  /* the contiguous end of the log up to head; never empty between two calls */
};

/* What the writer owes to loops about one tail. Few tails have one at any time, so it is not part of the tail. */
struct tail_owed {
    struct list  link;    /* in tails.owed */
    struct tail *tail;
    struct mail *askers;  /* FOLLOW commands that wait for the head */
    struct mail *readers; /* READ commands that wait for the page that the store is asked for … */
    bool         is_read; /* … if it is; it begins behind this seq */
    uint64_t     read_after;
    uint64_t     moved;   /* a bit a loop: it is to be told that the head has moved … */
    uint32_t     tick;    /* … not before the second tick after this one */
};

/* What stands in tails.map. Each idle connection may have a channel of its own, and so one of these: keep it small. */
struct tail_entry {
    struct near_map_node node;
    struct channel_name *name;        /* owns a reference */
    uint64_t             followers;   /* a bit a loop */
};

/* Its epoch is tails.folded_epochs': nearly all logs of a store have the same. That the log begins at 1 is all that is known of
 * its beginning. */
struct tail_folded {
    struct tail_entry entry;
    uint64_t          head;      /* HEAD_FORGOTTEN: it was not known, or the log has another epoch */
};

#ifndef POOL_IS_MALLOC
_Static_assert(sizeof(struct tail_folded) == 32, "each channel of every idle connection may pay for one");
#endif

struct tail {
    struct tail_entry    entry;
    struct tail_ring    *ring;        /* NULL: it holds no message */
    struct tail_owed    *owed;        /* NULL: nothing */
    uint64_t             epoch;       /* 0: neither the store nor an append has told it yet */
    uint64_t             first : 56;  /* as the store told it once; 0: it has not, `head` stems from an append */
    uint64_t             head_state : 8;  /* enum head_state; packed with `first`, because no seq needs 56 bits */
    uint64_t             head;        /* within a life of the log it only goes forward */
};

struct tails {
    struct near_map  map;
    struct pool pool;           /* where they live … */
    struct pool folded;         /* … and those that are folded; by durability: */
    size_t      folded_counts[2];
    uint64_t    folded_epochs[2];
    struct list recent;         /* least lately written first, but for an eighth of bytes_max that was written between */
    struct list owed;
    size_t      bytes;
    size_t      bytes_max;
    uint64_t    written;        /* bytes, ever */
    uint32_t    messages_max;   /* a channel */
};

void tails_init(struct tails *tails, size_t bytes_max, uint32_t messages_max);
/* From now on the messages of all tails take so much; the oldest are let go. */
void tails_limit(struct tails *tails, size_t bytes_max);
void tails_fini(struct tails *tails);

/* Also if it is folded: then it is made again. */
struct tail *tails_find(struct tails *tails, const struct channel_name *name);
struct tail *tails_get(struct tails *tails, struct channel_name *name);  /* found or made */
/* NULL also if it is folded. */
struct tail *tails_look(const struct tails *tails, const struct channel_name *name);
/* In either form. NULL: there is none. */
struct tail_entry *tails_entry(const struct tails *tails, const struct channel_name *name);
/* The name that stands in the entry with this text, whose hash is given; borrowed. NULL: there is none. */
struct channel_name *tails_name(const struct tails *tails, uint64_t hash, struct span text);
/* The loops that follow the channel; a bit each. */
uint64_t tails_followers(const struct tails *tails, const struct channel_name *name);

/* Somebody has read that this log ends at `head`, in this life of it. Does the tail, in either form, say less, or will it perhaps,
 * because the store was asked before that? A tail that knows nothing says nothing. */
bool tails_say_less(const struct tails *tails, const struct channel_name *name, uint64_t epoch, uint64_t head);

/* For walks over tails.map: the tail; NULL: it is folded. */
struct tail *tail_at(struct near_map_node *node);
/* … and is made again if it is. It stays in its slot. */
struct tail *tails_unfold(struct tails *tails, struct near_map_node *node);
/* Lets go of all but who follows and the head, of a tail that has nothing else: see tail_may_fold(). */
void tail_fold(struct tails *tails, struct tail *tail);
/* Somebody follows, it holds no message and owes nothing, and the store is not being asked. */
bool tail_may_fold(const struct tail *tail);

/* Moves the head to this message, which is newer or of another life of the log, and keeps the message, if `is_kept`,
 * while there is room; the oldest of other tails make place. A message that does not follow the head empties the tail
 * first. */
void tail_take(struct tails *tails, struct tail *tail, struct message *message, bool is_kept);

/* All up to `head` is gone: the tail holds no message of it, and begins behind it. */
void tail_purge(struct tails *tails, struct tail *tail, uint64_t epoch, uint64_t head);

/* Fills the answer of a READ_AFTER from memory. False: the tail does not reach back that far, ask the store. */
bool tail_read(const struct tail *tail, struct store_read *read);

/* A page that the store gave just now: if it ends where the log ends, and nothing newer is held, it becomes the tail, so that who
 * reads the same after it needs no store. */
void tail_fill(struct tails *tails, struct tail *tail, const struct store_read *read);

void tail_empty(struct tails *tails, struct tail *tail);

/* tail->owed, made if it is NULL; tail_settle() frees it once nothing is owed. */
struct tail_owed *tail_owe(struct tails *tails, struct tail *tail);
void              tail_settle(struct tail *tail);

bool tail_is_asked(const struct tail *tail);

/* Frees the tail if the store knows as much. */
void tail_let_go(struct tails *tails, struct tail *tail);

#endif
