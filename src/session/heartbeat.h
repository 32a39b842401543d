/* heartbeat.h - when a silent client is asked whether it is still there, and when it is given up. Pure; the same for
 * every transport whose clients send commands.
 *
 * There are two ways. A client that offers nothing is asked by the server:
 *
 *     heard ──── asked_ms ────► asked ──── pong_timeout_ms ────► given up
 *
 * A client that offered it beats by itself, and each beat may promise when the next one comes. The promise holds until
 * another one replaces it. A beat may be late by pong_timeout_ms before the client is asked:
 *
 *     heard ──── next_ms + pong_timeout_ms ────► asked ──── pong_timeout_ms ────► given up
 *
 * Until BEATS_OF_YOUTH beats have come over a link, the link is young: its client is still finding out what its network
 * bears. It is asked at the same time, but it is given up only when BEATS_OF_PATIENCE times next_ms have passed without a
 * byte from it.
 *
 * Every byte from the client counts as a sign of life. Only its pings count as beats. */
#ifndef SESSION_HEARTBEAT_H
#define SESSION_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/msec.h"

enum {
    BEATS_OF_YOUTH     = 12,
    BEATS_OF_PATIENCE  = 12,
    HEARTBEAT_MS_LONGEST = 86400000,  /* no interval and no promise is longer, whatever the settings say */
};

struct heartbeat_limits {
    msec asked_ms;            /* silence after which a client is asked that does not beat by itself */
    msec pong_timeout_ms;
    msec least_ms, most_ms;   /* what a client may ask for or promise; beyond that it gets the bound */
    msec offered_ms;          /* the interval of a client that beats by itself and asks for none */
};

/* Times are the low bits of a msec: only differences count, and none here reaches 24 days. */
struct heartbeat {
    uint32_t heard_at;         /* any byte from the client */
    uint32_t asked_at : 31;
    bool     is_asked : 1;     /* and not heard since */
    uint32_t next_ms  : 27;    /* 0: the server asks; else the client beats, and the next beat is due so long after what
                                * was heard */
    uint32_t beats    : 5;     /* that have come, up to BEATS_OF_YOUTH */
};

/* The server asks, until heartbeat_agree(). */
void heartbeat_init(struct heartbeat *heartbeat, msec now);

/* The client offered to beat by itself: every `offer_ms`, or 0: as the server likes. `bears_ms` is what its network is
 * known to bear; 0: nothing is known. Returns the interval that holds from now on: within the bounds, in whole seconds. */
msec heartbeat_agree(struct heartbeat *heartbeat, const struct heartbeat_limits *limits, msec offer_ms, msec bears_ms);

/* Bytes came. Returns how long it had been silent. */
msec heartbeat_heard(struct heartbeat *heartbeat, msec now);

/* A beat came, and was heard. `next_ms`: its promise, which is brought within the bounds; 0: it has none. No promise is
 * kept of a client that is asked by the server. */
void heartbeat_beat(struct heartbeat *heartbeat, const struct heartbeat_limits *limits, msec next_ms);

/* What holds: how often the client beats, or is asked. */
msec heartbeat_interval(const struct heartbeat *heartbeat, const struct heartbeat_limits *limits);

static inline bool heartbeat_is_of_client(const struct heartbeat *heartbeat)
{
    return heartbeat->next_ms != 0;
}

/* When the next look is due if nothing is heard. */
msec heartbeat_due(const struct heartbeat *heartbeat, const struct heartbeat_limits *limits, msec now);

/* How long it has been silent. */
msec heartbeat_silence(const struct heartbeat *heartbeat, msec now);
/* How long a silent client counts as present: `lease_ms`, but no less than one needs that beats as agreed, is late, is asked,
 * and answers late. */
msec heartbeat_lease(const struct heartbeat *heartbeat, const struct heartbeat_limits *limits, msec lease_ms);

/* Who was asked can't have read it yet: as if it were asked now. */
void heartbeat_put_off(struct heartbeat *heartbeat, msec now);

enum heartbeat_verdict { HEARTBEAT_FINE, HEARTBEAT_ASK, HEARTBEAT_SILENT };

/* `is_waiting`: bytes wait for the stream. As long as any do, nobody is given up, because our question may stand behind
 * them. *ret_next: when to judge again. */
enum heartbeat_verdict heartbeat_judge(struct heartbeat *heartbeat, const struct heartbeat_limits *limits,
                                       bool is_waiting, msec now, msec *ret_next);

#endif
