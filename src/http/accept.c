#include "http/accept.h"

#include <stdlib.h>

#include "base/must.h"
#include "http/h1_conn.h"
#include "http/h1_write.h"
#include "http/h2_conn.h"

/* --- the stages ---------------------------------------------------------------------------------------------- */

/* Sends the refusal, if the socket takes it in one piece. */
static void refuse_arrival(struct arrival *arrival, const struct http_refusal *refusal)
{
    struct buf answer;

    buf_init(&answer, 8192);
    h1_put_refusal(&answer, arrival->server, refusal);
    stream_write(arrival->stream, buf_span(&answer));
    buf_fini(&answer);
}

static enum accept_verdict admit(struct arrival *arrival)
{
    struct http_server  *server    = arrival->server;
    struct http_refusal  refusal   = { 0 };
    enum http_admission  admission = server->service->admit == NULL ? HTTP_ADMITTED
                                                                    : server->service->admit(server->ctx, arrival->stream,
                                                                                               &refusal);

    if (admission == HTTP_NOT_ADMITTED) {
        counter_add(&server->counters.refused, 1);
        refuse_arrival(arrival, &refusal);
        return ACCEPT_END;
    }
    arrival->is_brief = admission == HTTP_ADMITTED_BRIEFLY;
    return ACCEPT_PASS;
}

/* By the name that TLS has agreed on; main/tls_host.c offers these names. Without one it is HTTP/1.1. */
static enum accept_verdict choose_protocol(struct arrival *arrival)
{
    static const struct { struct span name; const struct http_version *version; } rows[] = {
        { SPAN("h2"), &http_version_2 },
        { SPAN("http/1.1"), &http_version_1 },
    };
    const struct span agreed = stream_protocol(arrival->stream);

    arrival->version = &http_version_1;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (span_eq(rows[i].name, agreed))
            arrival->version = rows[i].version;
    return ACCEPT_PASS;
}

const struct accept_stage accept_stages[] = {
    [ACCEPT_ADMISSION] = { admit, ACCEPT_PROTOCOL },
    [ACCEPT_PROTOCOL]  = { choose_protocol, ACCEPT_OPENED },
};

/* --- the machine --------------------------------------------------------------------------------------------- */

enum accept_state accept_next(const struct accept_stage *stages, enum accept_state state, enum accept_verdict verdict)
{
    must(state < ACCEPT_OPENED);
    switch (verdict) {
    case ACCEPT_PASS: return stages[state].next;
    case ACCEPT_WAIT: return state;
    case ACCEPT_END: return ACCEPT_GONE;
    }
    return ACCEPT_GONE;
}

static void arrival_free(struct arrival *arrival)
{
    if (arrival->is_counted)
        counter_sub(&arrival->server->counters.conns, 1);
    wheel_disarm(&arrival->server->loop->wheel, &arrival->timer);
    list_take(&arrival->link);
    free(arrival);
}

static void arrival_open(struct arrival *arrival)
{
    struct http_server        *server  = arrival->server;
    struct stream             *stream  = arrival->stream;
    const struct http_version *version = arrival->version;
    bool                       is_brief = arrival->is_brief;

    must(version != NULL);
    counter_add(&server->counters.accepted, 1);
    arrival_free(arrival);
    version->open(server, stream, SPAN(""), is_brief);
}

static void arrival_close(struct arrival *arrival)
{
    stream_close(arrival->stream);
    arrival_free(arrival);
}

/* Goes through the stages until one waits. False: the arrival is over: it was opened or closed. */
static bool arrival_advance(struct arrival *arrival)
{
    while (arrival->state < ACCEPT_OPENED) {
        must(arrival->stages[arrival->state].work != NULL);
        enum accept_verdict verdict = arrival->stages[arrival->state].work(arrival);
        arrival->state              = accept_next(arrival->stages, arrival->state, verdict);
        if (verdict == ACCEPT_WAIT)
            return true;
    }
    if (arrival->state == ACCEPT_OPENED)
        arrival_open(arrival);
    else
        arrival_close(arrival);
    return false;
}

static void arrival_on_readable(struct stream *stream, void *owner)
{
    (void)stream;
    arrival_advance(owner);
}

static const struct stream_events arrival_events = {
    .on_readable = arrival_on_readable,
    .on_writable = arrival_on_readable,
};

static void arrival_timed_out(struct timer *timer, msec now)
{
    (void)now;
    arrival_close(container_of(timer, struct arrival, timer));
}

void accept_begin(struct http_server *server, struct stream *stream, const struct accept_stage *stages)
{
    struct arrival *arrival = calloc(1, sizeof *arrival);

    must(arrival != NULL && stream_loop(stream) == server->loop);
    arrival->server     = server;
    arrival->stream     = stream;
    arrival->stages     = stages;
    arrival->timer.fire = arrival_timed_out;
    list_push(&server->arrivals, &arrival->link);
    if (!arrival_advance(arrival))
        return;
    arrival->is_counted = true;
    counter_add(&server->counters.conns, 1);
    stream_start(arrival->stream, &arrival_events, arrival);
    wheel_arm(&server->loop->wheel, &arrival->timer, server->loop->now + server->limits.head_timeout_ms);
}

void accept_close_all(struct http_server *server)
{
    while (!list_is_empty(&server->arrivals))
        arrival_close(container_of(server->arrivals.next, struct arrival, link));
}
