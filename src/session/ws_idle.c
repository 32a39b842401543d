#include "session/ws_idle.h"

enum ws_idle_verdict ws_idle_judge(struct ws_idle *idle, const struct session_limits *limits, size_t waiting, msec now,
                                   msec *ret_next)
{
    uint32_t waits = waiting > UINT32_MAX ? UINT32_MAX : (uint32_t)waiting;

    if (waits == 0 || waits != idle->waiting)
        idle->moved_at = now;
    idle->waiting = waits;
    *ret_next     = now + limits->heartbeat_ms;
    if (waits > 0)
        return now - idle->moved_at >= limits->slow_reader_timeout_ms ? WS_IDLE_SLOW : WS_IDLE_FINE;

    if (now - idle->heard_at < limits->heartbeat_ms) {
        *ret_next = idle->heard_at + limits->heartbeat_ms;
        return WS_IDLE_FINE;
    }
    *ret_next = now + limits->pong_timeout_ms;
    if (idle->pinged_at <= idle->heard_at) {
        idle->pinged_at = now;
        return WS_IDLE_PING;
    }
    if (now - idle->pinged_at >= limits->pong_timeout_ms)
        return WS_IDLE_SILENT;
    *ret_next = idle->pinged_at + limits->pong_timeout_ms;
    return WS_IDLE_FINE;
}
