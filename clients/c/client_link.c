/* client_link.c - the link of a client: what the engine wants becomes sockets. */
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "client.h"

enum { READ_BYTES = 64 * 1024, READS_MAX = 16 };

msec client_now(void)
{
    struct timespec now;

    must(clock_gettime(CLOCK_BOOTTIME, &now) == 0);
    return (msec)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- opening --------------------------------------------------------------------------------------------------- */

static void watch_fd(struct lw *lw, int fd)
{
    struct epoll_event event = { .events = EPOLLIN };

    must(epoll_ctl(lw->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void begin(struct lw *lw, msec now)
{
    const struct server_entry *target = &lw->engine.target;

    if (resolving_start(target->host, target->port, &lw->resolving) == RC_OK)
        watch_fd(lw, resolving_fd(lw->resolving));
    else
        engine_lost(&lw->engine, "no descriptor or thread to be had", now);
}

/* True: the name is resolved, or can't be. */
static bool resolved(struct lw *lw, msec now)
{
    struct addrinfo *found;
    const char      *why;

    if (!resolving_take(lw->resolving, &found, &why))
        return false;
    resolving_free(lw->resolving);
    lw->resolving = NULL;
    if (found != NULL)
        wire_open(&lw->wire, &found, lw->engine.target.is_tls ? lw->tls : NULL, lw->engine.target.host, now);
    else
        engine_lost(&lw->engine, why, now);
    return true;
}

static bool advance(struct lw *lw, msec now)
{
    switch (wire_advance(&lw->wire, now)) {
    case WIRE_WAITS: return false;
    case WIRE_ENDED: engine_lost(&lw->engine, lw->wire.fault, now); return true;
    case WIRE_DONE: break;
    }
    if (lw->wire.state == WIRE_OPEN)
        engine_opened(&lw->engine, now);
    return true;
}

/* --- bytes ------------------------------------------------------------------------------------------------------- */

static bool read_some(struct lw *lw, msec now)
{
    char   bytes[READ_BYTES];
    size_t len;

    for (unsigned reads = 0; reads < READS_MAX; reads++) {
        switch (wire_read(&lw->wire, bytes, sizeof bytes, &len)) {
        case WIRE_WAITS: return reads > 0;
        case WIRE_ENDED: engine_lost(&lw->engine, lw->wire.fault, now); return true;
        case WIRE_DONE: break;
        }
        engine_feed(&lw->engine, span_of(bytes, len), now);
        if (!engine_wants_link(&lw->engine))
            return true;
    }
    lw->has_more = true;
    return true;
}

static bool write_some(struct lw *lw, msec now)
{
    bool   has_written = false;
    size_t len;

    while (lw->engine.out.len > 0) {
        switch (wire_write(&lw->wire, buf_span(&lw->engine.out), &len)) {
        case WIRE_WAITS: return has_written;
        case WIRE_ENDED: engine_lost(&lw->engine, lw->wire.fault, now); return true;
        case WIRE_DONE: break;
        }
        engine_sent(&lw->engine, len, now);
        has_written = true;
    }
    return has_written;
}

/* --- all of it ------------------------------------------------------------------------------------------------------ */

void client_drop_link(struct lw *lw)
{
    resolving_free(lw->resolving);
    lw->resolving = NULL;
    wire_close(&lw->wire);
}

/* One step on the way to an open link; false: it waits. */
static bool open_step(struct lw *lw, msec now)
{
    if (lw->resolving != NULL)
        return resolved(lw, now);
    if (lw->wire.state != WIRE_CLOSED)
        return advance(lw, now);
    begin(lw, now);
    return true;
}

bool client_drive(struct lw *lw, msec now)
{
    bool has_link = lw->resolving != NULL || lw->wire.state != WIRE_CLOSED;
    bool is_done  = false;

    /* The engine may have given up the last link and wanted another within one turn. */
    if (lw->link_count != lw->engine.link_count) {
        client_drop_link(lw);
        lw->link_count = lw->engine.link_count;
    }
    if (engine_wants_link(&lw->engine)) {
        if (lw->wire.state == WIRE_OPEN)
            is_done = read_some(lw, now);
        else
            return open_step(lw, now);
    }
    if (engine_wants_link(&lw->engine))
        return write_some(lw, now) || is_done;
    if (has_link)
        client_drop_link(lw);
    return has_link;
}

void client_watch(struct lw *lw)
{
    uint32_t           events = wire_events(&lw->wire, lw->engine.out.len > 0);
    struct epoll_event event  = { .events = events };

    if (lw->wire.fd < 0)
        return;  /* the kernel forgets a closed one by itself */
    bool is_new = lw->wire.serial != lw->serial;
    if (!is_new && events == lw->events)
        return;
    must(epoll_ctl(lw->epoll_fd, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, lw->wire.fd, &event) == 0);
    lw->serial = lw->wire.serial;
    lw->events = events;
}
