/* loop_epoll.c - a loop that waits in epoll(7), in a thread of its own, and reads the system's clocks. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "reactor/loop.h"
#include "reactor/stream_tcp.h"

enum { EVENTS_A_TURN = 512, LATE_MS = 1000 };

static msec system_clock_ms(clockid_t clock)
{
    struct timespec at;
    must(clock_gettime(clock, &at) == 0);
    return (msec)at.tv_sec * 1000 + (msec)at.tv_nsec / 1000000;
}

msec clock_now(void)
{
    return system_clock_ms(CLOCK_MONOTONIC);
}

msec clock_wall(void)
{
    return system_clock_ms(CLOCK_REALTIME);
}

/* Goes on while the machine sleeps, as the wall clock does. */
static msec clock_passed(void)
{
    return system_clock_ms(CLOCK_BOOTTIME);
}

static void bell_rang(struct source *source, uint32_t events)
{
    (void)source, (void)events;  /* being awake is all it's for */
}

void loop_compare_clock(struct loop *loop, msec seen)
{
    loop->wall = wall_clock_compare(&loop->wall_clock, clock_passed(), clock_wall(), seen);
}

static const struct source_kind bell_kind = { .ready = bell_rang };

void loop_close(struct loop *loop, int fd)
{
    if (loop->hooks->closing != NULL)
        loop->hooks->closing(loop->ctx, fd);
    close(fd);
}

enum rc loop_init(struct loop *loop, const struct loop_hooks *hooks, void *ctx)
{
    loop_begin(loop, hooks, ctx, clock_now(), clock_wall());
    loop->bell.kind = &bell_kind;
    wall_clock_init(&loop->wall_clock, clock_passed(), loop->wall);
    stream_tcp_maker_init(&loop->tcp, loop);

    enum rc rc = mailbox_init(&loop->mailbox);
    if (rc != RC_OK)
        return rc;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->input = malloc(LOOP_INPUT_BYTES);
    rc          = loop->epoll < 0 ? RC_FULL : RC_NOMEM;
    if (loop->epoll < 0 || loop->input == NULL)
        goto out;
    rc = loop_watch(loop, loop->mailbox.bell, EPOLLIN | EPOLLET, &loop->bell);
out:
    if (rc != RC_OK)
        loop_fini(loop);
    return rc;
}

void loop_fini(struct loop *loop)
{
    loop_end(loop);
    stream_maker_fini(&loop->tcp);
    mailbox_fini(&loop->mailbox);
    if (loop->epoll >= 0)
        close(loop->epoll);
}

enum rc loop_watch(struct loop *loop, int fd, uint32_t events, struct source *source)
{
    struct epoll_event event = { .events = events, .data.ptr = source };

    must(loop_is_here(loop) && source->kind != NULL);
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
        return RC_OK;
    return errno == ENOSPC ? RC_FULL : RC_NOMEM;
}

void loop_unwatch(struct loop *loop, int fd)
{
    must(loop_is_here(loop));
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
}

/* *ret_until: when the loop should have woken at the latest. */
static int loop_wait(struct loop *loop, struct epoll_event *events, msec *ret_until)
{
    int sleep_ms = (loop->again == NULL || loop->is_held) && !loop->is_busy ? wheel_sleep_ms(&loop->wheel, clock_now()) : 0;

    if (loop->wake_at != 0 && sleep_ms != 0) {
        msec left = loop->wake_at - clock_now();
        if (sleep_ms < 0 || left < sleep_ms)
            sleep_ms = left < 0 ? 0 : (int)left;
    }
    if (sleep_ms != 0 && !mailbox_may_sleep(&loop->mailbox))
        sleep_ms = 0;
    *ret_until = clock_now() + (sleep_ms < 0 ? INT64_MAX / 2 : sleep_ms);
    int count  = epoll_wait(loop->epoll, events, EVENTS_A_TURN, sleep_ms);
    mailbox_is_awake(&loop->mailbox);
    must(count >= 0 || errno == EINTR);
    return count < 0 ? 0 : count;
}

/* After a pause of the process (SIGSTOP, a machine that slept), events that came meanwhile may be missing from this
 * turn. The next turn sees them, at once; only then may timers judge that nothing came. This is not done twice in a
 * row: if each turn came late, no timer would ever fire. */
static bool loop_is_late(struct loop *loop, msec now, msec until)
{
    loop->was_late = now > until + LATE_MS && !loop->was_late;
    return loop->was_late;
}

static void loop_turn(struct loop *loop)
{
    struct epoll_event events[EVENTS_A_TURN];
    msec               until;
    int                count   = loop_wait(loop, events, &until);
    msec               now     = clock_now();
    bool               is_late = loop_is_late(loop, now, until);

    loop_turn_begin(loop, now, wall_clock_look(&loop->wall_clock, clock_passed(), clock_wall()));
    for (int i = 0; i < count; i++) {
        struct source *source = events[i].data.ptr;
        source->kind->ready(source, events[i].events);
    }
    loop_turn_end(loop, !is_late);
}

void loop_run(struct loop *loop)
{
    must(!loop->is_running);
    loop->thread      = pthread_self();
    loop->is_running  = true;
    loop->is_stopping = false;
    while (!loop->is_stopping)
        loop_turn(loop);
    loop->is_running = false;
}

void loop_stop(struct loop *loop)
{
    must(loop_is_here(loop));
    loop->is_stopping = true;
}
