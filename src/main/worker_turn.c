/* worker_turn.c - what happens in one turn of a worker's loop, once a second, and while the server stops. */
#include "base/must.h"
#include "main/limits.h"
#include "main/server.h"
#include "main/worker_priv.h"
#include "reactor/log.h"
#include "session/link_revoke.h"

enum { REST_FROM_MS = 6, REST_PART = 2, REST_MS_MAX = 10 };  /* docs/decisions/0012 */
enum { WORKER_TICK_MS = 1000, LEAVING_TICK_MS = 100, TELLS_A_TURN = 4 };

/* --- a new configuration ------------------------------------------------------------------------------------- */

/* By the configuration in force, and less while memory is short. */
static void worker_set_limits(struct worker *worker)
{
    const struct settings *settings = &worker->snapshot->settings;

    worker->http.limits     = http_limits_of(settings);
    worker->shard.limits    = shard_limits_of(settings);
    worker->sessions.limits = session_limits_of(settings, worker->server->worker_count);
    if (memory_watch_step(&worker->memory) >= MEMORY_SHORT)
        limits_shorten(&worker->http.limits, &worker->sessions.limits, &worker->shard.limits);
}

static void worker_change_limits(struct worker *worker)
{
    const struct admission_limits before = worker->sessions.limits.admission;

    worker_set_limits(worker);
    admission_change(&worker->sessions.admission, &before, &worker->sessions.limits.admission, worker->loop.now);
    admission_change(&worker->allocation, &before, &worker->sessions.limits.admission, worker->loop.now);
}

/* Happens between two requests, when nobody holds anything of the old configuration. */
void worker_adopt(struct command *command, struct shard *shard)
{
    struct worker         *worker   = container_of(shard, struct worker, shard);
    struct snapshot       *snapshot = snapshot_command_open(command);
    const struct settings *settings = &snapshot->settings;

    must(snapshot->number > worker->snapshot->number);
    struct snapshot *before = worker->snapshot;
    worker->snapshot        = snapshot;
    callers_adopt(worker, &before->settings);
    tls_host_adopt(worker);
    snapshot_unref(before);
    worker->sessions.asks_links = settings->hook.is_there;
    worker->loop.paces.bytes_per_s = settings->bytes_per_connection_per_s;
    worker->http.trusted_proxies = &settings->trusted_proxy_ranges;
    worker_change_limits(worker);
    session_worker_find_unwelcome(&worker->sessions);
    worker->api.limits      = api_limits_of(settings);
    worker->events.kinds    = settings_event_kinds(settings);
    limits_set_usage(settings, worker->usage.max);
    worker->api.routes = worker->sessions.routes = snapshot->routes;
    counter_set(&worker->adopted, snapshot->number);
}

/* --- leaving ------------------------------------------------------------------------------------------------- */

static void worker_begin_to_leave(struct worker *worker)
{
    must(worker->leave_by == 0);
    worker->leave_by = worker->loop.now + worker->snapshot->settings.stop_timeout_s * 1000 + 1;
    worker_stop_listening(worker);
    proxy_accept_close_all(worker);
    tls_accept_close_all(&worker->tls);
    http_server_stop(&worker->http);
    session_worker_stop(&worker->sessions);
}

/* Some commands go round all loops, and come back only if all loops run. So no loop stops before all have left. */
static void worker_leave(struct worker *worker)
{
    must(worker->leave_by != 0 && worker->shard.away_count == 0);
    if (counter_get(&worker->has_left) == 0) {
        counter_set(&worker->has_left, 1);
        server_wake_workers(worker->server);
    }
    if (server_has_left(worker->server))
        loop_stop(&worker->loop);
}

