/* work_lease.h - which node carries a part of a forwarder, and how far the forwarder is in a channel: the rows, and the decisions
 * on them. Pure.
 *
 * A forwarder has FORWARDER_PARTS parts; a channel belongs to one of them by its name alone. Each part has a lease row in the
 * ledger, which names the node that carries it. The number of the lease is the row's generation. Whoever takes the part over
 * raises the number, and each write of a cursor has the condition that the number is still the writer's own. So a node that
 * carries a part in good faith, but has been replaced meanwhile (it was paused, or cut off), can't move a cursor any more.
 *
 * The lease has no time of its own. Who is to carry a part follows from the nodes that live (route/registry.h): the one with
 * the highest hash of its name and the part. So a node that comes or goes moves only its own share. */
#ifndef UPLINK_WORK_LEASE_H
#define UPLINK_WORK_LEASE_H

#include "base/buf.h"
#include "device/row_kind.h"
#include "message/channel_name.h"
#include "route/registry.h"
#include "store/ledger.h"

enum {
    FORWARDER_PARTS          = 16,
    FORWARDER_NAME_BYTES_MAX = 64,   /* "forward:up", "webhook:crm" */
    WORK_LEASE_WAIT_MS       = 15000, /* a node that is to give a part up has so long to finish what is under way */
    WORK_LEASE_AGAIN_MS      = 1000, /* between two looks at a row that another node has */
    CURSOR_ROW_BYTES         = 34,
};

/* How far a forwarder is in a channel. */
struct cursor_row {
    uint64_t epoch;
    uint64_t seq;        /* the back end has taken everything up to it; 0: nothing */
    uint64_t last;       /* the batch seq + 1 … last is under way, and keeps these bounds until the back end took it; 0: none is */
    msec     planned;    /* wall clock: when that batch was begun */
    bool     is_changed; /* the log has begun anew behind the back end's back: the batch begins with a gap that says so */
};

/* Who carries a part. */
struct lease_row {
    struct span node;         /* empty: its last carrier has given it up. Borrowed from the value */
    uint64_t    incarnation;
};

/* "forward:up/3", and behind it a 0 byte and the channel. */
void work_lease_put_key(struct buf *buf, struct span forwarder, unsigned part);
void cursor_put_key(struct buf *buf, struct span forwarder, unsigned part, struct span channel);

void cursor_row_put(struct buf *buf, const struct cursor_row *row);
bool cursor_row_get(struct span value, struct cursor_row *ret);
void lease_row_put(struct buf *buf, const struct lease_row *row);
bool lease_row_get(struct span value, struct lease_row *ret);

/* The part that a channel belongs to: by its slot; of sys:events/N it is N. */
unsigned work_lease_part(struct span channel);

/* The node that is to carry this part, of those that are up and have the role; NULL: there is none. */
const struct registry_node *work_lease_owner(const struct registry *registry, struct span forwarder, unsigned part);

enum work_lease_move {
    WORK_LEASE_TAKE,   /* raise the number, and carry the part */
    WORK_LEASE_WAIT,   /* another node that lives has it, and is to give it up: look again */
};

/* This node is to carry a part since `wanted_ms`, and has read its row; NULL: there is none, or it can't be read. `registry` NULL:
 * the node is alone. */
enum work_lease_move work_lease_judge(const struct lease_row *row, const struct registry *registry, const struct node_id *self,
                                      msec wanted_ms);

#endif
