#include "main/server.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/must.h"
#include "main/command_mail.h"
#include "main/confine.h"
#include "main/fetch_command.h"
#include "main/memory_cgroup.h"
#include "main/random.h"
#include "main/revocations_load.h"
#include "main/start_wait.h"
#include "main/take_over.h"
#include "reactor/log.h"
#include "reactor/tls_tickets.h"

/* --- what workers ask of each other --------------------------------------------------------------------------- */

/* Polls are left out: each of them is an HTTP connection, and counted as one. */
static size_t worker_connection_count(const struct worker *worker)
{
    size_t count = counter_get(&worker->http.counters.conns);

    for (int transport = 0; transport < TRANSPORT_COUNT; transport++)
        if (transport != TRANSPORT_POLL)
            count += counter_get(&worker->sessions.counters.sessions[transport]);
    return count;
}

size_t server_connection_count(const struct server *server)
{
    size_t count = 0;

    for (unsigned i = 0; i < server->worker_count; i++)
        count += worker_connection_count(&server->workers[i]) +
                 counter_get(&server->workers[i].tls.counters.under_way);
    return count;
}

bool server_is_deserted(const struct server *server)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < server->worker_count; i++)
        count += session_worker_count(&server->workers[i].sessions);
    return count == 0;
}

void server_wake_workers(struct server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        mailbox_ring(&server->workers[i].loop.mailbox);
}

void server_order_shed(struct server *server, uint64_t number, bool is_for_all)
{
    counter_set(&server->shed_order, 2 * number + is_for_all);
    server_wake_workers(server);
}

bool server_has_left(const struct server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        if (counter_get(&server->workers[i].has_left) == 0)
            return false;
    return true;
}

const int *server_offered_sockets(struct server *server, size_t at)
{
    /* Asked for as the first worker opens: until then the address is as the settings say. */
    if (!server->is_asked[at])
        server->offered[at] = take_over_sockets(server->take_over, listen_scheme(&server->listens[at]), server->listens[at].text);
    server->is_asked[at] = true;
    return server->offered[at];
}

void server_learn_port(struct server *server, size_t at, unsigned port)
{
    struct sockaddr_storage *address = &server->listens[at].at;

    must(at < server->listen_count && port != 0);
    server->ports[at] = port;
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)address)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)address)->sin_port = htons((uint16_t)port);
}

/* --- tickets -------------------------------------------------------------------------------------------------- */

/* If the ledger can't keep the key, tickets are good until the process ends, and on this node alone. */
static void server_get_ticket_secret(struct server *server, const struct settings *settings, struct start_wait *wait)
{
    uint64_t fresh[TICKET_SECRET_BYTES / sizeof(uint64_t)];

    memcpy(server->ticket_bytes, settings->ticket_secret, sizeof server->ticket_bytes);
    server->ticket_secret = span_str(server->ticket_bytes);
    if (server->ticket_secret.len > 0)
        return;
    server->ticket_secret = span_of(server->ticket_bytes, TICKET_SECRET_BYTES);
    for (size_t i = 0; i < sizeof fresh / sizeof fresh[0]; i++)
        fresh[i] = random_u64();
    memcpy(server->ticket_bytes, fresh, sizeof fresh);
    enum rc rc;
    do
        rc = ticket_secret_get(server->stores.durable->ledger, clock_wall(), (const char *)fresh, server->ticket_bytes);
    while (rc != RC_OK && start_wait_again(wait, rc, "the key of tickets in the store can't be read"));
    if (rc != RC_OK)
        LOG(LOG_WARN, "ticket_key_not_kept", log_str("why", rc_text(rc)));
}

/* --- opening ------------------------------------------------------------------------------------------------- */

static unsigned worker_count_of(const struct settings *settings)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (settings->loops != 0)
        return (unsigned)settings->loops;
    return cores < 1 ? 1 : cores > LOOPS_MAX ? LOOPS_MAX : (unsigned)cores;
}

static enum rc server_open_workers(struct server *server, unsigned count, char *why, size_t why_size)
{
    server->workers = calloc(count, sizeof server->workers[0]);
    must(server->workers != NULL);
    server->worker_count = count;
    for (unsigned i = 0; i < server->worker_count; i++) {
        struct worker *worker = &server->workers[i];
        enum rc        rc     = worker_open(worker, server, i, why, why_size);
        if (rc != RC_OK)
            return rc;
        writer_thread_connect(&server->writer, i, &worker->loop.mailbox);
    }
    return RC_OK;
}

