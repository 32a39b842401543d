/* h2_memory.h - the small pieces of memory that HTTP/2 takes and gives back for each request: nghttp2's, and exchanges. Of what
 * comes back some is kept for the next request, which costs less than malloc() and free() do. One thread. Private to this module. */
#ifndef HTTP_H2_MEMORY_H
#define HTTP_H2_MEMORY_H

#include <stddef.h>

enum { H2_PIECE_STEP = 32, H2_PIECE_KINDS = 32 };  /* of 32, 64, … 1,024 bytes; larger ones are malloc's */
enum { H2_KEPT_BYTES_MAX = 512 * 1024 };

struct h2_piece;

struct h2_memory {
    struct h2_piece *kept[H2_PIECE_KINDS];
    size_t           kept_bytes;
};

/* No memory ends the process. */
void *h2_memory_take(struct h2_memory *memory, size_t len);
void *h2_memory_take_zeroed(struct h2_memory *memory, size_t len);
void *h2_memory_resize(struct h2_memory *memory, void *at, size_t len);  /* `at` NULL: takes */
void  h2_memory_give(struct h2_memory *memory, void *at);                /* NULL is fine */
/* Lets go of what is kept. */
void  h2_memory_fini(struct h2_memory *memory);

#endif
