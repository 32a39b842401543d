/* process_use.h - what the kernel says of this process: processor time, memory, descriptors. */
#ifndef MAIN_PROCESS_USE_H
#define MAIN_PROCESS_USE_H

#include <stdint.h>

/* What the kernel doesn't tell is 0. */
struct process_use {
    double   cpu_seconds;      /* user and system */
    uint64_t resident_bytes;
    uint64_t virtual_bytes;
    uint64_t open_fds;
    uint64_t max_fds;          /* the soft limit; UINT64_MAX: none */
};

/* Any thread. Makes a few system calls; before Linux 6.2 it also reads an entry of a directory for each open
 * descriptor. */
struct process_use process_use_get(void);

#endif
