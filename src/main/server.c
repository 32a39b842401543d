#include "main/server.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "settings/config.h"
#include "main/limits.h"
#include "main/pages.h"
#include "reactor/log.h"
#include "store/mem.h"
#include "store/rocks.h"

enum { REST_FROM_MS = 6, REST_PART = 2, REST_MS_MAX = 10 };  /* docs/decisions/0012 */
enum { WRITER_TICK_MS = 100, WORKER_TICK_MS = 1000, LISTEN_BACKLOG = 4096, READS_WAITING_MAX = 65536 };

_Static_assert(offsetof(struct command, next) == offsetof(struct mail, next), "commands travel as mail");

static struct mail *mail_of(struct command *command)
{
    return (struct mail *)command;
}

static struct command *command_of(struct mail *mail)
{
    return (struct command *)mail;
}

static uint64_t random_u64(void)
{
    uint64_t value = 0;

    while (value == 0)
        must(getrandom(&value, sizeof value, 0) == sizeof value);
    return value;
}

/* --- the writer's thread ------------------------------------------------------------------------------------- */

static void writer_send(void *ctx, unsigned loop, struct command *command)
{
    struct server *server = ctx;
    bundle_add(&server->to_workers[loop], mail_of(command));
}

/* From a thread of the store. */
static void writer_post(void *ctx, struct command *command)
{
    struct server *server = ctx;
    struct bundle one   = { NULL, NULL };

    bundle_add(&one, mail_of(command));
    mailbox_put(&server->writer_loop.mailbox, &one);
}

static const struct writer_port server_writer_port = { .send = writer_send, .post = writer_post };

/* The writer needs nothing else of it. Takes it. */
static void writer_adopt(struct server *server, struct snapshot *snapshot)
{
    server->writer.limits = writer_limits_of(&snapshot->settings);
    counter_set(&server->writer_adopted, snapshot->number);
    snapshot_unref(snapshot);
}

static void writer_on_mail(void *ctx, struct mail *mail)
{
    struct server  *server  = ctx;
    struct command *command = command_of(mail);

    if (command->kind == COMMAND_SNAPSHOT)
        writer_adopt(server, snapshot_command_open(command));
    else
        writer_take(&server->writer, command, server->writer_loop.wall);
}

static void writer_on_turn_end(void *ctx)
{
    struct server *server = ctx;

    writer_turn_end(&server->writer, server->writer_loop.wall);
    for (unsigned i = 0; i < server->worker_count; i++)
        mailbox_put(&server->workers[i].loop.mailbox, &server->to_workers[i]);
    if (counter_get(&server->is_writer_stopping) && writer_is_idle(&server->writer))
        loop_stop(&server->writer_loop);
}

static void writer_on_tick(struct timer *timer, msec now)
{
    struct server *server = container_of(timer, struct server, writer_tick);

    writer_tick(&server->writer, server->writer_loop.wall);
    wheel_arm(&server->writer_loop.wheel, timer, now + WRITER_TICK_MS);
}

static const struct loop_hooks writer_hooks = { .mail = writer_on_mail, .turn_end = writer_on_turn_end };

static void *writer_main(void *ctx)
{
    struct server *server = ctx;

    pthread_setname_np(pthread_self(), "lw-writer");
    server->writer_tick.fire = writer_on_tick;
    wheel_arm(&server->writer_loop.wheel, &server->writer_tick, server->writer_loop.now + WRITER_TICK_MS);
    loop_run(&server->writer_loop);
    wheel_disarm(&server->writer_loop.wheel, &server->writer_tick);
    return NULL;
}

/* --- a worker's ports ---------------------------------------------------------------------------------------- */

static void worker_send(void *ctx, struct command *command)
{
    struct worker *worker = ctx;
    bundle_add(&worker->to_writer, mail_of(command));
}

static void worker_ready(void *ctx, struct subscription *sub)
{
    struct worker *worker = ctx;
    session_worker_ready(&worker->sessions, sub);
}

static const struct shard_port worker_shard_port = { .send = worker_send, .ready = worker_ready };

static const struct identity *worker_identify(void *ctx, const struct h1_head *head, struct span query)
{
    struct worker *worker = ctx;
    return access_identify(&worker->snapshot->access, head, query);
}

