/* log_ahead.h - keeps zeros ahead of RocksDB in its write-ahead log, so that a sync has no new size of the file to save:
 * on ext4 that costs another write, or a commit of the journal, which is more than the data costs (decision 155).
 *
 * The zeros go through a descriptor of their own that only appends. The kernel finds the file's end and writes under one
 * lock, so they never replace a byte that RocksDB wrote, whichever of both comes first. RocksDB writes at its own
 * offset, over the zeros. It takes zeros for the end of a log, and cuts them off when it closes one.
 *
 * It only saves time. Where it is of no use or fails, the log is written as RocksDB writes it. Any thread may call it. */
#ifndef STORE_LOG_AHEAD_H
#define STORE_LOG_AHEAD_H

#include <stddef.h>

struct log_ahead;

/* For a database at `path` that is open for writing. `bytes`: how many zeros at a time, at least 1; LOG_AHEAD_BYTES_MAX if
 * it is more. NULL: of no use there. */
struct log_ahead *log_ahead_new(const char *path, size_t bytes);
void              log_ahead_free(struct log_ahead *ahead);  /* NULL is fine */

enum { LOG_AHEAD_BYTES_MAX = 128 * 1024 };

/* A record of so many bytes is about to be written. NULL is fine. Keeps errno. */
void log_ahead_make(struct log_ahead *ahead, size_t record_bytes);

#endif
