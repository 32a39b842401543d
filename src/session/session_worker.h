/* session_worker.h - what all sessions of one worker share: its loop and shard, limits and counters, and what frames
 * are made in. Belongs to the thread of the loop. */
#ifndef SESSION_SESSION_WORKER_H
#define SESSION_SESSION_WORKER_H

#include "auth/identify.h"
#include "auth/usage_limits.h"
#include "base/near.h"
#include "codec/jwt/jwt.h"
#include "codec/ticket/ticket.h"
#include "device/device_command.h"
#include "http/http.h"
#include "message/channel_names.h"
#include "node/shard.h"
#include "session/admission.h"
#include "session/cut_frame.h"
#include "session/deferred.h"
#include "session/dialect.h"
#include "session/drain.h"
#include "session/frame_batch.h"
#include "session/joining.h"
#include "session/link_index.h"
#include "session/leave_counts.h"
#include "session/member_check.h"
#include "session/networks.h"
#include "session/peer_text.h"
#include "session/presence_follow.h"
#include "session/session_counters.h"
#include "session/session_limits.h"

struct handover_identity;  /* codec/handover/handover.h */

/* What sessions ask of the server. */
struct session_port {
    /* A number that was never given before and can't be guessed: the key of a connection on this loop, or a random
     * number. Not 0. */
    uint64_t (*new_key)(void *ctx);
    /* The fields of a request that the connect hook is told; returns how many. */
    size_t (*hook_fields)(void *ctx, const struct request_head *head,
                          struct credential_field ret[static CREDENTIAL_FIELDS_MAX]);
    /* Where clients go when this node leaves: addresses of other nodes, with commas. Nothing: nobody knows, or there are none. NULL:
     * likewise. */
    void     (*elsewhere)(void *ctx, struct buf *where);
    /* What another process has to know of an identity, and the identity that it is here: see auth/vouch.h. */
    void     (*tell_identity)(void *ctx, const struct identity *identity, struct buf *scratch, struct handover_identity *ret);
    struct identity *(*hear_identity)(void *ctx, const struct handover_identity *told);
};

struct place;
struct memberships;  /* device/membership.h */
struct event_log;    /* device/event_log.h */

/* Where links stand. In a pool, as the links, so that they can be near. */
struct link_lists {
    struct near_list links;    /* those with a stream of their own, for stopping; by in_worker */
    struct near_list polls;
    struct near_list dirty;    /* with something to draw this turn; by in_dirty */
    struct near_list joining;  /* that wait with their first words: joining.h */
};