static const struct identity *worker_identify_token(void *ctx, struct span token)
{
    struct worker *worker = ctx;
    return access_identify_token(&worker->snapshot->access, token);
}

static const struct identity *worker_find_identity(void *ctx, uint32_t number)
{
    struct worker *worker = ctx;
    return access_find(&worker->snapshot->access, number);
}

/* A random start and steps of an odd constant visit all 2^64 values; mixed so that one tells nothing of the next
 * without the start. */
static uint64_t worker_new_key(void *ctx)
{
    struct worker  *worker = ctx;
    struct hash_key key    = worker->server->hash_key;

    worker->key_state += 0x9e3779b97f4a7c15u;
    return hash_bytes(&key, span_of(&worker->key_state, sizeof worker->key_state));
}

static const struct session_port worker_session_port = {
    .identify       = worker_identify,
    .identify_token = worker_identify_token,
    .find_identity  = worker_find_identity,
    .new_key        = worker_new_key,
};

static void worker_put_metrics(void *ctx, const struct writer_stats *stats, struct buf *out)
{
    struct worker *worker = ctx;
    server_put_metrics(worker->server, stats, out);
}

static void worker_health(void *ctx, struct api_health *ret)
{
    struct worker     *worker = ctx;
    struct server      *server  = worker->server;
    struct store_stats stats  = { 0 };

    server->durable->ops->stats(server->durable, &stats);
    *ret = (struct api_health){
        .is_stopping     = counter_get(&server->is_stopping) != 0,
        .is_store_full   = stats.is_full,
        .is_store_broken = stats.is_broken,
    };
}

static const struct api_port worker_api_port = {
    .identify    = worker_identify,
    .put_metrics = worker_put_metrics,
    .health      = worker_health,
};

/* --- requests: whose are they? ------------------------------------------------------------------------------- */

static const struct {
    struct span path;
    void (*serve)(struct session_worker *worker, struct http_exchange *exchange, const struct http_request *request);
} session_rows[] = {
    { SPAN("/v1/ws"), session_serve_ws },
    { SPAN("/v1/subscribe"), session_serve_subscribe },
    { SPAN("/v1/echo"), session_serve_echo },
};

static size_t session_row(const struct worker *worker, struct span path)
{
    size_t i = 0;

    while (i < sizeof session_rows / sizeof session_rows[0] && !span_eq(path, session_rows[i].path))
        i++;
    return i == 2 && !worker->sessions.limits.has_echo ? 3 : i;
}

static struct http_plan worker_plan(void *ctx, const struct http_request *request)
{
    struct worker *worker = ctx;

    switch (session_row(worker, request->path)) {
    case 0:
    case 1: return (struct http_plan){ .body_bytes_max = 0, .is_alone = true };
    case 2:
        return (struct http_plan){ .body_bytes_max = worker->sessions.limits.echo_bytes_max,
                                   .is_alone       = request->head->is_websocket };
    default:
        return (struct http_plan){ .body_bytes_max = api_body_bytes_max(&worker->api, request),
                                   .is_heavy       = api_is_heavy(request) };
    }
}

static bool worker_is_unwelcome(void *ctx, const struct http_request *request)
{
    struct worker *worker = ctx;

    return session_row(worker, request->path) == sizeof session_rows / sizeof session_rows[0] &&
           api_is_unwelcome(&worker->api, request);
}

static void worker_serve(void *ctx, struct http_exchange *exchange, const struct http_request *request)
{
    struct worker *worker = ctx;
    size_t         row    = session_row(worker, request->path);

    if (row < sizeof session_rows / sizeof session_rows[0])
        session_rows[row].serve(&worker->sessions, exchange, request);
    else
        api_serve(&worker->api, exchange, request);
}

static bool worker_origin_is_allowed(void *ctx, struct span origin, struct span host)
{
    struct worker *worker = ctx;
    return access_allows_origin(&worker->snapshot->access, origin, host);
}

static const struct http_service worker_service = {
    .plan              = worker_plan,
    .is_unwelcome      = worker_is_unwelcome,
    .serve             = worker_serve,
    .origin_is_allowed = worker_origin_is_allowed,
};

