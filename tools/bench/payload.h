/* payload.h - the 128 bytes that every message of the bench carries.
 *
 *     LWbench/ stream   channel  seq      number   time             ....
 *     8        8 hex    8 hex    8 hex    8 hex    16 hex           72 bytes of padding
 *
 * All of it is plain ASCII without a quote, a backslash or an end of line, so it passes through every protocol
 * and every JSON string byte for byte, and a reader finds it by its mark wherever the protocol put it. */
#ifndef BENCH_PAYLOAD_H
#define BENCH_PAYLOAD_H

#include "base/span.h"

enum { PAYLOAD_BYTES = 128 };
#define PAYLOAD_MARK "LWbench/"

struct stamp {
    uint32_t stream;   /* which publisher connection sent it */
    uint32_t channel;  /* where it was published: a reader of another channel must never see it */
    uint32_t seq;      /* dense in its stream and channel, from 0 */
    uint32_t number;   /* dense over all messages of the run, from 0 */
    uint64_t time_ns;  /* when it was published, or should have been */
};

/* Writes exactly PAYLOAD_BYTES bytes. */
void payload_write(const struct stamp *stamp, char *ret_bytes);

/* `bytes` begins with the mark and holds PAYLOAD_BYTES or more. False if a single byte isn't as it was written. */
bool payload_read(struct span bytes, struct stamp *ret_stamp);

/* The place of the mark in the bytes, or NULL. What follows it may be cut off. */
const char *payload_find(struct span bytes);

#endif