struct session_worker {
    struct loop               *loop;
    struct http_server        *server;
    struct shard              *shard;
    struct memberships        *memberships;
    struct namespaces         *namespaces;
    const struct hash_key     *hash_key;
    struct channel_names       names;      /* that clients publish to */
    const struct request_routes *routes;   /* to back ends, by the configuration; borrowed. NULL: none */
    struct session_limits      limits;
    struct usage_limits        *usage;            /* of this loop; borrowed. NULL: there are none */
    struct identifier         *identifier;       /* for the tokens of `connect` commands */
    struct devices            *devices;          /* on the writer's thread; to be handed on, not looked into */
    struct ticket_key          ticket_key;
    struct jwt_reader          jwts;             /* tokens beside tickets: device_ticket.h */
    struct device_home         home;             /* where the devices send what concerns links of this loop */
    struct list                acking;           /* pending_acks that are to be told */
    struct link              **held;             /* that hold back a notify: notify.h; gone ones are NULL */
    uint32_t                   held_count, held_max;
    struct member_check        member_check;
    struct leave_counts        leaves;
    struct list                unfenced;         /* links that were let in by tickets while the database is away */
    struct list                marks;            /* channels that clients mark as read: client_mark.c */
    struct list                ticket_waits;     /* links whose ticket is being tried, the oldest first: client_connect.c */
    const struct session_port *port;
    void                      *ctx;
    struct reader_shared       readers;
    struct pool                ws_sessions;      /* where WebSocket sessions live … */
    struct pool                stream_sessions;  /* … streams over HTTP, and polls … */
    struct pool                poll_sessions;
    struct pool                native_sessions;  /* … and native ones, by far the most */
    struct pool                device_links;     /* … what links have of the sessions that outlive them */
    struct pool                waitings;         /* … what waits for their streams … */
    struct pool                expiries;         /* … when their tokens end … */
    struct pool                link_lists;       /* … and their lists */
    struct link_lists         *lists;
    struct link_index          index;            /* of both, by key */
    struct list                echoes;
    struct list                addressed;        /* publishes that wait for their connections to follow: conn_follow.h */
    struct joining             joining;          /* links that wait with their first words … */
    struct deferred            deferred;         /* … or with `accepted` */
    struct list                instructions;     /* of back ends, which links have drawn this turn: instruction.h */
    struct frames              frames;
    struct ws_inflater         inflater;         /* of what clients have compressed; one message at a time */
    struct frame_batch         batch;
    struct cut_frames          cuts;
    struct dialect_scratch     dialect_scratch;
    struct networks            networks;         /* what the networks of clients bear */
    struct peer_texts          peer_texts;       /* addresses of clients that sent requests lately */
    struct place              *places;           /* of the token being made; see session_worker_places() */
    uint32_t                   place_max;
    size_t                     gathered_bytes;   /* of frames whose end has not come */
    struct session_counters    counters;
    struct latency             latency;
    bool                       polls_wait;       /* to be drawn, until fewer answers wait for clients */
    struct admission           admission;
    struct event_log          *events;           /* borrowed; NULL: none are written */
    struct presence_follows    presence;         /* .presence: to be filled in */
    struct drain               drain;
    const struct revocations  *revocations;      /* borrowed; NULL: nothing is revoked */
    bool                       asks_links;       /* there is a connect hook: links of nobody are asked about */
    bool                       is_stopping;
};

/* Sets up the members that the caller has not filled in: from `readers` on. */
void session_worker_init(struct session_worker *worker);
void session_worker_fini(struct session_worker *worker);  /* all sessions are closed */

/* Room for so many places of a token; for the next call, too. */
struct place *session_worker_places(struct session_worker *worker, uint32_t count);

/* shard_port.ready of this loop's shard: its ctx leads here. */
void session_worker_ready(struct session_worker *worker, struct subscription *sub);

/* The link with this key, or NULL. */
struct link *session_worker_find(struct session_worker *worker, uint64_t key);

/* Once a turn, after the mail: each link that has something to deliver draws and sends. */
void session_worker_turn_end(struct session_worker *worker);
/* The loop turns at this time (loop.now) at the latest; 0: whenever it likes. To be asked at the end of each turn. */
msec session_worker_wake_at(const struct session_worker *worker);
void session_worker_tick(struct session_worker *worker);  /* about once a second */

/* Memory is short: ends some of the newest links, polls among them, of nobody known; or, with `are_known`, of others. They
 * are told to come again later; those that were told before and are still there are dropped. Gives how many were told. */
size_t session_worker_shed(struct session_worker *worker, bool are_known);

/* Tells clients to reconnect, so many at a time that all are told within `within_ms` (> 0). No new ones are let in. */
void session_worker_drain(struct session_worker *worker, msec within_ms);

/* Tells all clients to reconnect, and ends each session once that has been sent. */
void session_worker_stop(struct session_worker *worker);
/* How many links and polls there are; any thread. */
size_t session_worker_count(const struct session_worker *worker);
/* When may a client connect that asks before it does: admission_ask() of a stranger. */
msec session_worker_wait_ms(struct session_worker *worker);
bool session_worker_is_idle(const struct session_worker *worker);
/* Ends all remaining sessions at once. */
void session_worker_close_all(struct session_worker *worker);

#endif
