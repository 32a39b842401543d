/* api.h - This module is the HTTP interface of back ends and operators (docs/http-api.md): publish, history, channels,
 * health, metrics, pages. It refuses to hold connections open: a request that follows a channel is a session's.
 *
 * Each loop has a `struct api` of its own, and only its thread calls these functions. */
#ifndef API_API_H
#define API_API_H

#include "api/asker_rate.h"
#include "auth/may.h"
#include "auth/usage_limits.h"
#include "base/backoff.h"
#include "base/list.h"
#include "base/rng.h"
#include "auth/revocations.h"
#include "codec/json/json.h"
#include "device/device_command.h"
#include "http/http.h"
#include "node/peer_question.h"
#include "node/shard.h"
#include "route/registry.h"

struct api_limits {
    size_t   payload_bytes_max;   /* the largest of all namespaces' */
    size_t   batch_bytes_max;
    uint32_t batch_messages_max;
    uint32_t history_limit_max;
    size_t   history_bytes_max;   /* payload of one page, about */
    size_t   history_busy_bytes_max;  /* … while other answers wait for clients to read them */
    uint64_t revocations_max;
    int64_t  token_life_s;            /* for so long a revocation is kept */
};

struct api_health {
    bool is_stopping, is_draining, is_drained, is_store_full, is_store_broken;
};

/* A file that is built into the binary. */
struct api_page {
    const char *path;   /* "/", "/demo.js" */
    const char *media;
    struct span bytes;
};

enum { NODE_SCHEMES = 4 };
extern const char *const node_schemes[NODE_SCHEMES];  /* http, https, tcp, tcps */

/* This node, as it is now. Borrowed until the next turn. */
struct api_node {
    const char    *name, *region;
    uint64_t       incarnation;
    unsigned       roles;                     /* enum node_role */
    bool           is_draining;
    uint64_t       connections, capacity;
    struct span    advertised[NODE_SCHEMES];  /* addresses, by node_schemes; empty: none. Plain visible ASCII */
    msec           heartbeat_ms;              /* what a client may begin with */
    struct backoff reconnect;
};

struct api_port {
    void (*put_metrics)(void *ctx, const struct writer_stats *stats, struct buf *out);
    void (*health)(void *ctx, struct api_health *ret);
    void (*node)(void *ctx, struct api_node *ret);
    /* The nodes of the cluster; NULL: this node is in none. Borrowed until the next turn. */
    const struct registry *(*nodes)(void *ctx);
    /* The addresses of a node's record, by node_schemes; empty: none. They are borrowed from `advertise`. */
    void (*addresses)(void *ctx, struct span advertise, struct span ret[NODE_SCHEMES]);
    /* How long a client that asks now shall wait before it connects; 0: not at all. The time is kept for it. */
    msec (*wait_ms)(void *ctx, struct span region);
    /* What this node carries to back ends: objects with commas between. NULL: nothing. */
    void (*put_forwarders)(void *ctx, struct buf *out);
    /* Lets all clients go, within so many ms (> 0). */
    void (*drain)(void *ctx, msec within_ms);
    /* The revocation is durable, as message `seq` of sys:control: carries it out on all loops. answered() gets the number
     * of links that were cut. */
    void (*revoke)(void *ctx, const struct revocation *revocation, uint64_t seq,
                   void (*answered)(void *owner, uint64_t cut), void *owner);
};

struct request_routes;  /* publish/request_check.h */
struct devices;      /* device/devices.h */
struct presence;     /* device/presence.h */
struct memberships;  /* device/membership.h */

struct api {
    struct http_server    *server;
    struct shard          *shard;
    struct memberships    *memberships;
    struct devices        *devices;
    struct presence       *presence;
    struct device_home     home;             /* where answers about sessions come */
    struct namespaces     *namespaces;
    const struct hash_key *hash_key;
    const struct revocations *revocations;   /* of this loop; borrowed */
    const struct request_routes *routes;     /* of the configuration; borrowed. NULL: none */
    struct usage_limits    *usage;            /* of this loop; borrowed. NULL: there are none */
    struct api_limits      limits;
    const struct api_port *port;
    void                  *ctx;
    const struct api_page *pages;
    size_t                 page_count;
    const char            *version;
    const char            *node;             /* what this node is called */
    struct json_doc        doc, inner_doc;
    struct buf             scratch;          /* for an answer that is being written */
    struct asker_rate      askers;           /* of what needs no rights */
    struct rng             random;           /* for the choice of nodes; the caller seeds it */
    struct mail           *page_first, **page_end;  /* reads of history that wait in line */
    struct mail           *page_newest;  /* those that came lately to a long line; the newest first */
    bool                   is_newest_next;
    uint32_t               newest_ticks;  /* since the last of them grew old */
    uint32_t               pages_waiting; /* how many wait */
    uint32_t               pages_away;         /* how many are being read */
    uint32_t               lists_away;         /* listings of channels under way */
    struct list            probes;             /* questions for readiness that wait for a read of the log; the oldest first */
};

/* The caller has filled in server, shard, namespaces, hash_key, limits, port, ctx, pages and version. */
void api_init(struct api *api);
/* About once a second: history that has waited for clients to read their answers is read when there is room; probes are answered that have
 * waited for the store. */
void api_tick(struct api *api);
void api_fini(struct api *api);

/* How much body this request may bring; and the setting that says so. */
size_t      api_body_bytes_max(const struct api *api, const struct http_request *request);
const char *api_body_setting(const struct http_request *request);

/* Can its answer be long? A page of history can. */
bool api_is_heavy(const struct http_request *request);

/* Is it a request for a file that is built in? */
bool api_is_page(const struct api *api, const struct http_request *request);

/* Is there a handler for its path and method? */
bool api_has_handler(const struct http_request *request);

/* Does its handler need to know who asks? */
bool api_needs_caller(const struct http_request *request);

/* Will it be refused whatever its body says? No body is gathered for a caller who may publish nothing. */
bool api_is_unwelcome(const struct api *api, const struct http_request *request, const struct http_caller *caller);

/* Another node's API asks; takes it. One that the API knows nothing of is given back as unknown. */
void api_take_peer_call(struct api *api, struct peer_call *call);

/* Answers, now or later; with 404 if no handler serves it. */
void api_serve(struct api *api, struct http_exchange *exchange, const struct http_request *request);

#endif
