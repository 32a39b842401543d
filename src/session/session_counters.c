#include "session/session_counters.h"

const char *transport_text(enum transport transport)
{
    switch (transport) {
    case TRANSPORT_WS: return "websocket";
    case TRANSPORT_SSE: return "sse";
    case TRANSPORT_NDJSON: return "ndjson";
    case TRANSPORT_MULTIPART: return "multipart";
    case TRANSPORT_POLL: return "poll";
    case TRANSPORT_ECHO: return "echo";
    case TRANSPORT_NATIVE: return "native";
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
