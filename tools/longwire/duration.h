/* duration.h - lengths of time and moments, as people write them on a command line.
 *
 * No clock: the caller says what time it is. Dates without a zone are local time, as TZ says. */
#ifndef LONGWIRE_DURATION_H
#define LONGWIRE_DURATION_H

#include "base/buf.h"
#include "base/msec.h"

#define DURATION_MS_MAX ((msec)10 * 366 * 24 * 3600 * 1000)  /* ten years */

/* "90" and "1.5" are seconds; else each number has its unit: "300ms", "5m", "1h30m", "7d", "2w". False: something else,
 * 0, or above DURATION_MS_MAX. */
bool duration_parse(struct span text, msec *ret_ms);

/* A moment in ms since 1970: "1h" is an hour before now_ms; "2026-11-28", "2026-11-28 13:05", "2026-11-28T13:05:09" is
 * that local time, with a Z at its end UTC; "@1795297177831" is the number itself, as in a message's `time`. */
bool moment_parse(struct span text, msec now_ms, msec *ret_ms);

/* The same moment as the server takes it in since=: a length of time stays one ("3600000ms"), so that the server's
 * clock counts; all else is ms since 1970. False: `text` is no moment. */
bool moment_put_query(struct buf *buf, struct span text, msec now_ms);

/* "2026-11-28 13:05:09.123" in local time, and "2026-11-28T13:05:09.123Z". "-" for 0 and what no calendar reaches. */
void moment_put_local(struct buf *buf, uint64_t ms);
void moment_put_utc(struct buf *buf, uint64_t ms);

#endif
