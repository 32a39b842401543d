/* ws_idle.h - when to ask a silent WebSocket whether it is still there, and when to give it up. Pure. */
#ifndef SESSION_WS_IDLE_H
#define SESSION_WS_IDLE_H

#include "session/session_worker.h"

/* Times are the low 32 bits of a msec: only differences count, and none here reaches 49 days. */
struct ws_idle {
    uint32_t heard_at;   /* any byte from the client */
    uint32_t pinged_at;
    uint32_t moved_at;   /* the last time that the socket took something, or had nothing to take */
    uint32_t waiting   : 31;  /* bytes that waited for the socket at the last look */
    bool     is_pinged : 1;   /* and not heard since */
};

void ws_idle_init(struct ws_idle *idle, msec now);
void ws_idle_heard(struct ws_idle *idle, msec now);

enum ws_idle_verdict { WS_IDLE_FINE, WS_IDLE_PING, WS_IDLE_SILENT, WS_IDLE_SLOW };

/* `waiting`: bytes that wait for the socket now. While some do, the pong timer rests: our ping may stand behind them.
 * *ret_next: when to judge again. */
enum ws_idle_verdict ws_idle_judge(struct ws_idle *idle, const struct session_limits *limits, size_t waiting, msec now,
                                   msec *ret_next);

#endif
