#include "main/cluster_host.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/must.h"
#include "base/version.h"
#include "cluster/pg_engine.h"
#include "cluster/redis_engine.h"
#include "device/peer_fence.h"
#include "main/command_mail.h"
#include "main/limits.h"
#include "main/nodes_news.h"
#include "main/server.h"
#include "node/connection_key.h"
#include "node/peer_question.h"
#include "reactor/log.h"
#include "settings/url_list.h"

/* --- events: from the engine's threads to the writer's ------------------------------------------------------------ */

enum { NODE_UNKNOWN_MS = 60000, SESSIONS_BEHIND_HEADS = 4,
       SESSIONS_HOLD_TICKS = 20 };  /* two seconds: then they are opened though the engine is away */

enum host_event_kind { EVENT_DONE, EVENT_FRAME, EVENT_UP, EVENT_DOWN, EVENT_SILENT, EVENT_SPEAKS };

struct engine_event {
    struct command      command;
    enum host_event_kind kind;
    struct engine_call *call;  /* DONE */
    uint64_t            life, since;  /* UP */
    size_t              len;   /* FRAME */
    char                bytes[];
};

static struct cluster_host *host_of(struct writer *writer)
{
    return &container_of(container_of(writer, struct writer_thread, writer), struct server, writer)->cluster;
}

static void event_free(struct command *command)
{
    free(container_of(command, struct engine_event, command));
}

static void event_at_writer(struct command *command, struct writer *writer)
{
    struct engine_event *event   = container_of(command, struct engine_event, command);
    struct cluster_host *host    = host_of(writer);
    struct cluster      *cluster = host->cluster;
    struct devices      *devices = &host->server->writer.devices;

    switch (event->kind) {
    case EVENT_DONE: cluster_take_done(cluster, event->call); break;
    case EVENT_FRAME: cluster_take_frame(cluster, span_of(event->bytes, event->len)); break;
    case EVENT_UP:
        cluster_take_up(cluster, event->life, event->since);
        devices_reach(devices);
        break;
    case EVENT_DOWN:
        devices_cut_off(devices, host->is_in_store);
        cluster_take_down(cluster);
        break;
    case EVENT_SILENT: cluster_take_silence(cluster, true); break;
    case EVENT_SPEAKS: cluster_take_silence(cluster, false); break;
    }
    free(event);
}

static const struct command_kind event_kind = { .name = "engine", .free = event_free, .at_writer = event_at_writer };

static struct engine_event *engine_event_new(enum host_event_kind kind, struct engine_call *call, struct span bytes, uint64_t life,
                                             uint64_t since)
{
    struct engine_event *event = malloc(sizeof *event + bytes.len);

    must(event != NULL);
    *event = (struct engine_event){ .command = { .kind = &event_kind }, .kind = kind, .call = call, .life = life,
                                    .since = since, .len = bytes.len };
    if (bytes.len > 0)
        memcpy(event->bytes, bytes.at, bytes.len);
    return event;
}

static void event_send(struct cluster_host *host, enum host_event_kind kind, struct span bytes, uint64_t life, uint64_t since)
{
    command_mail_put(host->mailbox, &engine_event_new(kind, NULL, bytes, life, since)->command);
}

/* What an engine's thread has for the cluster. */
struct host_visit {
    struct cluster_host *host;
    struct engine_call  *call;
    struct span          frame;
};

static void done_at_once(void *ctx)
{
    const struct host_visit *visit = ctx;

    cluster_take_done(visit->host->cluster, visit->call);
}

static void frame_at_once(void *ctx)
{
    const struct host_visit *visit = ctx;

    cluster_take_frame(visit->host->cluster, visit->frame);
}

/* Nothing waits for the end of a frame but its memory. The writer has a turn in a tenth of a second at the latest. */
static void host_frame_is_sent(struct cluster_host *host, struct engine_call *call)
{
    call->link = (struct list){ NULL, NULL };
    pthread_mutex_lock(&host->sent_lock);
    list_push(&host->sent, &call->link);
    pthread_mutex_unlock(&host->sent_lock);
}

static void host_take_sent(struct cluster_host *host)
{
    struct list sent, *link;

    list_init(&sent);
    pthread_mutex_lock(&host->sent_lock);
    list_move(&sent, &host->sent);
    pthread_mutex_unlock(&host->sent_lock);
    while ((link = list_pop(&sent)) != NULL)
        cluster_take_done(host->cluster, container_of(link, struct engine_call, link));
}

