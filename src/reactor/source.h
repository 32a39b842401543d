/* source.h - something with a descriptor that a loop watches. */
#ifndef REACTOR_SOURCE_H
#define REACTOR_SOURCE_H

#include <stdint.h>

struct source;

struct source_kind {
    void (*ready)(struct source *source, uint32_t events);  /* `events` are those of epoll(7) */
};

struct source {
    const struct source_kind *kind;
};

#endif
