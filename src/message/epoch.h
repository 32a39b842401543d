/* epoch.h - a log's epoch as text: 16 lowercase hex digits, the same on every transport. */
#ifndef MESSAGE_EPOCH_H
#define MESSAGE_EPOCH_H

#include "base/buf.h"

enum { EPOCH_TEXT_BYTES = 16 };

void epoch_put(struct buf *buf, uint64_t epoch);

/* Reads exactly what epoch_put() writes and nothing else, so that an epoch has one spelling. *ret_epoch changes only on
 * success. */
bool epoch_get(struct span text, uint64_t *ret_epoch);

#endif
