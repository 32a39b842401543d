/* metrics.c - the numbers of a node as Prometheus text (exposition format 0.0.4). No label names a channel or a
 * user, so that a million channels make no more series than one (threat 109). */
#include "fetch/fetch.h"
#include "main/forwarder_metrics.h"
#include "main/metrics_put.h"
#include "main/process_use.h"
#include "main/server.h"
#include "reactor/log.h"
#include "store/store.h"

void put_metric_head(struct buf *out, const char *name, const char *kind, const char *help)
{
    buf_putf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

void put_one(struct buf *out, const char *name, const char *kind, const char *help, uint64_t value)
{
    put_metric_head(out, name, kind, help);
    buf_putf(out, "%s %llu\n", name, (unsigned long long)value);
}

/* Sums one counter over all workers; `at` is its offset in struct worker. */
static uint64_t sum(const struct server *server, size_t at)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < server->worker_count; i++)
        total += counter_get((const struct counter *)((const char *)&server->workers[i] + at));
    return total;
}

#define SUM(server, member) sum((server), offsetof(struct worker, member))

static void put_by_transport(struct buf *out, const struct server *server, const char *name, const char *kind,
                             const char *help, size_t at)
{
    put_metric_head(out, name, kind, help);
    for (size_t transport = 0; transport < TRANSPORT_COUNT; transport++)
        buf_putf(out, "%s{transport=\"%s\"} %llu\n", name, transport_text((enum transport)transport),
                 (unsigned long long)sum(server, at + transport * sizeof(struct counter)));
}

static void put_latency(struct buf *out, const struct server *server)
{
    static const char name[] = "longwire_publish_to_socket_seconds";
    uint64_t          seen   = 0;

    put_metric_head(out, name, "histogram", "From accepting a publish to handing it to a subscriber's socket.");
    for (size_t i = 0; i + 1 < LATENCY_BUCKETS; i++) {
        seen += sum(server, offsetof(struct worker, sessions.latency.buckets) + i * sizeof(struct counter));
        buf_putf(out, "%s_bucket{le=\"%g\"} %llu\n", name, (double)(1u << i) / 1000, (unsigned long long)seen);
    }
    buf_putf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %g\n%s_count %llu\n", name,
             (unsigned long long)SUM(server, sessions.latency.count), name,
             (double)SUM(server, sessions.latency.sum_ms) / 1000,
             name, (unsigned long long)SUM(server, sessions.latency.count));
}

static void put_by_result(struct buf *out, const char *name, const char *result, uint64_t value)
{
    buf_putf(out, "%s{result=\"%s\"} %llu\n", name, result, (unsigned long long)value);
}

static void put_callers(struct buf *out, const struct server *server)
{
    struct fetch_counters fetch;
    static const char     calls[] = "longwire_connect_hook_calls_total", sets[] = "longwire_key_sets_total";

    fetch_read_counters(server->fetch, &fetch);
    put_metric_head(out, calls, "counter", "Answers of the connect hook.");
    put_by_result(out, calls, "let_in", SUM(server, callers.all.counters.let_in));
    put_by_result(out, calls, "refused", SUM(server, callers.all.counters.refused));
    put_by_result(out, calls, "garbage", SUM(server, callers.all.counters.garbage));
    put_by_result(out, calls, "silent", SUM(server, callers.all.counters.silent));
    put_metric_head(out, "longwire_connect_hook_seconds_total", "counter", "Time that these answers took.");
    buf_putf(out, "longwire_connect_hook_seconds_total %g\n", (double)SUM(server, callers.all.counters.took_ms_sum) / 1000);
    put_metric_head(out, sets, "counter", "Key sets of issuers.");
    put_by_result(out, sets, "fetched", SUM(server, callers.sets.counters.fetched));
    put_by_result(out, sets, "failed", SUM(server, callers.sets.counters.failed));
    put_one(out, "longwire_fetches_under_way", "gauge", "Calls to other servers.", counter_get(&fetch.under_way));
    put_one(out, "longwire_fetches_waiting", "gauge", "Calls to other servers that wait for a place.",
            counter_get(&fetch.waiting));
}

