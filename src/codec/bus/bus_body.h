/* bus_body.h - the bodies of questions and answers between nodes: numbers and texts one behind the other. Pure.
 *
 *     body   version(1) · parts          number   varint, as in bus_frame.h          text   length · bytes
 *
 * What stands behind the parts that a reader knows was added by a later version, and is skipped (threat 44). */
#ifndef CODEC_BUS_BUS_BODY_H
#define CODEC_BUS_BUS_BODY_H

#include "base/buf.h"

enum { BUS_BODY_VERSION = 1 };

void bus_body_begin(struct buf *buf);
void bus_put_number(struct buf *buf, uint64_t number);
void bus_put_text(struct buf *buf, struct span text);

/* Each takes its part off *body, or is false: it is not there, malformed, or longer than `bytes_max`. */
bool bus_body_open(struct span *body);
bool bus_get_number(struct span *body, uint64_t *ret);
bool bus_get_text(struct span *body, size_t bytes_max, struct span *ret);

#endif
