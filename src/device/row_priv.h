/* row_priv.h - what values of rows are made of. Private to this module. */
#ifndef DEVICE_ROW_PRIV_H
#define DEVICE_ROW_PRIV_H

#include "base/buf.h"

enum { ROW_VERSION = 1, ROW_NUMBER_BYTES = 8 };

void     row_put_number(struct buf *buf, uint64_t number);
uint64_t row_get_number(const char *at);
/* Version and flag. */
void     row_put_head(struct buf *buf, bool flag);

#endif
