#include "session/admission.h"

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

msec admission_ask(struct admission *admission, const struct admission_limits *limits, bool is_known, msec now)
{
    if (limits->per_s <= 0)
        return 0;
    const int64_t at    = now * 1000;
    const int64_t step  = (int64_t)(US / limits->per_s);
    const int64_t burst = limits->burst < 2 ? 2 : limits->burst;
    const int64_t room  = step * (is_known ? burst : burst / 2);
    const int64_t until = later(admission->empty_until, at) + step;

    if (until - at > room)
        return next_slot(admission, limits, is_known, at);
    admission->empty_until = until;
    return 0;
}
