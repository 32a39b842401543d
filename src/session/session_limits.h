/* session_limits.h - the maxima and times of sessions, as main hands them in; docs/modules/session.md says what happens
 * at each. */
#ifndef SESSION_SESSION_LIMITS_H
#define SESSION_SESSION_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/backoff.h"
#include "base/msec.h"
#include "session/admission.h"
#include "session/heartbeat.h"

struct session_limits {
    struct heartbeat_limits heartbeat;  /* asked_ms: a stream is sent a heartbeat as often, too */
    msec     slow_reader_timeout_ms;  /* a stream that takes nothing for so long is closed */
    msec     poll_wait_ms;            /* of a poll without wait= */
    msec     poll_wait_ms_max;
    msec     poll_store_timeout_ms;   /* how long a poll with wait=0 waits for the store */
    msec     sse_retry_ms;            /* what a stream of events is told to wait before it comes again */
    struct backoff reconnect;           /* what clients are told of coming again; base_ms: after `reconnect` */
    struct admission_limits admission;  /* of this loop */
    msec     connect_timeout_ms;      /* how long a native client has for its `connect` */
    msec     close_timeout_ms;        /* how long a client has to take the last words and to answer our Close */
    uint32_t channels_max;            /* a connection; at most TOKEN_PLACES_MAX */
    uint32_t frame_bytes_max;         /* of one message from a client; beyond it `error` 413 */
    size_t   gathered_bytes_max;      /* of all incomplete messages together; beyond it 1013 */
    msec     gather_timeout_ms;       /* how long a message may stay incomplete, and up to one heartbeat more; then
                                       * 1008 */
    uint32_t durable_logs;            /* how many stores keep durable channels, each with an epoch of its own; 0 is 1 */
    uint32_t waiting_publishes_max;   /* of one client; at the limit it is not read from */
    uint32_t echo_bytes_max;          /* a message to the echo */
    msec     echo_silence_ms;         /* an echo that receives nothing for so long is closed */
    const char *connection_key_header;  /* in which requests bring a key of their connection; "" or NULL: in none */
    msec     presence_lease_ms;       /* a silent client is present for so long: see heartbeat_lease() */
    msec     ticket_ttl_ms;           /* how long a ticket is good, if the token does not end before */
    msec     member_check_ms;         /* member_check.h; 0: never */
    bool     may_miss_leaves;         /* … in a cluster; else only once nobody knew what became of a leave */
    bool     has_echo;
    bool     has_compression;         /* permessage-deflate for WebSockets that are opened from now on */
};

#endif
