#include "session/put_off.h"

#include <stdio.h>

#include "base/jitter.h"
#include "codec/ws/ws.h"

bool session_lets_in(struct session_worker *worker, bool is_known, struct put_off *ret)
{
    if (worker->is_stopping || drain_is_on(&worker->drain)) {
        *ret = (struct put_off){ jitter(worker->limits.reconnect.base_ms, worker->port->new_key(worker->ctx)),
                                 WS_CLOSE_GOING_AWAY, "this node is leaving; come again, to another one if there is one" };
        return false;
    }
    msec after_ms = admission_ask(&worker->admission, &worker->limits.admission, is_known, worker->loop->now);
    counter_add(after_ms == 0 ? &worker->counters.admitted : &worker->counters.put_off, 1);
    if (after_ms == 0)
        return true;
    *ret = (struct put_off){ after_ms, CLOSE_TOO_MANY, "too many come at once (admissions_per_s); come again then" };
    return false;
}

void refuse_put_off(struct session_worker *worker, struct http_exchange *exchange, const struct put_off *put_off)
{
    char        seconds[24], detail[160];
    struct span value = { seconds, 0 };

    value.len = (size_t)snprintf(seconds, sizeof seconds, "%lld", (long long)((put_off->after_ms + 999) / 1000));
    snprintf(detail, sizeof detail, "%s (in %lld ms)", put_off->reason, (long long)put_off->after_ms);
    exchange->retry_ms = put_off->after_ms;
    http_problem(worker->server, exchange, 503, NULL, detail, HTTP_FIELDS({ SPAN("Retry-After"), value }));
}

void refuse_usage(struct session_worker *worker, struct http_exchange *exchange, struct verdict verdict)
{
    char        seconds[24];
    struct span value = { seconds, 0 };

    if (exchange->is_event_source) {
        refuse_put_off(worker, exchange, &(struct put_off){ .after_ms = worker->usage->wait_ms, .reason = verdict.reason });
        return;
    }
    value.len = (size_t)snprintf(seconds, sizeof seconds, "%lld", (long long)((worker->usage->wait_ms + 999) / 1000));
    http_problem(worker->server, exchange, verdict.status, NULL, verdict.reason, HTTP_FIELDS({ SPAN("Retry-After"), value }));
}
