/* tail.h - the recent end of one log, and which loops follow it. Private to the writer.
 *
 * A tail that nobody follows and that holds no messages is let go: it knew nothing that the store does not. */
#ifndef NODE_TAIL_H
#define NODE_TAIL_H

#include "base/list.h"
#include "base/map.h"
#include "base/pool.h"
#include "message/message_ring.h"
#include "node/command.h"

enum { LOOPS_MAX = 64 };

/* What only a tail that holds messages needs. */
struct tail_ring {
    struct list          recent;    /* in tails.recent: least lately written first */
    struct tail         *tail;
    struct message_ring *messages;  /* the contiguous end of the log up to head; never empty between two calls */
};

struct tail {
    struct map_node      node;
    struct channel_name *name;        /* owns a reference */
    struct tail_ring    *ring;        /* NULL: it holds no message */
    uint64_t             epoch;       /* 0: neither the store nor an append has told it yet */
    uint64_t             first;       /* as the store told it once; 0: not asked yet, `head` stems from an append */
    uint64_t             head;
    uint64_t             followers;   /* a bit a loop */
    struct mail         *asking;      /* FOLLOW commands waiting for the head */
    unsigned             trust;       /* writer.trust when the store was asked */
    bool                 is_asked;    /* the store is being asked for the head … */
    bool                 is_outdated; /* … and has shown more since */
};

struct tails {
    struct map  map;
    struct pool pool;           /* where they live */
    struct list recent;
    size_t      bytes;
    size_t      bytes_max;
    uint32_t    messages_max;   /* a channel */
    size_t      followed_count;
};

void tails_init(struct tails *tails, size_t bytes_max, uint32_t messages_max);
void tails_fini(struct tails *tails);

struct tail *tails_find(const struct tails *tails, const struct channel_name *name);
struct tail *tails_get(struct tails *tails, struct channel_name *name);  /* found or made */

/* Moves the head to this message and keeps it, if `is_kept`, while there is room; others' oldest make place. A message
 * that does not follow the head empties the tail first. */
void tail_take(struct tails *tails, struct tail *tail, struct message *message, bool is_kept);

/* Fills the answer of a READ_AFTER from memory. False: the tail does not reach back that far, ask the store. */
bool tail_read(const struct tail *tail, struct store_read *read);

void tail_empty(struct tails *tails, struct tail *tail);

/* Frees it if it knows nothing worth keeping. */
void tail_let_go(struct tails *tails, struct tail *tail);

#endif
