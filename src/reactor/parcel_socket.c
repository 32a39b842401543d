#include "reactor/parcel_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/must.h"

/* --- the path --------------------------------------------------------------------------------------------------- */

enum { PARCEL_PATH_MOST = 4096 };

/* Of the directory, and an address below it that is short, however long the path is. */
static int parcel_address(const char *path, struct sockaddr_un *ret)
{
    const char *slash = strrchr(path, '/');
    const char *name  = slash == NULL ? path : slash + 1;
    char        directory[PARCEL_PATH_MOST];

    if (slash == NULL)
        snprintf(directory, sizeof directory, ".");
    else
        snprintf(directory, sizeof directory, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    *ret    = (struct sockaddr_un){ .sun_family = AF_UNIX };
    int len = snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%s", fd, name);
    if (len > 0 && (size_t)len < sizeof ret->sun_path)
        return fd;
    close(fd);
    errno = ENAMETOOLONG;
    return -1;
}

static enum rc parcel_open(const char *path, int *ret_fd, int (*use)(int fd, const struct sockaddr_un *address))
{
    struct sockaddr_un address;
    enum rc            rc        = RC_BAD;
    int                directory = parcel_address(path, &address);
    int                fd        = directory < 0 ? -1 : socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd < 0)
        goto out;
    if (use(fd, &address) != 0) {
        rc = errno == EADDRINUSE ? RC_BUSY : errno == ECONNREFUSED || errno == ENOENT ? RC_GONE : errno == EACCES ? RC_DENIED : RC_BAD;
        goto out;
    }
    *ret_fd = fd;
    fd      = -1;
    rc      = RC_OK;
out:;
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (directory >= 0)
        close(directory);
    errno = why;
    return rc;
}

static int use_connect(int fd, const struct sockaddr_un *address)
{
    return connect(fd, (const struct sockaddr *)address, sizeof *address);
}

static int use_bind(int fd, const struct sockaddr_un *address)
{
    mode_t before = umask(0177);
    int    done   = bind(fd, (const struct sockaddr *)address, sizeof *address);
    int    why    = errno;

    umask(before);
    errno = why;
    return done != 0 ? done : listen(fd, 4);
}

enum rc parcel_connect(const char *path, int *ret_fd)
{
    return parcel_open(path, ret_fd, use_connect);
}

enum rc parcel_listen(const char *path, int *ret_fd)
{
    int     peer;
    enum rc rc = parcel_open(path, ret_fd, use_bind);

    if (rc != RC_BUSY)
        return rc;
    if (parcel_connect(path, &peer) == RC_OK) {
        close(peer);
        return RC_BUSY;
    }
    unlink(path);  /* its process is gone */
    return parcel_open(path, ret_fd, use_bind);
}

/* --- the peer --------------------------------------------------------------------------------------------------- */

static bool parcel_credentials(int fd, struct ucred *ret)
{
    socklen_t len = sizeof *ret;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &len) == 0;
}

int parcel_accept(int fd)
{
    struct ucred peer;
    int          accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

    if (accepted < 0 || (parcel_credentials(accepted, &peer) && (peer.uid == geteuid() || peer.uid == 0)))
        return accepted;
    close(accepted);
    return -1;
}

int parcel_peer(int fd)
{
    struct ucred peer;

    return parcel_credentials(fd, &peer) && peer.pid > 0 ? (int)syscall(SYS_pidfd_open, peer.pid, 0) : -1;
}

/* --- messages --------------------------------------------------------------------------------------------------- */

static bool parcel_wait(int fd, short events, msec within_ms)
{
    struct pollfd at = { .fd = fd, .events = events };

    for (;;) {
        int count = poll(&at, 1, (int)within_ms);
        if (count >= 0 || errno != EINTR)
            return count > 0;
    }
}

bool parcel_await(int fd, msec within_ms)
{
    return parcel_wait(fd, POLLIN, within_ms);
}

union parcel_control {
    struct cmsghdr head;
    char           bytes[CMSG_SPACE(PARCEL_SOCKETS_MAX * sizeof(int))];
};

bool parcel_send(int fd, struct span bytes, const int *sockets, size_t count, msec within_ms)
{
    union parcel_control control;
    struct iovec         part    = { (void *)(uintptr_t)bytes.at, bytes.len };
    struct msghdr        message = { .msg_iov = &part, .msg_iovlen = 1 };

    must(bytes.len > 0 && bytes.len <= PARCEL_BYTES_MAX && count <= PARCEL_SOCKETS_MAX);
    if (count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control     = control.bytes;
        message.msg_controllen  = CMSG_SPACE(count * sizeof(int));
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type  = SCM_RIGHTS;
        control.head.cmsg_len   = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&control.head), sockets, count * sizeof(int));
    }
    for (;;) {
        ssize_t put = parcel_wait(fd, POLLOUT, within_ms) ? sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) : -1;
        if (put == (ssize_t)bytes.len)
            return true;
        if (put >= 0 || (errno != EINTR && errno != EAGAIN))
            return false;
    }
}

static size_t parcel_take_sockets(struct msghdr *message, int sockets[PARCEL_SOCKETS_MAX])
{
    size_t count = 0;

    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at != NULL; at = CMSG_NXTHDR(message, at))
        if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SCM_RIGHTS) {
            count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            must(count <= PARCEL_SOCKETS_MAX);
            memcpy(sockets, CMSG_DATA(at), count * sizeof(int));
        }
    return count;
}

int parcel_receive(int fd, char bytes[PARCEL_BYTES_MAX], int sockets[PARCEL_SOCKETS_MAX], size_t *ret_count, msec within_ms)
{
    union parcel_control control;
    struct iovec         part    = { bytes, PARCEL_BYTES_MAX };
    struct msghdr        message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                                     .msg_controllen = sizeof control.bytes };
    ssize_t              got;

    *ret_count = 0;
    if (!parcel_wait(fd, POLLIN, within_ms))
        return -1;
    do
        got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == ECONNRESET ? 0 : -1;
    *ret_count = parcel_take_sockets(&message, sockets);
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0)
        return (int)got;
    while (*ret_count > 0)
        close(sockets[--*ret_count]);
    return -1;
}

/* --- files ------------------------------------------------------------------------------------------------------ */

int parcel_file(struct span bytes)
{
    int file = memfd_create("longwire-hand-over", MFD_CLOEXEC);

    while (file >= 0 && bytes.len > 0) {
        ssize_t put = write(file, bytes.at, bytes.len);
        if (put <= 0) {
            close(file);
            return -1;
        }
        bytes = span_skip(bytes, (size_t)put);
    }
    return file;
}

enum rc parcel_map(int file, struct span *ret)
{
    struct stat stat;

    if (fstat(file, &stat) != 0 || !S_ISREG(stat.st_mode) || stat.st_size <= 0)
        return RC_BAD;
    void *at = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (at == MAP_FAILED)
        return RC_NOMEM;
    *ret = span_of(at, (size_t)stat.st_size);
    return RC_OK;
}

void parcel_unmap(struct span bytes)
{
    if (bytes.len > 0)
        munmap((void *)(uintptr_t)bytes.at, bytes.len);
}
