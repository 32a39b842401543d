/* confine.h - the process gives up what a push server never needs (docs/decisions/0121): privileges, core dumps that would
 * hold secrets, and system calls that only an intruder would make.
 *
 * To be called before the first thread is started: threads inherit all of it, and none of it can be taken back. */
#ifndef MAIN_CONFINE_H
#define MAIN_CONFINE_H

#include <stdbool.h>

struct confinement {
    bool filters_calls;  /* the setting `seccomp` */
    bool dumps_core;     /* the setting `core_dumps` */
};

/* Tells the log what could not be done, and what the operator could do better. */
void confine(const struct confinement *how);

/* Addresses are bound: what this took is given up, too, in this thread and in those that it starts. */
void confine_listening(void);

#endif
