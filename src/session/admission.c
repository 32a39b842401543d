#include "session/admission.h"

#include <stddef.h>

enum { US = 1000000 };

void admission_init(struct admission *admission)
{
    *admission = (struct admission){ 0 };
}

static int64_t later(int64_t one, int64_t other)
{
    return one > other ? one : other;
}

/* The next time of this line. Strangers stand behind those who are known. */
static msec next_slot(struct admission *admission, const struct admission_limits *limits, bool is_known, int64_t now)
{
    const int64_t step = (int64_t)(US / limits->per_s / 0.9) + 1;
    int64_t      *line = is_known ? &admission->known_at : &admission->strangers_at;
    int64_t       last = is_known ? *line : later(*line, admission->known_at);

    *line = later(last, now) + step;
    if (*line > now + (int64_t)ADMISSION_WAIT_MS_MAX * 1000)
        *line = now + (int64_t)ADMISSION_WAIT_MS_MAX * 1000;
    return (*line - now + 999) / 1000;
}

static uint32_t burst_of(const struct admission_limits *limits)
{
    return limits->burst < 2 ? 2 : limits->burst;
}

void admission_change(struct admission *admission, const struct admission_limits *before, const struct admission_limits *after, msec now)
{
    if (before->per_s <= 0 || after->per_s <= 0) {
        admission_init(admission);
        return;
    }
    int64_t *const times[] = { &admission->empty_until, &admission->known_at, &admission->strangers_at };
    const int64_t  at      = now * 1000;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        if (*times[i] > at)
            *times[i] = at + (int64_t)((double)(*times[i] - at) * before->per_s / after->per_s);
    const int64_t room = (int64_t)(US / after->per_s) * burst_of(after);
    if (admission->empty_until > at + room)
        admission->empty_until = at + room;
}

msec admission_ask(struct admission *admission, const struct admission_limits *limits, bool is_known, msec now)
{
    if (limits->per_s <= 0)
        return 0;
    const int64_t at    = now * 1000;
    const int64_t step  = (int64_t)(US / limits->per_s);
    const int64_t burst = burst_of(limits);
    const int64_t room  = step * (is_known ? burst : burst / 2);
    const int64_t until = later(admission->empty_until, at) + step;

    if (until - at > room)
        return next_slot(admission, limits, is_known, at);
    admission->empty_until = until;
    return 0;
}
