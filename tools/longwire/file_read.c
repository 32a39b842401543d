#include "longwire/file_read.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "longwire/cli.h"
#include "longwire/lines.h"

bool file_read(const char *name, struct buf *into)
{
    bool    is_stdin = span_eq(span_str(name), SPAN("-"));
    int     fd       = is_stdin ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    ssize_t got      = fd < 0 ? -1 : 1;

    while (got > 0 && into->len <= LINE_BYTES_MAX) {
        size_t before = into->len;
        char  *piece  = buf_extend(into, FILE_READ_BYTES);
        must(piece != NULL);
        got       = read(fd, piece, FILE_READ_BYTES);
        into->len = before + (size_t)(got > 0 ? got : 0);
    }
    if (got < 0)
        say("can't read %s: %s", is_stdin ? "standard input" : name, strerror(errno));
    else if (into->len > LINE_BYTES_MAX)
        say("%s has more than %d bytes", is_stdin ? "standard input" : name, LINE_BYTES_MAX);
    if (fd >= 0 && !is_stdin)
        close(fd);
    return got >= 0 && into->len <= LINE_BYTES_MAX;
}