/* What back ends have not answered in time is left to whoever finds its rows. */
static bool worker_has_no_calls(struct worker *worker)
{
    struct writer_thread *writer = &worker->server->writer;

    if (backend_host_has_left_loops(&writer->backends))
        return true;
    if (worker->calls_by == 0)
        worker->calls_by = worker->loop.now + REQUESTS_STOP_MS;
    if (worker->loop.now >= worker->calls_by) {
        fetch_part_stop(worker->fetch);
        (void)writer_thread_send(writer, &worker->to_writer, worker->loop.now, worker->loop.wall);
    }
    return false;
}

static void worker_leave_if_done(struct worker *worker)
{
    bool is_idle = session_worker_is_idle(&worker->sessions) && http_server_is_idle(&worker->http) &&
                   tls_accept_is_idle(&worker->tls);

    if (!is_idle && worker->loop.now >= worker->leave_by) {
        session_worker_close_all(&worker->sessions);
        http_server_fini(&worker->http);
        is_idle = true;
    }
    if (is_idle && worker->shard.away_count == 0 && worker_has_no_calls(worker))
        worker_leave(worker);
}

/* --- the rest after a long turn ------------------------------------------------------------------------------ */

/* After a turn that spent long on sending, deliveries wait for a part of that time, and so do the heads and pages that
 * were sent after them. What is published meanwhile then leaves together, in one write a reader instead of two. With
 * ten thousand readers these writes are most of the cost; with a thousand no turn is long enough to cause a rest. */
static void worker_rest(struct worker *worker, msec took)
{
    if (took < REST_FROM_MS || worker->leave_by != 0)
        return;
    msec rest          = took / REST_PART;
    worker->rest_until = clock_now() + (rest > REST_MS_MAX ? REST_MS_MAX : rest);
}

static void worker_take_held(struct worker *worker)
{
    must(worker->rest_until != 0);
    struct mail *mail = bundle_take(&worker->held);

    worker->rest_until = 0;
    while (mail != NULL) {
        struct mail *next = mail->next;
        shard_take(&worker->shard, command_of(mail));
        mail = next;
    }
}

/* --- a turn -------------------------------------------------------------------------------------------------- */

static void worker_on_turn_begin(void *ctx)
{
    struct worker *worker = ctx;

    shard_turn_begin(&worker->shard, worker->loop.now, worker->loop.wall);
    if (worker->rest_until != 0 && (worker->loop.now >= worker->rest_until || worker->leave_by != 0))
        worker_take_held(worker);
}

static void worker_on_mail(void *ctx, struct mail *mail)
{
    struct worker  *worker  = ctx;
    struct command *command = command_of(mail);

    if (worker->rest_until != 0 && command->kind->is_of_log)
        bundle_add(&worker->held, mail);
    else
        shard_take(&worker->shard, command);
}

static void worker_send_news(struct worker *worker)
{
    msec began = clock_now();

    shard_tell(&worker->shard);
    control_read(&worker->control, worker->loop.wall);
    do {
        /* A poll answers through its HTTP connection, whose next request may follow a channel that has news already. */
        session_worker_turn_end(&worker->sessions);
        http_server_turn_end(&worker->http);
    } while (!near_list_is_empty(&worker->sessions.lists->dirty) || !list_is_empty(&worker->http.dirty));
    worker_rest(worker, clock_now() - began);
    shard_turn_end(&worker->shard);
}

/* --- memory ---------------------------------------------------------------------------------------------------- */

static void worker_look_at_memory(struct worker *worker)
{
    const bool was_short = memory_watch_step(&worker->memory) >= MEMORY_SHORT;

    memory_watch_look(&worker->memory, counter_get(&worker->server->memory_most), worker->loop.now);
    if ((memory_watch_step(&worker->memory) >= MEMORY_SHORT) != was_short)
        worker_set_limits(worker);
}

/* Of those who are known none is closed while there are others. */
static size_t worker_shed_of(struct worker *worker, bool are_known)
{
    return http_server_shed(&worker->http, are_known) + session_worker_shed(&worker->sessions, are_known);
}

