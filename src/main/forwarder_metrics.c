#include "main/forwarder_metrics.h"

#include "codec/json/json.h"
#include "main/metrics_put.h"

struct forwarder_metric {
    const char *name, *kind, *help;
    size_t      at;  /* in struct forwarder_counters */
};

#define METRIC(name, kind, member, help) { name, kind, help, offsetof(struct forwarder_counters, member) }

static const struct forwarder_metric forwarder_metrics[] = {
    METRIC("longwire_forwarder_backlog_messages", "gauge", backlog, "Messages that the back end has yet to take, of the channels that this node carries."),
    METRIC("longwire_forwarder_batches_total", "counter", batches, "Batches that the back end took."),
    METRIC("longwire_forwarder_messages_total", "counter", messages, "Messages in them."),
    METRIC("longwire_forwarder_sent_bytes_total", "counter", sent_bytes, "Bytes of batches that were sent, each try."),
    METRIC("longwire_forwarder_retries_total", "counter", retries, "Batches that failed and are sent again."),
    METRIC("longwire_forwarder_refusals_total", "counter", refusals, "Batches that the back end refused (4xx): they are split, or sent again."),
    METRIC("longwire_forwarder_dead_total", "counter", dead, "Messages that went to sys:dead."),
    METRIC("longwire_forwarder_under_way", "gauge", under_way, "Batches under way."),
    METRIC("longwire_forwarder_parts", "gauge", parts, "Parts of the forwarder that this node carries, of 16."),
    METRIC("longwire_forwarder_takeovers_total", "counter", takeovers, "Parts that this node has taken over."),
    METRIC("longwire_forwarder_losses_total", "counter", losses, "Parts that another node took, although this one believed that it carries them."),
    METRIC("longwire_forwarder_sweeps_total", "counter", sweeps, "Walks over all channels, for those that are behind."),
};

static uint64_t forwarder_number(const struct forwarders *set, size_t at, size_t member)
{
    const char *counters = (const char *)forwarder_counters(set, at);

    return counter_get((const struct counter *)(const void *)(counters + member));
}

static void put_forwarder_line(struct buf *out, const char *name, const char *forwarder, uint64_t value)
{
    buf_putf(out, "%s{forwarder=\"%s\"} %llu\n", name, forwarder, (unsigned long long)value);
}

/* How old the oldest message is that waits; it may be of another node's clock. */
static uint64_t backlog_age_ms(const struct forwarders *set, size_t at, msec wall)
{
    msec oldest = (msec)counter_get(&forwarder_counters(set, at)->oldest);

    return oldest == 0 || oldest > wall ? 0 : (uint64_t)(wall - oldest);
}

void forwarders_put_metrics(const struct forwarders *set, msec wall, struct buf *out)
{
    size_t count = forwarders_count(set);

    if (count == 0)
        return;
    for (size_t i = 0; i < sizeof forwarder_metrics / sizeof forwarder_metrics[0]; i++) {
        const struct forwarder_metric *metric = &forwarder_metrics[i];
        put_metric_head(out, metric->name, metric->kind, metric->help);
        for (size_t at = 0; at < count; at++)
            put_forwarder_line(out, metric->name, forwarder_name(set, at), forwarder_number(set, at, metric->at));
    }
    put_metric_head(out, "longwire_forwarder_backlog_age_ms", "gauge", "Age of the oldest message that the back end has yet to take.");
    for (size_t at = 0; at < count; at++)
        put_forwarder_line(out, "longwire_forwarder_backlog_age_ms", forwarder_name(set, at), backlog_age_ms(set, at, wall));
}

/* --- GET /v1/forwarders --------------------------------------------------------------------------------------------------- */

#define MEMBER(member) { #member, offsetof(struct forwarder_counters, member) }

static void put_forwarder_object(struct buf *out, const struct forwarders *set, size_t at)
{
    static const struct { const char *name; size_t at; } members[] = {
        MEMBER(parts), MEMBER(channels), MEMBER(backlog), MEMBER(oldest), MEMBER(under_way), MEMBER(window), MEMBER(paused_until),
        MEMBER(batches), MEMBER(messages), MEMBER(retries), MEMBER(refusals), MEMBER(dead), MEMBER(takeovers), MEMBER(losses),
    };

    buf_put_lit(out, "{\"forwarder\":");
    json_put_string(out, span_str(forwarder_name(set, at)));
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        buf_putf(out, ",\"%s\":%llu", members[i].name, (unsigned long long)forwarder_number(set, at, members[i].at));
    buf_putc(out, '}');
}

void forwarders_put_objects(const struct forwarders *set, struct buf *out)
{
    for (size_t i = 0; i < forwarders_count(set); i++) {
        if (i > 0)
            buf_putc(out, ',');
        put_forwarder_object(out, set, i);
    }
}
