/* record_text.h - a node record as the text that stands in its lease. Pure.
 *
 * Lines of `name value`. A reader skips names that it does not know, and takes what is missing as zero, so that neighbouring
 * releases read each other (threat 44). */
#ifndef CLUSTER_RECORD_TEXT_H
#define CLUSTER_RECORD_TEXT_H

#include "base/buf.h"
#include "route/node_record.h"

enum { RECORD_TEXT_BYTES_MAX = 2048 };

void record_text_put(struct buf *buf, const struct node_record *record);

/* False: it names no node, or a value is none or too long. */
bool record_text_get(struct span text, struct node_record *ret);

#endif