static void put_usage(struct buf *out, const struct server *server)
{
    static const char name[] = "longwire_limit_refusals_total";

    put_metric_head(out, name, "counter", "What a limit for each connection, user, key or address refused.");
    for (size_t i = 0; i < USAGE_LIMIT_COUNT; i++)
        buf_putf(out, "%s{limit=\"%s\"} %llu\n", name, usage_limit_name((enum usage_limit)i),
                 (unsigned long long)sum(server, offsetof(struct worker, usage.refused) + i * sizeof(struct usage_refusals)));
    put_one(out, "longwire_reads_held_back_total", "counter",
            "Times that a connection was not read from, because it sent faster than bytes_per_connection_per_s.",
            SUM(server, loop.paces.rests));
}

/* A revocation is counted once: each loop carries it out, and the first one counts. */
static void put_revocations(struct buf *out, const struct server *server)
{
    put_one(out, "longwire_revocations_total", "counter", "Revocations that were carried out.",
            counter_get(&server->workers[0].control.revoked));
    put_one(out, "longwire_links_revoked_total", "counter", "Links that revocations ended.",
            SUM(server, control.cut));
}

static void put_sync(struct buf *out, const struct store_stats *stats, const char *name, const char *help)
{
    const size_t count = sizeof stats->sync_us_buckets / sizeof stats->sync_us_buckets[0];
    uint64_t     seen  = 0;

    put_metric_head(out, name, "histogram", help);
    for (size_t i = 0; i + 1 < count; i++) {
        seen += stats->sync_us_buckets[i];
        buf_putf(out, "%s_bucket{le=\"%g\"} %llu\n", name, (double)(UINT64_C(32) << i) / 1e6, (unsigned long long)seen);
    }
    buf_putf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %g\n%s_count %llu\n", name,
             (unsigned long long)stats->sync_count,
             name, (double)stats->sync_us_sum / 1e6, name, (unsigned long long)stats->sync_count);
}

