/* canary.h - a canary through the cluster's engine and back to the node that sent it: does the bus carry anything?
 *
 *     loop ──▶ writer ──cluster──▶ engine ──▶ this node's cluster ──▶ loop */
#ifndef NODE_CANARY_H
#define NODE_CANARY_H

#include "node/command.h"

enum canary_end {
    CANARY_ALONE,  /* the node is in no cluster */
    CANARY_HOME,   /* it came back */
    CANARY_AWAY,   /* the engine is known to be away: none was sent */
    CANARY_LOST,   /* the engine is said to be there, and it did not come back in time */
};

enum { CANARY_MS_MAX = 2000 };

struct canary {
    struct command  command;
    enum canary_end end;
    uint64_t        number;   /* the cluster's: of its frame */
    msec            until;    /* … and when it is lost */
    struct list     link;     /* … */
    void          (*answered)(struct canary *canary);  /* on the loop; takes it */
    void           *owner;
};

extern const struct command_kind canary_kind;  /* loop, writer, loop */

struct canary *canary_new(void);

void shard_send_canary(struct shard *shard, struct canary *canary);

/* The cluster's: it is over. Takes it. */
void writer_end_canary(struct writer *writer, struct canary *canary, enum canary_end end);

#endif
