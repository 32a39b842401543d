/* cluster_metrics.c - what /metrics says of a node's part in a cluster, and of its engine. */
#include "main/cluster_host.h"
#include "main/metrics_put.h"

static void put_traffic(struct buf *out, const struct cluster_counters *counters)
{
    static const char name[] = "longwire_bus_items_total";

    put_metric_head(out, name, "counter", "Messages, and heads in place of messages, between this node and others.");
    buf_putf(out, "%s{direction=\"out\",kind=\"message\"} %llu\n", name,
             (unsigned long long)counter_get(&counters->messages_sent));
    buf_putf(out, "%s{direction=\"out\",kind=\"head\"} %llu\n", name, (unsigned long long)counter_get(&counters->heads_sent));
    buf_putf(out, "%s{direction=\"in\",kind=\"message\"} %llu\n", name,
             (unsigned long long)counter_get(&counters->messages_heard));
    buf_putf(out, "%s{direction=\"in\",kind=\"head\"} %llu\n", name, (unsigned long long)counter_get(&counters->heads_heard));
    put_one(out, "longwire_bus_frames_sent_total", "counter", "Frames to other nodes.",
                   counter_get(&counters->frames_sent));
    put_one(out, "longwire_bus_frames_heard_total", "counter", "Frames of other nodes.",
                   counter_get(&counters->frames_heard));
}

static void put_losses(struct buf *out, const struct cluster_counters *counters)
{
    static const char doubts[] = "longwire_heads_doubted_total";

    put_one(out, "longwire_bus_gaps_total", "counter",
                   "Times that frames of another node were missing; what was in them was read from the store.",
                   counter_get(&counters->holes));
    put_one(out, "longwire_bus_frames_old_total", "counter", "Frames that came twice, or of a node that is gone.",
                   counter_get(&counters->old_frames));
    put_one(out, "longwire_bus_frames_malformed_total", "counter", "Frames that could not be read.",
                   counter_get(&counters->malformed));
    put_one(out, "longwire_bus_frames_lost_total", "counter", "Frames that the engine did not take.",
                   counter_get(&counters->frames_lost));
    put_one(out, "longwire_bus_dropped_total", "counter",
                   "Messages that were not sent to other nodes; these read them from the store.",
                   counter_get(&counters->dropped));
    put_one(out, "longwire_heads_compared_total", "counter",
                   "Times that all followed channels were compared with the store, because something may have been missed.",
                   counter_get(&counters->comparisons));
    put_metric_head(out, doubts, "counter", "Reasons for that; several may end in one comparison.");
    for (enum doubt_reason reason = 0; reason < DOUBT_REASONS; reason++)
        buf_putf(out, "%s{reason=\"%s\"} %llu\n", doubts, doubt_reason_name(reason),
                 (unsigned long long)counter_get(&counters->doubts[reason]));
    put_one(out, "longwire_heads_compared_spared_total", "counter",
                   "… that were not necessary, because the other nodes told all that may have been missed.",
                   counter_get(&counters->comparisons_spared));
}

static void put_routes(struct buf *out, const struct cluster_counters *counters)
{
    put_one(out, "longwire_routes", "gauge", "Routes of this node.", counter_get(&counters->routes));
    put_one(out, "longwire_route_changes_total", "counter", "Routes added and removed.",
                   counter_get(&counters->route_changes));
    put_one(out, "longwire_route_lookups_total", "counter", "Look-ups of who follows, many names in each.",
                   counter_get(&counters->lookups));
    put_one(out, "longwire_route_lookups_failed_total", "counter", "Look-ups that failed.",
                   counter_get(&counters->lookup_failures));
    put_one(out, "longwire_peer_questions_total", "counter", "Questions to other nodes.",
                   counter_get(&counters->questions));
    put_one(out, "longwire_peer_answers_missing_total", "counter", "Answers that did not come in time.",
                   counter_get(&counters->missing_answers));
}

static void put_health(struct buf *out, const struct cluster_counters *counters)
{
    put_one(out, "longwire_cluster_up", "gauge", "1 while the cluster's engine answers.",
                   counter_get(&counters->is_up));
    put_one(out, "longwire_cluster_healthy", "gauge",
                   "1 while this node is sent what others publish; else it polls the store.",
                   counter_get(&counters->is_healthy));
    put_one(out, "longwire_cluster_nodes", "gauge", "Nodes whose lease runs, this one included.",
                   counter_get(&counters->nodes));
    put_one(out, "longwire_cluster_lives_total", "counter",
                   "Times that the engine had lost what it held, the start included.", counter_get(&counters->lives));
    put_one(out, "longwire_lease_failures_total", "counter", "Renewals of this node's lease that failed.",
                   counter_get(&counters->lease_failures));
}

static void put_latency_of_engine(struct buf *out, const struct engine_stats *stats)
{
    static const char name[] = "longwire_engine_answer_seconds";
    const size_t      count  = sizeof stats->answer_us_buckets / sizeof stats->answer_us_buckets[0];
    uint64_t          seen   = 0;

    put_metric_head(out, name, "histogram", "How long the cluster's engine takes to answer.");
    for (size_t i = 0; i + 1 < count; i++) {
        seen += stats->answer_us_buckets[i];
        buf_putf(out, "%s_bucket{le=\"%g\"} %llu\n", name, (double)(UINT64_C(32) << i) / 1e6, (unsigned long long)seen);
    }
    buf_putf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %g\n%s_count %llu\n", name,
             (unsigned long long)stats->answer_count, name, (double)stats->answer_us_sum / 1e6, name,
             (unsigned long long)stats->answer_count);
}

static void put_engine(struct buf *out, struct engine *engine)
{
    struct engine_stats stats = { 0 };

    engine->ops->stats(engine, &stats);
    put_one(out, "longwire_engine_calls_total", "counter", "Calls to the cluster's engine.", stats.call_count);
    put_one(out, "longwire_engine_calls_failed_total", "counter", "Of them, those that failed.", stats.failure_count);
    put_one(out, "longwire_engine_calls_waiting", "gauge", "Calls under way.", stats.waiting_count);
    put_one(out, "longwire_engine_reconnects_total", "counter", "Connections to the engine that were made anew.",
                   stats.reconnect_count);
    put_one(out, "longwire_engine_bytes_sent_total", "counter", "Bytes to the engine.", stats.bytes_sent);
    put_one(out, "longwire_engine_bytes_received_total", "counter", "Bytes from it.", stats.bytes_received);
    put_latency_of_engine(out, &stats);
}

void cluster_host_put_metrics(const struct cluster_host *host, struct buf *out)
{
    if (host->cluster == NULL)
        return;
    const struct cluster_counters *counters = cluster_counters(host->cluster);
    put_health(out, counters);
    put_traffic(out, counters);
    put_losses(out, counters);
    put_routes(out, counters);
    put_engine(out, host->engine);
}