static void on_engine_done(void *ctx, struct engine_call *call)
{
    struct cluster_host *host  = ctx;
    struct host_visit    visit = { .host = host, .call = call };

    if (call->kind == ENGINE_SEND)
        host_frame_is_sent(host, call);
    else if (!writer_thread_visit(&host->server->writer, done_at_once, &visit))
        command_mail_put(host->mailbox, &engine_event_new(EVENT_DONE, call, SPAN(""), 0, 0)->command);
}

static void on_engine_frame(void *ctx, struct span frame)
{
    struct cluster_host *host  = ctx;
    struct host_visit    visit = { .host = host, .frame = frame };

    if (!writer_thread_visit(&host->server->writer, frame_at_once, &visit))
        event_send(host, EVENT_FRAME, frame, 0, 0);
}

static void on_engine_up(void *ctx, uint64_t life, uint64_t since)
{
    LOG(LOG_INFO, "cluster_engine_up", log_u64("life", life));
    event_send(ctx, EVENT_UP, SPAN(""), life, since);
}

static void on_engine_down(void *ctx, const char *why)
{
    LOG(LOG_WARN, "cluster_engine_down", log_str("why", why));
    event_send(ctx, EVENT_DOWN, SPAN(""), 0, 0);
}

static void on_engine_silent(void *ctx, bool is_silent)
{
    if (is_silent)
        LOG(LOG_WARN, "cluster_engine_silent");
    else
        LOG(LOG_INFO, "cluster_engine_speaks");
    event_send(ctx, is_silent ? EVENT_SILENT : EVENT_SPEAKS, SPAN(""), 0, 0);
}

static const struct engine_events host_events = {
    .done = on_engine_done, .frame = on_engine_frame, .up = on_engine_up, .down = on_engine_down, .silent = on_engine_silent,
};

/* --- what the cluster asks of the node -------------------------------------------------------------------------- */

static void host_serve(void *ctx, struct peer_call *call)
{
    struct cluster_host *host = ctx;

    if (call->topic == PEER_FENCE)
        devices_serve_fence(&host->server->writer.devices, call);
    else
        peer_call_serve(&host->server->writer.writer, call);
}

