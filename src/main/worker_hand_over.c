#include "main/worker_hand_over.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "codec/handover/handover.h"
#include "http/hand_over.h"
#include "main/server.h"
#include "main/worker_priv.h"
#include "reactor/listener.h"
#include "reactor/log.h"
#include "session/hand_over.h"

/* --- holding ----------------------------------------------------------------------------------------------------- */

static void worker_hold(struct worker *worker)
{
    worker->moving = calloc(1, sizeof *worker->moving);
    must(worker->moving != NULL);
    buf_init(&worker->moving->records, SIZE_MAX / 2);
    loop_hold(&worker->loop);
    for (size_t i = 0; i < ALL_LISTENS; i++)
        if (worker->listeners[i] != NULL)
            listener_hold(worker->listeners[i]);
    session_worker_settle(&worker->sessions);
}

void worker_forget_moving(struct worker *worker)
{
    if (worker->moving == NULL)
        return;
    buf_fini(&worker->moving->records);
    free(worker->moving->sockets);
    free(worker->moving);
    worker->moving = NULL;
}

static void worker_release(struct worker *worker)
{
    worker_forget_moving(worker);
    loop_release(&worker->loop);
    for (size_t i = 0; i < ALL_LISTENS; i++)
        if (worker->listeners[i] != NULL)
            listener_release(worker->listeners[i]);
    http_server_go_on(&worker->http);
    server_wake_workers(worker->server);  /* this one, too */
}

void worker_hold_if_asked(struct worker *worker)
{
    enum gate_phase phase = gate_phase(&worker->server->gate);

    if (phase == GATE_OPEN && worker->moving != NULL)
        worker_release(worker);
    else if (phase != GATE_OPEN && phase != GATE_LEAVE && worker->moving == NULL && worker->leave_by == 0)
        worker_hold(worker);
}

/* --- telling ----------------------------------------------------------------------------------------------------- */

static void worker_socket_moves(void *ctx, int socket)
{
    struct moving *moving = ctx;

    if (moving->count == moving->cap) {
        moving->cap     = moving->cap == 0 ? 256 : 2 * moving->cap;
        moving->sockets = reallocarray(moving->sockets, moving->cap, sizeof moving->sockets[0]);
        must(moving->sockets != NULL);
    }
    moving->sockets[moving->count++] = socket;
}

/* What clients have acknowledged goes before the writer stands still. */
static void worker_tell_acknowledged(struct worker *worker)
{
    session_worker_tell_acknowledged(&worker->sessions);
    (void)writer_thread_send(&worker->server->writer, &worker->to_writer, worker->loop.now, worker->loop.wall);
}

static void worker_tell(struct worker *worker)
{
    struct moving *moving = worker->moving;

    worker_tell_acknowledged(worker);
    handover_put_loop(&moving->records, &(struct handover_loop){ worker->key_number });
    session_worker_hand_over(&worker->sessions, &moving->records, worker_socket_moves, moving);
    http_server_hand_over(&worker->http, &moving->records, worker_socket_moves, moving);
    handover_put_end(&moving->records, 1 + moving->count);
    moving->is_told = true;
}

/* Another process serves by now: what moved ends here without a word, and the rest is told to come again, in paced steps. Nothing
 * that this loop asks of the writer is answered any more. */
static void worker_leave_behind(struct worker *worker)
{
    worker_stop_listening(worker);
    /* The other process has these sockets as well, so that closing them here does not take them out of epoll. */
    for (size_t i = 0; i < worker->moving->count; i++)
        loop_unwatch(&worker->loop, worker->moving->sockets[i]);
    session_worker_forget_moved(&worker->sessions);
    http_server_forget_moved(&worker->http);
    worker_forget_moving(worker);
    proxy_accept_close_all(worker);
    tls_accept_close_all(&worker->tls);
    loop_release(&worker->loop);
    http_server_cut_off(&worker->http);
    http_server_stop(&worker->http);
    session_worker_drain(&worker->sessions, worker->snapshot->settings.stop_timeout_s * 1000 / 2 + 1);
    mailbox_ring(&worker->loop.mailbox);
}

/* What a back end is asked, and what a client sends slowly, may take long. */
static void worker_settle(struct worker *worker)
{
    bool is_late = clock_now() >= gate_answer_by(&worker->server->gate);

    if (worker->moving->is_settled || worker->shard.away_count > 0 || uplink_host_calls_for_links(&worker->server->writer.uplink) ||
        (!is_late && (!session_worker_is_settled(&worker->sessions) || !http_server_is_settled(&worker->http) ||
                      uplink_host_calls(&worker->server->writer.uplink))))
        return;
    worker->moving->is_settled = true;
    gate_note_settled(&worker->server->gate);
}

void worker_stand_still_if_asked(struct worker *worker)
{
    struct hand_over_gate *gate  = &worker->server->gate;
    enum gate_phase        phase = gate_phase(gate);

    if (worker->moving == NULL || phase == GATE_OPEN)
        return;
    if (phase == GATE_HOLD) {
        worker_settle(worker);
        return;
    }
    worker_tell(worker);
    if (gate_park(gate) == GATE_LEAVE)
        worker_leave_behind(worker);
    else
        worker_release(worker);
}

/* --- the new process --------------------------------------------------------------------------------------------- */

/* As a proxy has named it; empty: none has. */
static struct span named_peer(enum handover_kind kind, struct span body)
{
    struct handover_link link;
    struct handover_http http;

    if (kind == HANDOVER_LINK)
        return handover_get_link(&body, &link) ? link.peer : SPAN("");
    return handover_get_http(body, &http) ? http.peer : SPAN("");
}

static void worker_count_address(struct worker *worker, int socket, struct span named)
{
    struct sockaddr_storage at      = { 0 };
    socklen_t               len     = sizeof at;
    struct ip_address       address = IP_UNKNOWN;

    if (named.len == 0 && getpeername(socket, (struct sockaddr *)&at, &len) == 0)
        address = ip_of_socket(&at);
    else if (named.len > 0 && !ip_read(named, &address))
        return;
    worker_take_address(worker, socket, &address, named.len > 0);
}

static bool worker_take_one(struct worker *worker, enum handover_kind kind, int socket, struct span body)
{
    worker_count_address(worker, socket, named_peer(kind, body));
    bool is_taken = kind == HANDOVER_LINK ? session_worker_take_over(&worker->sessions, socket, body)
                                          : http_server_take_over(&worker->http, socket, body);
    if (!is_taken)
        addresses_leave(&worker->server->addresses, socket);
    return is_taken;
}

size_t worker_take_over(struct worker *worker, struct span records, const int *sockets, size_t count)
{
    struct handover_loop loop;
    enum handover_kind   kind;
    struct span          body;
    size_t               taken = 0, lost = 0;

    while (handover_next(&records, &kind, &body) && kind != HANDOVER_END) {
        if (kind == HANDOVER_LOOP && handover_get_loop(body, &loop))
            worker->key_number = loop.key_number;
        else if ((kind == HANDOVER_LINK || kind == HANDOVER_HTTP) && taken < count)
            lost += !worker_take_one(worker, kind, sockets[taken++], body);
    }
    while (taken < count)
        close(sockets[taken++]);
    return lost;
}
