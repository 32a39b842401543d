/* heap.h - what a flood leaves behind goes back to the system.
 *
 * malloc keeps freed memory that lies between blocks in use, for ever: after a flood of 1.2 GB it held 400 MB of nothing.
 * Whoever watches the heap gives such memory back now and then. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed to begin with. */
struct heap_watch {
    size_t free_bytes;  /* so much lay free at the least since the last giving back; its pages are gone already */
};

/* Gives back what lies free, if that is 64 MiB more than before; true if so. Looks at every free block, with the locks
 * of malloc: 20 ms or so after a flood, so at most once a minute. Any thread, but one. */
bool heap_give_back(struct heap_watch *watch);

#endif
