#include "base/heap.h"

#include <jemalloc/jemalloc.h>
#include <malloc.h>
#include <stdint.h>
#include <unistd.h>

#include "base/must.h"

/* jemalloc reads it as the process begins: how long freed pages wait for another use before they go back. At once would be exact, but a server that
 * publishes into memory would give and take pages all the time (docs/decisions/0142). */
const char *malloc_conf = "dirty_decay_ms:1000";

/* NULL where the program has another malloc: a sanitizer brings its own. */
extern __typeof__(mallctl) mallctl __attribute__((weak));

#define ALL_ARENAS_OF(name) #name
#define ALL_ARENAS(name)    ALL_ARENAS_OF(name)

/* Pages that nobody uses, which jemalloc has not given back. One that was built without statistics does not know: as many as can be. */
static size_t jemalloc_free_bytes(void)
{
    uint64_t epoch = 1;  /* any number: the statistics are taken anew */
    size_t   pages = 0, pages_size = sizeof pages;

    must(mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) == 0);
    if (mallctl("stats.arenas." ALL_ARENAS(MALLCTL_ARENAS_ALL) ".pdirty", &pages, &pages_size, NULL, 0) != 0)
        return SIZE_MAX;
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static bool jemalloc_give_back(size_t worth_bytes)
{
    if (jemalloc_free_bytes() < worth_bytes)
        return false;
    must(mallctl("arena." ALL_ARENAS(MALLCTL_ARENAS_ALL) ".purge", NULL, NULL, NULL, 0) == 0);
    return true;
}

void heap_begin(void)
{
    bool is_wanted = true;

    /* Without such a thread pages only go back later. */
    if (mallctl != NULL)
        (void)mallctl("background_thread", NULL, NULL, &is_wanted, sizeof is_wanted);
}

bool heap_give_back(struct heap_watch *watch, size_t worth_bytes)
{
    if (mallctl != NULL)
        return jemalloc_give_back(worth_bytes);
    size_t free_bytes = mallinfo2().fordblks;

    if (free_bytes < watch->free_bytes + worth_bytes) {
        if (free_bytes < watch->free_bytes)
            watch->free_bytes = free_bytes;
        return false;
    }
    malloc_trim(0);
    watch->free_bytes = mallinfo2().fordblks;
    return true;
}
