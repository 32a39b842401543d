/* forwarder_batch.h - what a batch says to a back end: lines of messages, its key, events as a webhook gets them. Pure. */
#ifndef UPLINK_FORWARDER_BATCH_H
#define UPLINK_FORWARDER_BATCH_H

#include "base/buf.h"
#include "message/message.h"

/* How many entries of a page belong to the batch that ends with `last` (0: all of them). A gap that goes beyond is cut there. */
size_t forwarder_batch_cut(struct entry *entries, size_t count, uint64_t last);

/* One JSON object a line: messages, and gaps among them. What is past its time is a gap. `is_changed`: the log has begun anew,
 * and the first line says so. Returns how many messages there are. */
uint64_t forwarder_put_lines(struct buf *out, const struct channel_name *name, uint64_t epoch, const struct entry *entries,
                             size_t count, bool is_changed, msec wall);

/* CHANNEL/EPOCH/FIRST-LAST; bytes that a header can't have are percent-encoded, and the percent sign. */
void forwarder_put_key(struct buf *out, struct span channel, uint64_t epoch, uint64_t first, uint64_t last);

/* What is written to sys:dead of a message: the members of the message object, with "status", "backend" and "forwarder". */
void forwarder_put_dead(struct buf *out, const struct message *message, unsigned status, struct span backend,
                        struct span forwarder);

#endif
