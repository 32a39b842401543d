/* cluster_host.h - a node's part in a cluster: the engine that the settings name, with threads of its own, and the cluster
 * beside the writer.
 *
 *     engine's threads ──mailbox, or a turn of the writer──▶ cluster ──▶ engine
 *
 * open and close are main's thread's; all else is of whoever has the writer's turn (writer_lock.h). A node alone has none. */
#ifndef MAIN_CLUSTER_HOST_H
#define MAIN_CLUSTER_HOST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "cluster/cluster.h"
#include "main/snapshot.h"
#include "reactor/wake.h"

struct server;

struct cluster_host {
    struct server  *server;   /* borrowed */
    struct mailbox *mailbox;  /* the writer's; borrowed */
    struct engine  *engine;   /* NULL: the node is alone */
    struct cluster *cluster;
    bool            is_in_store;  /* the engine is the store's database */
    msec            now;          /* of its newest turn */
    pthread_mutex_t sent_lock;
    struct list     sent;         /* under it: calls of frames that are over; the next turn has them freed */
    uint64_t        nodes_told;   /* the version of the registry that the loops have */
    uint64_t        living;       /* the sum of the incarnations that live, as the outbox of events was told */
    _Atomic bool    is_usurped;
    char            why[500];     /* written before is_usurped is set: main reads it behind that, without a lock */
    uint64_t        doubts_seen;  /* doubts that sessions and presence were told of */
    uint64_t        comparisons_seen;  /* of those, comparisons of heads that are in the log */
};

/* The writer is there, and does not run yet. RC_OK without `cluster`: the node is alone. Else `why` is a sentence for the
 * operator; close is due all the same. */
enum rc cluster_host_open(struct cluster_host *host, struct server *server, char *why, size_t why_size) RC_MUST_USE;

/* The writer has ended. A zeroed host is fine. */
void cluster_host_close_engine(struct cluster_host *host);
/* … and what it was still sent is freed. */
void cluster_host_close(struct cluster_host *host);

static inline bool cluster_host_is_open(const struct cluster_host *host)
{
    return host->cluster != NULL;
}

/* What the node says of itself, as the settings have it now. */
void cluster_host_adopt(struct cluster_host *host, const struct settings *settings);

void cluster_host_turn_begin(struct cluster_host *host, msec now, msec wall);
void cluster_host_tick(struct cluster_host *host);

/* The last thing that the writer does. True: the cluster is left. */
bool cluster_host_leave(struct cluster_host *host);

/* Any thread. Prometheus text; cluster_metrics.c. */
void cluster_host_put_metrics(const struct cluster_host *host, struct buf *out);

#endif
