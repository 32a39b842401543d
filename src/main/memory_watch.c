#include "main/memory_watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/must.h"

enum { LEAVES_BELOW_PERCENT = 5 };

static const struct { const char *text; unsigned percent; } steps[MEMORY_STEP_COUNT] = {
    [MEMORY_CALM]            = { "calm", 0 },
    [MEMORY_LEAN]            = { "lean", 70 },
    [MEMORY_CLOSED]          = { "closed", 80 },
    [MEMORY_SHORT]           = { "short", 85 },
    [MEMORY_SHEDS_STRANGERS] = { "sheds_strangers", 90 },
    [MEMORY_SHEDS]           = { "sheds", 95 },
};

const char *memory_step_text(enum memory_step step)
{
    must(step < MEMORY_STEP_COUNT);
    return steps[step].text;
}

/* Divided first: `most` may be any number. */
static uint64_t percent_of(uint64_t most, unsigned percent)
{
    return most / 100 * percent;
}

enum memory_step memory_step_of(enum memory_step before, uint64_t held, uint64_t most)
{
    enum memory_step step = MEMORY_CALM;

    must(before < MEMORY_STEP_COUNT);
    if (most == 0)
        return MEMORY_CALM;
    for (enum memory_step at = MEMORY_LEAN; at < MEMORY_STEP_COUNT; at++) {
        const unsigned percent = steps[at].percent - (at <= before ? LEAVES_BELOW_PERCENT : 0);
        if (held >= percent_of(most, percent))
            step = at;
    }
    return step;
}

void memory_watch_open(struct memory_watch *watch)
{
    *watch = (struct memory_watch){ .fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC) };
}

void memory_watch_close(struct memory_watch *watch)
{
    if (watch->fd >= 0)
        close(watch->fd);
    watch->fd = -1;
}

/* Resident without what is shared with files: in pages. */
static uint64_t held_bytes(int fd)
{
    char               text[128];
    unsigned long long resident, shared;
    const ssize_t      len = pread(fd, text, sizeof text - 1, 0);

    if (len <= 0)
        return 0;
    text[len] = '\0';
    if (sscanf(text, "%*u %llu %llu", &resident, &shared) != 2 || shared > resident)
        return 0;
    return (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
}

bool memory_watch_look(struct memory_watch *watch, uint64_t most, msec now)
{
    const enum memory_step before = memory_watch_step(watch);

    if (most == 0 && before == MEMORY_CALM)
        return false;
    if (watch->fd < 0 || now < watch->looked_at + MEMORY_LOOK_MS)
        return false;
    watch->looked_at = now;
    counter_set(&watch->held, held_bytes(watch->fd));
    const enum memory_step step = memory_step_of(before, counter_get(&watch->held), most);
    counter_set(&watch->step, step);
    return step != before;
}
