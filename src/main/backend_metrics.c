/* backend_metrics.c - what /metrics says of back ends. The only label is the name of a section of the configuration. */
#include "base/must.h"
#include "main/backend_host.h"
#include "main/metrics_put.h"

#define COUNTER_AT(member) offsetof(struct backend_counters, member)

static uint64_t counter_at(const struct backend *backend, size_t at)
{
    return counter_get((const struct counter *)(const void *)((const char *)backend_counters(backend) + at));
}

static void put_each(struct buf *out, const struct backends *set, const char *name, const char *kind, const char *help, size_t at)
{
    put_metric_head(out, name, kind, help);
    for (size_t i = 0; i < set->count; i++)
        buf_putf(out, "%s{backend=\"%.*s\"} %llu\n", name, SPAN_ARG(backend_name(set->at[i])),
                 (unsigned long long)counter_at(set->at[i], at));
}

static void put_outcomes(struct buf *out, const struct backends *set)
{
    static const char name[] = "longwire_backend_calls_total";

    put_metric_head(out, name, "counter", "Calls to a back end, by how they ended; an answer of any status is `answered`.");
    for (size_t i = 0; i < set->count; i++)
        for (size_t outcome = 0; outcome < BACKEND_OUTCOME_COUNT; outcome++)
            buf_putf(out, "%s{backend=\"%.*s\",outcome=\"%s\"} %llu\n", name, SPAN_ARG(backend_name(set->at[i])),
                     backend_outcome_text((enum backend_outcome)outcome),
                     (unsigned long long)counter_at(set->at[i], COUNTER_AT(outcomes) + outcome * sizeof(struct counter)));
}

static void put_statuses(struct buf *out, const struct backends *set)
{
    static const char name[] = "longwire_backend_answers_total";

    put_metric_head(out, name, "counter", "Answers of a back end, by their status.");
    for (size_t i = 0; i < set->count; i++)
        for (unsigned class = 2; class < 6; class++)
            buf_putf(out, "%s{backend=\"%.*s\",status=\"%uxx\"} %llu\n", name, SPAN_ARG(backend_name(set->at[i])), class,
                     (unsigned long long)counter_at(set->at[i], COUNTER_AT(statuses) + class * sizeof(struct counter)));
}

static void put_times(struct buf *out, const struct backends *set)
{
    static const char name[] = "longwire_backend_call_seconds";

    put_metric_head(out, name, "histogram", "How long calls to a back end took, waiting for a place and retries included.");
    for (size_t i = 0; i < set->count; i++) {
        struct span label = backend_name(set->at[i]);
        for (size_t bucket = 0; bucket < BACKEND_BUCKETS; bucket++)
            buf_putf(out, "%s_bucket{backend=\"%.*s\",le=\"%g\"} %llu\n", name, SPAN_ARG(label), backend_buckets_ms[bucket] / 1000.0,
                     (unsigned long long)counter_at(set->at[i], COUNTER_AT(took) + bucket * sizeof(struct counter)));
        uint64_t count = counter_at(set->at[i], COUNTER_AT(took_count));
        buf_putf(out, "%s_bucket{backend=\"%.*s\",le=\"+Inf\"} %llu\n%s_sum{backend=\"%.*s\"} %g\n%s_count{backend=\"%.*s\"} %llu\n",
                 name, SPAN_ARG(label), (unsigned long long)count, name, SPAN_ARG(label),
                 (double)counter_at(set->at[i], COUNTER_AT(took_ms_sum)) / 1000, name, SPAN_ARG(label), (unsigned long long)count);
    }
}

void backend_host_put_metrics(struct backend_host *host, struct buf *out)
{
    const struct backends *set = &host->set;

    must(pthread_mutex_lock(&host->lock) == 0);
    if (set->count > 0) {
        put_outcomes(out, set);
        put_statuses(out, set);
        put_times(out, set);
        put_each(out, set, "longwire_backend_retries_total", "counter", "Calls that were sent again, to another address.",
                 COUNTER_AT(retries));
        put_each(out, set, "longwire_backend_in_flight", "gauge", "Calls under way.", COUNTER_AT(in_flight));
        put_each(out, set, "longwire_backend_waiting", "gauge", "Calls that wait for a place.", COUNTER_AT(waiting));
        put_each(out, set, "longwire_backend_addresses", "gauge", "Addresses of a back end.", COUNTER_AT(addresses));
        put_each(out, set, "longwire_backend_circuits_open", "gauge", "Addresses that are left out, because their calls failed.",
                 COUNTER_AT(open_circuits));
        put_each(out, set, "longwire_backend_circuit_openings_total", "counter", "Times that an address began to be left out.",
                 COUNTER_AT(circuit_openings));
    }
    must(pthread_mutex_unlock(&host->lock) == 0);
}
