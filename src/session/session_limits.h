/* session_limits.h - the maxima and times of sessions, as main hands them in; docs/modules/session.md says what happens at
 * each. */
#ifndef SESSION_SESSION_LIMITS_H
#define SESSION_SESSION_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/msec.h"

struct session_limits {
    msec     heartbeat_ms;            /* a client that is silent so long is asked, or told, that the link lives */
    msec     pong_timeout_ms;         /* for the answer */
    msec     slow_reader_timeout_ms;  /* a stream that takes nothing for so long is closed */
    msec     poll_wait_ms;            /* of a poll that names none */
    msec     poll_wait_ms_max;
    msec     poll_store_timeout_ms;   /* for the store to say what there is, of a poll that does not wait */
    msec     sse_retry_ms;            /* what a stream of events is told to wait before it comes again */
    msec     reconnect_ms;            /* what a WebSocket client is told to wait before it comes again */
    msec     close_timeout_ms;        /* for a client to take its last words and to answer our Close */
    uint32_t channels_max;            /* a connection; at most TOKEN_PLACES_MAX */
    uint32_t frame_bytes_max;         /* a message from a client; then 1009 */
    size_t   gathered_bytes_max;      /* of all messages whose end has not come; then 1013 */
    msec     gather_timeout_ms;       /* for the end to come, and up to a heartbeat more; then 1008 */
    uint32_t waiting_publishes_max;   /* of one client; then it is not read from */
    uint32_t echo_bytes_max;          /* a message to the echo */
    msec     echo_silence_ms;         /* an echo that hears nothing for so long is closed */
    bool     has_echo;
};

#endif
