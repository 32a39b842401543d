/* limits.h - the bounds of each module, from the settings. A bound that no setting changes has its number in
 * limits.c. */
#ifndef MAIN_LIMITS_H
#define MAIN_LIMITS_H

#include "api/api.h"
#include "cluster/cluster.h"
#include "settings/settings.h"
#include "device/devices.h"
#include "device/presence.h"
#include "node/writer.h"
#include "session/session.h"

/* How often the writer has its tick: its deadlines are counted in ticks. */
enum { WRITER_TICK_MS = 100 };

/* Appends a line for each limit into which not every message fits that another limit allows. */
void limits_put_misfits(const struct settings *settings, struct buf *out);

struct identifier_limits identifier_limits_of(const struct settings *settings);
struct http_limits    http_limits_of(const struct settings *settings);
struct backoff        backoff_of(const struct settings *settings);
/* `loops`: what holds for the whole server is shared by so many. */
struct session_limits session_limits_of(const struct settings *settings, unsigned loops);
struct api_limits     api_limits_of(const struct settings *settings);
struct shard_limits   shard_limits_of(const struct settings *settings);
struct writer_limits  writer_limits_of(const struct settings *settings);
struct devices_limits devices_limits_of(const struct settings *settings);
struct presence_limits presence_limits_of(const struct settings *settings);
struct cluster_limits cluster_limits_of(const struct settings *settings);
/* What settings say of struct usage_limits.max. */
void limits_set_usage(const struct settings *settings, uint64_t max[static USAGE_LIMIT_COUNT]);

/* How much memory the process may hold; 0: nothing bounds it. `cgroup`: what its memory cgroup may have; 0: any. */
uint64_t memory_allowed(const struct settings *settings, uint64_t cgroup);

/* While memory is short: less is gathered of bodies and messages that are not whole, fewer answers wait for clients, fewer pages
 * are read. What has come in one piece is still served. */
void limits_shorten(struct http_limits *http, struct session_limits *session, struct shard_limits *shard);

/* How many connections may stay. connections_max, but no more than so many descriptors allow beside the server's own files
 * and connections_brief(). UINT64_MAX: nothing but the descriptors bounds them, and these are few. */
uint64_t connections_allowed(uint64_t connections_max, uint64_t descriptors);
/* What a node says that it has room for: as many, and never more than descriptors_for_clients() lets in. The router sends clients by it. */
uint64_t connections_capacity(uint64_t connections_max, uint64_t descriptors);
/* … and how many more are accepted for one short answer each, so that probes, metrics and the publishes of back ends come
 * through when clients fill the server. */
uint64_t connections_brief(uint64_t allowed);

/* How many descriptors may be open when one more connection is accepted: the rest is for files, logs and reloads. */
int descriptors_for_clients(uint64_t descriptors);

#endif
