/* session_counters.h - what the sessions of one worker count; main adds the workers up. */
#ifndef SESSION_SESSION_COUNTERS_H
#define SESSION_SESSION_COUNTERS_H

#include "base/counter.h"
#include "base/msec.h"

enum transport { TRANSPORT_WS, TRANSPORT_SSE, TRANSPORT_NDJSON, TRANSPORT_MULTIPART, TRANSPORT_POLL, TRANSPORT_ECHO,
                 TRANSPORT_NATIVE,
                 TRANSPORT_COUNT };

const char *transport_text(enum transport transport);

struct session_counters {
    struct counter tickets_refused;
    struct counter sessions[TRANSPORT_COUNT];   /* now */
    struct counter delivered[TRANSPORT_COUNT];  /* messages handed to the kernel */
    struct counter bytes[TRANSPORT_COUNT];      /* of frames handed to the kernel */
    struct counter gaps;                        /* told to clients */
    struct counter notifies;                    /* … of channels in mode notify */
    struct counter lagging;                     /* readers whose socket was full and who have not caught up since */
    struct counter dropped_slow;                /* closed after slow_reader_timeout */
    struct counter dropped_silent;              /* closed for want of a pong */
    struct counter expired;                     /* ended with their tokens */
    struct counter beats;                       /* pings of clients */
    struct counter digests_differed;            /* pings whose digest was another one than the server's */
    struct counter places_told;                 /* pings that asked for the places, after a difference that stayed */
    struct counter networks;                    /* of which links were lost in silence, now */
    struct counter admitted;                    /* links and requests that were let in by admissions_per_s … */
    struct counter put_off;                     /* … and those that were told to come again later */
    struct counter drained;                     /* links that were told to reconnect by a drain */
    struct counter shed_strangers, shed_known;  /* ended because memory was short */
    struct counter writes;                      /* system calls that sent frames */
};

/* Latency from accepting a publish to the socket, in ms buckets: < 1, < 2, < 4 … the last also all longer. */
enum { LATENCY_BUCKETS = 16 };

struct latency {
    struct counter buckets[LATENCY_BUCKETS];
    struct counter sum_ms, count;
};

void latency_add(struct latency *latency, msec took, uint64_t times);

#endif
