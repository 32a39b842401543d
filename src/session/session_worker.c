#include "session/session_worker.h"

#include <stdlib.h>

#include "base/must.h"
#include "codec/token/token.h"
#include "session/client.h"
#include "session/conn_follow.h"
#include "session/device_link.h"
#include "session/instruction.h"
#include "session/link.h"
#include "session/link_expiry.h"
#include "session/notify.h"
#include "session/serve.h"

static void link_lists_init(struct session_worker *worker)
{
    pool_init(&worker->link_lists, sizeof(struct link_lists));
    worker->lists = pool_take(&worker->link_lists);
    near_list_init(&worker->lists->links);
    near_list_init(&worker->lists->polls);
    near_list_init(&worker->lists->dirty);
    near_list_init(&worker->lists->joining);
}

void session_worker_init(struct session_worker *worker)
{
    reader_shared_init(&worker->readers, &worker->shard->hub);
    worker->readers.hold = notify_hold;
    worker->held         = NULL;
    worker->names        = (struct channel_names){ NULL };
    worker->held_count = worker->held_max = 0;
    pool_init(&worker->ws_sessions, ws_session_bytes());
    pool_init(&worker->stream_sessions, stream_session_bytes());
    pool_init(&worker->poll_sessions, poll_session_bytes());
    pool_init(&worker->native_sessions, native_session_bytes());
    pool_init(&worker->device_links, sizeof(struct device_link));
    pool_init(&worker->waitings, sizeof(struct link_waiting));
    pool_init(&worker->expiries, sizeof(struct link_expiry));
    link_lists_init(worker);
    list_init(&worker->echoes);
    joining_init(&worker->joining);
    deferred_init(&worker->deferred);
    list_init(&worker->instructions);
    list_init(&worker->addressed);
    list_init(&worker->acking);
    list_init(&worker->marks);
    list_init(&worker->ticket_waits);
    list_init(&worker->unfenced);
    worker->home = (struct device_home){ device_link_fence, device_link_look, worker->shard->loop };
    presence_follows_init(&worker->presence, worker->shard->loop);
    worker->index = (struct link_index){ 0 };
    frames_init(&worker->frames);
    ws_inflater_init(&worker->inflater);
    frame_batch_init(&worker->batch);
    cut_frames_init(&worker->cuts, worker->hash_key, link_let_cut_go);
    dialect_scratch_init(&worker->dialect_scratch);
    jwt_reader_init(&worker->jwts);
    networks_init(&worker->networks);
    worker->peer_texts = (struct peer_texts){ 0 };
    admission_init(&worker->admission);
    worker->drain = (struct drain){ 0 };
    worker->places    = NULL;
    worker->place_max = 0;
}

void session_worker_fini(struct session_worker *worker)
{
    must(session_worker_is_idle(worker));
    session_worker_drop_addressed(worker);
    wheel_disarm(&worker->loop->wheel, &worker->drain.timer);
    wheel_disarm(&worker->loop->wheel, &worker->joining.timer);
    link_index_fini(&worker->index);
    presence_follows_fini(&worker->presence);
    frame_batch_fini(&worker->batch);
    frames_fini(&worker->frames);
    ws_inflater_fini(&worker->inflater);
    dialect_scratch_fini(&worker->dialect_scratch);
    networks_fini(&worker->networks);
    channel_names_fini(&worker->names);
    free(worker->places);
    free(worker->held);
    reader_shared_fini(&worker->readers);
    ticket_key_fini(&worker->ticket_key);
    jwt_reader_fini(&worker->jwts);
    pool_fini(&worker->ws_sessions);
    pool_fini(&worker->stream_sessions);
    pool_fini(&worker->poll_sessions);
    pool_fini(&worker->native_sessions);
    pool_fini(&worker->device_links);
    pool_fini(&worker->waitings);
    pool_fini(&worker->expiries);
    pool_give(&worker->link_lists, worker->lists);
    pool_fini(&worker->link_lists);
}

struct place *session_worker_places(struct session_worker *worker, uint32_t count)
{
    if (count > worker->place_max) {
        worker->places    = realloc(worker->places, count * sizeof worker->places[0]);
        worker->place_max = count;
        must(worker->places != NULL);
    }
    return worker->places;
}

void session_worker_ready(struct session_worker *worker, struct subscription *sub)
{
    (void)worker;
    link_on_ready(sub);
}

struct link *session_worker_find(struct session_worker *worker, uint64_t key)
{
    struct near_list *const lists[] = { &worker->lists->links, &worker->lists->polls };

    must(loop_is_here(worker->loop));
    return link_index_find(&worker->index, key, lists, 2, worker->loop->now);
}

