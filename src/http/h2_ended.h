/* h2_ended.h - which streams of an HTTP/2 connection its client has ended: pure, a few numbers. Private to this module.
 *
 * A stream that is closed is forgotten, and what still comes for it is dropped, because it may have been on its way when we reset
 * the stream. But what comes for a stream behind the client's own END_STREAM or RST_STREAM, or for one that it has passed over, is
 * an error of the connection (RFC 9113 5.1, 5.1.1). The last streams that the client ended are kept, and the last that it
 * passed over; nothing is said about older ones. */
#ifndef HTTP_H2_ENDED_H
#define HTTP_H2_ENDED_H

#include <stdint.h>

enum { H2_ENDED_KEPT = 16 };

struct h2_ended {
    uint32_t ids[H2_ENDED_KEPT];
    uint32_t next;                   /* place in ids, modulo H2_ENDED_KEPT */
    uint32_t top;                    /* the highest stream that was begun */
    uint32_t passed_from, passed_to; /* passed over; none if they are equal */
};

enum h2_ended_verdict { H2_ENDED_FINE, H2_ENDED_BY_CLIENT, H2_ENDED_PASSED_OVER };

void h2_ended_begin(struct h2_ended *ended, uint32_t id);
void h2_ended_note(struct h2_ended *ended, uint32_t id);
/* DATA or HEADERS have come for a stream that is not open. */
enum h2_ended_verdict h2_ended_judge(const struct h2_ended *ended, uint32_t id);

#endif
