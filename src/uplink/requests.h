/* requests.h - requests of clients to back ends, from the command of a loop to the response in the log of the device.
 *
 *     command ──▶ claim: row CALL ──▶ accepted ──▶ call ──▶ response: append to device:U/D, REQUEST says where, CALL goes
 *                   │ the id has a row already
 *                   └──▶ look: under way → accepted; answered → replayed, conflict, gone
 *
 * The claim puts the CALL row on the condition that the id has neither a CALL nor a REQUEST row: that is the check for a
 * repeated id, on whatever node it comes. The deletion of the CALL
 * row, in the append of the response, has the condition that the row is still this node's: so there is exactly one answer. A
 * CALL row whose node is gone is found by a scan, and whoever takes it over answers it, or calls again if the whole request is
 * kept (at_least_once).
 *
 * Where no other node writes rows of requests, nobody else asks who calls. Then calls of at_most_once that begin in one turn share a
 * row, CALLS. A repeated id is found in memory; the append of the response has the condition that the id has no REQUEST row; and the
 * next start finds in CALLS and REQUEST which calls have no response (decision 128).
 *
 * Who waits for a response, or cancels, on another node than the one that calls: the rows say what became of it, and who calls.
 *
 * A link whose device name was made up has no rows: its response goes to conn:KEY and is lost with the link. What it was answered last is
 * in memory, so that an id which comes again is answered again (decision 152).
 *
 * It is owned beside the writer and runs on its thread. Pure: calls leave by the port, time, nodes and randomness are handed
 * in. */
#ifndef UPLINK_REQUESTS_H
#define UPLINK_REQUESTS_H

#include "base/rate_table.h"
#include "base/counter.h"
#include "base/map.h"
#include "base/rng.h"
#include "node/request_command.h"
#include "node/writer.h"
#include "route/registry.h"
#include "uplink/backend.h"

enum {
    REQUESTS_UNDER_WAY_MAX  = 20000,             /* of this node; then REQUEST_BUSY */
    REQUESTS_OF_DEVICE_MAX  = 256,               /* likewise, of one device, or of one link without a device's name */
    REQUESTS_BODY_BYTES_MAX = 128 * 1024 * 1024, /* bodies of requests under way; then REQUEST_BUSY */
    REQUESTS_HELD_BYTES_MAX = 64 * 1024 * 1024,  /* answers that wait for the store; then REQUEST_BUSY */
    REQUEST_SEEKS_MAX       = 1024,              /* cancels that look for the node that calls; beyond it they do nothing */
    REQUEST_DEVICES_IDLE_MAX = 10000,            /* devices without a request under way of which something is remembered */
    REQUESTS_STOP_MS        = 2000,              /* at a stop calls may go on for so long */
};

/* How calls leave, and what there is to know. */
struct request_port {
    /* Takes the call. Its deadline is the latest end of it, 0: what the back end has by itself. It comes back by call->done(),
     * once, perhaps within this call. */
    void (*send)(void *ctx, struct span backend, struct backend_call *call);
    /* It comes back soon. */
    void (*cancel)(void *ctx, struct backend_call *call);
    /* The nodes; NULL: there is only this one. */
    const struct registry *(*registry)(void *ctx);
};

struct requests_limits {
    uint64_t per_user_per_s;       /* 0: any number; then REQUEST_TOO_OFTEN */
    msec     keep_ms;              /* how long an id is remembered */
    uint64_t responses_bytes_max;  /* of a device: what is beyond the newest so many bytes is REQUEST_GONE */
};

struct requests_counters {
    struct counter taken;                            /* commands of loops */
    struct counter outcomes[REQUEST_OUTCOME_COUNT];  /* what loops were told */
    struct counter responses[6];                     /* appended, by the class of the status: [5] 5xx */
    struct counter cancelled;                        /* 499 */
    struct counter unknown;                          /* 504 because whoever called is gone */
    struct counter resumed;                          /* at_least_once: called again after whoever called was gone */
    struct counter taken_over;                       /* by another node, before it was answered here */
    struct counter under_way, held_bytes;            /* now */
    struct counter calls;                            /* now, to back ends */
    struct counter to_links;                         /* now, of links without a device: one that has ended counts until the next turn,
                                                      * when its response is on its way to its loop */
};

