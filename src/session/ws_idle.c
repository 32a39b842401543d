#include "session/ws_idle.h"

enum { PINGED_AT_MASK = 0x7fffffff };

static msec since_heard(const struct ws_idle *idle, msec now)
{
    return (msec)((uint32_t)now - idle->heard_at);
}

static msec since_pinged(const struct ws_idle *idle, msec now)
{
    return (msec)(((uint32_t)now - idle->pinged_at) & PINGED_AT_MASK);
}

void ws_idle_init(struct ws_idle *idle, msec now)
{
    *idle = (struct ws_idle){ .heard_at = (uint32_t)now };
}

void ws_idle_heard(struct ws_idle *idle, msec now)
{
    idle->heard_at  = (uint32_t)now;
    idle->is_pinged = false;
}

enum ws_idle_verdict ws_idle_judge(struct ws_idle *idle, const struct session_limits *limits, bool is_waiting, msec now,
                                   msec *ret_next)
{
    *ret_next = now + limits->heartbeat_ms;
    if (is_waiting)
        return WS_IDLE_FINE;
    if (since_heard(idle, now) < limits->heartbeat_ms) {
        *ret_next = now + limits->heartbeat_ms - since_heard(idle, now);
        return WS_IDLE_FINE;
    }
    enum ws_idle_verdict verdict = WS_IDLE_FINE;
    if (!idle->is_pinged) {
        idle->is_pinged = true;
        idle->pinged_at = (uint32_t)now & PINGED_AT_MASK;
        verdict         = WS_IDLE_PING;
    }
    msec left = limits->pong_timeout_ms - since_pinged(idle, now);
    if (left <= 0)
        return WS_IDLE_SILENT;
    /* The pong may come at once. Then the next check is due after one heartbeat, which may be earlier than the pong
     * timeout. */
    *ret_next = now + (left < limits->heartbeat_ms ? left : limits->heartbeat_ms);
    return verdict;
}
