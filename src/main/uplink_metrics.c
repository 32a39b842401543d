/* uplink_metrics.c - what /metrics says of requests of clients to back ends. */
#include "main/metrics_put.h"
#include "main/uplink_host.h"

static const char *const outcome_words[REQUEST_OUTCOME_COUNT] = {
    [REQUEST_ACCEPTED] = "accepted", [REQUEST_ANSWERED] = "answered", [REQUEST_REPLAYED] = "replayed",
    [REQUEST_CONFLICT] = "conflict", [REQUEST_GONE] = "gone", [REQUEST_NO_SPACE] = "no_space", [REQUEST_BUSY] = "busy",
    [REQUEST_TOO_OFTEN] = "too_often", [REQUEST_AWAY] = "away", [REQUEST_DROPPED] = "dropped",
};

static void put_request_outcomes(struct buf *out, const struct requests_counters *counters)
{
    static const char name[] = "longwire_requests_total";

    put_metric_head(out, name, "counter", "Requests of clients to back ends and their cancelling, by what the client was told.");
    for (int i = 0; i < REQUEST_OUTCOME_COUNT; i++)
        buf_putf(out, "%s{outcome=\"%s\"} %llu\n", name, outcome_words[i],
                 (unsigned long long)counter_get(&counters->outcomes[i]));
}

static void put_responses(struct buf *out, const struct requests_counters *counters)
{
    static const char name[] = "longwire_responses_total";

    put_metric_head(out, name, "counter", "Responses in the logs of devices and connections, by their status.");
    for (unsigned class = 2; class < 6; class++)
        buf_putf(out, "%s{status=\"%uxx\"} %llu\n", name, class, (unsigned long long)counter_get(&counters->responses[class]));
}

void uplink_host_put_metrics(const struct uplink_host *host, struct buf *out)
{
    const struct requests_counters *counters = &host->uplink.requests.counters;

    put_request_outcomes(out, counters);
    put_responses(out, counters);
    put_one(out, "longwire_requests_under_way", "gauge", "Requests of clients whose response is still to come.",
            counter_get(&counters->under_way));
    put_one(out, "longwire_responses_held_bytes", "gauge", "Bytes of responses that wait for the store.",
            counter_get(&counters->held_bytes));
    put_one(out, "longwire_requests_cancelled_total", "counter", "Responses 499, because the client had cancelled.",
            counter_get(&counters->cancelled));
    put_one(out, "longwire_requests_unknown_total", "counter",
            "Responses 504 because the node that called the back end is gone (at_most_once).", counter_get(&counters->unknown));
    put_one(out, "longwire_requests_resumed_total", "counter",
            "Requests sent again because the node that called the back end is gone (at_least_once).",
            counter_get(&counters->resumed));
    put_one(out, "longwire_requests_taken_over_total", "counter",
            "Answers that came too late: another node had answered in place of this one.", counter_get(&counters->taken_over));
}