struct requests_setup {
    struct writer             *writer;    /* borrowed */
    struct namespaces         *spaces;
    const struct hash_key     *hash_key;  /* of channel names */
    const struct request_port *port;
    void                      *ctx;
    struct node_id             self;
    uint64_t                   seed;
    bool                       is_alone;  /* only this node writes rows of requests: calls that begin together share a row */
};

struct requests {
    struct requests_setup    setup;
    struct requests_limits   limits;      /* may change between two turns */
    struct requests_counters counters;
    struct rng               random;
    msec                     now;
    uint32_t                 tick;
    struct rate_table        rate;        /* of users, if it is bounded */
    struct map               works;       /* requests under way here, by device (or link) and id */
    struct list              all;
    struct map               devices;     /* of which something is remembered */
    struct list              idle;        /* of them, those without a request under way; the oldest first */
    uint32_t                 idle_count;
    struct list              idle_links;  /* likewise, links without a device whose answers are remembered */
    uint32_t                 idle_link_count;
    size_t                   link_bytes;  /* of these answers */
    struct list              waiters;     /* commands that wait for a response, by wait_ms */
    struct list              again;       /* works that try something anew, at a later tick */
    struct list              writes;      /* that wait for the batch under way */
    struct request_batch    *batch;       /* NULL: none is under way */
    uint32_t                 seek_count;  /* cancels that look for the node that calls */
    uint32_t                 link_count;  /* works of links without a device */
    uint32_t                 away_count;  /* questions, writes, appends and calls under way */
    size_t                   body_bytes, held_bytes;
    struct request_scan     *scan;        /* for CALL rows whose node is gone */
    struct list              claims;      /* works whose claim goes into the next CALLS row */
    struct list              groups;      /* CALLS rows with a call under way, the oldest first … */
    struct list              spare;       /* … and without one, to be used again or deleted; likewise */
    uint32_t                 group_count; /* numbers that were given to CALLS rows */
    struct calls_scan       *calls_scan;  /* for CALLS rows of a start before */
    struct list              held;        /* commands that wait for its first walk */
    uint32_t                 held_count;
    bool                     are_calls_known;  /* every call in a row has a work here: no CALL row need be asked for an id */
    bool                     is_hurried;  /* nobody waits for a response any more */
    bool                     is_stopping;
    msec                     stop_by;
};

void requests_init(struct requests *requests, const struct requests_setup *setup, const struct requests_limits *limits);
/* Nothing is under way in the stores and with back ends. A zeroed struct is fine. */
void requests_fini(struct requests *requests);

/* Monotonic time of this turn. */
void requests_turn_begin(struct requests *requests, msec now);
/* For uplink_port.request. Takes it. */
void requests_take(struct requests *requests, struct request_command *command);
/* Another node says that a client has cancelled a request (PEER_CANCEL). False: the body can't be read. */
bool requests_told_cancel(struct requests *requests, struct span body);
/* Before writer_turn_end(). */
void requests_turn_end(struct requests *requests);
/* About ten times a second. */
void requests_tick(struct requests *requests);

/* Links move to another process, and calls don't. Those whose response would be lost with this one are ended, and answered 504 with
 * `Longwire-Outcome: unknown`; responses of devices come by their logs. Who waits for one by HTTP is told that the request was accepted. */
void requests_break_off_links(struct requests *requests);
/* The node stops: nothing new is begun, and calls that take too long are left to whoever finds their rows. */
void requests_stop(struct requests *requests);
bool requests_is_idle(const struct requests *requests);
/* For uplink_port.is_still. */
bool requests_is_still(const struct requests *requests);

#endif
