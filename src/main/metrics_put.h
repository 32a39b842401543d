/* metrics_put.h - lines of Prometheus text. */
#ifndef MAIN_METRICS_PUT_H
#define MAIN_METRICS_PUT_H

#include "base/buf.h"

void put_metric_head(struct buf *out, const char *name, const char *kind, const char *help);
void put_one(struct buf *out, const char *name, const char *kind, const char *help, uint64_t value);

#endif
