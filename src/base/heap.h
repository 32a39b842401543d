/* heap.h - gives memory back to the system that a flood has left in malloc.
 *
 * The server's malloc is jemalloc (docs/decisions/0142). It gives freed pages back by itself a second later. glibc's malloc never gives back freed memory that lies between blocks in use: after a flood of 1.2 GB it held 400 MB of free
 * blocks. The owner of a heap_watch gives such memory back now and then. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed at the start. */
struct heap_watch {
    size_t free_bytes;  /* the least that lay free since memory was last given back: its pages are gone already */
};

/* From now on jemalloc has a thread that gives freed pages back where nothing is allocated any more: else they would lie until the thread that freed
 * them allocates again. The thread has the privileges of the caller. Nothing happens with another malloc. */
void heap_begin(void);

/* Gives free memory back if `worth_bytes` more lie free than before. True: it did. glibc's malloc looks at every free block and
 * holds its locks meanwhile, for about 20 ms after a flood; so call it at most once a minute, or while memory is short.
 * Always the same thread. */
bool heap_give_back(struct heap_watch *watch, size_t worth_bytes);

#endif
