/* forwarder_metrics.h - what is told of forwarders. Any thread. */
#ifndef MAIN_FORWARDER_METRICS_H
#define MAIN_FORWARDER_METRICS_H

#include "base/buf.h"
#include "uplink/forwarder.h"

/* Prometheus text. */
void forwarders_put_metrics(const struct forwarders *set, msec wall, struct buf *out);
/* For GET /v1/forwarders: an object each, with commas between. */
void forwarders_put_objects(const struct forwarders *set, struct buf *out);

#endif
