/* stream_battery.h - what every maker of streams must pass: the contract of stream.h, held from both ends. */
#ifndef REACTOR_STREAM_BATTERY_H
#define REACTOR_STREAM_BATTERY_H

#include "base/buf.h"
#include "reactor/loop.h"

enum { BATTERY_READS_MAX = 64 };

/* One stream, its owner and its far end. */
struct battery_rig {
    const struct battery_far *far;
    void          *far_end;    /* the maker's */
    struct loop   *loop;
    struct stream *stream;     /* NULL: closed */
    struct buf     got;        /* what the owner has read */
    ssize_t        last;       /* what its last read said */
    size_t         room;       /* bytes a read */
    unsigned       reads_left; /* then it stops, and asks for nothing */
    bool           closes;     /* when it is told to read */
    unsigned       readable, writable;  /* how often it was told */
};

/* A maker of links, whose near end is the stream. The room of a link is less than BATTERY_BIG_BYTES. */
enum { BATTERY_BIG_BYTES = 1 << 20 };

struct battery_far {
    const char *name;
    void (*open)(struct battery_rig *rig);   /* sets far_end, loop and stream */
    void (*close)(struct battery_rig *rig);  /* the stream is closed */
    void (*turn)(struct battery_rig *rig);   /* one turn, without waiting */
    void (*send)(struct battery_rig *rig, struct span bytes);
    void (*end)(struct battery_rig *rig);    /* sends nothing more, still reads */
    void (*reset)(struct battery_rig *rig);
    /* Reads all there is; appends. True: and behind it stands the end. */
    bool (*take)(struct battery_rig *rig, struct buf *into);
};

/* How many tests have failed. */
int stream_battery_run(const struct battery_far *far);

#endif
