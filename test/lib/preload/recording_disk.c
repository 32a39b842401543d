/* recording_disk.so - records what a process does to a disk, so that a test can reconstruct what a power loss at any
 * moment would leave (test/system/power_loss.py reads the record).
 *
 *   LD_PRELOAD=…/recording_disk.so RECORDING_DISK_UNDER=/disk RECORDING_DISK_TO=/tmp/record server …
 *
 * Every change to files and directories under RECORDING_DISK_UNDER is appended to RECORDING_DISK_TO as one record, in
 * the order in which the changes were made: a lock is held over each call and its record. A call that fails leaves no
 * record. A sync is only recorded and doesn't reach the real disk, because the reader of the records decides what
 * lasts. sync_file_range leaves no record, because it promises nothing about a power loss.
 *
 * A record: struct record, the path (for calls with two paths, with a NUL between), the bytes written. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PATH_BYTES_MAX = 4096 };

enum kind {
    KIND_CREATE   = 'C',  /* path, inode */
    KIND_FOLDER   = 'D',  /* path, inode */
    KIND_LINK     = 'L',  /* path NUL path */
    KIND_RENAME   = 'R',  /* path NUL path */
    KIND_REMOVE   = 'X',  /* path */
    KIND_WRITE    = 'W',  /* inode, at, size, bytes */
    KIND_TRUNCATE = 'T',  /* inode, size */
    KIND_SYNC     = 'S',  /* inode */
};