static void put_sessions(struct buf *out, const struct server *server)
{
    put_by_transport(out, server, "longwire_sessions", "gauge", "Clients that follow channels now.",
                     offsetof(struct worker, sessions.counters.sessions));
    put_by_transport(out, server, "longwire_deliveries_total", "counter", "Messages handed to subscribers' sockets.",
                     offsetof(struct worker, sessions.counters.delivered));
    put_by_transport(out, server, "longwire_sent_bytes_total", "counter",
                     "Framed bytes handed to subscribers' sockets.",
                     offsetof(struct worker, sessions.counters.bytes));
    put_one(out, "longwire_sends_total", "counter", "System calls that sent frames.",
            SUM(server, sessions.counters.writes));
    put_one(out, "longwire_compressed_messages_total", "counter",
            "Messages that were compressed for WebSockets, each once for all its receivers.",
            SUM(server, sessions.frames.compressed.messages));
    put_one(out, "longwire_compressed_bytes_before_total", "counter", "Their bytes before that …",
            SUM(server, sessions.frames.compressed.bytes_before));
    put_one(out, "longwire_compressed_bytes_after_total", "counter", "… and after it.",
            SUM(server, sessions.frames.compressed.bytes_after));
    put_one(out, "longwire_uncompressed_messages_total", "counter",
            "Messages for WebSockets with compression that stayed as they were: too short, compressed already, or not shorter afterwards.",
            SUM(server, sessions.frames.compressed.left_plain));
    put_one(out, "longwire_gaps_total", "counter", "Gaps told to subscribers.", SUM(server, sessions.counters.gaps));
    put_one(out, "longwire_notifies_total", "counter", "Heads told to subscribers in mode notify.",
            SUM(server, sessions.counters.notifies));
    put_one(out, "longwire_lagging_readers", "gauge", "Readers whose socket was full and who have not caught up since.",
            SUM(server, sessions.counters.lagging));
    put_one(out, "longwire_cut_frames_bytes", "gauge",
            "Frames held for readers whose socket took a part of them; one held for many counts once.",
            SUM(server, sessions.cuts.bytes));
    put_one(out, "longwire_cut_frames_remade_total", "counter",
            "Frames let go while a reader took nothing, and made again from the log.",
            SUM(server, sessions.cuts.remade));
    put_one(out, "longwire_cut_frames_lost_total", "counter",
            "Readers closed because the log no longer has the message whose frame they have a part of.",
            SUM(server, sessions.cuts.lost));
    put_one(out, "longwire_slow_readers_closed_total", "counter", "Closed after slow_reader_timeout_s.",
            SUM(server, sessions.counters.dropped_slow));
    put_one(out, "longwire_silent_clients_closed_total", "counter", "Closed for want of a pong or a beat.",
            SUM(server, sessions.counters.dropped_silent));
    put_one(out, "longwire_expired_links_total", "counter", "Ended because the client's token did.",
            SUM(server, sessions.counters.expired));
    put_one(out, "longwire_beats_total", "counter", "Pings of clients.", SUM(server, sessions.counters.beats));
    put_one(out, "longwire_digests_differed_total", "counter", "Pings whose digest was another one than the server's.",
            SUM(server, sessions.counters.digests_differed));
    put_one(out, "longwire_places_told_total", "counter", "Pings that asked for the server's places.",
            SUM(server, sessions.counters.places_told));
    put_one(out, "longwire_admissions_total", "counter", "Clients that were let in.",
            SUM(server, sessions.counters.admitted));
    put_one(out, "longwire_admissions_refused_total", "counter",
            "Clients that were told to come again later (admissions_per_s).", SUM(server, sessions.counters.put_off));
    put_one(out, "longwire_drained_total", "counter", "Clients that were told to reconnect by a drain.",
            SUM(server, sessions.counters.drained));
    put_one(out, "longwire_draining", "gauge", "1 while this node is drained, and afterwards.",
            counter_get(&server->drain_ms) != 0);
    put_one(out, "longwire_networks_learned", "gauge", "Networks of which links were lost in silence.",
            SUM(server, sessions.counters.networks));
}

static void put_devices(struct buf *out, const struct server *server)
{
    const struct devices_counters *counters = &server->writer.devices.counters;

    put_one(out, "longwire_device_sessions", "gauge", "Sessions of devices in memory.", counter_get(&counters->standing));
    put_one(out, "longwire_device_links", "gauge", "Links of sessions of devices now.", counter_get(&counters->linked));
    put_one(out, "longwire_session_opens_total", "counter", "Links that began or took over a session.",
            counter_get(&counters->opens));
    put_one(out, "longwire_session_resumes_total", "counter", "… of them, those whose session was there before.",
            counter_get(&counters->resumes));
    put_one(out, "longwire_session_refusals_total", "counter", "Sessions that could not be opened.",
            counter_get(&counters->refused));
    put_one(out, "longwire_session_stale_total", "counter", "Links refused because their generation was over.",
            counter_get(&counters->stale));
    put_one(out, "longwire_session_fences_total", "counter", "Links that a newer one replaced.",
            counter_get(&counters->fences));
    put_one(out, "longwire_session_peer_fences_total", "counter",
            "Other nodes of the cluster asked to let a link go, because its session was opened here.",
            counter_get(&counters->peer_fences));
    put_one(out, "longwire_sessions_untold_total", "counter",
            "Sessions opened here without having been told in time what was acknowledged on their older link at another node.",
            counter_get(&counters->untold));
    put_one(out, "longwire_sessions_compared_total", "counter",
            "Sessions with a link that were compared with the ledger, because other nodes may have opened them.",
            counter_get(&counters->compared));
    put_one(out, "longwire_sessions_overtaken_total", "counter",
            "… of them, those that had a newer link, or whose row was lost: the link was ended.",
            counter_get(&counters->overtaken));
    put_one(out, "longwire_sessions_ended_total", "counter", "Sessions that the setting `devices` ended.",
            counter_get(&counters->ended));
    put_one(out, "longwire_acks_total", "counter", "Acknowledgements that moved a place.", counter_get(&counters->acks));
    put_one(out, "longwire_acks_stale_total", "counter", "Acknowledgements dropped, because a newer link was there.",
            counter_get(&counters->stale_acks));
    put_one(out, "longwire_redeliveries_total", "counter",
            "Messages handed to links that ended before they were acknowledged: their devices get them again.",
            counter_get(&counters->redeliveries));
    put_one(out, "longwire_places_stored_total", "counter", "Acknowledged places stored.",
            counter_get(&counters->places_stored));
    put_one(out, "longwire_read_marks_total", "counter", "Read marks that moved.", counter_get(&counters->marks));
    put_one(out, "longwire_tickets_refused_total", "counter", "Tickets that were not ours, or had ended.",
            SUM(server, sessions.counters.tickets_refused));
}

