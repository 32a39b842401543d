/* fetch_thread.c - the thread: an epoll that libcurl's sockets and our mailbox stand in, and the calls in it. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/must.h"
#include "fetch/fetch_priv.h"
#include "reactor/loop.h"

enum { EVENTS_A_TURN_OF_FETCH = 64, TICK_OF_FETCH_MS = 100 };

static struct fetch_call *call_of(struct list *link)
{
    return container_of(link, struct fetch_call, link);
}

/* --- the end of a call --------------------------------------------------------------------------------------- */

static void fetch_give_back(struct fetch *fetch, struct fetch_call *call, enum fetch_outcome outcome)
{
    struct fetch_counters *counters = &fetch->counters;

    must(!list_is_linked(&call->link));
    call->outcome = outcome;
    counter_add(&counters->outcomes[outcome], 1);
    counter_add(&counters->took_ms_sum, (uint64_t)call->took_ms);
    if (!call->is_counted)
        atomic_fetch_sub(&fetch->out_count, 1);
    if (call->prepare != NULL && call->outcome == FETCH_ANSWERED)
        call->prepare(call);
    call->done(call);
}

static CURL *fetch_take_easy(struct fetch *fetch)
{
    if (fetch->spare_count > 0)
        return fetch->spare[--fetch->spare_count];
    return fetch_easy_new(fetch);
}

static void fetch_keep_easy(struct fetch *fetch, CURL *easy)
{
    if (fetch->spare_count < FETCH_SPARE_MAX)
        fetch->spare[fetch->spare_count++] = easy;
    else
        curl_easy_cleanup(easy);
}

static void fetch_end(struct fetch *fetch, CURL *easy, struct fetch_call *call, enum fetch_outcome outcome)
{
    fetch_easy_note_sent(easy, call);
    must(curl_multi_remove_handle(fetch->multi, easy) == CURLM_OK);
    fetch_easy_clear(easy, call);
    fetch_keep_easy(fetch, easy);
    list_take(&call->link);
    fetch->under_way_count--;
    fetch->line_count -= !call->is_counted;
    fetch_give_back(fetch, call, outcome);
}

static void fetch_take_ended(struct fetch *fetch)
{
    CURLMsg *told;
    int      more;

    while ((told = curl_multi_info_read(fetch->multi, &more)) != NULL) {
        CURL              *easy = told->easy_handle;
        CURLcode           code = told->data.result;
        struct fetch_call *call;
        must(told->msg == CURLMSG_DONE && curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&call) == CURLE_OK);
        enum fetch_outcome outcome = fetch_easy_judge(easy, code, call);
        fetch_end(fetch, easy, call, outcome);
    }
}

/* --- the beginning ------------------------------------------------------------------------------------------- */

static void fetch_give_up(struct fetch *fetch, struct fetch_call *call, enum fetch_outcome outcome)
{
    list_take(&call->link);
    fetch_give_back(fetch, call, outcome);
}

static void fetch_begin(struct fetch *fetch, struct fetch_call *call, msec now)
{
    CURL *easy = fetch_take_easy(fetch);

    fetch_easy_set(easy, call, call->deadline - now);
    call->handle = easy;
    list_take(&call->link);
    list_push(&fetch->under_way, &call->link);
    fetch->under_way_count++;
    fetch->line_count += !call->is_counted;
    must(curl_multi_add_handle(fetch->multi, easy) == CURLM_OK);
}

/* Calls wait in the order in which they came. One whose time is up, or that nobody wants any more, is given back from
 * wherever it stands. */
static void fetch_go_through_waiting(struct fetch *fetch, msec now)
{
    for (struct list *at = fetch->waiting.next, *next; at != &fetch->waiting; at = next) {
        struct fetch_call *call = call_of(at);
        next                    = at->next;
        if (atomic_load(&call->is_cancelled))
            fetch_give_up(fetch, call, FETCH_CANCELLED);
        else if (call->deadline <= now)
            fetch_give_up(fetch, call, FETCH_TIMEOUT);
    }
    while (fetch->line_count < fetch->limits.under_way_max && !list_is_empty(&fetch->waiting))
        fetch_begin(fetch, call_of(fetch->waiting.next), now);
}

static void fetch_go_through_cancelled(struct fetch *fetch)
{
    if (!atomic_exchange(&fetch->has_cancelled, false))
        return;
    for (struct list *at = fetch->under_way.next, *next; at != &fetch->under_way; at = next) {
        struct fetch_call *call = call_of(at);
        next                    = at->next;
        if (atomic_load(&call->is_cancelled))
            fetch_end(fetch, call->handle, call, FETCH_CANCELLED);
    }
}

