#include "pace.h"

enum { US_A_MS = 1000 };

bool pace_allows(const struct pace *pace, msec now)
{
    return pace->gap_us == 0 || now >= pace->next;
}

void pace_sent(struct pace *pace, msec now)
{
    if (pace->gap_us > 0)
        pace->next = now + (pace->gap_us + US_A_MS - 1) / US_A_MS;
}

void pace_answered(struct pace *pace)
{
    pace->gap_us -= pace->gap_us / 32;
    if (pace->gap_us < US_A_MS / 2)
        pace->gap_us = 0;
}

static int64_t longer(int64_t one, int64_t other)
{
    return one > other ? one : other;
}

/* Those that were sent before the first refusal came are refused too: they count as one. */
void pace_refused(struct pace *pace, msec after_ms, msec now)
{
    const int64_t after_us = longer(after_ms, 1) * US_A_MS;

    if (now >= pace->rest)
        pace->gap_us += pace->gap_us / 4;
    pace->gap_us = longer(pace->gap_us, after_us);
    pace->rest   = now + longer(after_ms, 1);
    pace->next   = longer(pace->next, pace->rest);
}
