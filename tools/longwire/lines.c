#include "longwire/lines.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024 };

void lines_init(struct lines *lines, int fd)
{
    *lines = (struct lines){ .fd = fd };
    buf_init(&lines->input, (size_t)LINE_BYTES_MAX + LINES_BYTES + READ_BYTES);
}

void lines_fini(struct lines *lines)
{
    buf_fini(&lines->input);
}

static struct span lines_rest(const struct lines *lines)
{
    return span_skip(buf_span(&lines->input), lines->at);
}

static bool lines_has_one(const struct lines *lines)
{
    struct span rest = lines_rest(lines);
    return rest.len > 0 && (lines->is_ended || memchr(rest.at, '\n', rest.len) != NULL);
}

static bool is_readable(int fd)
{
    struct pollfd in = { .fd = fd, .events = POLLIN };
    return poll(&in, 1, 0) > 0;
}

/* One read, however little it brings. */
static bool lines_read(struct lines *lines)
{
    size_t  before = lines->input.len;
    char   *scratch   = buf_extend(&lines->input, READ_BYTES);
    ssize_t got;
    do
        got = read(lines->fd, scratch, READ_BYTES);
    while (got < 0 && errno == EINTR);

    lines->input.len = before + (size_t)(got > 0 ? got : 0);
    lines->is_ended  = got == 0;
    return got >= 0;
}

enum lines_end lines_wait(struct lines *lines)
{
    buf_drop(&lines->input, lines->at);
    lines->at = 0;

    bool has_one = lines_has_one(lines);
    while (!lines->is_ended && (!has_one || (lines->input.len < LINES_BYTES && is_readable(lines->fd)))) {
        if (!has_one && lines->input.len > LINE_BYTES_MAX)
            return LINES_LONG;
        if (!lines_read(lines))
            return LINES_FAILED;
        has_one = lines_has_one(lines);
    }
    return has_one ? LINES_SOME : LINES_NONE;
}

bool lines_take(struct lines *lines, struct span *ret_line)
{
    if (!lines_has_one(lines))
        return false;
    struct span rest   = lines_rest(lines);
    size_t      before = rest.len;
    (void)span_cut(&rest, '\n', ret_line);  /* there is a line, so there is something to cut */
    lines->at += before - rest.len;
    return true;
}
