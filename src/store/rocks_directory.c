/* The data directory: makes and locks it, and reads and writes its small files `format` and `synced`. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/rocks_priv.h"
#include "store/write_whole.h"

enum {
    FORMAT_NOW       = 4,  /* 1: has no ledger; 2: no message has an event; 3: none has a collapse key. All become 4
                            * when they are opened */
    FORMAT_TEXT_MAX  = 128,
    SYNCED_BYTES_MAX = 64,
    CLOCK_BYTES_MAX  = 64,
};

#define FORMAT_HEAD "longwire data directory, format "

static enum rc rc_of_errno(int error)
{
    switch (error) {
    case ENOSPC: case EDQUOT: case EFBIG: return RC_NOSPACE;
    case EACCES: case EPERM: case EROFS: return RC_DENIED;
    case EWOULDBLOCK: return RC_BUSY;
    default: return RC_IO;
    }
}

static enum rc directory_refuse(const struct rocks *rocks, const char *what, char *ret_why, size_t why_size)
{
    int error = errno;

    if (error == EWOULDBLOCK)
        snprintf(ret_why, why_size, "the data directory %s is in use by another process", rocks->path);
    else if (rc_of_errno(error) == RC_NOSPACE)
        snprintf(ret_why, why_size, "the disk of the data directory %s is full, or a quota is (%s: %s); make room, then start",
                 rocks->path, what, strerror(error));
    else
        snprintf(ret_why, why_size, "the data directory %s: %s: %s", rocks->path, what, strerror(error));
    return rc_of_errno(error);
}

