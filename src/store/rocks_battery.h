/* rocks_battery.h - what the tests of the RocksDB maker share: a directory for each store, its files, and what a channel
 * should hold. */
#ifndef STORE_ROCKS_BATTERY_H
#define STORE_ROCKS_BATTERY_H

#include "store/rocks.h"
#include "store/store_battery.h"

enum {
    KIB = 1024, MIB = 1024 * KIB, FILE_BYTES_MAX = 16 * MIB, WHY_BYTES = 600, NAMES_MAX = 64, PAYLOAD_MAX = 128,
    DEADLINE_S = 120,
};

extern const struct store_maker rocks_maker;  /* bench->context is the path of its directory */

char *directory_new(void);  /* freed by the caller */
void  directory_remove(const char *path);

struct rocks_store_options options_at(struct bench *bench, const char *path);
struct store              *open_at(struct bench *bench, const char *path);
void                       reopen(struct bench *bench);

/* --- files ------------------------------------------------------------------------------------------------------ */

char      *path_of(const struct bench *bench, const char *name);
char      *copy_path(const struct bench *bench);  /* beside the directory, and as unique as it */
struct buf file_read(const char *path);
void       file_write(const char *path, struct span bytes);
void       copy_tree(const char *from, const char *to);
/* What a kill would leave now, while the store of the bench runs: it copies when RocksDB has nothing under way, so that no file comes
 * or goes meanwhile. Nobody publishes or ticks. */
void       copy_running(struct bench *bench, const char *to);

/* Writes the file anew, with one bit flipped. */
void flip(const char *path, const struct buf *whole, size_t at);

/* The database's files that end in `suffix`, the youngest (by number) last. */
struct names {
    char  *at[NAMES_MAX];
    size_t count;
};

struct names names_of(const char *directory, const char *suffix);
void         names_free(struct names *names);

/* --- what a channel should hold --------------------------------------------------------------------------------- */

/* Names its place, so that a message in a wrong place is noticed. */
const char *payload_of(char *text, size_t size, const char *channel, uint64_t seq);
void        publish_run(struct bench *bench, const char *channel, uint64_t from, uint64_t to);

struct audit {
    uint64_t head, message_count, gap_count;  /* seqs in messages, seqs in gaps */
    enum rc  rc;
};

/* Reads a whole channel. Each message must be the one that publish_run() put there, and each gap must have the one
 * allowed reason. */
struct audit channel_audit(struct bench *bench, const char *channel, enum gap_why why_allowed);

/* All of it is there. */
void expect_all(struct bench *bench, const char *channel, uint64_t head);

#endif
