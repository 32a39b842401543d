/* api.h - This module is the HTTP interface of back ends and operators: publish, history, channels, health, metrics, pages
 * (design: 4.1). It refuses to hold connections open: what follows a channel is a session.
 *
 * One `struct api` a loop. */
#ifndef API_API_H
#define API_API_H

#include "auth/may.h"
#include "codec/json/json.h"
#include "http/http.h"
#include "node/shard.h"

struct api_limits {
    size_t   payload_bytes_max;   /* the largest of all namespaces' */
    size_t   batch_bytes_max;
    uint32_t batch_messages_max;
    uint32_t history_limit_max;
    size_t   history_bytes_max;   /* payload of one page, about */
};

struct api_health {
    bool is_stopping, is_store_full, is_store_broken;
};

/* What is served as it is, from within the binary. */
struct api_page {
    const char *path;   /* "/", "/demo.js" */
    const char *media;
    struct span bytes;
};

struct api_port {
    void (*put_metrics)(void *ctx, const struct writer_stats *stats, struct buf *out);
    void (*health)(void *ctx, struct api_health *ret);
};

struct api {
    struct http_server    *server;
    struct shard          *shard;
    struct namespaces     *namespaces;
    const struct hash_key *hash_key;
    struct api_limits      limits;
    const struct api_port *port;
    void                  *ctx;
    const struct api_page *pages;
    size_t                 page_count;
    const char            *version;
    struct json_doc        doc, inner_doc;
    struct buf             scratch;          /* answers are put together here */
    struct mail           *page_first, **page_end;  /* questions for pages of history, in line */
    uint32_t               pages_waiting; /* so many */
    uint32_t               pages_away;         /* … and on their way */
};

/* Sets up what isn't handed in; the caller has filled in the rest. */
void api_init(struct api *api);
void api_fini(struct api *api);

/* How much body this request may bring. */
size_t api_body_bytes_max(const struct api *api, const struct http_request *request);

/* May its answer be big: a page of history? */
bool api_is_heavy(const struct http_request *request);

/* Is it for something that needs to know who asks? */
bool api_needs_caller(const struct http_request *request);

/* Is it refused whatever its body says? No body is gathered for somebody who may publish nothing. */
bool api_is_unwelcome(const struct api *api, const struct http_request *request, const struct http_caller *caller);

/* Answers, now or later; 404 for what is nobody's. */
void api_serve(struct api *api, struct http_exchange *exchange, const struct http_request *request);

#endif
