#include "main/start_wait.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "main/limits.h"
#include "reactor/log.h"
#include "reactor/stream_tcp.h"

/* A question that has not come back LATE_MS after its time is not waited for: PostgreSQL may stand still with the question in its
 * hands. The service manager is told to wait for so long, too. */
enum { LISTEN_AFTER_MS = 1000, TICK_MS = 100, PAUSE_FIRST_MS = 250, PAUSE_MOST_MS = 5000, LATE_MS = 60000, BACKLOG = 128 };
enum { EXIT_STARTED_NOT = 1 };

static const char DETAIL[] = "the node is starting: its store does not answer yet (postgres)";

/* --- what is answered meanwhile --------------------------------------------------------------------------------- */

static struct http_plan wait_plan(void *ctx, const struct http_request *request)
{
    (void)ctx;
    (void)request;
    return (struct http_plan){ .is_public = true };
}

static bool wait_is_unwelcome(void *ctx, const struct http_request *request, const struct http_caller *caller)
{
    (void)ctx;
    (void)request;
    (void)caller;
    return true;
}

static void wait_serve(void *ctx, struct http_exchange *exchange, const struct http_request *request)
{
    struct start_wait *wait = ctx;

    (void)request;
    http_problem(&wait->http, exchange, 503, NULL, DETAIL, HTTP_FIELDS({ SPAN("Retry-After"), SPAN("5") }));
}

static enum http_origin wait_judge_origin(void *ctx, struct span origin, struct span host)
{
    (void)ctx;
    (void)origin;
    (void)host;
    return HTTP_ORIGIN_OPEN;
}

static const struct http_service wait_service = {
    .plan = wait_plan, .is_unwelcome = wait_is_unwelcome, .serve = wait_serve, .judge_origin = wait_judge_origin,
};

static void wait_accepted(void *ctx, int fd, const struct ip_address *peer)
{
    struct start_wait *wait = ctx;
    struct stream     *stream;

    (void)peer;
    if (stream_tcp_new(&wait->loop, fd, &stream) == RC_OK)
        http_server_open(&wait->http, stream);
    else
        loop_close(&wait->loop, fd);
}

/* An address that can't be had now is an error when the start listens in earnest. */
static void wait_listen(struct start_wait *wait)
{
    const struct settings *settings = wait->settings;

    wait->listen_at = 0;
    for (size_t i = 0; i < settings->listen_count; i++) {
        const struct listen_address  *listen  = &settings->listens[i];
        const struct listener_options options = {
            .address = (const struct sockaddr *)&listen->at, .address_len = listen->len, .address_text = listen->text,
            .congestion_control = "", .backlog = BACKLOG, .is_first = true, .accepted = wait_accepted, .ctx = wait,
        };
        const enum rc rc = listener_new(&wait->loop, &options, &wait->listeners[i]);
        if (rc != RC_OK)
            LOG(LOG_WARN, "start_not_told", log_str("address", listen->text), log_str("why", rc_text(rc)));
    }
}

/* --- its thread ---------------------------------------------------------------------------------------------------- */

static void wait_leave(int status)
{
    log_tell_suppressed();
    _exit(status);
}

/* Nothing is open yet that an end at once could harm. */
static void wait_look_for_signals(void)
{
    const struct timespec none = { 0 };
    sigset_t              stops;

    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    const int which = sigtimedwait(&stops, NULL, &none);
    if (which <= 0)
        return;
    LOG(LOG_INFO, "stopping", log_str("signal", which == SIGTERM ? "SIGTERM" : "SIGINT"));
    LOG(LOG_INFO, "stopped");
    wait_leave(EXIT_SUCCESS);
}

static void wait_on_tick(struct timer *timer, msec now)
{
    struct start_wait *wait = container_of(timer, struct start_wait, tick);

    wait_look_for_signals();
    if (now >= wait->until + LATE_MS) {
        LOG(LOG_ERROR, "cant_start", log_str("why", "PostgreSQL has taken a question of the start, and does not answer it"));
        wait_leave(EXIT_STARTED_NOT);
    }
    if (wait->listen_at != 0 && now >= wait->listen_at)
        wait_listen(wait);
    http_server_tick(&wait->http);
    wheel_arm(&wait->loop.wheel, timer, now + TICK_MS);
}

static void wait_turn_end(void *ctx)
{
    struct start_wait *wait = ctx;

    http_server_turn_end(&wait->http);
    if (counter_get(&wait->is_over) != 0)
        loop_stop(&wait->loop);
}

static void wait_mail(void *ctx, struct mail *mail)
{
    (void)ctx;
    (void)mail;
    must(false);  /* nobody sends any */
}

static const struct loop_hooks wait_hooks = { .mail = wait_mail, .turn_end = wait_turn_end };

static void *wait_main(void *ctx)
{
    struct start_wait *wait = ctx;

    pthread_setname_np(pthread_self(), "lw-start");
    loop_run(&wait->loop);
    return NULL;
}

/* --- for the start --------------------------------------------------------------------------------------------------- */

static void wait_close(struct start_wait *wait)
{
    for (size_t i = 0; i < LISTENS_MAX; i++)
        listener_free(wait->listeners[i]);
    wheel_disarm(&wait->loop.wheel, &wait->tick);
    http_server_fini(&wait->http);
    loop_fini(&wait->loop);
    http_server_end(&wait->http);
}

enum rc start_wait_begin(struct start_wait *wait, const struct settings *settings, const struct service_manager *manager)
{
    const struct http_limits limits = http_limits_of(settings);

    *wait = (struct start_wait){ .settings = settings, .manager = manager, .pause_ms = PAUSE_FIRST_MS };
    if (settings->store_kind != STORE_POSTGRES)
        return RC_OK;
    const enum rc rc = loop_init(&wait->loop, &wait_hooks, wait);
    if (rc != RC_OK)
        return rc;
    wait->until     = wait->loop.now + settings->start_timeout_s * 1000;
    wait->listen_at = wait->loop.now + LISTEN_AFTER_MS;
    wait->tick.fire = wait_on_tick;
    wheel_arm(&wait->loop.wheel, &wait->tick, wait->loop.now + TICK_MS);
    http_server_init(&wait->http, &wait->loop, &limits, &wait_service, wait);
    wait->may_wait = pthread_create(&wait->thread, NULL, wait_main, wait) == 0;
    if (!wait->may_wait)
        wait_close(wait);
    return wait->may_wait ? RC_OK : RC_NOMEM;
}

bool start_wait_again(struct start_wait *wait, enum rc rc, const char *why)
{
    if (!wait->may_wait || rc != RC_IO || clock_now() >= wait->until)
        return false;
    LOG(LOG_WARN, "start_waits", log_str("why", why));
    service_manager_tell(wait->manager, "STATUS=waits for its store: %s\nEXTEND_TIMEOUT_USEC=%lld", why, (long long)LATE_MS * 1000);
    poll(NULL, 0, (int)wait->pause_ms);
    wait->pause_ms = wait->pause_ms * 2 > PAUSE_MOST_MS ? PAUSE_MOST_MS : wait->pause_ms * 2;
    return true;
}

void start_wait_end(struct start_wait *wait)
{
    if (!wait->may_wait)
        return;
    counter_set(&wait->is_over, 1);
    mailbox_ring(&wait->loop.mailbox);
    must(pthread_join(wait->thread, NULL) == 0);
    wait->may_wait = false;
    wait_close(wait);
}
