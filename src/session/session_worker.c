#include "session/session_worker.h"

#include "base/must.h"
#include "session/feed.h"
#include "session/transport.h"

const char *transport_text(enum transport transport)
{
    switch (transport) {
    case TRANSPORT_WS: return "websocket";
    case TRANSPORT_SSE: return "sse";
    case TRANSPORT_NDJSON: return "ndjson";
    case TRANSPORT_MULTIPART: return "multipart";
    case TRANSPORT_POLL: return "poll";
    case TRANSPORT_ECHO: return "echo";
    case TRANSPORT_COUNT: break;
    }
    return "unknown";
}

void latency_add(struct latency *latency, msec took, uint64_t times)
{
    unsigned bucket = 0;

    if (took < 0)
        took = 0;  /* the wall clock was set back */
    while (bucket + 1 < LATENCY_BUCKETS && took >= INT64_C(1) << bucket)
        bucket++;
    counter_add(&latency->buckets[bucket], times);
    counter_add(&latency->sum_ms, (uint64_t)took * times);
    counter_add(&latency->count, times);
}

void session_worker_init(struct session_worker *worker)
{
    pool_init(&worker->subs, sizeof(struct feed_sub));
    pool_init(&worker->ws_sessions, ws_session_bytes());
    list_init(&worker->sessions);
    list_init(&worker->polls);
    list_init(&worker->echoes);
    list_init(&worker->dirty);
    frames_init(&worker->frames);
    buf_init(&worker->scratch.bytes, SIZE_MAX / 2);
    json_doc_init(&worker->doc);
}

void session_worker_fini(struct session_worker *worker)
{
    must(session_worker_is_idle(worker));
    feed_forget_scratch(worker);
    buf_fini(&worker->scratch.bytes);
    frames_fini(&worker->frames);
    json_doc_fini(&worker->doc);
    pool_fini(&worker->subs);
    pool_fini(&worker->ws_sessions);
}

void session_worker_turn_end(struct session_worker *worker)
{
    struct list *link;

    while ((link = list_pop(&worker->dirty)) != NULL) {
        struct feed *feed = container_of(link, struct feed, dirty);
        if (feed->kind->draw != NULL)
            feed->kind->draw(feed);
        else
            feed_draw(feed);
    }
    feed_forget_scratch(worker);
    frames_trim(&worker->frames);
}

void session_worker_tick(struct session_worker *worker)
{
    frames_empty(&worker->frames);
}

bool session_worker_is_idle(const struct session_worker *worker)
{
    return list_is_empty(&worker->sessions) && list_is_empty(&worker->polls) && list_is_empty(&worker->echoes);
}

static void each_feed(struct list *feeds, void (*act)(struct feed *feed))
{
    for (struct list *link = feeds->next, *next; link != feeds; link = next) {
        next = link->next;  /* acting may end this feed, and only this one */
        act(container_of(link, struct feed, link));
    }
}

void session_worker_stop(struct session_worker *worker)
{
    worker->is_stopping = true;
    each_feed(&worker->polls, feed_leave);
    each_feed(&worker->sessions, feed_leave);
    echo_leave_all(worker);
}

void session_worker_close_all(struct session_worker *worker)
{
    each_feed(&worker->polls, feed_lose);
    each_feed(&worker->sessions, feed_lose);
    echo_close_all(worker);
}
