/* followed.h - the channels that a client follows, and up to where the application has been told of each.
 *
 * Here it is decided that every seq is told once and in order. Pure. */
#ifndef CLIENT_FOLLOWED_H
#define CLIENT_FOLLOWED_H

#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "longwire.h"

enum followed_state {
    FOLLOWED_IDLE,      /* the server is to be asked, as soon as there is a link */
    FOLLOWED_SNAPSHOT,  /* the application is loading its own state; nothing is told meanwhile */
    FOLLOWED_ASKED,     /* the server has been asked on this link */
    FOLLOWED_ON,        /* it has answered: messages flow */
    FOLLOWED_LEAVING,   /* unsubscribed by the application; the server has not answered yet */
};

#define FOLLOWED_NOWHERE UINT64_MAX

struct followed {
    struct list         link;          /* in the table, in the order of the calls */
    struct list         to_ack;        /* in the table's list, while an acknowledgement or a read mark is to be sent */
    struct map_node     node;
    enum followed_state state;
    enum lw_mode        mode;
    bool                is_own;        /* the session follows it by itself */
    bool                is_wanted;     /* lw_subscribe() has named it */
    bool                keep;
    bool                presence;      /* who comes and goes is asked for */
    bool                needs_snapshot;
    bool                is_lost;       /* SNAPSHOT: `lost` is what the snapshot has to heal */
    struct lw_gap       lost;
    bool                is_placed;     /* `epoch` and `seq` say what the application has */
    bool                is_dense;      /* the next message on this link is seq + 1; else any later one */
    enum lw_place       place;         /* where it begins while it isn't placed */
    uint64_t            place_seq;
    uint64_t            epoch, seq;    /* 0: epoch unknown */
    uint64_t            ack_seq;       /* the application has dealt with it up to here; 0: with nothing */
    uint64_t            read_seq;      /* a read mark that the server has not confirmed; 0: none */
    uint64_t            floor_epoch, floor_seq, floor_ack;  /* of a group that was left: told and acknowledged up to there before;
                                                             * while it isn't placed */
    bool                is_acked;      /* acknowledged on this link: in doubt when it breaks */
    bool                is_read_sent;  /* … and so the read mark */
    unsigned            leaving;       /* unsubscribes without an answer on this link: until then nothing is told */
    uint64_t            ref;           /* of its last subscribe … */
    uint64_t            asked_after;   /* … which named this place; FOLLOWED_NOWHERE: none */
    bool                is_on_link;    /* this link has said `subscribed`, and not `unsubscribed` since … */
    bool                is_compared;   /* … and the server's places that are being compared have it */
    uint64_t            link_epoch, link_seq;  /* behind the last entry that came over this link */
    size_t              name_len;
    char                name[];        /* with a NUL */
};

static inline struct span followed_name(const struct followed *followed)
{
    return span_of(followed->name, followed->name_len);
}

struct followed_table {
    struct hash_key key;
    struct map      map;
    struct list     all;
    struct list     to_ack;
    struct list     gone;        /* groups of the session that were left, the newest last: in no other list but to_ack */
    size_t          count, gone_count;
};

/* Groups that were left of which it is known what was told, for the case that the server brings it again. */
enum { FOLLOWED_GONE_MAX = 128 };

void followed_table_init(struct followed_table *table, struct hash_key key);
void followed_table_fini(struct followed_table *table);

struct followed *followed_find(const struct followed_table *table, struct span name);
/* There is none of this name yet. */
struct followed *followed_add(struct followed_table *table, struct span name);
void             followed_remove(struct followed_table *table, struct followed *followed);
/* `conn:KEY`, by which the connection itself is addressed. Another link has another key. */
bool             followed_ends_with_link(struct span name);
/* The session has left the group. What is to be acknowledged of it still is, and what was told is not told again, if it comes again
 * because that was lost. */
void             followed_go(struct followed_table *table, struct followed *followed);
struct followed *followed_find_gone(const struct followed_table *table, struct span name);

enum followed_verdict {
    FOLLOWED_TELL,  /* it is next; the place has moved */
    FOLLOWED_DROP,  /* the application has it already */
    FOLLOWED_HOLE,  /* one before it is missing: the link can't be trusted */
};

/* A message has come. FOLLOWED_TELL with has_skipped: the session has skipped messages, and this gap is to be told before. */
enum followed_verdict followed_message(struct followed *followed, uint64_t epoch, uint64_t seq, bool *ret_has_skipped,
                                       struct lw_gap *ret_skipped);

/* A gap has come; what of it was told before is cut off. */
enum followed_verdict followed_gap(struct followed *followed, struct lw_gap *gap);

/* The server has answered a subscribe that named no place: what comes next lies behind `head`. */
void followed_place(struct followed *followed, uint64_t epoch, uint64_t head);

/* Where this link stands in the channel. */
void followed_on_link(struct followed *followed, uint64_t epoch, uint64_t seq);

/* FOLLOWED_DROP, because it was told before the group was left: it is to be acknowledged anew. */
bool followed_was_acked(const struct followed *followed, uint64_t seq);

/* The link is lost: what was left is acknowledged when it comes again. */
void followed_gone_lost(struct followed_table *table);
/* The link is lost: what was asked and answered on it counts no more. */
void followed_link_lost(struct followed_table *table, struct followed *followed);

/* The application has dealt with all up to `seq`. */
void followed_ack(struct followed_table *table, struct followed *followed, uint64_t seq);
void followed_read(struct followed_table *table, struct followed *followed, uint64_t seq);

#endif
