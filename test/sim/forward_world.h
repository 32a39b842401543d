/* forward_world.h - one seed of nodes that carry the messages of channels to a back end, and events to a webhook: one to three real
 * writers with their forwarders (uplink/forwarder.h) on one simulated database, publishers, and a simulated back end that is slow, away
 * for a while, fails, refuses messages, loses its answers, and takes a batch although its sender has gone. Nodes are killed at any step,
 * pause for so long that others take over what they carry and then go on, and drain; they hear late of each other; settings
 * are read anew without the webhook, and with it; hints between
 * them are lost, late and doubled; commits have unknown outcomes; retention trims what nobody has carried yet.
 *
 * What must hold:
 *  - each place of a log is taken by the back end, or told as a gap that is one, or in sys:dead; an event that the webhook does not ask
 *    for may be passed over. What is first taken of a channel is taken in order;
 *  - only what was refused often enough, or for long enough, is in sys:dead, and it is there once;
 *  - before a batch is sent its bounds are on the disk: whoever sends from the same place again sends the same batch, unless the
 *    back end has refused it;
 *  - a cursor moves only over what is done with, and never goes back; whoever moves it has the lease of the part;
 *  - a back end that was away is tried by one batch, and by one more for each that it takes;
 *  - once the faults have ended all is carried soon. */
#ifndef SIM_FORWARD_WORLD_H
#define SIM_FORWARD_WORLD_H

#include "sim_node.h"
#include "node/uplink_port.h"
#include "uplink/forwarder.h"
#include "world.h"

enum {
    CARRIED_CHANNELS_MAX = 8,     /* that are forwarded */
    CARRIED_PLACES_MAX   = 512,   /* of a channel */
    CARRIED_CALLS_MAX    = 6000,
    FORWARDERS_SIM       = 2,     /* forward:up, webhook:crm */
    HINTS_MAX            = 64,    /* on their way to a node */
};

/* Bugs put in on purpose (threat 114). */
enum forward_plant {
    FORWARD_PLANT_NONE,
    FORWARD_PLANT_EARLY_CURSOR,  /* the cursor is behind a batch before the back end took it */
    FORWARD_PLANT_NO_LEASE,      /* a cursor is written, whoever has the lease */
    FORWARD_PLANT_UNFIXED,       /* the bounds of a batch are not stored before it is sent */
    FORWARD_PLANT_LOST_HALF,     /* after a split the second half is forgotten */
    FORWARD_PLANT_DEAD_STAYS,    /* a dead letter is written, and the cursor does not move */
    FORWARD_PLANT_NO_LETTER,     /* what is refused too often is passed over without a dead letter */
    FORWARD_PLANT_NO_SWEEP,      /* hints are lost, and nobody compares heads with cursors */
    FORWARD_PLANT_FLOOD,         /* a back end that was away gets all at once */
    FORWARD_PLANT_COUNT,
};

const char *forward_plant_text(unsigned plant);
unsigned    forward_plant_seeds_max(unsigned plant);

/* What became of a place of a log. */
struct carried_place {
    bool     is_written, is_wanted;  /* it is in the log; some filter asks for it */
    bool     is_poison;              /* the back end refuses it each time */
    unsigned number;                 /* of the message, among all */
    msec     expires_at;             /* 0: never */
    bool     is_sent, is_taken, is_told;  /* to the back end; by it; as a gap */
    bool     is_dead;                /* in sys:dead */
    unsigned refused;                /* so often, alone */
    uint64_t refused_end;            /* of the longest batch from here that was refused */
    uint64_t fixed[CARRIED_PLACES_MAX / 64 + 1];  /* ends of batches from here that were on the disk, as bits */
};

struct carried_channel {
    struct carried_place places[CARRIED_PLACES_MAX + 1];  /* by seq */
    uint64_t             head;
    uint64_t             cursor, last;     /* as the row on the disk says */
    unsigned             forwarder;        /* whose it is */
};

struct forward_node;

