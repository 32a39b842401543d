/* ws_idle.h - when a silent WebSocket client is asked whether it is still there, and when it is given up. Pure. */
#ifndef SESSION_WS_IDLE_H
#define SESSION_WS_IDLE_H

#include "session/session_limits.h"

/* Times are the low bits of a msec. Only differences count, and none here reaches 24 days. */
struct ws_idle {
    uint32_t heard_at;        /* any byte from the client */
    uint32_t pinged_at : 31;
    bool     is_pinged : 1;   /* and not heard since */
};

void ws_idle_init(struct ws_idle *idle, msec now);
void ws_idle_heard(struct ws_idle *idle, msec now);

enum ws_idle_verdict { WS_IDLE_FINE, WS_IDLE_PING, WS_IDLE_SILENT };

/* `is_waiting`: bytes wait for the stream. As long as any do, the pong timer rests, because our ping may stand behind
 * them. *ret_next: when to judge again. */
enum ws_idle_verdict ws_idle_judge(struct ws_idle *idle, const struct session_limits *limits, bool is_waiting, msec now,
                                   msec *ret_next);

#endif