/* --- a new configuration ------------------------------------------------------------------------------------- */

/* Between two requests: nobody holds anything of the old one. Takes it. */
static void worker_adopt(struct worker *worker, struct snapshot *snapshot)
{
    const struct settings *settings = &snapshot->settings;

    snapshot_unref(worker->snapshot);
    worker->snapshot     = snapshot;
    worker->http.limits  = http_limits_of(settings);
    worker->shard.limits = shard_limits_of(settings);
    worker->sessions.limits  = session_limits_of(settings);
    worker->api.limits   = api_limits_of(settings);
    counter_set(&worker->adopted, snapshot->number);
}

/* --- a worker's turns ---------------------------------------------------------------------------------------- */

size_t server_connection_count(const struct server *server)
{
    size_t count = 0;

    for (unsigned i = 0; i < server->worker_count; i++) {
        const struct worker *worker = &server->workers[i];
        count += counter_get(&worker->http.counters.conns);
        for (int transport = 0; transport < TRANSPORT_COUNT; transport++)
            if (transport != TRANSPORT_POLL)  /* those still count as HTTP connections */
                count += counter_get(&worker->sessions.counters.sessions[transport]);
    }
    return count;
}

#define TOO_MANY                                                                                                       \
    "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"                                      \
    "\"detail\":\"too many connections (connections_max)\"}"

static void worker_accepted(void *ctx, int fd)
{
    static const char too_many[] =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: application/problem+json\r\n"
        "Content-Length: 115\r\nConnection: close\r\n\r\n" TOO_MANY;
    _Static_assert(sizeof TOO_MANY - 1 == 115, "Content-Length above");
    struct worker *worker = ctx;
    uint64_t       max    = worker->snapshot->settings.connections_max;

    if (max == 0 || server_connection_count(worker->server) < max) {
        http_server_accept(&worker->http, fd);
        return;
    }
    LOG(LOG_WARN, "connection_refused", log_str("why", "connections_max is reached"), log_u64("connections_max", max));
    counter_add(&worker->refused, 1);
    /* A fresh socket takes so little, or the client is gone already. */
    ssize_t put = send(fd, too_many, sizeof too_many - 1, MSG_NOSIGNAL);
    (void)put;
    close(fd);
}

static void worker_stop_listening(struct worker *worker)
{
    for (size_t i = 0; i < LISTENS_MAX; i++) {
        listener_free(worker->listeners[i]);
        worker->listeners[i] = NULL;
    }
}

static void worker_begin_to_leave(struct worker *worker)
{
    worker->leave_by = worker->loop.now + worker->snapshot->settings.stop_timeout_s * 1000 + 1;
    worker_stop_listening(worker);
    http_server_stop(&worker->http);
    session_worker_stop(&worker->sessions);
}

/* Some commands go round all loops, and come back only if all are there: so nobody stops before everybody has left. */
static bool server_has_left(const struct server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        if (counter_get(&server->workers[i].has_left) == 0)
            return false;
    return true;
}

static void worker_leave(struct worker *worker)
{
    struct server *server = worker->server;

    if (counter_get(&worker->has_left) == 0) {
        counter_set(&worker->has_left, 1);
        for (unsigned i = 0; i < server->worker_count; i++)
            mailbox_ring(&server->workers[i].loop.mailbox);
    }
    if (server_has_left(server))
        loop_stop(&worker->loop);
}

static void worker_leave_if_done(struct worker *worker)
{
    bool is_idle = session_worker_is_idle(&worker->sessions) && http_server_is_idle(&worker->http);

    if (!is_idle && worker->loop.now >= worker->leave_by) {
        session_worker_close_all(&worker->sessions);
        http_server_fini(&worker->http);
        is_idle = true;
    }
    if (is_idle && worker->shard.away_count == 0)
        worker_leave(worker);
}

/* After a turn that spent long on sending, deliveries wait for a part of that time, and the heads and pages behind them
 * too: what is published meanwhile then leaves together, in one write a reader instead of two. With ten thousand
 * readers that is most of the cost; with a thousand a turn is never long enough to rest from. */
