/* unit.h - reads and writes sizes and times as people do: 64K, 8M, 1G; 500ms, 30s, 5m, 2h, 7d. */
#ifndef SETTINGS_UNIT_H
#define SETTINGS_UNIT_H

#include "base/buf.h"
#include "base/msec.h"

enum { UNIT_MS = 1, UNIT_S = 1000 };

/* A number of bytes, or one with K, M, G or T (of 1,024; small letters too, "iB" may follow). */
bool unit_read_bytes(struct span text, uint64_t *ret_bytes);

/* A number of `plain_ms` each (UNIT_MS, UNIT_S), or one with ms, s, m, h or d. */
bool unit_read_time(struct span text, msec plain_ms, msec *ret_ms);

/* The shortest exact form with a unit: "8M", "1000"; "25s", "1500ms", "7d". */
void unit_put_bytes(struct buf *buf, uint64_t bytes);
void unit_put_time(struct buf *buf, msec ms);

#endif