static void fetch_take_mail(struct fetch *fetch, msec now)
{
    struct mail *mail = mailbox_take(&fetch->mailbox);

    while (mail != NULL) {
        struct fetch_call *call = container_of(mail, struct fetch_call, mail);
        mail                    = mail->next;
        call->deadline          = now + call->timeout_ms;
        counter_add(&fetch->counters.calls, 1);
        list_push(&fetch->waiting, &call->link);
        if (call->is_counted && !atomic_load(&call->is_cancelled))  /* else the waiting are gone through */
            fetch_begin(fetch, call, now);
    }
}

/* --- libcurl's sockets and time ------------------------------------------------------------------------------- */

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

static int on_curl_timer(CURLM *multi, long wait_ms, void *ctx)
{
    struct fetch *fetch = ctx;

    (void)multi;
    fetch->curl_at = wait_ms < 0 ? -1 : clock_now() + wait_ms;
    return 0;
}

static void fetch_act(struct fetch *fetch, curl_socket_t fd, uint32_t events)
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

static int fetch_wait_ms(const struct fetch *fetch, msec now)
{
    msec wait = list_is_empty(&fetch->waiting) ? -1 : TICK_OF_FETCH_MS;

    if (fetch->curl_at >= 0) {
        msec until = fetch->curl_at > now ? fetch->curl_at - now : 0;
        wait       = wait < 0 || until < wait ? until : wait;
    }
    return (int)wait;
}

static void fetch_wait(struct fetch *fetch)
{
    struct epoll_event events[EVENTS_A_TURN_OF_FETCH];

    if (!mailbox_may_sleep(&fetch->mailbox))
        return;
    int count = epoll_wait(fetch->epoll, events, EVENTS_A_TURN_OF_FETCH, fetch_wait_ms(fetch, clock_now()));
    mailbox_is_awake(&fetch->mailbox);
    must(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; i++)
        if (events[i].data.fd != fetch->mailbox.bell)
            fetch_act(fetch, events[i].data.fd, events[i].events);
}

/* --- the thread ---------------------------------------------------------------------------------------------- */

static void fetch_open(struct fetch *fetch)
{
    struct epoll_event bell = { .events = EPOLLIN | EPOLLET, .data.fd = fetch->mailbox.bell };

    fetch->multi = curl_multi_init();
    fetch->epoll = epoll_create1(EPOLL_CLOEXEC);
    must(fetch->multi != NULL && fetch->epoll >= 0);
    must(epoll_ctl(fetch->epoll, EPOLL_CTL_ADD, fetch->mailbox.bell, &bell) == 0);
    curl_multi_setopt(fetch->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(fetch->multi, CURLMOPT_SOCKETDATA, fetch);
    curl_multi_setopt(fetch->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(fetch->multi, CURLMOPT_TIMERDATA, fetch);
    curl_multi_setopt(fetch->multi, CURLMOPT_MAXCONNECTS, (long)fetch->limits.idle_max);
    fetch->curl_at = -1;
}

static void fetch_close(struct fetch *fetch)
{
    fetch_take_mail(fetch, clock_now());
    while (!list_is_empty(&fetch->waiting))
        fetch_give_up(fetch, call_of(fetch->waiting.next), FETCH_STOPPED);
    while (!list_is_empty(&fetch->under_way))
        fetch_end(fetch, call_of(fetch->under_way.next)->handle, call_of(fetch->under_way.next), FETCH_STOPPED);
    while (fetch->spare_count > 0)
        curl_easy_cleanup(fetch->spare[--fetch->spare_count]);
    curl_multi_cleanup(fetch->multi);
    close(fetch->epoll);
}

static void fetch_turn(struct fetch *fetch)
{
    msec now = clock_now();

    if (fetch->curl_at >= 0 && fetch->curl_at <= now) {
        fetch->curl_at = -1;
        fetch_act(fetch, CURL_SOCKET_TIMEOUT, 0);
    }
    fetch_take_ended(fetch);
    fetch_take_mail(fetch, now);
    fetch_go_through_cancelled(fetch);
    fetch_go_through_waiting(fetch, now);
    counter_set(&fetch->counters.under_way, fetch->under_way_count);
    counter_set(&fetch->counters.waiting, atomic_load(&fetch->out_count) - fetch->line_count);
}

void *fetch_main(void *ctx)
{
    struct fetch *fetch = ctx;

    pthread_setname_np(pthread_self(), "lw-fetch");
    fetch_open(fetch);
    while (!atomic_load(&fetch->is_stopping)) {
        fetch_turn(fetch);
        fetch_wait(fetch);
    }
    fetch_close(fetch);
    return NULL;
}