static void worker_shed_if_ordered(struct worker *worker)
{
    const uint64_t order = counter_get(&worker->server->shed_order);

    if (order == worker->shed_order || worker->leave_by != 0)
        return;
    worker->shed_order = order;
    tls_accept_close_all(&worker->tls);
    size_t closed = worker_shed_of(worker, false);
    if (closed == 0 && shed_order_is_for_all(order))
        closed = worker_shed_of(worker, true);
    if (closed > 0)
        LOG(LOG_WARN, "connections_closed", log_str("why", "memory is short (memory_bytes_max)"), log_u64("count", closed));
}

/* What the turn has read goes to the writer before the long work of sending begins; what the writer says to it, if the loop could make
 * its turn, is part of this one. */
static void worker_tell_writer(struct worker *worker)
{
    for (int i = 0; i < TELLS_A_TURN; i++) {
        fetch_part_turn_end(worker->fetch);
        if (!writer_thread_send(&worker->server->writer, &worker->to_writer, worker->loop.now, worker->loop.wall))
            return;
        loop_read_mail(&worker->loop);
    }
}

static msec earlier_of(msec a, msec b)  /* 0: never */
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void worker_on_turn_end(void *ctx)
{
    struct worker *worker = ctx;

    if (counter_get(&worker->server->is_stopping) && worker->leave_by == 0)
        worker_begin_to_leave(worker);
    worker_drain_if_asked(worker);
    worker_hold_if_asked(worker);
    worker_look_at_memory(worker);
    worker_shed_if_ordered(worker);
    worker_tell_writer(worker);
    worker_send_news(worker);
    fetch_part_turn_end(worker->fetch);
    (void)writer_thread_send(&worker->server->writer, &worker->to_writer, worker->loop.now, worker->loop.wall);
    tls_accept_turn_end(&worker->tls);
    worker->loop.wake_at = earlier_of(worker->rest_until, session_worker_wake_at(&worker->sessions));
    if (worker->leave_by != 0)
        worker_leave_if_done(worker);
    worker_stand_still_if_asked(worker);
}

static void worker_on_closing(void *ctx, int fd)
{
    struct worker *worker = ctx;
    addresses_leave(&worker->server->addresses, fd);
}

const struct loop_hooks worker_hooks = {
    .turn_begin = worker_on_turn_begin,
    .mail       = worker_on_mail,
    .turn_end   = worker_on_turn_end,
    .closing    = worker_on_closing,
};

/* --- once a second ------------------------------------------------------------------------------------------- */

static void worker_watch(struct worker *worker)
{
    struct store      *durable = worker->server->stores.durable;
    struct store_stats stats   = { 0 };

    durable->ops->stats(durable, &stats);
    store_watch_look(&worker->store_watch, &stats, durable->ops->engine);
    clock_watch_look(&worker->clock_watch, &worker->loop.wall_clock);
    log_tell_suppressed();
}

static void worker_on_tick(struct timer *timer, msec now)
{
    struct worker *worker = container_of(timer, struct worker, tick);
    bool           leaves = worker->leave_by != 0;

    counter_set(&worker->ticked_at, (uint64_t)now);
    shard_tick(&worker->shard);
    http_server_tick(&worker->http);
    api_tick(&worker->api);
    session_worker_tick(&worker->sessions);
    if (!leaves) {
        key_sets_tick(worker);
        control_tick(&worker->control, worker->loop.wall, worker->snapshot->settings.token_life_s_max);
    }
    usage_watch_look(&worker->usage_watch, &worker->usage, now);
    if (worker->index == 0)
        worker_watch(worker);
    wheel_arm(&worker->loop.wheel, timer, now + (leaves ? LEAVING_TICK_MS : WORKER_TICK_MS));
}

void worker_arm_tick(struct worker *worker)
{
    worker->tick.fire = worker_on_tick;
    wheel_arm(&worker->loop.wheel, &worker->tick, worker->loop.now + WORKER_TICK_MS);
}
