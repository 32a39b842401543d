#include "store/write_whole.h"

#include <errno.h>
#include <unistd.h>

/* What the call gave, for the bytes that were left. True: go on with what is left now. */
static bool write_went_on(ssize_t len, struct span *bytes)
{
    if (len < 0)
        return errno == EINTR;
    if (len == 0) {
        errno = ENOSPC;
        return false;
    }
    *bytes = span_skip(*bytes, (size_t)len);
    return true;
}

bool write_whole(int fd, struct span bytes)
{
    while (bytes.len > 0)
        if (!write_went_on(write(fd, bytes.at, bytes.len), &bytes))
            return false;
    return true;
}

bool write_whole_at_start(int fd, struct span bytes)
{
    const size_t all = bytes.len;

    while (bytes.len > 0)
        if (!write_went_on(pwrite(fd, bytes.at, bytes.len, (off_t)(all - bytes.len)), &bytes))
            return false;
    return true;
}