static void put_presence(struct buf *out, const struct server *server)
{
    const struct presence_counters *counters = &server->writer.presence.counters;
    static const char               told[]   = "longwire_presence_told_total";

    put_one(out, "longwire_presence_devices", "gauge", "Devices in channels whose presence is known, each channel counted.",
            counter_get(&counters->members));
    put_one(out, "longwire_presence_channels", "gauge", "Channels that they are in, or that somebody is told of.",
            counter_get(&counters->channels));
    put_one(out, "longwire_presence_joins_total", "counter", "Devices that came to a channel.",
            counter_get(&counters->joins));
    put_one(out, "longwire_presence_leaves_total", "counter", "Devices that left a channel.",
            counter_get(&counters->leaves));
    put_one(out, "longwire_presence_returns_total", "counter",
            "Devices that were cut and came back to a channel before they had left it.", counter_get(&counters->returns));
    put_one(out, "longwire_presence_peer_news_total", "counter", "Changes of sets that other nodes told, each telling counted.",
            counter_get(&counters->peer_news));
    put_one(out, "longwire_presence_peer_sets_total", "counter",
            "Whole sets of other nodes that were asked for, because what was known of them was not right.",
            counter_get(&counters->peer_sets));
    put_one(out, "longwire_presence_refused_total", "counter", "Devices not noted, because of presence_members_max.",
            counter_get(&counters->refused));
    put_metric_head(out, told, "counter", "What channels have told of their changes: each change, or the number alone.");
    buf_putf(out, "%s{what=\"change\"} %llu\n%s{what=\"number\"} %llu\n", told,
             (unsigned long long)counter_get(&counters->changes_told), told,
             (unsigned long long)counter_get(&counters->counts_told));
    put_one(out, "longwire_presence_frames_total", "counter", "Frames join, leave and presence to clients.",
            SUM(server, sessions.presence.frames));
}

static void put_http(struct buf *out, const struct server *server)
{
    put_one(out, "longwire_http_connections", "gauge", "HTTP connections now, long polls among them.",
            SUM(server, http.counters.conns));
    put_one(out, "longwire_http2_connections", "gauge", "Connections that speak HTTP/2 now.",
            SUM(server, http.counters.h2_conns));
    put_one(out, "longwire_http2_streams", "gauge", "Their streams: requests under way, and sessions.",
            SUM(server, http.counters.h2_streams));
    put_one(out, "longwire_http_connections_total", "counter", "Connections accepted.",
            SUM(server, http.counters.accepted));
    put_one(out, "longwire_http_connections_refused_total", "counter",
            "Connections above connections_max that got no answer but 503.", SUM(server, http.counters.refused));
    put_one(out, "longwire_http_answers_waiting_bytes", "gauge", "Answers that wait for clients to read them.",
            SUM(server, http.counters.owed));
    put_one(out, "longwire_http_stuck_clients_closed_total", "counter",
            "Closed because they took nothing of their answers while too many answers waited.",
            SUM(server, http.counters.stuck));
    put_one(out, "longwire_http_requests_total", "counter", "Requests served.", SUM(server, http.counters.requests));
    put_one(out, "longwire_http_faults_total", "counter", "Requests refused by the parser, by limits or by origin.",
            SUM(server, http.counters.faults));
}

