#include "session/desk.h"

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

void desk_init(struct desk *desk)
{
    pool_init(&desk->subs, sizeof(struct feed_sub));
    pool_init(&desk->ws_sessions, ws_session_bytes());
    list_init(&desk->sessions);
    list_init(&desk->polls);
    list_init(&desk->echoes);
    list_init(&desk->dirty);
    frames_init(&desk->frames);
    buf_init(&desk->scratch.bytes, SIZE_MAX / 2);
    json_doc_init(&desk->doc);
}

void desk_fini(struct desk *desk)
{
    must(desk_is_idle(desk));
    feed_forget_scratch(desk);
    buf_fini(&desk->scratch.bytes);
    frames_fini(&desk->frames);
    json_doc_fini(&desk->doc);
    pool_fini(&desk->subs);
    pool_fini(&desk->ws_sessions);
}

void desk_turn_end(struct desk *desk)
{
    struct list *link;

    while ((link = list_pop(&desk->dirty)) != NULL) {
        struct feed *feed = container_of(link, struct feed, dirty);
        if (feed->kind->draw != NULL)
            feed->kind->draw(feed);
        else
            feed_draw(feed);
    }
    feed_forget_scratch(desk);
    frames_trim(&desk->frames);
}

void desk_tend(struct desk *desk)
{
    frames_empty(&desk->frames);
}

bool desk_is_idle(const struct desk *desk)
{
    return list_is_empty(&desk->sessions) && list_is_empty(&desk->polls) && list_is_empty(&desk->echoes);
}

static void each_feed(struct list *feeds, void (*act)(struct feed *feed))
{
    for (struct list *link = feeds->next, *next; link != feeds; link = next) {
        next = link->next;  /* acting may end this feed, and only this one */
        act(container_of(link, struct feed, link));
    }
}

void desk_stop(struct desk *desk)
{
    desk->is_stopping = true;
    each_feed(&desk->polls, feed_leave);
    each_feed(&desk->sessions, feed_leave);
    echo_leave_all(desk);
}

void desk_close_all(struct desk *desk)
{
    each_feed(&desk->polls, feed_lose);
    each_feed(&desk->sessions, feed_lose);
    echo_close_all(desk);
}
