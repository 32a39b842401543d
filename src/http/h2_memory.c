#include "http/h2_memory.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"

/* None where the sanitizer shall see misuse. */
#if defined(__SANITIZE_ADDRESS__)
#define KEPT_MAX 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEPT_MAX 0
#endif
#endif
#ifndef KEPT_MAX
#define KEPT_MAX H2_PIECES_KEPT_MAX
#endif

struct h2_piece {
    struct h2_piece *next;
};

void *h2_memory_take(struct h2_memory *memory, size_t len)
{
    struct h2_piece *piece = memory->kept;

    must(len >= sizeof *piece);
    if (piece == NULL) {
        piece = calloc(1, len);
        must(piece != NULL);
        return piece;
    }
    memory->kept = piece->next;
    memory->count--;
    return memset(piece, 0, len);
}

void h2_memory_give(struct h2_memory *memory, void *at)
{
    struct h2_piece *piece = at;

    if (memory->count == KEPT_MAX) {
        free(piece);
        return;
    }
    piece->next  = memory->kept;
    memory->kept = piece;
    memory->count++;
}

void h2_memory_fini(struct h2_memory *memory)
{
    while (memory->kept != NULL) {
        struct h2_piece *piece = memory->kept;
        memory->kept           = piece->next;
        free(piece);
    }
}