/* Once started it stays, also if a reload needs it no more. */
static enum rc server_start_fetch(struct server *server)
{
    const struct settings *settings = &server->snapshot->settings;
    return callers_need_fetch(settings) || backend_host_is_needed(settings) ? fetch_start(server->fetch) : RC_OK;
}

static enum rc server_start_threads(struct server *server)
{
    enum rc rc = server_start_fetch(server);

    if (rc == RC_OK)
        rc = writer_thread_start(&server->writer);

    for (unsigned i = 0; i < server->worker_count && rc == RC_OK; i++)
        rc = worker_start(&server->workers[i]);
    return rc;
}

static uint64_t descriptor_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : UINT64_MAX;
}

static void server_take_addresses(struct server *server, const struct settings *settings)
{
    for (size_t i = 0; i < settings->listen_count; i++)
        server->listens[server->listen_count++] = settings->listens[i];
    for (size_t i = 0; i < settings->tls_listen_count; i++)
        server->listens[server->listen_count++] = settings->tls_listens[i];
    for (size_t i = 0; i < settings->native_listen_count && (settings->role_bits & ROLE_ACCESS) != 0; i++)
        server->listens[server->listen_count++] = settings->native_listens[i];
    for (size_t i = 0; i < settings->native_tls_listen_count && (settings->role_bits & ROLE_ACCESS) != 0; i++)
        server->listens[server->listen_count++] = settings->native_tls_listens[i];
}

/* Without a name of its own it is called as the machine. */
static void server_name_node(struct server *server, const struct settings *settings)
{
    if (settings->node[0] != '\0')
        snprintf(server->node, sizeof server->node, "%s", settings->node);
    else if (gethostname(server->node, sizeof server->node - 1) != 0 || server->node[0] == '\0')
        snprintf(server->node, sizeof server->node, "node");
}

static void say_revocations_unread(const struct server *server, enum rc rc, char *why, size_t why_size)
{
    struct store      *store = server->stores.durable;
    struct store_stats stats;

    store->ops->stats(store, &stats);
    if (server->snapshot->settings.store_kind == STORE_POSTGRES)
        snprintf(why, why_size, "the revocations in the store can't be read: %s", stats.failure[0] != '\0' ? stats.failure : rc_text(rc));
    else
        snprintf(why, why_size, "the revocations in the store can't be read: %s; longwired --repair gives up what is damaged",
                 rc_text(rc));
}

/* A server that does not know what is revoked must not let anybody in. */
static enum rc server_load_revocations(struct server *server, struct start_wait *wait, char *why, size_t why_size)
{
    struct channel_name *control;
    enum rc              rc;

    must(channel_name_new(&server->namespaces, &server->hash_key, SPAN("sys:control"), &control) == CHANNEL_NAME_OK);
    do {
        rc = revocations_load(&server->revocations, server->stores.durable, control, clock_wall(), &server->control_start);
        if (rc != RC_OK)
            say_revocations_unread(server, rc, why, why_size);
    } while (rc != RC_OK && start_wait_again(wait, rc, why));
    channel_name_unref(control);
    return rc;
}

static enum rc server_trust(struct server *server, const struct settings *settings, char *why, size_t why_size)
{
    struct buf fault;

    if (settings->ca_file[0] == '\0')
        return RC_OK;
    buf_init(&fault, 1024);
    bool is_good = fetch_trust(server->fetch, settings->ca_file, &fault);
    buf_putc(&fault, '\0');
    if (!is_good)
        snprintf(why, why_size, "ca_file: %s", fault.at);
    buf_fini(&fault);
    return is_good ? RC_OK : RC_BAD;
}

bool server_read_tls(const struct server *server, const struct settings *settings, struct tls_sections **ret, struct buf *why)
{
    return tls_host_read(settings, server->tls_tickets, ret, why);
}

/* main() has looked at the files before: they can only have changed since. */
static enum rc server_open_tls(struct server *server, const struct settings *settings, struct tls_sections **ret, char *why,
                               size_t why_size)
{
    struct buf fault;

    server->tls_tickets = tls_tickets_new();
    buf_init(&fault, why_size - 1);
    bool is_good = server_read_tls(server, settings, ret, &fault);
    if (!is_good)
        snprintf(why, why_size, "%.*s", SPAN_ARG(buf_span(&fault)));
    buf_fini(&fault);
    return is_good ? RC_OK : RC_BAD;
}