/* The directory's name is an entry of its parent, and survives a power loss only once the parent is synced. */
static bool directory_name_sync(const struct rocks *rocks)
{
    int fd = openat(rocks->directory_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;

    bool is_synced = fsync(fd) == 0;
    close(fd);
    return is_synced;
}

enum rc rocks_directory_lock(struct rocks *rocks, char *ret_why, size_t why_size)
{
    umask(077);
    const bool is_made = mkdir(rocks->path, 0700) == 0;
    if (!is_made && errno != EEXIST)
        return directory_refuse(rocks, "can't be created", ret_why, why_size);
    rocks->directory_fd = open(rocks->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (rocks->directory_fd < 0)
        return directory_refuse(rocks, "can't be opened", ret_why, why_size);
    if (is_made && !directory_name_sync(rocks))
        return directory_refuse(rocks, "the directory it is in can't be synced", ret_why, why_size);
    rocks->lock_fd = openat(rocks->directory_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (rocks->lock_fd < 0)
        return directory_refuse(rocks, "the file `lock` can't be opened", ret_why, why_size);
    if (flock(rocks->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return directory_refuse(rocks, "can't be locked", ret_why, why_size);
    rocks->synced_fd = openat(rocks->directory_fd, "synced", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (rocks->synced_fd < 0)
        return directory_refuse(rocks, "the file `synced` can't be opened", ret_why, why_size);
    rocks->clock_fd = openat(rocks->directory_fd, "clock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (rocks->clock_fd < 0)
        return directory_refuse(rocks, "the file `clock` can't be opened", ret_why, why_size);
    return RC_OK;
}

enum rc rocks_format_check(struct rocks *rocks, char *ret_why, size_t why_size)
{
    char     text[FORMAT_TEXT_MAX];
    uint64_t format = 0;

    int fd = openat(rocks->directory_fd, "format", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? RC_GONE
                               : directory_refuse(rocks, "the file `format` can't be opened", ret_why, why_size);
    ssize_t len = read(fd, text, sizeof text);
    close(fd);
    if (len < 0)
        return directory_refuse(rocks, "the file `format` can't be read", ret_why, why_size);

    struct span said = { text, (size_t)len }, line;
    if (!span_cut(&said, '\n', &line) || !span_starts(line, SPAN(FORMAT_HEAD)) ||
        !span_u64(span_skip(line, sizeof FORMAT_HEAD - 1), &format)) {
        snprintf(ret_why, why_size, "the data directory %s: the file `format` is damaged, or not of this program",
                 rocks->path);
        return RC_CORRUPT;
    }
    if (format < 1 || format > FORMAT_NOW) {
        snprintf(ret_why, why_size, "the data directory %s has format %llu; this program knows only 1 to %d",
                 rocks->path, (unsigned long long)format, FORMAT_NOW);
        return RC_CORRUPT;
    }
    rocks->is_format_1    = format == 1;
    rocks->is_format_old  = format < FORMAT_NOW;
    return RC_OK;
}

enum rc rocks_format_write(struct rocks *rocks, char *ret_why, size_t why_size)
{
    char text[FORMAT_TEXT_MAX];
    int  len = snprintf(text, sizeof text, FORMAT_HEAD "%d\n", FORMAT_NOW);

    int fd = openat(rocks->directory_fd, "format.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return directory_refuse(rocks, "the file `format` can't be created", ret_why, why_size);
    bool is_written = write_whole(fd, (struct span){ text, (size_t)len }) && fsync(fd) == 0;
    close(fd);
    if (!is_written || renameat(rocks->directory_fd, "format.new", rocks->directory_fd, "format") != 0 ||
        fsync(rocks->directory_fd) != 0)
        return directory_refuse(rocks, "the file `format` can't be written", ret_why, why_size);
    rocks->is_format_1 = rocks->is_format_old = false;
    return RC_OK;
}

/* --- the newest time ---------------------------------------------------------------------------------------------- */

msec rocks_load_clock(const struct rocks *rocks)
{
    char     text[CLOCK_BYTES_MAX];
    uint64_t wall = 0;
    ssize_t  len  = pread(rocks->clock_fd, text, sizeof text, 0);

    return len > 0 && record_get(span_of(text, (size_t)len), SPAN("clock"), &wall, 1) ? (msec)wall : 0;
}

/* Not synced: after a crash of the machine an older time is there. A write that fails leaves the old time, too. */
void rocks_save_clock(struct rocks *rocks, msec wall)
{
    const uint64_t number = (uint64_t)wall;
    struct buf     value;

    buf_init(&value, CLOCK_BYTES_MAX);
    record_put(&value, SPAN("clock"), &number, 1);
    if (write_whole_at_start(rocks->clock_fd, buf_span(&value)))
        rocks->maintenance.clock_saved = wall;
    buf_fini(&value);
}

/* --- how far acknowledged commits went -------------------------------------------------------------------------- */

/* A file that is damaged counts as empty; the next commit writes it anew. */
uint64_t rocks_load_synced(const struct rocks *rocks)
{
    char     text[SYNCED_BYTES_MAX];
    uint64_t sequence = 0;
    ssize_t  len      = pread(rocks->synced_fd, text, sizeof text, 0);

    if (len <= 0 || !record_get(span_of(text, (size_t)len), SPAN("synced"), &sequence, 1))
        return 0;
    return sequence;
}

bool rocks_is_restored(const struct rocks *rocks)
{
    char    text[SYNCED_BYTES_MAX];
    ssize_t len = pread(rocks->synced_fd, text, sizeof text, 0);

    return len > 0 && span_starts(span_of(text, (size_t)len), SPAN("restored"));
}

/* This write is not synced. After a crash of the process the page cache still has it. After a crash of the machine the
 * file may hold an older value, which is true as well. */
enum rc rocks_save_synced(struct rocks *rocks)
{
    struct buf     value;
    const uint64_t sequence = rocks_db_sequence(&rocks->db);

    buf_init(&value, SYNCED_BYTES_MAX);
    record_put(&value, SPAN("synced"), &sequence, 1);
    const bool is_whole = write_whole_at_start(rocks->synced_fd, buf_span(&value));
    buf_fini(&value);
    return is_whole ? RC_OK : RC_IO;
}
