/* faulty_disk.so - a disk that fails on demand, for tests of a whole process.
 *
 *   LD_PRELOAD=…/faulty_disk.so FAULTY_DISK_CONTROL=/tmp/control FAULTY_DISK_UNDER=/data server …
 *
 * Before each fsync, fdatasync, write or pwrite on a regular file under FAULTY_DISK_UNDER (on any file, if it isn't
 * set) the library reads the control file. A line that names the call makes it fail: `fdatasync EIO`, `write ENOSPC`,
 * `fsync EDQUOT`, `pwrite EFBIG`. A number behind it lets that many calls pass first: `fdatasync EIO 3` (counted from
 * when the process first saw that line). `sync` means fsync and fdatasync, `any` means all four. With a missing or
 * empty control file nothing fails. A write that fails with ENOSPC writes half of its bytes first, as a full disk does.
 * HANG in the place of an error makes the call wait as long as the control file names it, SHORT makes a write take no more than
 * half of its bytes, as the kernel may (a sync passes then). EINTR fails every second of the calls that it is for. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONTROL_BYTES_MAX = 256, PATH_BYTES_MAX = 4096, HANG = -1, SHORT = -2, HANG_US = 2000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char            line_seen[CONTROL_BYTES_MAX];
static unsigned long   passed;

static bool is_ours(int fd)
{
    const char *under = getenv("FAULTY_DISK_UNDER");
    char        link[64], path[PATH_BYTES_MAX];
    struct stat about;

    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode))
        return false;
    if (under == NULL)
        return true;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path);
    return len >= (ssize_t)strlen(under) && strncmp(path, under, strlen(under)) == 0;
}

static bool control_read(char *ret_line, size_t size)
{
    const char *path = getenv("FAULTY_DISK_CONTROL");
    int         fd   = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    ssize_t len = read(fd, ret_line, size - 1);
    close(fd);
    ret_line[len < 0 ? 0 : len] = '\0';
    return len > 0;
}

static int errno_of(const char *name)
{
    static const struct { const char *name; int number; } known[] = {
        { "EIO", EIO }, { "ENOSPC", ENOSPC }, { "EDQUOT", EDQUOT }, { "EFBIG", EFBIG }, { "EROFS", EROFS },
        { "EINTR", EINTR }, { "EAGAIN", EAGAIN }, { "HANG", HANG }, { "SHORT", SHORT },
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].number;
    return EIO;
}

static bool names(const char *said, const char *call)
{
    bool is_sync = strcmp(call, "fsync") == 0 || strcmp(call, "fdatasync") == 0;

    return strcmp(said, call) == 0 || strcmp(said, "any") == 0 || (is_sync && strcmp(said, "sync") == 0);
}

/* 0: the call passes; otherwise the errno that it fails with, or HANG. */
static int fault_now(const char *call, int fd)
{
    char          line[CONTROL_BYTES_MAX], said[32], error[32];
    unsigned long pass_count = 0;
    int           fault      = 0;

    if (!is_ours(fd) || !control_read(line, sizeof line))
        return 0;
    if (sscanf(line, "%31s %31s %lu", said, error, &pass_count) < 2 || !names(said, call))
        return 0;
    pthread_mutex_lock(&lock);
    if (strcmp(line, line_seen) != 0) {
        memcpy(line_seen, line, sizeof line_seen);
        passed = 0;
    }
    if (passed++ >= pass_count)
        fault = errno_of(error);
    if (fault == EINTR && passed % 2 == 0)
        fault = 0;
    pthread_mutex_unlock(&lock);
    return fault;
}

/* 0: the call passes; otherwise the errno that it fails with. */
static int fault_of(const char *call, int fd)
{
    int fault;

    while ((fault = fault_now(call, fd)) == HANG)
        usleep(HANG_US);
    return fault;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd)
{
    int fault = fault_of("fsync", fd);

    if (fault == 0 || fault == SHORT)
        return NEXT(fsync)(fd);
    errno = fault;
    return -1;
}

int fdatasync(int fd)
{
    int fault = fault_of("fdatasync", fd);

    if (fault == 0 || fault == SHORT)
        return NEXT(fdatasync)(fd);
    errno = fault;
    return -1;
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    int fault = fault_of("write", fd);

    if (fault == 0)
        return NEXT(write)(fd, bytes, count);
    if ((fault == ENOSPC && count > 1) || fault == SHORT)
        return NEXT(write)(fd, bytes, count > 1 ? count / 2 : count);
    errno = fault;
    return -1;
}

#define PWRITE(name, offset)                                                              \
    ssize_t name(int fd, const void *bytes, size_t count, offset at)                      \
    {                                                                                     \
        int fault = fault_of("pwrite", fd);                                               \
                                                                                          \
        if (fault == 0)                                                                   \
            return NEXT(name)(fd, bytes, count, at);                                      \
        if (fault == SHORT)                                                               \
            return NEXT(name)(fd, bytes, count > 1 ? count / 2 : count, at);              \
        errno = fault;                                                                    \
        return -1;                                                                        \
    }

/* Two names of one call: who is built for large files has the second. */
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
