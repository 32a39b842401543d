#include "base/heap.h"

#include <malloc.h>

bool heap_give_back(struct heap_watch *watch, size_t worth_bytes)
{
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