/* The same names and keys as the process whose place this one takes: what its clients know of it stays true. */
static void server_go_on(struct server *server, const struct handover_offer *offer)
{
    server->hash_key     = (struct hash_key){ offer->hash_keys[0], offer->hash_keys[1] };
    server->incarnation  = offer->incarnation;
    server->started_wall = (msec)offer->started_wall;
}

static enum rc stores_open_again(struct server *server, const struct settings *settings, char *why, size_t why_size)
{
    stores_close_threaded(&server->stores);
    stores_close_inline(&server->stores);
    return stores_open(&server->stores, settings, &server->namespaces, server->hash_key, why, why_size);
}

static enum rc server_open_stores(struct server *server, const struct settings *settings, struct start_wait *wait, char *why,
                                  size_t why_size)
{
    enum rc rc = server->take_over == NULL ? RC_OK : take_over_receive(server->take_over, why, why_size);

    if (rc == RC_OK)
        rc = stores_open(&server->stores, settings, &server->namespaces, server->hash_key, why, why_size);
    while (rc != RC_OK && start_wait_again(wait, rc, why))
        rc = stores_open_again(server, settings, why, why_size);
    if (rc == RC_OK && server->take_over != NULL)
        take_over_memory(server->take_over, server);
    return rc;
}

static enum rc server_commit(struct server *server, char *why, size_t why_size)
{
    if (server->take_over == NULL)
        return RC_OK;
    take_over_links(server->take_over, server);
    return take_over_commit(server->take_over, why, why_size);
}

/* What is asked of the stores before anything is open. A process that takes another one's place does not wait: the other one stands
 * still meanwhile, and goes on if it fails. */
static enum rc server_ask_stores(struct server *server, const struct settings *settings, const struct service_manager *manager, char *why,
                                 size_t why_size)
{
    struct start_wait wait = { .may_wait = false };
    enum rc           rc   = server->take_over != NULL ? RC_OK : start_wait_begin(&wait, settings, manager);

    if (rc != RC_OK) {
        snprintf(why, why_size, "can't start threads");
        return rc;
    }
    rc = server_open_stores(server, settings, &wait, why, why_size);
    if (rc == RC_OK)
        server->wall_seen = stores_wall_seen(&server->stores, settings);
    if (rc == RC_OK)
        rc = server_load_revocations(server, &wait, why, why_size);
    if (rc == RC_OK)
        server_get_ticket_secret(server, &server->snapshot->settings, &wait);
    start_wait_end(&wait);
    return rc;
}

enum rc server_open(struct server *server, const struct settings *settings, const struct service_manager *manager, bool takes_over,
                    char *why, size_t why_size)
{
    const unsigned       count = worker_count_of(settings);
    struct tls_sections *tls   = NULL;

    *server            = (struct server){ .namespaces = settings->namespaces };
    gate_init(&server->gate);
    server->writer.gate = &server->gate;
    enum rc rc         = server_open_tls(server, settings, &tls, why, why_size);
    server->snapshot   = snapshot_new(settings, tls, NULL);
    server->hash_key   = (struct hash_key){ random_u64(), random_u64() };
    server->started_at   = clock_now();
    server->started_wall = clock_wall();
    server->descriptors  = descriptor_limit();
    server->memory_cgroup = memory_cgroup_limit("/proc/self/cgroup", "/sys/fs/cgroup");
    addresses_init(&server->addresses, server->descriptors);
    usage_tables_init(&server->usage);
    server->incarnation  = server->calls_incarnation = random_u64() | 1;
    if (rc == RC_OK && takes_over)
        rc = take_over_begin(settings, count, &server->take_over, why, why_size);
    if (server->take_over != NULL)
        server_go_on(server, take_over_offer(server->take_over));
    server->connection_keys = (struct connection_keys){ .secret = server->hash_key };
    server_name_node(server, settings);
    revocations_init(&server->revocations, &server->hash_key);
    server->fetch = fetch_new(&(const struct fetch_limits){ FETCH_CALLS_MAX, FETCH_UNDER_WAY_MAX, FETCH_IDLE_MAX });
    server_take_addresses(server, settings);
    counter_set(&server->snapshot_at, (uint64_t)clock_wall());

    if (rc == RC_OK)
        rc = server_trust(server, settings, why, why_size);
    if (rc == RC_OK)
        rc = server_ask_stores(server, settings, manager, why, why_size);
    if (rc == RC_OK)
        rc = writer_thread_open(&server->writer, server->snapshot, &server->stores, &server->namespaces,
                                &server->hash_key, server->incarnation, server->fetch, count, why, why_size);
    if (rc == RC_OK)
        rc = cluster_host_open(&server->cluster, server, why, why_size);
    if (rc == RC_OK)
        uplink_host_open(&server->writer.uplink, server);
    if (rc == RC_OK)
        rc = server_open_workers(server, count, why, why_size);
    if (rc == RC_OK)
        rc = server_commit(server, why, why_size);
    if (rc != RC_OK)
        return rc;
    confine_listening();
    rc = server_start_threads(server);
    if (rc != RC_OK)
        snprintf(why, why_size, "can't start threads");
    return rc;
}