static void worker_rest(struct worker *worker, msec took)
{
    if (took < REST_FROM_MS || worker->leave_by != 0)
        return;
    msec rest          = took / REST_PART;
    worker->rest_until = worker->loop.wake_at = clock_now() + (rest > REST_MS_MAX ? REST_MS_MAX : rest);
}

static void worker_take_held(struct worker *worker)
{
    struct mail *mail = bundle_take(&worker->held);

    worker->rest_until = worker->loop.wake_at = 0;
    while (mail != NULL) {
        struct mail *next = mail->next;
        shard_take(&worker->shard, command_of(mail));
        mail = next;
    }
}

static void worker_on_turn_begin(void *ctx)
{
    struct worker *worker = ctx;
    shard_turn_begin(&worker->shard, worker->loop.now, worker->loop.wall);
    if (worker->rest_until != 0 && (worker->loop.now >= worker->rest_until || worker->leave_by != 0))
        worker_take_held(worker);
}

static void worker_on_mail(void *ctx, struct mail *mail)
{
    struct worker *worker = ctx;
    struct command *command = command_of(mail);

    if (command->kind == COMMAND_SNAPSHOT)
        worker_adopt(worker, snapshot_command_open(command));
    else if (worker->rest_until != 0 && command_tells_of_log(command))
        bundle_add(&worker->held, mail);
    else
        shard_take(&worker->shard, command);
}

static void worker_on_turn_end(void *ctx)
{
    struct worker *worker = ctx;

    if (counter_get(&worker->server->is_stopping) && worker->leave_by == 0)
        worker_begin_to_leave(worker);
    /* What the turn has read goes to the writer before the long work of sending begins. */
    mailbox_put(&worker->server->writer_loop.mailbox, &worker->to_writer);
    msec began = clock_now();
    shard_tell(&worker->shard);
    do {
        /* Polls answer through their connections, whose next request may follow what has news already. */
        session_worker_turn_end(&worker->sessions);
        http_server_turn_end(&worker->http);
    } while (!list_is_empty(&worker->sessions.dirty) || !list_is_empty(&worker->http.dirty));
    worker_rest(worker, clock_now() - began);
    shard_turn_end(&worker->shard);
    mailbox_put(&worker->server->writer_loop.mailbox, &worker->to_writer);
    if (worker->leave_by != 0)
        worker_leave_if_done(worker);
}

/* A failure may be mended before anybody looks, so failures are counted, not seen. */
static void server_watch_failures(struct server *server, const struct store_stats *stats)
{
    if (stats->failure_count != server->failures_told) {
        LOG(LOG_ERROR, "store_failed", log_str("error", stats->failure),
            log_u64("times", stats->failure_count - server->failures_told),
            log_str("notice", "publishes under way were answered 503 or 507; the log is read anew from the disk"));
        server->failures_told   = stats->failure_count;
        server->is_store_failed = true;
    }
    if (server->is_store_failed && !stats->is_broken && !stats->is_full) {
        LOG(LOG_INFO, "store_reopened", log_str("notice", "publishes are taken again"));
        server->is_store_failed = false;
    }
}

/* Says once when publishes begin to be refused, and once when that is over. */
static void server_watch_store(struct server *server)
{
    struct store_stats stats = { 0 };

    server->durable->ops->stats(server->durable, &stats);
    if (stats.is_full && !server->was_store_full)
        LOG(LOG_ERROR, "disk_full", log_str("notice", "publishes to durable channels are answered 507 until there is room"));
    else if (!stats.is_full && server->was_store_full)
        LOG(LOG_INFO, "disk_has_room", log_str("notice", "publishes are taken again"));
    server->was_store_full = stats.is_full;
    server_watch_failures(server, &stats);
}

/* Says once that somebody has set the clock, and by how much, and once what became of it. */
static void server_watch_clock(struct server *server)
{
    const struct wall_clock *clock = &server->workers[0].loop.wall_clock;

    if (clock->off != 0 && server->was_clock_off == 0)
        LOG(LOG_WARN, "clock_leapt", log_i64("by_s", clock->off / 1000),
            log_str("notice", "the wall clock was set; it is believed if it says so for a day, or after a restart"));
    else if (clock->off == 0 && server->was_clock_off != 0)
        LOG(LOG_INFO, "clock_agrees", log_str("notice", "the wall clock is believed again"));
    server->was_clock_off = clock->off;
}

