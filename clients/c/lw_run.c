/* lw_run.c - the calls that run a client: on the application's loop, or on a thread of its own. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "client.h"

enum { ROUNDS_MAX = 32 };

/* --- on a loop of the application's ------------------------------------------------------------------------------- */

int lw_fd(const struct lw *lw)
{
    return lw->epoll_fd;
}

int lw_timeout(const struct lw *lw)
{
    msec at = engine_deadline(&lw->engine), now = client_now();

    if (lw->has_more)
        return 0;
    if ((lw->wire.state == WIRE_CONNECTING || lw->wire.state == WIRE_HANDSHAKE) && (at < 0 || lw->wire.until < at))
        at = lw->wire.until;
    if (at < 0)
        return -1;
    return at <= now ? 0 : at - now > INT32_MAX ? INT32_MAX : (int)(at - now);
}

/* True: there were orders. */
static bool take_orders(struct lw *lw, msec now)
{
    struct list  orders;
    struct list *link;

    inbox_take(&lw->inbox, &orders);
    bool had_orders = !list_is_empty(&orders);
    while ((link = list_pop(&orders)) != NULL) {
        struct order *order = container_of(link, struct order, link);
        if (lw->engine.state == ENGINE_ENDED)
            order_free(order);
        else
            engine_order(&lw->engine, order, now);
    }
    return had_orders;
}

/* What came in is read before time is looked at: a long callback must not look like a server that is silent. */
static bool process_round(struct lw *lw, msec now)
{
    enum engine_state before = lw->engine.state;
    bool              is_done = take_orders(lw, now);

    is_done |= client_drive(lw, now);
    engine_turn(&lw->engine, now);
    if (lw->wire.state == WIRE_OPEN && lw->engine.out.len > 0 && !lw->wire.wants_out)
        is_done |= client_drive(lw, now);
    return is_done || lw->engine.state != before;
}

enum lw_result lw_process(struct lw *lw)
{
    unsigned rounds = 0;

    lw->has_more = false;
    while (process_round(lw, client_now()))
        if (++rounds == ROUNDS_MAX) {
            lw->has_more = true;
            break;
        }
    client_watch(lw);
    if (lw->engine.state != ENGINE_ENDED)
        return LW_OK;
    client_drop_link(lw);
    return LW_CLOSED;
}

/* --- on a thread ------------------------------------------------------------------------------------------------------ */

static bool must_end(struct lw *lw)
{
    must(pthread_mutex_lock(&lw->thread_mutex) == 0);
    bool is_so = lw->must_end;
    must(pthread_mutex_unlock(&lw->thread_mutex) == 0);
    return is_so;
}

static void *run(void *arg)
{
    struct lw    *lw  = arg;
    struct pollfd fds = { .fd = lw_fd(lw), .events = POLLIN };

    while (!must_end(lw) && lw_process(lw) == LW_OK)
        must(poll(&fds, 1, lw_timeout(lw)) >= 0 || errno == EINTR);
    return NULL;
}

enum lw_result lw_start(struct lw *lw)
{
    sigset_t all, before;

    if (lw->has_thread)
        return LW_BUSY;
    sigfillset(&all);
    must(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int error = pthread_create(&lw->thread, NULL, run, lw);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (error != 0) {
        errno = error;
        return LW_SYSTEM;
    }
    pthread_setname_np(lw->thread, "longwire");
    lw->has_thread = true;
    return LW_OK;
}

/* True: it has ended. */
static bool join_within(struct lw *lw, int64_t wait_ms)
{
    struct timespec until;

    must(clock_gettime(CLOCK_REALTIME, &until) == 0);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return pthread_timedjoin_np(lw->thread, NULL, &until) == 0;
}

void lw_stop(struct lw *lw, int64_t wait_ms)
{
    if (!lw->has_thread)
        return;
    (void)lw_close(lw);  /* closed already: it is leaving */
    if (!join_within(lw, wait_ms)) {
        must(pthread_mutex_lock(&lw->thread_mutex) == 0);
        lw->must_end = true;
        must(pthread_mutex_unlock(&lw->thread_mutex) == 0);
        inbox_poke(&lw->inbox);
        must(pthread_join(lw->thread, NULL) == 0);
    }
    lw->has_thread = false;
}
