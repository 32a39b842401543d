/* info_log.h - where RocksDB writes its info log (the file LOG): into memory, not onto the disk with the data.
 *
 * Debian's librocksdb is built with assertions on: once it could not write a line to its info log, the next line ends
 * the process. So the info log must not be on a disk that may be full or fail. It holds warnings and errors, at most
 * two files of 1 MiB, and is removed when the store closes. */
#ifndef STORE_INFO_LOG_H
#define STORE_INFO_LOG_H

#include <stdbool.h>

enum { INFO_LOG_PATH_BYTES = 64 };

/* Makes the log's directory for the data at `path`, or finds that of an earlier run:
 * /dev/shm/longwired-UID-DEVICE-INODE, owned by us, mode 0700. False: there is no memory file system; RocksDB then logs
 * beside the data. */
bool info_log_open(const char *path, char ret_path[INFO_LOG_PATH_BYTES]);

/* Removes the directory with its files. "" does nothing. */
void info_log_remove(const char *log_path);

#endif
