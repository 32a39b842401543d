/* snapshot.h - the configuration of one moment, as the loops read it. It is immutable, shared, and freed with its last
 * reader.
 *
 * A reload makes a new one and sends it to each loop; a loop drops the old one between two requests. So no thread waits
 * for a lock or sees half a change. Identities are no part of it: each loop has its own, which the new keys may revoke
 * (auth/key_identifier.h). */
#ifndef MAIN_SNAPSHOT_H
#define MAIN_SNAPSHOT_H

#include "base/ref.h"
#include "node/command.h"
#include "settings/settings.h"

struct request_routes;  /* publish/request_check.h */
struct tls_sections;    /* reactor/tls_section.h */

struct snapshot {
    struct ref      ref;
    uint64_t        number;  /* 1 at the start, then one more each */
    struct settings settings;
    struct tls_sections   *tls;     /* of its [tls] sections; a reference. NULL: there are none */
    struct request_routes *routes;  /* of its [uplink] sections; owned */
};

/* Copies the settings; takes the reference `tls`. `before`: the one that it replaces; NULL: it is the first. */
struct snapshot *snapshot_new(const struct settings *settings, struct tls_sections *tls, const struct snapshot *before);
struct snapshot *snapshot_ref(struct snapshot *snapshot);
void             snapshot_unref(struct snapshot *snapshot);  /* NULL is fine; the last one wipes the secrets */

/* How it travels to the loops and to the writer. Shares the snapshot. */
struct command *snapshot_command_new(struct snapshot *snapshot);

/* What it does there (worker_turn.c, writer_thread.c). Takes the command. */
void worker_adopt(struct command *command, struct shard *shard);
void writer_thread_adopt(struct command *command, struct writer *writer);

/* Takes the command; the caller owns the reference. */
struct snapshot *snapshot_command_open(struct command *command);

#endif
