/* h2_memory.h - the memory of exchanges, of which each request takes a piece and gives it back. Some is kept for the next
 * request, which costs less than malloc() and free() do. All pieces have one size. One thread. Private to this module. */
#ifndef HTTP_H2_MEMORY_H
#define HTTP_H2_MEMORY_H

#include <stddef.h>

enum { H2_PIECES_KEPT_MAX = 1024 };

struct h2_piece;

struct h2_memory {
    struct h2_piece *kept;
    size_t           count;
};

/* Zeroed. No memory ends the process. */
void *h2_memory_take(struct h2_memory *memory, size_t len);
void  h2_memory_give(struct h2_memory *memory, void *at);
/* Lets go of what is kept. */
void  h2_memory_fini(struct h2_memory *memory);

#endif
