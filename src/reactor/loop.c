#include "reactor/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "reactor/stream.h"

enum { EVENTS_A_TURN = 512, LATE_MS = 1000 };

static uint64_t clock_us(clockid_t clock)
{
    struct timespec at;
    must(clock_gettime(clock, &at) == 0);
    return (uint64_t)at.tv_sec * 1000000 + (uint64_t)at.tv_nsec / 1000;
}

msec clock_now(void)
{
    return (msec)(clock_us(CLOCK_MONOTONIC) / 1000);
}

msec clock_wall(void)
{
    return (msec)(clock_us(CLOCK_REALTIME) / 1000);
}

/* Goes on while the machine sleeps, as the wall clock does. */
static msec clock_passed(void)
{
    return (msec)(clock_us(CLOCK_BOOTTIME) / 1000);
}

uint64_t clock_now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

static void bell_rang(struct source *source, uint32_t events)
{
    (void)source, (void)events;  /* being awake is all it's for */
}

static const struct source_kind bell_kind = { .ready = bell_rang };

enum rc loop_init(struct loop *loop, const struct loop_hooks *hooks, void *ctx)
{
    *loop = (struct loop){ .epoll = -1, .hooks = hooks, .ctx = ctx, .bell.kind = &bell_kind };
    pool_init(&loop->streams, sizeof(struct stream));
    loop->now  = clock_now();
    loop->wall = clock_wall();
    wall_clock_init(&loop->wall_clock, clock_passed(), loop->wall);
    wheel_init(&loop->wheel, loop->now);

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
    stream_bury_all(loop);
    pool_fini(&loop->streams);
    mailbox_fini(&loop->mailbox);
    free(loop->input);
    loop->input = NULL;
    if (loop->epoll >= 0)
        close(loop->epoll);
}

enum rc loop_watch(struct loop *loop, int fd, uint32_t events, struct source *source)
{
    struct epoll_event event = { .events = events, .data.ptr = source };

    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
        return RC_OK;
    return errno == ENOSPC ? RC_FULL : RC_NOMEM;
}

void loop_unwatch(struct loop *loop, int fd)
{
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
}

/* *ret_until: when it was to be awake at the latest. */
static int loop_wait(struct loop *loop, struct epoll_event *events, msec *ret_until)
{
    int sleep_ms = loop->again == NULL ? wheel_sleep_ms(&loop->wheel, clock_now()) : 0;

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

static void loop_read_mail(struct loop *loop)
{
    struct mail *mail = mailbox_take(&loop->mailbox);

    while (mail != NULL) {
        struct mail *next = mail->next;
        loop->hooks->mail(loop->ctx, mail);
        mail = next;
    }
}

static void loop_turn(struct loop *loop)
{
    struct epoll_event events[EVENTS_A_TURN];
    msec               until;
    int                count = loop_wait(loop, events, &until);

    loop->now  = clock_now();
    loop->wall = wall_clock_look(&loop->wall_clock, clock_passed(), clock_wall());
    /* Not twice in a row: if each turn came late, no timer would ever fire. */
    bool is_late   = loop->now > until + LATE_MS && !loop->was_late;
    loop->was_late = is_late;
    counter_add(&loop->turn_count, 1);
    if (loop->hooks->turn_begin != NULL)
        loop->hooks->turn_begin(loop->ctx);
    for (int i = 0; i < count; i++) {
        struct source *source = events[i].data.ptr;
        source->kind->ready(source, events[i].events);
    }
    stream_read_again(loop);
    loop_read_mail(loop);
    /* After a pause of the process (SIGSTOP, a machine that slept) what came meanwhile may not be among these events:
     * it is seen by the next turn, at once, before timers judge that nothing did. */
    if (!is_late)
        wheel_turn(&loop->wheel, loop->now);
    if (loop->hooks->turn_end != NULL)
        loop->hooks->turn_end(loop->ctx);
    stream_bury(loop);
}

void loop_run(struct loop *loop)
{
    loop->is_stopping = false;
    while (!loop->is_stopping)
        loop_turn(loop);
}

void loop_stop(struct loop *loop)
{
    loop->is_stopping = true;
}
