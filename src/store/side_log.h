/* side_log.h - where RocksDB writes what it has to say for itself: into memory, not onto the disk with the data.
 *
 * Debian's librocksdb is built with assertions on: once a line could not be written to its LOG, the next one ends the
 * process. So a disk that is full or fails must not be where the LOG is. It holds warnings and errors, two files of
 * 1 MiB at most, and goes with the store's close. */
#ifndef STORE_SIDE_LOG_H
#define STORE_SIDE_LOG_H

#include <stdbool.h>

enum { SIDE_LOG_PATH_BYTES = 64 };

/* Makes the directory for the data at `path`, or finds that of an earlier run: /dev/shm/longwired-UID-DEVICE-INODE, ours
 * and 0700. False: there is no memory file system to have one in; RocksDB then logs beside the data. */
bool side_log_open(const char *path, char ret_path[SIDE_LOG_PATH_BYTES]);

/* Removes it with its files. "" is fine. */
void side_log_remove(const char *side_path);

#endif
