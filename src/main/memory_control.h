/* memory_control.h - what the main thread does about memory: it tells the log of each step (memory_watch.h), gives memory
 * that lies free in malloc back to the system, and orders the loops to close connections while memory is nearly used up.
 *
 * An order goes out at most once in MEMORY_ORDER_MS, behind giving back what the connections of the last one have left.
 * So no more are closed than it takes. */
#ifndef MAIN_MEMORY_CONTROL_H
#define MAIN_MEMORY_CONTROL_H

#include "base/heap.h"
#include "main/memory_watch.h"

struct server;

enum { MEMORY_ORDER_MS = 250 };

struct memory_control {
    struct memory_watch watch;
    struct heap_watch   heap;
    msec                gave_back_at;  /* monotonic */
    uint64_t            orders;
};

void memory_control_open(struct memory_control *control);
void memory_control_close(struct memory_control *control);

/* Looks; returns in how many ms to look again. */
msec memory_control_look(struct memory_control *control, struct server *server);

#endif