/* What the back end has got. */
struct carried_call {
    struct forward_node *caller;   /* NULL: it has ended */
    struct backend_call *call;     /* NULL: it was answered */
    unsigned             channel, forwarder;
    uint64_t             first, last;
    char                *body;     /* copied; NULL: it was looked at */
    size_t               body_len;
    msec                 look_at, due;   /* the back end looks at it; the answer is there */
    enum backend_outcome outcome;
    unsigned             status;
    bool                 is_read;  /* the back end looks at it, whatever is answered */
    const char          *after;    /* Retry-After */
};

/* A hint on its way (PEER_FORWARD). */
struct carried_hint {
    char  *body;  /* owned */
    size_t len;
    msec   due;
};

/* How a forwarder of a node has fared, as its calls show. */
struct carried_fare {
    unsigned under_way;   /* calls */
    unsigned taken;       /* … that were taken since */
    msec     down_at;     /* the back end was found to be away then, and has taken nothing since; -1: it is well */
    msec     failed_at;   /* … and last */
    bool     has_failed;
};

struct forward_node {
    struct forward_world *all;
    struct sim_node      *sim_node;
    struct sim_beside     beside;
    struct forwarders     forwarders;
    struct registry       registry;
    struct node_id        id;
    msec                  started;
    struct carried_hint   hints[HINTS_MAX];
    unsigned              hint_count;
    struct carried_fare   fares[FORWARDERS_SIM];
    msec                  paused_until, silent_since;  /* others take it for lost after a while */
    msec                  deaf_until;                  /* it does not hear who lives */
    bool                  is_paused, is_stopping, has_webhook;
};

struct forward_world {
    struct world          world;
    enum forward_plant    plant;
    struct rng            chance;
    bool                  has_pauses, has_stops, has_outages, has_refusals, has_lost_hints, has_stale_nodes, has_reloads, is_ending;
    unsigned              tries, batch_max;
    msec                  retry_ms_max, give_up_ms;
    msec                  down_until;      /* the back end is away */
    msec                  nodes_told_at;
    unsigned              carried_count;   /* channels that are forwarded; sys:dead is behind them */
    unsigned              number, call_count;
    unsigned              looked_count;    /* all calls before that one are done with */
    size_t                scanned;         /* of the journal */
    uint64_t              leases[FORWARDERS_SIM][FORWARDER_PARTS];
    struct forward_node  *nodes[NODES_SIM_MAX];
    struct carried_channel channels[CARRIED_CHANNELS_MAX];
    struct carried_call   calls[CARRIED_CALLS_MAX];
};

static inline uint64_t forward_draw(struct forward_world *all, uint64_t below)
{
    return rng_below(&all->chance, below);
}

static inline bool forward_one_in(struct forward_world *all, uint64_t count)
{
    return forward_draw(all, count) == 0;
}

extern const char *const forwarder_sim_names[FORWARDERS_SIM];

/* --- forward_backend.c --- */
extern const struct forwarder_port forward_sim_port;  /* ctx is the node */
/* The back end looks at what has reached it. */
void carried_look(struct forward_world *all);
/* What is answered comes back to this node. */
void carried_turn(struct forward_node *node);

/* --- forward_truth.c --- */
/* Reads what has been written since. */
void carried_scan(struct forward_world *all);
/* Is this place done with? */
bool carried_is_done_with(const struct forward_world *all, unsigned channel, uint64_t seq);
/* It was trimmed, or has expired. */
bool carried_is_gone(const struct forward_world *all, unsigned channel, uint64_t seq);
/* Was a batch with these bounds on the disk once? */
bool carried_was_fixed(const struct carried_channel *channel, uint64_t first, uint64_t last);
bool carried_all(const struct forward_world *all);
void carried_check_end(struct forward_world *all);

/* --- forward_plant.c --- */
void forward_plant_init(struct forward_world *all);
void forward_plant_turn(struct forward_node *node);
/* An answer is about to come back. */
void forward_plant_answer(struct forward_world *all, struct carried_call *got);

bool forward_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256]);

#endif
