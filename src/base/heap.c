#include "base/heap.h"

#include <malloc.h>

enum { WORTH_BYTES = 64 * 1024 * 1024 };

bool heap_give_back(struct heap_watch *watch)
{
    size_t free_bytes = mallinfo2().fordblks;

    if (free_bytes < watch->free_bytes + WORTH_BYTES) {
        if (free_bytes < watch->free_bytes)
            watch->free_bytes = free_bytes;
        return false;
    }
    malloc_trim(0);
    watch->free_bytes = mallinfo2().fordblks;
    return true;
}
