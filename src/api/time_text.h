/* time_text.h - a moment as people and programs write it in a query: `5m`, `1795297177831`, `2026-11-28T12:00:00Z`. Pure.
 *
 *     a duration          90s, 5m, 1h, 7d, 500ms: so long before now
 *     a number            ms since 1970, as in a message's `time`
 *     RFC 3339            2026-11-28T12:00:00Z, with a fraction or an offset (+01:00) if need be. In a query a bare `+`
 *                         is a space: a space stands for the `+` of an offset */
#ifndef API_TIME_TEXT_H
#define API_TIME_TEXT_H

#include "base/msec.h"
#include "base/span.h"

#define TIME_TEXT_FORMS "a duration before now (90s, 5m, 1h, 7d), ms since 1970, or RFC 3339 (2026-11-28T12:00:00Z)"

/* *ret_time is 1 or more; a moment before 1970 is 1. False: it is none of these. */
bool time_text_get(struct span text, msec wall, msec *ret_time);

#endif
