/* group_spans.h - the rows that say who is a member of which group, and what of the group's log is theirs. Pure.
 *
 * Two rows change in one commit with the membership message in `user:U`:
 *
 *     GROUP   U \0 GROUP    generation: seq of that message; value: what of the group's log is the user's
 *     MEMBER  GROUP \0 U    the index in the other direction; there only while U is a member; no value
 *
 * What is the user's are spans of the group's log. One begins behind the head as of the join, and ends at the head as
 * of the leave:
 *
 *     log of group:G   … 40 41 42 43 44 45 46 47 48 49 50 51 …
 *                           └──────────────┘     └────────…
 *                        after 41, until 46      after 48, until GROUP_SPAN_OPEN
 *
 * A device that was away gets exactly these, whatever happened meanwhile. When there are more than GROUP_SPANS_MAX, the
 * oldest is forgotten. The row of somebody who left goes once the group's log keeps nothing of that time. */
#ifndef DEVICE_GROUP_SPANS_H
#define DEVICE_GROUP_SPANS_H

#include "base/buf.h"
#include "device/row_kind.h"
#include "message/channel_name.h"
#include "store/ledger.h"

enum { GROUP_SPANS_MAX = 16, GROUP_SPANS_BYTES_MAX = 2 + GROUP_SPANS_MAX * 32 };

#define GROUP_SPAN_OPEN UINT64_MAX

struct group_span {
    uint64_t epoch;  /* the life of the group's log in which the two seqs are */
    uint64_t after;  /* what is behind this seq … */
    uint64_t until;  /* … up to this one, included; GROUP_SPAN_OPEN: the user is a member */
    uint64_t joined; /* seq in the user's log of the message that said so; 0 while open: it is the row's generation */
};

struct group_spans {
    size_t            count;                    /* 0: there is no row */
    struct group_span spans[GROUP_SPANS_MAX];   /* ascending; only the last may be open */
};

static inline bool group_spans_is_member(const struct group_spans *row)
{
    return row->count > 0 && row->spans[row->count - 1].until == GROUP_SPAN_OPEN;
}

/* The user joins, or leaves, at this place of the group's log. False, and nothing changes: that is so already. A member
 * gets a new life of the log from its beginning. */
bool group_spans_join(struct group_spans *row, uint64_t epoch, uint64_t head);
/* `joined`: of the span that ends. */
bool group_spans_leave(struct group_spans *row, uint64_t epoch, uint64_t head, uint64_t joined);

/* The first seq from `seq` on that is the user's, in this life of the group's log; 0: none is. */
uint64_t group_spans_next(const struct group_spans *row, uint64_t epoch, uint64_t seq);

/* Is all from `seq` on the user's, as long as the user stays a member? */
bool group_spans_have_rest(const struct group_spans *row, uint64_t epoch, uint64_t seq);

/* Where a device begins that has no place in the group's log: it has seen the user's log up to `seen`, and the row's
 * generation is that of its newest message. False: at no place, all that it was to get from the group it got.
 *
 * What joined after `seen` is new to the device; so is what was not yet told to be over, and what still goes on. */
bool group_spans_first(const struct group_spans *row, uint64_t generation, uint64_t seen, struct group_span *ret);

/* Bytes of the value, of at least one span; reads them back, false: they are none. */
void group_spans_put(const struct group_spans *row, struct buf *buf);
bool group_spans_get(struct span value, struct group_spans *ret);

/* Keys, and the prefix that all keys of a user or of a group have. `space` is at least LEDGER_KEY_BYTES_MAX bytes. */
struct span group_key(struct span user, struct span group, char *space);
struct span member_key(struct span group, struct span user, char *space);
struct span member_prefix(struct span name, char *space);
/* What stands behind the first 0 byte. */
struct span member_key_tail(struct span key);

/* The part of a channel's name behind the colon. */
struct span channel_own_name(const struct channel_name *channel);

#endif