static void worker_on_tick(struct timer *timer, msec now)
{
    struct worker *worker = container_of(timer, struct worker, tick);
    bool           leaves = worker->leave_by != 0;

    shard_tick(&worker->shard);
    session_worker_tick(&worker->sessions);
    if (worker->index == 0) {
        log_tell_suppressed();
        server_watch_store(worker->server);
        server_watch_clock(worker->server);
    }
    wheel_arm(&worker->loop.wheel, timer, now + (leaves ? WRITER_TICK_MS : WORKER_TICK_MS));
}

static const struct loop_hooks worker_hooks = {
    .turn_begin = worker_on_turn_begin,
    .mail       = worker_on_mail,
    .turn_end   = worker_on_turn_end,
};

static void *worker_main(void *ctx)
{
    struct worker *worker = ctx;
    char           name[16];

    snprintf(name, sizeof name, "lw-loop-%u", worker->index % 100);
    pthread_setname_np(pthread_self(), name);
    loop_run(&worker->loop);
    return NULL;
}

/* --- opening ------------------------------------------------------------------------------------------------- */

static void worker_furnish(struct worker *worker)
{
    struct server             *server    = worker->server;
    const struct settings    *settings = &server->snapshot->settings;
    const struct http_limits  http     = http_limits_of(settings);
    const struct shard_limits shard    = shard_limits_of(settings);

    http_server_init(&worker->http, &worker->loop, &http, &worker_service, worker);
    shard_init(&worker->shard, worker->index, &worker_shard_port, worker, &shard);
    worker->sessions.loop       = &worker->loop;
    worker->sessions.server     = &worker->http;
    worker->sessions.shard      = &worker->shard;
    worker->sessions.namespaces = &server->namespaces;
    worker->sessions.hash_key   = &server->hash_key;
    worker->sessions.limits     = session_limits_of(settings);
    worker->sessions.port       = &worker_session_port;
    worker->sessions.ctx        = worker;
    session_worker_init(&worker->sessions);
    worker->api.server      = &worker->http;
    worker->api.shard       = &worker->shard;
    worker->api.namespaces  = &server->namespaces;
    worker->api.hash_key    = &server->hash_key;
    worker->api.limits      = api_limits_of(settings);
    worker->api.port        = &worker_api_port;
    worker->api.ctx         = worker;
    worker->api.page_count  = pages_get(&worker->api.pages);
    worker->api.version     = LONGWIRE_VERSION;
    api_init(&worker->api);
}

/* With port 0 the first worker's socket is given one by the system; the others share it. */
static void server_learn_port(struct server *server, size_t at, unsigned port)
{
    struct sockaddr_storage *address = &server->listens[at].at;

    server->ports[at] = port;
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)address)->sin_port = htons((uint16_t)port);
}

static enum rc worker_listen(struct worker *worker, char *why, size_t why_size)
{
    const struct settings *settings = &worker->server->snapshot->settings;

    for (size_t i = 0; i < settings->listen_count; i++) {
        const struct listen_address *listen  = &worker->server->listens[i];
        struct listener_options      options = {
            .address            = (const struct sockaddr *)&listen->at,
            .address_len        = listen->len,
            .address_text       = listen->text,
            .congestion_control = settings->congestion_control,
            .backlog            = LISTEN_BACKLOG,
            .is_first           = worker->index == 0,
            .accepted           = worker_accepted,
            .ctx                = worker,
        };
        enum rc rc = listener_new(&worker->loop, &options, &worker->listeners[i]);
        if (rc != RC_OK) {
            snprintf(why, why_size, "can't listen on %s: %s", listen->text,
                     rc == RC_BUSY ? "the address is in use; is another server running there?" : strerror(errno));
            return rc;
        }
        if (worker->index == 0)
            server_learn_port(worker->server, i, listener_port(worker->listeners[i]));
    }
    return RC_OK;
}