static void put_proxies(struct buf *out, const struct server *server)
{
    static const char named[] = "longwire_proxy_headers_total";

    put_metric_head(out, named, "counter", "Connections of proxies that began with a PROXY header, by what became of it.");
    buf_putf(out, "%s{result=\"named\"} %llu\n", named, (unsigned long long)SUM(server, proxies.named));
    buf_putf(out, "%s{result=\"local\"} %llu\n", named, (unsigned long long)SUM(server, proxies.local));
    buf_putf(out, "%s{result=\"refused\"} %llu\n", named, (unsigned long long)SUM(server, proxies.refused));
}

static void put_tls(struct buf *out, const struct server *server)
{
    static const char done[] = "longwire_tls_handshakes_total", failed[] = "longwire_tls_handshakes_failed_total";

    put_one(out, "longwire_tls_connections", "gauge", "Connections over TLS.", SUM(server, tls.maker.links));
    put_one(out, "longwire_tls_handshakes_under_way", "gauge", "TLS handshakes that are not done yet.",
            SUM(server, tls.counters.under_way));
    put_metric_head(out, done, "counter", "TLS handshakes that were done.");
    buf_putf(out, "%s{version=\"1.2\"} %llu\n", done, (unsigned long long)SUM(server, tls.counters.done[0]));
    buf_putf(out, "%s{version=\"1.3\"} %llu\n", done, (unsigned long long)SUM(server, tls.counters.done[1]));
    put_one(out, "longwire_tls_handshakes_resumed_total", "counter", "Those of them that resumed a session.",
            SUM(server, tls.counters.resumed));
    put_metric_head(out, failed, "counter", "TLS handshakes that failed.");
    for (size_t i = 0; i < TLS_FAILURE_COUNT; i++)
        buf_putf(out, "%s{reason=\"%s\"} %llu\n", failed, tls_failure_name((enum tls_failure)i),
                 (unsigned long long)sum(server, offsetof(struct worker, tls.counters.failed) + i * sizeof(struct counter)));
}

static void put_store(struct buf *out, const char *kind, const struct store_stats *stats)
{
    buf_putf(out, "longwire_publishes_total{store=\"%s\"} %llu\n", kind, (unsigned long long)stats->append_count);
}

/* Where memory channels lie in an engine. */
static void put_memory_engine(struct buf *out, const struct store_stats *stats)
{
    put_one(out, "longwire_memory_engine_up", "gauge", "1 while the engine that keeps memory channels answers.", !stats->is_broken);
    put_one(out, "longwire_memory_engine_failures_total", "counter",
            "Lost connections to it, attempts that failed, and calls that it refused.", stats->failure_count);
    put_sync(out, stats, "longwire_memory_engine_answer_seconds", "How long it takes to answer.");
}

