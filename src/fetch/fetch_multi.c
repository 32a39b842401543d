/* fetch_multi.c - libcurl in the loop: its sockets stand in an epoll of their own, because it wants them told as long as they
 * are ready, and the loop watches that epoll. */
#include <sys/epoll.h>
#include <unistd.h>

#include "base/must.h"
#include "fetch/fetch_priv.h"

enum { SOCKETS_A_TURN = 64 };

/* --- calls --------------------------------------------------------------------------------------------------- */

static CURL *multi_take_easy(struct fetch *fetch)
{
    if (fetch->spare_count > 0)
        return fetch->spare[--fetch->spare_count];
    return fetch_easy_new(fetch);
}

static void multi_keep_easy(struct fetch *fetch, CURL *easy)
{
    if (fetch->spare_count < FETCH_SPARE_MAX)
        fetch->spare[fetch->spare_count++] = easy;
    else
        curl_easy_cleanup(easy);
}

void fetch_multi_begin(struct fetch *fetch, struct fetch_call *call)
{
    CURL *easy   = multi_take_easy(fetch);
    msec  left_ms = call->deadline - fetch->loop->now;

    fetch_easy_set(easy, call, left_ms > 0 ? left_ms : 1);
    call->handle = easy;
    must(curl_multi_add_handle(fetch->multi, easy) == CURLM_OK);
}

static void multi_end(struct fetch *fetch, CURL *easy, struct fetch_call *call, enum fetch_outcome outcome)
{
    fetch_easy_note_sent(easy, call);
    if (call->looks_up)
        plain_looked_up(fetch, call, call->is_sent ? fetch_easy_address(easy) : SPAN(""));
    must(curl_multi_remove_handle(fetch->multi, easy) == CURLM_OK);
    fetch_easy_clear(easy, call);
    if (call->stream != 0 && outcome != FETCH_ANSWERED)
        curl_easy_cleanup(easy);  /* see fetch_stream.c */
    else
        multi_keep_easy(fetch, easy);
    fetch_ended(fetch, call, outcome);
}

void fetch_multi_cancel(struct fetch *fetch, struct fetch_call *call, enum fetch_outcome outcome)
{
    multi_end(fetch, call->handle, call, outcome);
}

static void multi_take_ended(struct fetch *fetch)
{
    CURLMsg *told;
    int      more;

    while ((told = curl_multi_info_read(fetch->multi, &more)) != NULL) {
        CURL              *easy = told->easy_handle;
        CURLcode           code = told->data.result;
        struct fetch_call *call;
        must(told->msg == CURLMSG_DONE && curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&call) == CURLE_OK);
        if (fetch_stream_again(fetch, easy, call, code))
            continue;
        enum fetch_outcome outcome = fetch_easy_judge(easy, code, call);
        multi_end(fetch, easy, call, outcome);
    }
}

/* --- its sockets and its time --------------------------------------------------------------------------------- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known)
{
    struct fetch      *fetch = ctx;
    struct epoll_event event = { .data.fd = fd };

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(fetch->epoll, EPOLL_CTL_DEL, fd, NULL);  /* it may be closed already */
        return 0;
    }
    event.events = ((what & CURL_POLL_IN) != 0 ? EPOLLIN : 0u) | ((what & CURL_POLL_OUT) != 0 ? EPOLLOUT : 0u);
    int op       = known == NULL ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(fetch->epoll, op, fd, &event) != 0)
        must(epoll_ctl(fetch->epoll, op == EPOLL_CTL_ADD ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0);
    curl_multi_assign(fetch->multi, fd, fetch);
    return 0;
}

/* The loop sleeps no longer than until then, to the millisecond. */
static int on_curl_timer(CURLM *multi, long wait_ms, void *ctx)
{
    struct fetch *fetch = ctx;

    (void)multi;
    fetch->curl_at      = wait_ms < 0 ? -1 : clock_now() + wait_ms;
    fetch->loop->wake_at = wait_ms < 0 ? 0 : fetch->curl_at;
    return 0;
}

static void multi_act(struct fetch *fetch, curl_socket_t fd, uint32_t events)
{
    int what = 0, running;

    if ((events & EPOLLIN) != 0)
        what |= CURL_CSELECT_IN;
    if ((events & EPOLLOUT) != 0)
        what |= CURL_CSELECT_OUT;
    if ((events & (EPOLLERR | EPOLLHUP)) != 0)
        what |= CURL_CSELECT_ERR;
    must(curl_multi_socket_action(fetch->multi, fd, what, &running) == CURLM_OK);
}

static void sockets_ready(struct source *source, uint32_t ready)
{
    struct fetch      *fetch = container_of(source, struct fetch, sockets);
    struct epoll_event events[SOCKETS_A_TURN];
    int                count = epoll_wait(fetch->epoll, events, SOCKETS_A_TURN, 0);

    (void)ready;
    for (int i = 0; i < count; i++)
        multi_act(fetch, events[i].data.fd, events[i].events);
}

void fetch_multi_turn_end(struct fetch *fetch)
{
    if (fetch->curl_at >= 0 && fetch->curl_at <= clock_now()) {
        fetch->curl_at      = -1;
        fetch->loop->wake_at = 0;
        multi_act(fetch, CURL_SOCKET_TIMEOUT, 0);
    }
    multi_take_ended(fetch);
}

/* --- from begin to end ---------------------------------------------------------------------------------------- */

static const struct source_kind sockets_kind = { .ready = sockets_ready };

void fetch_multi_open(struct fetch *fetch)
{
    fetch->multi        = curl_multi_init();
    fetch->epoll        = epoll_create1(EPOLL_CLOEXEC);
    fetch->curl_at      = -1;
    fetch->sockets.kind = &sockets_kind;
    must(fetch->multi != NULL && fetch->epoll >= 0);
    must(loop_watch(fetch->loop, fetch->epoll, EPOLLIN, &fetch->sockets) == RC_OK);
    curl_multi_setopt(fetch->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(fetch->multi, CURLMOPT_SOCKETDATA, fetch);
    curl_multi_setopt(fetch->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(fetch->multi, CURLMOPT_TIMERDATA, fetch);
    curl_multi_setopt(fetch->multi, CURLMOPT_MAXCONNECTS, (long)fetch->limits.idle_max);
}

void fetch_multi_close(struct fetch *fetch)
{
    while (fetch->spare_count > 0)
        curl_easy_cleanup(fetch->spare[--fetch->spare_count]);
    curl_multi_cleanup(fetch->multi);
    loop_unwatch(fetch->loop, fetch->epoll);
    close(fetch->epoll);
}
