/* put_off.h - is a client let in now, or told to come again? Asked once a link. Private to this module. */
#ifndef SESSION_PUT_OFF_H
#define SESSION_PUT_OFF_H

#include "session/session_worker.h"

enum { CLOSE_TOO_MANY = 4008 };  /* a limit was reached (docs/protocol.md 5.4) */

struct put_off {
    msec        after_ms;  /* when to come again */
    uint16_t    code;      /* to close a link with */
    const char *reason;
};

/* `is_known`: see admission.h. False: *ret says what to tell it. */
bool session_lets_in(struct session_worker *worker, bool is_known, struct put_off *ret);

/* Answers a refusal of usage_limits.h: 429 with Retry-After. An EventSource, which gives up after 429, is answered as if it were put
 * off. */
void refuse_usage(struct session_worker *worker, struct http_exchange *exchange, struct verdict verdict);

/* Answers 503 with Retry-After; an EventSource is told the time by `retry:`. */
void refuse_put_off(struct session_worker *worker, struct http_exchange *exchange, const struct put_off *put_off);

#endif
