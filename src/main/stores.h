/* stores.h - opens the two stores of a server, as the settings want them. */
#ifndef MAIN_STORES_H
#define MAIN_STORES_H

#include "node/shard.h"
#include "settings/settings.h"
#include "store/store.h"

/* The store of durable namespaces and the store of all others. With `store = memory` both are in memory; in a cluster with Redis the
 * second one is there, in one on PostgreSQL alone in the same databases. */
struct stores {
    struct store *durable, *memory;
    uint64_t      cluster;  /* the number that `--init` gave the databases; 0: none of PostgreSQL, or they have none */
    size_t        first;    /* which of the list's databases has the first slot: the same one for all nodes, whatever their order */
};

/* How many stores keep durable channels, each with an epoch of its own. */
size_t stores_shard_count(const struct settings *settings);

/* The namespaces are borrowed for the stores' life. Not RC_OK: `why` is a sentence for the operator, and
 * both closes are due all the same. RC_OK may leave a notice in `why`, which has been logged. */
enum rc stores_open(struct stores *stores, const struct settings *settings, struct namespaces *namespaces,
                    struct hash_key hash_key, char *why, size_t why_size) RC_MUST_USE;

/* Makes the schema in the databases that the setting names, where it is not there yet. `why` says what was done, or why
 * it can't be done. */
enum rc stores_init(const struct settings *settings, char *why, size_t why_size) RC_MUST_USE;

/* Copies the data directory into the database that the setting names. `why` says what was copied, or why it can't be done. */
enum rc stores_copy(struct settings *settings, char *why, size_t why_size) RC_MUST_USE;

/* Opens the durable store of a data directory with damage, gives up what can't be read, and closes it again. `why` says
 * what was found and lost, or why it can't be done. */
enum rc stores_repair(struct settings *settings, char *why, size_t why_size) RC_MUST_USE;

/* What refusals name: the engines that are other processes. */
struct shard_engines stores_engines(const struct stores *stores);

/* The newest time that the durable store knows of, which the wall clock is compared with; 0: it knows none, or the
 * operator says that the clock is right. */
msec stores_wall_seen(const struct stores *stores, const struct settings *settings);

/* Two steps, because the writer must outlive the stores whose threads send it commands (the durable one, and Redis), and must
 * be gone before a memory store that runs inside the writer. A store that is not open is skipped. */
void stores_close_threaded(struct stores *stores);
void stores_close_inline(struct stores *stores);

#endif
