#include "store/log_ahead.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/must.h"
#include "base/span.h"

enum {
    EVENTS_BYTES = 16 * (sizeof(struct inotify_event) + NAME_MAX + 1),
    PIECE_BYTES  = 32 * 1024,  /* RocksDB divides a record where a piece of the file ends */
    HEAD_BYTES   = 7,          /* before each part */
    RECORD_SHARE = 8,          /* a record of more than this part of the zeros is worth a sync of its own */
};

struct log_ahead {
    pthread_mutex_t lock;
    char           *path;
    int             made_fd;    /* inotify: the names that are made in the directory */
    uint64_t        number;     /* of the newest log; 0: none was met */
    uint64_t        size;       /* … its size behind the last zeros; 0: it got none yet */
    uint64_t        at;         /* … where RocksDB writes next. An estimate: only the time of the next zeros hangs on it */
    uint64_t        end;        /* the next zeros are due once `at` is behind it */
    size_t          bytes;
    bool            is_checked; /* RocksDB writes at an offset of its own */
    bool            is_off;
    char            zeros[];
};

/* --- the log that is written -------------------------------------------------------------------------------------- */

/* RocksDB numbers its files, and writes into the log with the highest number. */
static void newest_note(struct log_ahead *ahead, const char *name)
{
    const char *end    = strrchr(name, '.');
    uint64_t    number = 0;

    if (end == NULL || strcmp(end, ".log") != 0 || !span_u64(span_of(name, (size_t)(end - name)), &number) ||
        number <= ahead->number)
        return;
    ahead->number = number;
    ahead->size   = 0;
}

static bool newest_find(struct log_ahead *ahead)
{
    DIR *directory = opendir(ahead->path);

    if (directory == NULL)
        return false;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        newest_note(ahead, entry->d_name);
    closedir(directory);
    return true;
}

/* Reads which names were made since the last call: a large store has tens of thousands, too many to list each time. */
static bool newest_refresh(struct log_ahead *ahead)
{
    _Alignas(struct inotify_event) char events[EVENTS_BYTES];
    ssize_t                             len;

    while ((len = read(ahead->made_fd, events, sizeof events)) > 0)
        for (const char *at = events; at < events + len;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)at;
            if (event->mask & IN_Q_OVERFLOW)
                return newest_find(ahead);
            if (event->len > 0)
                newest_note(ahead, event->name);
            at += sizeof *event + event->len;
        }
    return true;
}

/* Looks at RocksDB's own descriptor of the file: one that appends would write behind the zeros. */
static bool writer_keeps_its_offset(const struct stat *log, int mine)
{
    DIR        *descriptors = opendir("/proc/self/fd");
    bool        is_met = false, does = true;
    uint64_t    fd = 0;
    struct stat file;

    if (descriptors == NULL)
        return false;
    for (struct dirent *entry; (entry = readdir(descriptors)) != NULL;) {
        /* Asked by its name there: other threads close their descriptors meanwhile. */
        if (!span_u64(span_str(entry->d_name), &fd) || (int)fd == mine || fstatat(dirfd(descriptors), entry->d_name, &file, 0) != 0 ||
            file.st_dev != log->st_dev || file.st_ino != log->st_ino)
            continue;
        const int flags = fcntl((int)fd, F_GETFL);
        is_met          = true;
        does            = does && flags >= 0 && (flags & (O_APPEND | O_DIRECT)) == 0;
    }
    closedir(descriptors);
    return is_met && does;
}

/* --- zeros -------------------------------------------------------------------------------------------------------- */

static void zeros_put(struct log_ahead *ahead, int fd, uint64_t record_bytes)
{
    struct stat file;

    if (fstat(fd, &file) != 0)
        return;
    if (!ahead->is_checked) {
        ahead->is_checked = true;
        ahead->is_off     = !writer_keeps_its_offset(&file, fd);
    }
    if (ahead->is_off)
        return;
    /* A new log, or RocksDB has passed the zeros: all of the file is RocksDB's. */
    if (ahead->size == 0 || (uint64_t)file.st_size > ahead->size)
        ahead->at = (uint64_t)file.st_size + record_bytes;
    ahead->end = ahead->at + ahead->bytes;
    /* A write that fails makes the log no worse. RocksDB meets the same fault at its own write, or none. */
    if (write(fd, ahead->zeros, ahead->bytes) > 0 && fstat(fd, &file) == 0)
        ahead->size = ahead->end = (uint64_t)file.st_size;
}

/* The descriptor is not kept: the space of a log that is deleted comes back only once nobody holds it. */
static void extend(struct log_ahead *ahead, uint64_t record_bytes)
{
    char *path = NULL;

    ahead->end = ahead->at + ahead->bytes;  /* unless zeros are written: then this is tried again */
    if (!newest_refresh(ahead) || ahead->number == 0)
        return;
    must(asprintf(&path, "%s/%06llu.log", ahead->path, (unsigned long long)ahead->number) >= 0);
    const int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    free(path);
    if (fd < 0)
        return;
    zeros_put(ahead, fd, record_bytes);
    close(fd);
}

static uint64_t bytes_in_log(size_t record_bytes)
{
    return record_bytes + HEAD_BYTES * (1 + record_bytes / PIECE_BYTES);
}

void log_ahead_make(struct log_ahead *ahead, size_t record_bytes)
{
    if (ahead == NULL)
        return;

    const int      error = errno;
    const uint64_t bytes = bytes_in_log(record_bytes);
    pthread_mutex_lock(&ahead->lock);
    ahead->at += bytes;
    if (!ahead->is_off && ahead->at > ahead->end && record_bytes <= ahead->bytes / RECORD_SHARE)
        extend(ahead, bytes);
    pthread_mutex_unlock(&ahead->lock);
    errno = error;
}

/* --- new and free ------------------------------------------------------------------------------------------------- */

static bool watch(struct log_ahead *ahead)
{
    return ahead->made_fd >= 0 && inotify_add_watch(ahead->made_fd, ahead->path, IN_CREATE) >= 0 && newest_find(ahead);
}

struct log_ahead *log_ahead_new(const char *path, size_t bytes)
{
    struct statfs file_system;

    must(bytes > 0);
    /* Elsewhere it is not measured, or known to be of no use: btrfs writes each block to a new place. */
    if (statfs(path, &file_system) != 0 || file_system.f_type != EXT4_SUPER_MAGIC)
        return NULL;

    bytes                   = bytes < LOG_AHEAD_BYTES_MAX ? bytes : LOG_AHEAD_BYTES_MAX;
    struct log_ahead *ahead = calloc(1, sizeof *ahead + bytes);
    must(ahead != NULL);
    pthread_mutex_init(&ahead->lock, NULL);
    ahead->path    = strdup(path);
    ahead->made_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    ahead->bytes   = bytes;
    must(ahead->path != NULL);
    if (watch(ahead))
        return ahead;
    log_ahead_free(ahead);
    return NULL;
}

void log_ahead_free(struct log_ahead *ahead)
{
    if (ahead == NULL)
        return;
    if (ahead->made_fd >= 0)
        close(ahead->made_fd);
    pthread_mutex_destroy(&ahead->lock);
    free(ahead->path);
    free(ahead);
}