static void put_stores(struct buf *out, const struct server *server)
{
    struct store_stats durable = { 0 }, memory = { 0 };

    server->stores.durable->ops->stats(server->stores.durable, &durable);
    server->stores.memory->ops->stats(server->stores.memory, &memory);
    put_metric_head(out, "longwire_publishes_total", "counter", "Messages appended.");
    put_store(out, "durable", &durable);
    put_store(out, "memory", &memory);
    put_one(out, "longwire_store_batches_total", "counter", "Groups committed to the durable log.",
            durable.batch_count);
    put_sync(out, &durable, "longwire_store_sync_seconds", "One synced commit of the log.");
    put_one(out, "longwire_store_disk_bytes", "gauge", "Size of the durable log's files.", durable.disk_bytes);
    put_one(out, "longwire_store_memory_bytes", "gauge", "Held by memory channels, about.", memory.memory_bytes);
    put_one(out, "longwire_store_channels", "gauge", "Channels the stores know in memory.",
            durable.channel_count + memory.channel_count);
    put_one(out, "longwire_store_full", "gauge", "1 while publishes are refused for want of disk space.",
            durable.is_full);
    put_one(out, "longwire_store_failures_total", "counter", "Writes and syncs of the durable log that failed.",
            durable.failure_count);
    put_one(out, "longwire_store_waiting", "gauge", "Requests to the durable store that no connection to its engine has taken yet.",
            durable.waiting_count);
    put_one(out, "longwire_store_reconnects_total", "counter", "Connections to the engine that were lost and made anew.",
            durable.reconnect_count);
    put_one(out, "longwire_store_commits_resolved_total", "counter",
            "Commits whose answer was lost, and whose outcome was learnt before their publishers were answered.",
            durable.resolved_count);
    put_one(out, "longwire_store_commits_unknown_total", "counter", "… and could not be learnt: answered 503, not known.",
            durable.unresolved_count);
    put_metric_head(out, "longwire_store_clock_ahead_seconds", "gauge", "How far this machine's clock is before PostgreSQL's.");
    buf_putf(out, "longwire_store_clock_ahead_seconds %.3f\n", (double)durable.clock_ahead_ms / 1000);
    put_one(out, "longwire_store_damaged_total", "counter",
            "Places in the durable log's files that were found damaged since the start.", durable.damage_count);
    put_one(out, "longwire_store_unreadable", "gauge", "1 while the log can't even be opened for reading.",
            durable.is_unreadable);
    put_one(out, "longwire_store_broken", "gauge", "1 while the log can't be trusted and is being reopened.",
            durable.is_broken);
    if (server->stores.memory->ops->engine != NULL)
        put_memory_engine(out, &memory);
}

static void put_writer(struct buf *out, const struct server *server, const struct writer_stats *stats)
{
    put_one(out, "longwire_publishes_waiting", "gauge", "Publishes waiting for the disk.", stats->waiting_count);
    put_one(out, "longwire_publishes_waiting_bytes", "gauge", "Their bytes.", stats->waiting_bytes);
    put_one(out, "longwire_publishes_refused_total", "counter", "Publishes answered 429: too many were waiting.",
            counter_get(&server->writer.writer.refused) + SUM(server, shard.refused));
    put_one(out, "longwire_publishes_late_total", "counter",
            "Publishes answered 503: the store did not complete them in time.",
            counter_get(&server->writer.writer.late));
    /* Every loop follows sys:control. That one channel is no client's. */
    put_one(out, "longwire_channels_followed", "gauge", "Channels with subscribers on this node.",
            stats->followed_count > 0 ? stats->followed_count - 1 : 0);
    put_one(out, "longwire_tail_bytes", "gauge", "Recent durable messages in memory.", stats->tail_bytes);
}

static void put_events(struct buf *out, const struct server *server)
{
    const struct event_outbox *outbox = &server->writer.events;

    put_one(out, "longwire_events_total", "counter", "Events that were written to sys:events/N.",
            counter_get(&outbox->written));
    put_one(out, "longwire_events_waiting", "gauge", "Events that are to be written.",
            counter_get(&outbox->waiting));
    put_one(out, "longwire_events_refused_total", "counter", "Times that the store did not take an event; it is tried again.",
            counter_get(&outbox->refused));
    put_one(out, "longwire_events_lost_total", "counter", "Events that were not written: too many waited.",
            counter_get(&outbox->lost));
    put_one(out, "longwire_events_found_total", "counter", "Events that a server had left behind, and that were found.",
            counter_get(&outbox->found));
    put_one(out, "longwire_links_lost_total", "counter", "Links of nodes that have ended, whose end was told here.",
            counter_get(&outbox->links_lost));
    put_one(out, "longwire_offline_waiting", "gauge", "Messages whose offline devices are yet to be found out.",
            counter_get(&server->writer.offline.waiting));
    put_one(out, "longwire_offline_users_total", "counter", "Users whose devices were looked at for messages to them.",
            counter_get(&server->writer.offline.looked));
    put_one(out, "longwire_offline_beyond_total", "counter", "Messages to groups with more members than are looked at.",
            counter_get(&server->writer.offline.beyond));
}