void session_worker_turn_end(struct session_worker *worker)
{
    struct near_list *at;

    must(loop_is_here(worker->loop));
    worker->readers.now = worker->loop->now;
    session_worker_send_addressed(worker);
    deferred_release(worker);
    do {
        while ((at = near_list_pop(&worker->lists->dirty)) != NULL) {
            struct link *link = container_of(at, struct link, in_dirty);
            if (link->kind->draw != NULL)
                link->kind->draw(link);
            else
                link_draw(link);
        }
    } while (instructions_carry_out(worker));
    frame_batch_clear(&worker->batch);  /* what was drawn for one write can't be shared any more */
    frames_trim(&worker->frames);
}

msec session_worker_wake_at(const struct session_worker *worker)
{
    return deferred_until(&worker->deferred);
}

static void polls_go_on(struct session_worker *worker)
{
    if (!worker->polls_wait || !http_is_at_ease(worker->server))
        return;
    worker->polls_wait = false;
    /* The newest first: a client that comes now and reads does not wait for those that read nothing. An older poll is
     * answered without messages when its time is up, and comes again. */
    for (struct near_list *at = near_list_prev(&worker->lists->polls); at != &worker->lists->polls; at = near_list_prev(at))
        link_mark(container_of(at, struct link, in_worker));
}

void session_worker_tick(struct session_worker *worker)
{
    polls_go_on(worker);
    device_links_tell(worker);
    client_marks_tick(worker);
    client_connect_tick(worker);
    client_unfenced_tick(worker);
    presence_follows_tick(worker);
    notify_tick(worker);
    member_check_tick(worker);
    link_index_tick(&worker->index, worker->loop->now);
    frames_tick(&worker->frames);
    ws_inflater_trim(&worker->inflater);
    dialect_scratch_trim(&worker->dialect_scratch);
    counter_set(&worker->counters.networks, worker->networks.count);
}

bool session_worker_is_idle(const struct session_worker *worker)
{
    return near_list_is_empty(&worker->lists->links) && near_list_is_empty(&worker->lists->polls) && list_is_empty(&worker->echoes);
}

static void leave_all(struct near_list *links)
{
    for (struct near_list *at = near_list_next(links), *next; at != links; at = next) {
        struct link *link = container_of(at, struct link, in_worker);
        next              = near_list_next(at);  /* leave() may end this link, and no other */
        link_note_gone(link, LINK_GONE_LEFT);
        link->kind->leave(link);
    }
}

static void lose_all(struct near_list *links)
{
    while (!near_list_is_empty(links)) {
        struct link *link = container_of(near_list_next(links), struct link, in_worker);
        link_note_gone(link, LINK_GONE_LEFT);
        link->kind->lost(link);
    }
}

msec session_worker_wait_ms(struct session_worker *worker)
{
    return admission_ask(&worker->admission, &worker->limits.admission, false, worker->loop->now);
}

/* --- draining ------------------------------------------------------------------------------------------------ */

/* Tells at most `count` links. Those that were told stand in the list until their clients have left. */
static size_t leave_some(struct near_list *links, size_t count)
{
    size_t told = 0;

    for (struct near_list *at = near_list_next(links), *next; at != links && told < count; at = next) {
        struct link *link = container_of(at, struct link, in_worker);
        next              = near_list_next(at);
        if (link->is_over)
            continue;
        link_note_gone(link, LINK_GONE_LEFT);
        link->kind->leave(link);
        told++;
    }
    return told;
}

static void drain_step(struct timer *timer, msec now)
{
    struct session_worker *worker = container_of(timer, struct session_worker, drain.timer);
    size_t                 due    = drain_due(&worker->drain, now);
    size_t                 told   = leave_some(&worker->lists->links, due);

    told += leave_some(&worker->lists->polls, due - told);
    worker->drain.told += told;
    counter_add(&worker->counters.drained, told);
    if (!worker->is_stopping)
        wheel_arm(&worker->loop->wheel, timer, now + DRAIN_STEP_MS);
}

size_t session_worker_count(const struct session_worker *worker)
{
    size_t count = 0;

    for (int transport = 0; transport < TRANSPORT_COUNT; transport++)
        if (transport != TRANSPORT_ECHO)
            count += counter_get(&worker->counters.sessions[transport]);
    return count;
}

void session_worker_drain(struct session_worker *worker, msec within_ms)
{
    must(loop_is_here(worker->loop));
    worker->drain.timer.fire = drain_step;
    drain_begin(&worker->drain, session_worker_count(worker), within_ms, worker->loop->now);
    wheel_arm(&worker->loop->wheel, &worker->drain.timer, worker->loop->now);
}

/* --- stopping ------------------------------------------------------------------------------------------------ */

void session_worker_stop(struct session_worker *worker)
{
    must(loop_is_here(worker->loop));
    client_marks_send_all(worker);
    worker->is_stopping = true;
    leave_all(&worker->lists->polls);
    leave_all(&worker->lists->links);
    echo_leave_all(worker);
}

void session_worker_close_all(struct session_worker *worker)
{
    lose_all(&worker->lists->polls);
    lose_all(&worker->lists->links);
    echo_close_all(worker);
}
