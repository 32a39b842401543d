/* device_roam.h - what device_world.h has beside if the users' devices roam over two or three nodes (roam_sim): each node with
 * its own devices and its part in a cluster (cluster/cluster.h), on one database and one engine that carries frames and
 * questions (cluster/sim_engine.h).
 *
 * What must hold, beside what device_world.h says:
 *  - a session that is opened on another node goes on there: its generation rises, its places and its memberships are the
 *    same, and its older link, wherever it is, gets nothing that is published from then on (threat 33). Where the question to
 *    the older node may be lost, the comparison with the ledger finds the link within a stated time;
 *  - a link is told `replaced` only if the device has come by a newer one: one that it has given up takes the session from nobody;
 *  - what is acknowledged in the name of an older generation counts nowhere, and no place goes back;
 *  - what was acknowledged on the older link a moment ago does not come again, if its node could be asked;
 *  - what a node is asked about devices on others is right, or says that it is not whole;
 *  - a node that stops answers and stores all, leaves, and ends. */
#ifndef SIM_DEVICE_ROAM_H
#define SIM_DEVICE_ROAM_H

#include "cluster/sim_engine.h"
#include "device_world.h"

struct wire_devices;

/* Each is drawn for itself. */
struct roam_faults {
    bool lost_frames, doubled_frames, late_frames, lost_calls, lost_answers, slow_answers, emptied, breaks;  /* of the engine */
    bool pauses;                                                                                          /* of nodes */
};

struct roam_seat {
    struct roam_node *node;      /* this life */
    msec              paused_until;
    bool              is_paused;
    msec              born_at;
    bool              is_out;    /* its loops have ended; its writer ends when all is stored, and the cluster is told */
    msec              out_since;
};

struct roam {
    struct device_world *all;
    struct rng           chance;
    struct roam_faults   faults;
    bool                 is_sound;  /* nothing is lost between nodes, and nothing in the database */
    struct sim_server   *server;
    struct roam_seat     seats[NODES_SIM_MAX];
};

/* How the faults of the world are drawn instead of device_world.c's own. */
void roam_draw_faults(struct device_world *all);
struct roam *roam_new(struct device_world *all);
void         roam_free(struct roam *roam);

/* The engine, and what happens to nodes. */
void roam_turn(struct roam *roam);
void roam_heal(struct roam *roam);
bool roam_is_paused(const struct roam *roam, unsigned no);

/* The loops have ended. True: the writer may end, too. */
bool roam_leave(struct roam *roam, unsigned no);

/* So long after something was answered another node may not have heard of it. */
msec roam_late_ms(const struct device_world *all);
/* Has it begun so lately that it may not know the others? */
bool roam_is_newborn(const struct device_world *all, unsigned no);
/* … and does it surely know none? */
bool roam_knows_nobody(const struct device_world *all, unsigned no);
/* Does an older link always tell the newer one what was acknowledged on it? Its node can be asked in time, and stores all before it ends.
 * Where a node does not know what became of a raise, none stops before the device comes back. */
bool roam_tells_all(const struct device_world *all);

#endif