void server_let_predecessor_go(struct server *server)
{
    take_over_free(server->take_over, NULL);
    server->take_over = NULL;
}

bool server_is_alive(const struct server *server, msec now, msec within_ms)
{
    if ((msec)counter_get(&server->writer.ticked_at) + within_ms < now)
        return false;
    for (unsigned i = 0; i < server->worker_count; i++)
        if ((msec)counter_get(&server->workers[i].ticked_at) + within_ms < now)
            return false;
    return true;
}

/* --- reloading ----------------------------------------------------------------------------------------------- */

const struct settings *server_settings(const struct server *server)
{
    return &server->snapshot->settings;
}

void server_reload(struct server *server, const struct settings *settings, struct tls_sections *tls)
{
    struct snapshot *snapshot = snapshot_new(settings, tls, server->snapshot);

    must(server_has_adopted(server));
    snapshot_unref(server->snapshot);
    server->snapshot = snapshot;
    log_set_level(settings->log_level);
    if (server_start_fetch(server) != RC_OK)
        LOG(LOG_ERROR, "fetch_not_started", log_str("why", "no thread, or no descriptor; a reload tries it again"));
    command_mail_put(&server->writer.loop.mailbox, snapshot_command_new(snapshot));
    for (unsigned i = 0; i < server->worker_count; i++)
        command_mail_put(&server->workers[i].loop.mailbox, snapshot_command_new(snapshot));
    counter_add(&server->reloads_done, 1);
    counter_set(&server->snapshot_at, (uint64_t)clock_wall());
}

bool server_has_adopted(const struct server *server)
{
    bool has = counter_get(&server->writer.adopted) == server->snapshot->number;

    for (unsigned i = 0; i < server->worker_count; i++)
        has &= counter_get(&server->workers[i].adopted) == server->snapshot->number;
    return has;
}

void server_count_failed_reload(struct server *server)
{
    counter_add(&server->reloads_failed, 1);
}

/* --- closing ------------------------------------------------------------------------------------------------- */

/* A worker without a thread serves nobody: the others need not wait for it. */
static void server_ask_workers_to_leave(struct server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        if (!server->workers[i].is_started)
            counter_set(&server->workers[i].has_left, 1);
    backend_host_leave_loops(&server->writer.backends);
    counter_set(&server->is_stopping, 1);
    uplink_host_hurry(&server->writer.uplink);
    for (unsigned i = 0; i < server->worker_count; i++)
        if (server->workers[i].is_started)
            mailbox_ring(&server->workers[i].loop.mailbox);
}

void server_stop(struct server *server)
{
    server_ask_workers_to_leave(server);
    for (unsigned i = 0; i < server->worker_count; i++)
        worker_join(&server->workers[i]);
    writer_thread_stop(&server->writer);  /* once its calls are back */
    fetch_stop(server->fetch);
}

void server_close(struct server *server)
{
    for (unsigned i = 0; i < server->worker_count; i++)
        worker_close(&server->workers[i]);
    stores_close_threaded(&server->stores);
    cluster_host_close_engine(&server->cluster);
    writer_thread_close(&server->writer);
    cluster_host_close(&server->cluster);
    free(server->workers);
    usage_tables_fini(&server->usage);
    addresses_fini(&server->addresses);
    revocations_fini(&server->revocations);
    fetch_free(server->fetch);
    stores_close_inline(&server->stores);
    snapshot_unref(server->snapshot);
    tls_tickets_free(server->tls_tickets);
    gate_fini(&server->gate);
}

void server_await_leaving(struct server *server, const sigset_t *signals)
{
    const struct timespec slice = { .tv_nsec = 10 * 1000 * 1000 };
    const msec            by    = clock_now() + server_settings(server)->stop_timeout_s * 1000;

    while (server_connection_count(server) > 0 && clock_now() < by && sigtimedwait(signals, NULL, &slice) < 0)
        continue;
}