static enum rc worker_open(struct worker *worker, char *why, size_t why_size)
{
    enum rc rc = loop_init(&worker->loop, &worker_hooks, worker);
    if (rc != RC_OK) {
        snprintf(why, why_size, "can't make an event loop: %s", rc_text(rc));
        return rc;
    }
    worker->key_state = random_u64();
    worker->snapshot  = snapshot_ref(worker->server->snapshot);
    counter_set(&worker->adopted, worker->snapshot->number);
    worker_furnish(worker);
    worker->tick.fire = worker_on_tick;
    wheel_arm(&worker->loop.wheel, &worker->tick, worker->loop.now + WORKER_TICK_MS);
    return worker_listen(worker, why, why_size);
}

static enum rc server_open_stores(struct server *server, char *why, size_t why_size)
{
    const struct settings   *settings = &server->snapshot->settings;
    struct mem_store_options memory   = {
        .epoch_first = random_u64() >> 1,
        .id_first    = (uint64_t)clock_wall() << 10,  /* above all of earlier runs, below 2^53 */
        .hash_key    = { random_u64(), random_u64() },
        .key_keep_ms = settings->idempotency_window_s * 1000,
    };
    server->memory = mem_store_new(&memory);
    if (settings->store == STORE_MEMORY) {
        memory.is_unbounded = false;
        server->durable      = mem_store_new(&memory);
        return RC_OK;
    }
    struct rocks_store_options rocks = {
        .path               = settings->data,
        .epoch_new          = random_u64(),
        .spaces             = &server->namespaces,
        .hash_key           = server->hash_key,
        .key_keep_ms        = settings->idempotency_window_s * 1000,
        .write_buffer_bytes = settings->write_buffer_bytes,
        .block_cache_bytes  = settings->store_memory_bytes,
        .reserve_bytes      = settings->disk_reserve_bytes,
        .read_count_max     = READS_WAITING_MAX,
    };
    enum rc rc = rocks_store_open(&rocks, &server->durable, why, why_size);
    if (rc == RC_OK && why[0] != '\0')
        LOG(LOG_WARN, "store_notice", log_str("notice", why));
    return rc;
}

static enum rc server_start_threads(struct server *server)
{
    if (pthread_create(&server->writer_thread, NULL, writer_main, server) != 0)
        return RC_NOMEM;
    server->is_writer_started = true;
    for (unsigned i = 0; i < server->worker_count; i++) {
        if (pthread_create(&server->workers[i].thread, NULL, worker_main, &server->workers[i]) != 0)
            return RC_NOMEM;
        server->workers[i].is_started = true;
    }
    return RC_OK;
}

static unsigned worker_count_of(const struct settings *settings)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (settings->loops != 0)
        return (unsigned)settings->loops;
    return cores < 1 ? 1 : cores > LOOPS_MAX ? LOOPS_MAX : (unsigned)cores;
}

enum rc server_open(struct server *server, const struct settings *settings, char *why, size_t why_size)
{
    *server            = (struct server){ .namespaces = settings->namespaces, .snapshot = snapshot_new(settings, NULL) };
    server->hash_key   = (struct hash_key){ random_u64(), random_u64() };
    server->started_at = clock_now();
    memcpy(server->listens, settings->listens, sizeof server->listens);
    counter_set(&server->snapshot_at, (uint64_t)clock_wall());
    counter_set(&server->writer_adopted, server->snapshot->number);

    enum rc rc = server_open_stores(server, why, why_size);
    if (rc != RC_OK)
        return rc;
    rc = loop_init(&server->writer_loop, &writer_hooks, server);
    if (rc != RC_OK) {
        snprintf(why, why_size, "can't make the writer's loop: %s", rc_text(rc));
        return rc;
    }
    server->worker_count = worker_count_of(settings);
    server->workers      = calloc(server->worker_count, sizeof server->workers[0]);
    must(server->workers != NULL);
    const struct writer_limits limits = writer_limits_of(settings);
    writer_init(&server->writer, &server_writer_port, server, server->durable, server->memory, &limits, server->worker_count);
    for (unsigned i = 0; i < server->worker_count; i++) {
        server->workers[i].server = server;
        server->workers[i].index = i;
        rc                      = worker_open(&server->workers[i], why, why_size);
        if (rc != RC_OK)
            return rc;
    }
    rc = server_start_threads(server);
    if (rc != RC_OK)
        snprintf(why, why_size, "can't start threads");
    return rc;
}

