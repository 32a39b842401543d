#include "session/ws_idle.h"

static msec since(uint32_t then, msec now)
{
    return (msec)((uint32_t)now - then);
}

void ws_idle_init(struct ws_idle *idle, msec now)
{
    *idle = (struct ws_idle){ .heard_at = (uint32_t)now, .moved_at = (uint32_t)now };
}

void ws_idle_heard(struct ws_idle *idle, msec now)
{
    idle->heard_at  = (uint32_t)now;
    idle->is_pinged = false;
}

enum ws_idle_verdict ws_idle_judge(struct ws_idle *idle, const struct session_limits *limits, size_t waiting, msec now,
                                   msec *ret_next)
{
    uint32_t waits = waiting > INT32_MAX ? INT32_MAX : (uint32_t)waiting;

    if (waits == 0 || waits != idle->waiting)
        idle->moved_at = (uint32_t)now;
    idle->waiting = waits & INT32_MAX;
    *ret_next     = now + limits->heartbeat_ms;
    if (waits > 0)
        return since(idle->moved_at, now) >= limits->slow_reader_timeout_ms ? WS_IDLE_SLOW : WS_IDLE_FINE;

    if (since(idle->heard_at, now) < limits->heartbeat_ms) {
        *ret_next = now + limits->heartbeat_ms - since(idle->heard_at, now);
        return WS_IDLE_FINE;
    }
    enum ws_idle_verdict verdict = WS_IDLE_FINE;
    if (!idle->is_pinged) {
        idle->is_pinged = true;
        idle->pinged_at = (uint32_t)now;
        verdict         = WS_IDLE_PING;
    }
    msec left = limits->pong_timeout_ms - since(idle->pinged_at, now);
    if (left <= 0)
        return WS_IDLE_SILENT;
    /* The pong may come at once, and the silence behind it be the shorter of the two. */
    *ret_next = now + (left < limits->heartbeat_ms ? left : limits->heartbeat_ms);
    return verdict;
}