static void put_config(struct buf *out, const struct server *server)
{
    static const char name[] = "longwire_config_reloads_total";

    put_metric_head(out, name, "counter", "Times that the configuration was read again (SIGHUP).");
    buf_putf(out, "%s{result=\"ok\"} %llu\n%s{result=\"failed\"} %llu\n", name,
             (unsigned long long)counter_get(&server->reloads_done), name,
             (unsigned long long)counter_get(&server->reloads_failed));
    put_one(out, "longwire_config_loaded_timestamp_seconds", "gauge", "When the configuration in force was read.",
            counter_get(&server->snapshot_at) / 1000);
}

/* Under the names that Prometheus' own client libraries give these, so that dashboards find them. */
static void put_process(struct buf *out, const struct server *server)
{
    const struct process_use use = process_use_get();

    put_metric_head(out, "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.");
    buf_putf(out, "process_cpu_seconds_total %.2f\n", use.cpu_seconds);
    put_metric_head(out, "process_start_time_seconds", "gauge",
                    "Start time of the process since unix epoch in seconds.");
    buf_putf(out, "process_start_time_seconds %.3f\n", (double)server->started_wall / 1000);
    put_one(out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", use.resident_bytes);
    put_one(out, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", use.virtual_bytes);
    put_one(out, "process_open_fds", "gauge", "Number of open file descriptors.", use.open_fds);
    put_one(out, "process_max_fds", "gauge", "Maximum number of open file descriptors.", use.max_fds);
}

/* The step is the highest that any loop sees. */
static void put_memory(struct buf *out, const struct server *server)
{
    uint64_t held = 0, step = 0;

    for (unsigned i = 0; i < server->worker_count; i++) {
        const struct memory_watch *watch = &server->workers[i].memory;
        held = counter_get(&watch->held) > held ? counter_get(&watch->held) : held;
        step = counter_get(&watch->step) > step ? counter_get(&watch->step) : step;
    }
    put_one(out, "longwire_memory_held_bytes", "gauge", "Memory that the process holds; 0 while nothing bounds it.", held);
    put_one(out, "longwire_memory_max_bytes", "gauge", "memory_bytes_max, or what stands for it; 0: nothing bounds it.",
            counter_get(&server->memory_most));
    put_one(out, "longwire_memory_step", "gauge",
            "What is done against a lack of memory: 0 nothing, 1 caches shrink, 2 new connections are refused, 3 bodies and pages "
            "are, 4 the newest strangers are closed, 5 the newest of all.", step);
    put_metric_head(out, "longwire_memory_closed_total", "counter", "Connections closed because memory was short.");
    buf_putf(out, "longwire_memory_closed_total{who=\"stranger\"} %llu\nlongwire_memory_closed_total{who=\"known\"} %llu\n",
             (unsigned long long)(SUM(server, http.counters.shed_strangers) + SUM(server, sessions.counters.shed_strangers)),
             (unsigned long long)(SUM(server, http.counters.shed_known) + SUM(server, sessions.counters.shed_known)));
}

void server_put_metrics(struct server *server, const struct writer_stats *stats, struct buf *out)
{
    put_one(out, "longwire_up_seconds", "gauge", "Since this process started.",
            (uint64_t)(clock_now() - server->started_at) / 1000);
    put_process(out, server);
    put_memory(out, server);
    put_config(out, server);
    put_http(out, server);
    put_proxies(out, server);
    put_tls(out, server);
    put_sessions(out, server);
    put_devices(out, server);
    put_presence(out, server);
    put_callers(out, server);
    put_usage(out, server);
    backend_host_put_metrics(&server->writer.backends, out);
    put_revocations(out, server);
    put_events(out, server);
    put_latency(out, server);
    put_writer(out, server, stats);
    put_stores(out, server);
    uplink_host_put_metrics(&server->writer.uplink, out);
    cluster_host_put_metrics(&server->cluster, out);
    forwarders_put_metrics(&server->writer.uplink.uplink.forwarders, clock_wall(), out);
    put_one(out, "longwire_log_lines_lost_total", "counter", "Log lines that could not be written.", log_lost());
}