/* --- reloading ----------------------------------------------------------------------------------------------- */

const struct settings *server_settings(const struct server *server)
{
    return &server->snapshot->settings;
}

static void loop_send_snapshot(struct loop *loop, struct snapshot *snapshot)
{
    struct bundle one = { NULL, NULL };

    bundle_add(&one, mail_of(snapshot_command_new(snapshot)));
    mailbox_put(&loop->mailbox, &one);
}

void server_reload(struct server *server, const struct settings *settings)
{
    struct snapshot *snapshot = snapshot_new(settings, server->snapshot);

    must(server_has_adopted(server));
    snapshot_unref(server->snapshot);
    server->snapshot = snapshot;
    log_set_level(settings->log_level);
    loop_send_snapshot(&server->writer_loop, snapshot);
    for (unsigned i = 0; i < server->worker_count; i++)
        loop_send_snapshot(&server->workers[i].loop, snapshot);
    counter_add(&server->reloads_done, 1);
    counter_set(&server->snapshot_at, (uint64_t)clock_wall());
}

bool server_has_adopted(const struct server *server)
{
    bool has = counter_get(&server->writer_adopted) == server->snapshot->number;

    for (unsigned i = 0; i < server->worker_count; i++)
        has &= counter_get(&server->workers[i].adopted) == server->snapshot->number;
    return has;
}

void server_count_failed_reload(struct server *server)
{
    counter_add(&server->reloads_failed, 1);
}

/* --- closing ------------------------------------------------------------------------------------------------- */

void server_stop(struct server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        if (!server->workers[i].is_started)
            counter_set(&server->workers[i].has_left, 1);
    counter_set(&server->is_stopping, 1);
    for (unsigned i = 0; i < server->worker_count; i++)
        if (server->workers[i].is_started)
            mailbox_ring(&server->workers[i].loop.mailbox);
    for (unsigned i = 0; i < server->worker_count; i++)
        if (server->workers[i].is_started)
            pthread_join(server->workers[i].thread, NULL);
    if (!server->is_writer_started)
        return;
    counter_set(&server->is_writer_stopping, 1);
    mailbox_ring(&server->writer_loop.mailbox);
    pthread_join(server->writer_thread, NULL);
}

static void free_commands(struct mail *mail)
{
    while (mail != NULL) {
        struct mail   *next   = mail->next;
        struct command *command = command_of(mail);
        if (command->kind == COMMAND_SNAPSHOT)
            snapshot_unref(snapshot_command_open(command));
        else
            command_free(command);
        mail = next;
    }
}

static void free_mail(struct mailbox *mailbox)
{
    free_commands(mailbox_take(mailbox));
}

static void worker_close(struct worker *worker)
{
    if (worker->loop.input == NULL)
        return;
    worker_stop_listening(worker);
    wheel_disarm(&worker->loop.wheel, &worker->tick);
    session_worker_close_all(&worker->sessions);
    http_server_fini(&worker->http);
    session_worker_fini(&worker->sessions);
    shard_fini(&worker->shard);
    api_fini(&worker->api);
    free_mail(&worker->loop.mailbox);
    free_commands(bundle_take(&worker->held));
    free_commands(bundle_take(&worker->to_writer));  /* who was cut off at the end unfollowed */
    snapshot_unref(worker->snapshot);
    loop_fini(&worker->loop);
}

void server_close(struct server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        worker_close(&server->workers[i]);
    /* The durable store first: its threads ring the writer's bell, and the writer is idle. */
    if (server->durable != NULL)
        server->durable->ops->close(server->durable);
    if (server->writer_loop.input != NULL) {
        if (server->workers != NULL)
            writer_fini(&server->writer);
        free_mail(&server->writer_loop.mailbox);
        loop_fini(&server->writer_loop);
    }
    free(server->workers);
    if (server->memory != NULL)
        server->memory->ops->close(server->memory);
    snapshot_unref(server->snapshot);
}
