/* node_record.h - This module knows the nodes of a cluster and who serves what. It decides; it refuses to know engines, sockets and
 * time: what it needs is handed in. Pure.
 *
 * A node record is what a node says of itself with each renewal of its lease. */
#ifndef ROUTE_NODE_RECORD_H
#define ROUTE_NODE_RECORD_H

#include "base/msec.h"
#include "base/span.h"

enum { NODE_RECORD_NAME_MAX = 64, NODE_RECORD_REGION_MAX = 64, NODE_RECORD_ADVERTISE_MAX = 1023, NODE_RECORD_VERSION_MAX = 32,
       NODES_MAX = 1024 /* of a cluster; one more is refused its lease */ };

enum node_role { ROLE_ACCESS = 1, ROLE_API = 2, ROLE_ROUTER = 4, ROLE_FORWARD = 8 };

/* One start of a node. The newer incarnation has the larger `started`; equal ones are ordered by `incarnation`. */
struct node_id {
    char     name[NODE_RECORD_NAME_MAX + 1];
    uint64_t incarnation;  /* random, never 0 */
};

struct node_record {
    struct node_id id;
    msec           started;       /* wall clock of that node */
    uint32_t       protocol;      /* CLUSTER_PROTOCOL of its program: what it can read on the bus */
    uint32_t       engines;       /* how many instances of Redis its list names; 0: it has none, or its release does not say */
    uint64_t       store;         /* what its databases have in common (store/shard_table.h); 0: its release does not say */
    unsigned       roles;         /* enum node_role */
    bool           is_draining;
    uint64_t       connections, capacity;
    uint64_t       admissions_per_s;  /* clients that it lets in; 0: it has no bound, or its release does not say */
    char           region[NODE_RECORD_REGION_MAX + 1];
    char           advertise[NODE_RECORD_ADVERTISE_MAX + 1];  /* as the setting has it; empty: nobody is sent there */
    char           version[NODE_RECORD_VERSION_MAX + 1];
};

/* What nodes say to each other has this number; neighbours (one less, one more) understand each other (threat 44). */
enum { CLUSTER_PROTOCOL = 1 };

#endif
