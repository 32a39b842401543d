/* memory_watch.h - how much memory the process holds, and how one thread behaves because of that (docs/decisions/0120).
 *
 *   held, of memory_bytes_max         what begins                                          who does it
 *   70 %   MEMORY_LEAN                caches shrink, freed memory goes back to the system   writer, main
 *   80 %   MEMORY_CLOSED              new connections are refused                          each loop
 *   85 %   MEMORY_SHORT               bodies, history pages and big answers are refused    each loop
 *   90 %   MEMORY_SHEDS_STRANGERS     the newest connections of nobody known are closed    each loop
 *   95 %   MEMORY_SHEDS               … then the newest of those who are known             each loop
 *
 * A step ends five percent below the place where it began, so that nothing flaps. What is held is what the kernel counts
 * for this process without pages of files: the heap with all libraries, stacks, and what malloc has not given back.
 *
 * A watch belongs to one thread. It reads one small file of the kernel at most once in MEMORY_LOOK_MS, and only while its
 * thread has turns: a server in which nothing happens looks at nothing. */
#ifndef MAIN_MEMORY_WATCH_H
#define MAIN_MEMORY_WATCH_H

#include <stdbool.h>

#include "base/counter.h"
#include "base/msec.h"

enum memory_step {
    MEMORY_CALM,
    MEMORY_LEAN,
    MEMORY_CLOSED,
    MEMORY_SHORT,
    MEMORY_SHEDS_STRANGERS,
    MEMORY_SHEDS,
    MEMORY_STEP_COUNT
};

enum { MEMORY_LOOK_MS = 20 };

/* Where this much is held of at most so much, and `before` was the step: which one is it now? most 0: always calm. Pure. */
enum memory_step memory_step_of(enum memory_step before, uint64_t held, uint64_t most);

/* "calm", "lean", … */
const char *memory_step_text(enum memory_step step);

struct memory_watch {
    int            fd;         /* of the kernel's file; -1: there is none, and nothing is ever held */
    msec           looked_at;  /* monotonic */
    struct counter held;       /* bytes, at the last look */
    struct counter step;       /* enum memory_step */
};

void memory_watch_open(struct memory_watch *watch);
void memory_watch_close(struct memory_watch *watch);

/* Looks, if `most` is not 0 and the last look was not just now. True: the step is another one than before. */
bool memory_watch_look(struct memory_watch *watch, uint64_t most, msec now);

static inline enum memory_step memory_watch_step(const struct memory_watch *watch)
{
    return (enum memory_step)counter_get(&watch->step);
}

#endif
