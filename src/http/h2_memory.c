#include "http/h2_memory.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

#if defined(__SANITIZE_ADDRESS__)
#define KEEPS_PIECES 0  /* so that the sanitizer sees misuse */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KEEPS_PIECES 0
#endif
#endif
#ifndef KEEPS_PIECES
#define KEEPS_PIECES 1
#endif

/* What stands in front of the bytes that are handed out. */
struct h2_piece {
    alignas(max_align_t) struct h2_piece *next;  /* while it is kept */
    size_t                                room;  /* a multiple of H2_PIECE_STEP, or what malloc() was asked for */
};

static struct h2_piece *piece_of(void *at)
{
    return (struct h2_piece *)at - 1;
}

static size_t kind_of(size_t room)
{
    return room / H2_PIECE_STEP - 1;
}

void *h2_memory_take(struct h2_memory *memory, size_t len)
{
    size_t           room  = len == 0 ? H2_PIECE_STEP : (len + H2_PIECE_STEP - 1) / H2_PIECE_STEP * H2_PIECE_STEP;
    size_t           kind  = kind_of(room);
    struct h2_piece *piece = kind < H2_PIECE_KINDS ? memory->kept[kind] : NULL;

    if (piece != NULL) {
        memory->kept[kind] = piece->next;
        memory->kept_bytes -= room;
    } else {
        must(room >= len);
        piece = malloc(sizeof *piece + room);
        must(piece != NULL);
        piece->room = room;
    }
    return piece + 1;
}

void *h2_memory_take_zeroed(struct h2_memory *memory, size_t len)
{
    return memset(h2_memory_take(memory, len), 0, len);
}

void h2_memory_give(struct h2_memory *memory, void *at)
{
    if (at == NULL)
        return;
    struct h2_piece *piece = piece_of(at);
    size_t           kind  = kind_of(piece->room);
    if (!KEEPS_PIECES || kind >= H2_PIECE_KINDS || memory->kept_bytes + piece->room > H2_KEPT_BYTES_MAX) {
        free(piece);
        return;
    }
    piece->next        = memory->kept[kind];
    memory->kept[kind] = piece;
    memory->kept_bytes += piece->room;
}

void *h2_memory_resize(struct h2_memory *memory, void *at, size_t len)
{
    if (at != NULL && piece_of(at)->room >= len && len > 0)
        return at;
    void *to = h2_memory_take(memory, len);
    if (at != NULL)
        memcpy(to, at, piece_of(at)->room < len ? piece_of(at)->room : len);
    h2_memory_give(memory, at);
    return to;
}

void h2_memory_fini(struct h2_memory *memory)
{
    for (size_t kind = 0; kind < H2_PIECE_KINDS; kind++)
        while (memory->kept[kind] != NULL) {
            struct h2_piece *piece = memory->kept[kind];
            memory->kept[kind]     = piece->next;
            free(piece);
        }
}
