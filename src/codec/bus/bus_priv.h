/* bus_priv.h - numbers and texts as they stand in frames and bodies. Private to codec/bus. */
#ifndef CODEC_BUS_BUS_PRIV_H
#define CODEC_BUS_BUS_PRIV_H

#include "codec/bus/bus_body.h"

bool bus_bytes_get(struct span *rest, uint64_t len, struct span *ret);
bool bus_byte_get(struct span *rest, uint8_t *ret);

#endif