/* The process must end: others send to the newer one. main reads why. */
static void host_usurped(void *ctx, const char *why)
{
    struct cluster_host *host = ctx;

    if (atomic_load(&host->is_usurped))
        return;
    snprintf(host->why, sizeof host->why, "%s: %s", host->server->node, why);
    atomic_store(&host->is_usurped, true);
    kill(getpid(), SIGTERM);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

/* In the database that has the first slot: two nodes may name the databases in different order. */
static enum rc pg_open(struct cluster_host *host, const struct settings *settings, const struct node_id *self, char *why,
                       size_t why_size)
{
    char        text[STORE_URL_BYTES_MAX + 1];
    struct span urls = span_str(settings->store), first = SPAN("");

    for (size_t i = 0; i <= host->server->stores.first; i++)
        must(url_list_next(&urls, &first));
    must(first.len < sizeof text);
    snprintf(text, sizeof text, "%.*s", SPAN_ARG(first));
    const struct pg_engine_options options = { .url = text, .self = *self, .events = &host_events, .ctx = host };
    enum rc                        rc      = pg_engine_open(&options, &host->engine, why, why_size);
    explicit_bzero(text, sizeof text);
    return rc;
}

static enum rc engine_open(struct cluster_host *host, const struct settings *settings, const struct node_id *self, char *why,
                           size_t why_size)
{
    const struct redis_engine_options redis = {
        .url = settings->cluster, .self = *self, .events = &host_events, .ctx = host,
    };

    must(settings->cluster_kind != CLUSTER_NONE);
    return settings->cluster_kind == CLUSTER_REDIS ? redis_engine_open(&redis, &host->engine, why, why_size)
                                                   : pg_open(host, settings, self, why, why_size);
}

/* How many instances the list names. */
static uint32_t engines_count(const struct settings *settings)
{
    uint32_t count = 1;

    if (settings->cluster_kind != CLUSTER_REDIS)
        return 0;
    for (const char *at = settings->cluster; *at != '\0'; at++)
        count += *at == ',';
    return count;
}

static void host_describe(const struct cluster_host *host, const struct settings *settings, struct node_record *ret)
{
    const struct server *server = host->server;

    *ret = (struct node_record){
        .started  = server->started_wall,
        .protocol = CLUSTER_PROTOCOL,
        .engines  = engines_count(settings),
        .store    = server->stores.cluster,
        .roles    = settings->role_bits,
        .admissions_per_s = settings->admissions_per_s,
        .capacity = settings->capacity != 0 ? settings->capacity
                                            : connections_capacity(settings->connections_max,
                                                                   backend_host_leaves(settings, server->descriptors)),
    };
    ret->id.incarnation = server->incarnation;
    snprintf(ret->id.name, sizeof ret->id.name, "%s", server->node);
    snprintf(ret->region, sizeof ret->region, "%s", settings->region);
    snprintf(ret->advertise, sizeof ret->advertise, "%s", settings->advertise);
    snprintf(ret->version, sizeof ret->version, "%s", LONGWIRE_VERSION);
}

/* Another start of this node has ended. One that is not known may have come a moment ago, or was forgotten long after its end. */
static bool host_start_lives(const struct cluster_host *host, struct span node, uint64_t incarnation, msec since)
{
    const struct registry *registry = cluster_registry(host->cluster);
    struct node_id         id = { .incarnation = incarnation }, self = { .incarnation = host->server->incarnation };

    if (node.len > NODE_RECORD_NAME_MAX || span_eq(node, span_str(host->server->node)))
        return false;
    snprintf(self.name, sizeof self.name, "%s", host->server->node);
    if (registry_find_id(registry, &self) == NULL)
        return true;  /* what is known of the nodes is too little */
    memcpy(id.name, node.at, node.len);
    const struct registry_node *known = registry_find_id(registry, &id);
    if (known != NULL)
        return known->state != NODE_LOST;
    return since + NODE_UNKNOWN_MS > host->server->writer.writer.wall;
}

static bool host_session_lives(void *ctx, const struct session_row *row)
{
    return host_start_lives(ctx, row->node, row->incarnation, row->seen);
}

static bool host_link_lives(void *ctx, const struct link_row *row)
{
    return host_start_lives(ctx, row->node, row->incarnation, row->since);
}

/* Sessions, presence and connections have parts on other nodes from now on. */
static void host_join_sessions(struct cluster_host *host)
{
    struct server        *server = host->server;
    struct writer_thread *thread = &server->writer;

    devices_join(&thread->devices, span_str(server->node), server->incarnation, &peers_by_question, &thread->writer);
    devices_hold(&thread->devices, SESSIONS_HOLD_TICKS);
    thread->offline.lives    = host_session_lives;
    thread->offline.ctx      = host;
    thread->events.lives     = host_link_lives;
    thread->events.lives_ctx = host;
    snprintf(thread->events.node, sizeof thread->events.node, "%s", server->node);
    presence_join(&thread->presence, &thread->writer, server->incarnation);
    server->connection_keys.tag = connection_tag(server->incarnation);
}

enum rc cluster_host_open(struct cluster_host *host, struct server *server, char *why, size_t why_size)
{
    const struct settings *settings = &server->snapshot->settings;
    struct writer         *writer   = &server->writer.writer;
    struct node_record     self;

    *host = (struct cluster_host){ .server = server, .mailbox = &server->writer.loop.mailbox };
    server->writer.cluster = host;
    pthread_mutex_init(&host->sent_lock, NULL);
    list_init(&host->sent);
    if (settings->cluster_kind == CLUSTER_NONE)
        return RC_OK;
    host_describe(host, settings, &self);
    host->is_in_store = settings->cluster_kind == CLUSTER_POSTGRES;
    enum rc rc = engine_open(host, settings, &self.id, why, why_size);
    if (rc != RC_OK)
        return rc;
    const struct cluster_setup setup = {
        .writer = writer, .engine = host->engine, .self = self, .spaces = &server->namespaces,
        .hash_key = &server->hash_key, .limits = cluster_limits_of(settings), .serve = host_serve,
        .usurped = host_usurped, .ctx = host,
    };
    host->cluster       = cluster_new(&setup);
    writer->cluster     = &cluster_port;
    writer->cluster_ctx = host->cluster;
    host_join_sessions(host);
    return RC_OK;
}

void cluster_host_close_engine(struct cluster_host *host)
{
    if (host->engine != NULL)
        host->engine->ops->close(host->engine);
    host->engine = NULL;
}

void cluster_host_close(struct cluster_host *host)
{
    cluster_free(host->cluster);
    host->cluster = NULL;
    pthread_mutex_destroy(&host->sent_lock);
}

/* --- on the writer's thread ---------------------------------------------------------------------------------------- */

void cluster_host_adopt(struct cluster_host *host, const struct settings *settings)
{
    struct node_record self;

    if (host->cluster == NULL)
        return;
    host_describe(host, settings, &self);
    cluster_set_self(host->cluster, &self);
}

void cluster_host_turn_begin(struct cluster_host *host, msec now, msec wall)
{
    if (host->cluster == NULL)
        return;
    host->now = now > host->now ? now : host->now;  /* whoever waited for its turn has looked at the clock before */
    cluster_turn_begin(host->cluster, host->now, wall);
    host_take_sent(host);
}

static uint64_t host_living_sum(const struct registry *registry)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < registry->count; i++)
        if (registry->nodes[i].state != NODE_LOST)
            sum += registry->nodes[i].record.id.incarnation;
    return sum;
}

