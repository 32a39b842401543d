#include "session/heartbeat.h"

enum { ASKED_AT_MASK = 0x7fffffff };

static msec since_heard(const struct heartbeat *heartbeat, msec now)
{
    return (msec)((uint32_t)now - heartbeat->heard_at);
}

static msec since_asked(const struct heartbeat *heartbeat, msec now)
{
    return (msec)(((uint32_t)now - heartbeat->asked_at) & ASKED_AT_MASK);
}

static msec within(msec value, msec least, msec most)
{
    if (most > HEARTBEAT_MS_LONGEST)
        most = HEARTBEAT_MS_LONGEST;
    return value > most ? most : value < least ? least : value;
}

void heartbeat_init(struct heartbeat *heartbeat, msec now)
{
    *heartbeat = (struct heartbeat){ .heard_at = (uint32_t)now };
}

msec heartbeat_agree(struct heartbeat *heartbeat, const struct heartbeat_limits *limits, msec offer_ms, msec bears_ms)
{
    msec wanted = offer_ms > 0 ? offer_ms : limits->offered_ms;

    if (bears_ms > 0 && bears_ms < wanted)
        wanted = bears_ms;
    msec holds         = within(wanted - wanted % 1000, limits->least_ms, limits->most_ms);
    heartbeat->next_ms = (uint32_t)holds & 0x7ffffff;
    return holds;
}

msec heartbeat_heard(struct heartbeat *heartbeat, msec now)
{
    msec silent = since_heard(heartbeat, now);

    heartbeat->heard_at = (uint32_t)now;
    heartbeat->is_asked = false;
    return silent;
}

void heartbeat_beat(struct heartbeat *heartbeat, const struct heartbeat_limits *limits, msec next_ms)
{
    if (heartbeat->beats < BEATS_OF_YOUTH)
        heartbeat->beats++;
    if (next_ms > 0 && heartbeat_is_of_client(heartbeat))
        heartbeat->next_ms = (uint32_t)within(next_ms, limits->least_ms, limits->most_ms) & 0x7ffffff;
}

msec heartbeat_interval(const struct heartbeat *heartbeat, const struct heartbeat_limits *limits)
{
    return heartbeat_is_of_client(heartbeat) ? (msec)heartbeat->next_ms : limits->asked_ms;
}

/* How long it may be silent before it is asked. */
static msec asked_after(const struct heartbeat *heartbeat, const struct heartbeat_limits *limits)
{
    return heartbeat_is_of_client(heartbeat) ? (msec)heartbeat->next_ms + limits->pong_timeout_ms : limits->asked_ms;
}

msec heartbeat_due(const struct heartbeat *heartbeat, const struct heartbeat_limits *limits, msec now)
{
    return now + asked_after(heartbeat, limits) - since_heard(heartbeat, now);
}

msec heartbeat_silence(const struct heartbeat *heartbeat, msec now)
{
    return since_heard(heartbeat, now);
}

msec heartbeat_lease(const struct heartbeat *heartbeat, const struct heartbeat_limits *limits, msec lease_ms)
{
    msec least = asked_after(heartbeat, limits) + limits->pong_timeout_ms;

    return lease_ms > least ? lease_ms : least;
}

/* How much longer it has. */
static msec patience_left(const struct heartbeat *heartbeat, const struct heartbeat_limits *limits, msec now)
{
    msec left = limits->pong_timeout_ms - since_asked(heartbeat, now);

    if (!heartbeat_is_of_client(heartbeat) || heartbeat->beats >= BEATS_OF_YOUTH)
        return left;
    msec of_youth = (msec)heartbeat->next_ms * BEATS_OF_PATIENCE - since_heard(heartbeat, now);
    return of_youth > left ? of_youth : left;
}

void heartbeat_put_off(struct heartbeat *heartbeat, msec now)
{
    heartbeat->asked_at = (uint32_t)now & ASKED_AT_MASK;
}

enum heartbeat_verdict heartbeat_judge(struct heartbeat *heartbeat, const struct heartbeat_limits *limits,
                                       bool is_waiting, msec now, msec *ret_next)
{
    const msec             after   = asked_after(heartbeat, limits);
    enum heartbeat_verdict verdict = HEARTBEAT_FINE;

    *ret_next = now + limits->asked_ms;
    if (is_waiting)
        return HEARTBEAT_FINE;
    if (since_heard(heartbeat, now) < after) {
        *ret_next = heartbeat_due(heartbeat, limits, now);
        return HEARTBEAT_FINE;
    }
    if (!heartbeat->is_asked) {
        heartbeat->is_asked = true;
        heartbeat->asked_at = (uint32_t)now & ASKED_AT_MASK;
        verdict             = HEARTBEAT_ASK;
    }
    msec left = patience_left(heartbeat, limits, now);
    if (left <= 0)
        return HEARTBEAT_SILENT;
    /* The answer may come at once. Then the next look is due after one more silence, which may be earlier than the end of
     * the patience. */
    *ret_next = now + (left < after ? left : after);
    return verdict;
}