struct record {
    uint32_t kind, path_bytes;
    uint64_t inode, at, size;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int record_file(void)
{
    static int file = -1;

    if (file < 0)
        file = NEXT(open)(getenv("RECORDING_DISK_TO"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return file;
}

static void put(struct record record, const char *path, const void *bytes)
{
    struct iovec parts[] = {
        { .iov_base = &record, .iov_len = sizeof record },
        { .iov_base = (void *)path, .iov_len = record.path_bytes },
        { .iov_base = (void *)bytes, .iov_len = record.kind == KIND_WRITE ? record.size : 0 },
    };
    const size_t whole = parts[0].iov_len + parts[1].iov_len + parts[2].iov_len;

    if (writev(record_file(), parts, 3) != (ssize_t)whole)
        abort();  /* an incomplete record is worse than none */
}

static bool is_under(const char *path)
{
    const char *under = getenv("RECORDING_DISK_UNDER");

    return strncmp(path, under, strlen(under)) == 0;
}

/* The path of an open file or directory, or of the working directory; returns its length. */
static size_t path_of_fd(int fd, char ret_path[PATH_BYTES_MAX])
{
    char link[64] = "/proc/self/cwd";

    if (fd != AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, ret_path, PATH_BYTES_MAX - 1);
    len         = len < 0 ? 0 : len;
    ret_path[len] = '\0';
    return (size_t)len;
}

/* The absolute path of a name; false: it isn't under RECORDING_DISK_UNDER. */
static bool path_of(int folder, const char *name, char ret_path[PATH_BYTES_MAX])
{
    size_t len = name[0] == '/' ? 0 : path_of_fd(folder, ret_path);

    snprintf(ret_path + len, PATH_BYTES_MAX - len, "%s%s", len > 0 ? "/" : "", name);
    return is_under(ret_path);
}

/* Whether it is a file or directory under RECORDING_DISK_UNDER. */
static bool is_ours(int fd, struct stat *ret_about)
{
    char path[PATH_BYTES_MAX];

    if (fstat(fd, ret_about) != 0 || !(S_ISREG(ret_about->st_mode) || S_ISDIR(ret_about->st_mode)))
        return false;
    path_of_fd(fd, path);
    return is_under(path);
}

static void put_path(enum kind kind, const char *path, uint64_t inode)
{
    put((struct record){ .kind = kind, .path_bytes = (uint32_t)strlen(path), .inode = inode }, path, NULL);
}

static void put_paths(enum kind kind, const char *from, const char *to)
{
    char paths[2 * PATH_BYTES_MAX];
    int  len = snprintf(paths, sizeof paths, "%s%c%s", from, '\0', to);

    put((struct record){ .kind = kind, .path_bytes = (uint32_t)len }, paths, NULL);
}

static void put_truncate(uint64_t inode, uint64_t size)
{
    put((struct record){ .kind = KIND_TRUNCATE, .inode = inode, .size = size }, NULL, NULL);
}

/* --- names ------------------------------------------------------------------------------------------------------ */

static int open_recorded(int folder, const char *name, int flags, mode_t mode)
{
    char        path[PATH_BYTES_MAX];
    struct stat about;

    if (!(flags & (O_CREAT | O_TRUNC)) || !path_of(folder, name, path))
        return NEXT(openat)(folder, name, flags, mode);
    pthread_mutex_lock(&lock);
    bool was_there = access(path, F_OK) == 0;
    int  fd        = NEXT(openat)(folder, name, flags, mode);
    if (fd >= 0 && fstat(fd, &about) == 0) {
        if (!was_there)
            put_path(KIND_CREATE, path, about.st_ino);
        else if (flags & O_TRUNC)
            put_truncate(about.st_ino, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static mode_t mode_of(int flags, va_list more)
{
    return flags & O_CREAT ? va_arg(more, mode_t) : 0;
}

int open(const char *name, int flags, ...)
{
    va_list more;

    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    return open_recorded(AT_FDCWD, name, flags, mode);
}

int openat(int folder, const char *name, int flags, ...)
{
    va_list more;

    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    return open_recorded(folder, name, flags, mode);
}

int mkdir(const char *name, mode_t mode)
{
    char        path[PATH_BYTES_MAX];
    struct stat about;

    pthread_mutex_lock(&lock);
    int done = NEXT(mkdir)(name, mode);
    if (done == 0 && path_of(AT_FDCWD, name, path) && stat(path, &about) == 0)
        put_path(KIND_FOLDER, path, about.st_ino);
    pthread_mutex_unlock(&lock);
    return done;
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    char from_path[PATH_BYTES_MAX], to_path[PATH_BYTES_MAX];

    pthread_mutex_lock(&lock);
    int done = NEXT(renameat)(from_folder, from, to_folder, to);
    if (done == 0 && path_of(from_folder, from, from_path) && path_of(to_folder, to, to_path))
        put_paths(KIND_RENAME, from_path, to_path);
    pthread_mutex_unlock(&lock);
    return done;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int link(const char *from, const char *to)
{
    char from_path[PATH_BYTES_MAX], to_path[PATH_BYTES_MAX];

    pthread_mutex_lock(&lock);
    int done = NEXT(link)(from, to);
    if (done == 0 && path_of(AT_FDCWD, from, from_path) && path_of(AT_FDCWD, to, to_path))
        put_paths(KIND_LINK, from_path, to_path);
    pthread_mutex_unlock(&lock);
    return done;
}

int unlinkat(int folder, const char *name, int flags)
{
    char path[PATH_BYTES_MAX];

    pthread_mutex_lock(&lock);
    int done = NEXT(unlinkat)(folder, name, flags);
    if (done == 0 && path_of(folder, name, path))
        put_path(KIND_REMOVE, path, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

int rmdir(const char *name)
{
    return unlinkat(AT_FDCWD, name, AT_REMOVEDIR);
}

/* --- bytes ------------------------------------------------------------------------------------------------------ */

static void put_write(const struct stat *about, off_t at, const void *bytes, ssize_t size)
{
    if (size > 0)
        put((struct record){ .kind = KIND_WRITE, .inode = about->st_ino, .at = (uint64_t)at, .size = (uint64_t)size },
            NULL, bytes);
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    struct stat about;

    if (!is_ours(fd, &about))
        return NEXT(write)(fd, bytes, count);
    pthread_mutex_lock(&lock);
    ssize_t done = NEXT(write)(fd, bytes, count);
    put_write(&about, lseek(fd, 0, SEEK_CUR) - done, bytes, done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at)
{
    struct stat about;

    if (!is_ours(fd, &about))
        return NEXT(pwrite)(fd, bytes, count, at);
    pthread_mutex_lock(&lock);
    ssize_t done = NEXT(pwrite)(fd, bytes, count, at);
    put_write(&about, at, bytes, done);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t size)
{
    struct stat about;

    if (!is_ours(fd, &about))
        return NEXT(ftruncate)(fd, size);
    pthread_mutex_lock(&lock);
    int done = NEXT(ftruncate)(fd, size);
    if (done == 0)
        put_truncate(about.st_ino, (uint64_t)size);
    pthread_mutex_unlock(&lock);
    return done;
}

static int sync_recorded(const struct stat *about)
{
    pthread_mutex_lock(&lock);
    put((struct record){ .kind = KIND_SYNC, .inode = about->st_ino }, NULL, NULL);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd)
{
    struct stat about;

    return is_ours(fd, &about) ? sync_recorded(&about) : NEXT(fsync)(fd);
}

int fdatasync(int fd)
{
    struct stat about;

    return is_ours(fd, &about) ? sync_recorded(&about) : NEXT(fdatasync)(fd);
}