static void host_note_nodes(struct cluster_host *host, const struct registry *registry)
{
    uint64_t living = host_living_sum(registry);

    if (living != host->living) {
        event_outbox_nodes_changed(&host->server->writer.events);
        occupancies_nodes_changed(&host->server->writer.occupancies);
    }
    host->living = living;
}

/* Why, with commas between the reasons. At most ten lines a second (reactor/log.h). */
static void host_log_comparison(const struct cluster_host *host)
{
    const uint32_t doubts = cluster_doubts_compared(host->cluster);
    struct buf     why;

    buf_init(&why, LOG_VALUE_BYTES_MAX);
    for (enum doubt_reason reason = 0; reason < DOUBT_REASONS; reason++)
        if ((doubts >> reason & 1) != 0)
            buf_putf(&why, "%s%s", why.len == 0 ? "" : ",", doubt_reason_name(reason));
    LOG(LOG_INFO, "heads_compared", log_span("why", buf_span(&why)));
    buf_fini(&why);
}

/* Where messages may be lost, what other nodes said of sessions and presence may be lost, too. */
static void host_share_doubts(struct cluster_host *host)
{
    uint64_t doubts = cluster_doubt_count(host->cluster);

    if (doubts == host->doubts_seen)
        return;
    host->doubts_seen = doubts;
    if (counter_get(&cluster_counters(host->cluster)->comparisons) != host->comparisons_seen)
        host_log_comparison(host);
    host->comparisons_seen = counter_get(&cluster_counters(host->cluster)->comparisons);
    devices_compare_now(&host->server->writer.devices);
    presence_compare_now(&host->server->writer.presence);
}

/* All sessions are compared once in session_compare_s anyway; heads come first. */
static uint32_t host_session_pace(const struct cluster_host *host)
{
    const uint32_t pace = cluster_compare_pace(host->cluster);

    return pace == 0 ? 0 : pace / SESSIONS_BEHIND_HEADS + 1;
}

void cluster_host_tick(struct cluster_host *host)
{
    struct server *server = host->server;

    if (host->cluster == NULL)
        return;
    if (cluster_registry(host->cluster)->version > 0)
        devices_go_on(&server->writer.devices);
    host_share_doubts(host);
    devices_compare_pace(&server->writer.devices, host_session_pace(host));
    if (cluster_registry(host->cluster)->version != host->nodes_told) {
        host->nodes_told = cluster_registry(host->cluster)->version;
        nodes_news_send(&server->writer.writer, cluster_registry(host->cluster));
        host_note_nodes(host, cluster_registry(host->cluster));
    }
    bool is_draining = counter_get(&server->drain_ms) != 0 || counter_get(&server->is_stopping) != 0;
    cluster_tell_self(host->cluster, server_connection_count(server), is_draining);
}

bool cluster_host_leave(struct cluster_host *host)
{
    return host->cluster == NULL || cluster_leave(host->cluster);
}
