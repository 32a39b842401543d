/* proc.h - what a server costs: processor time and memory, of a process and all its descendants.
 *
 * Processor time is user and system together, from the kernel's clock of each process (clock_getcpuclockid(3)): the
 * same sum that /proc/PID/stat shows, all threads and those that ended included, but in nanoseconds where stat rounds
 * to ticks of 10 ms. The set of processes is looked up once; a server must not fork while it is measured. */
#ifndef BENCH_PROC_H
#define BENCH_PROC_H

#include <stdint.h>
#include <sys/types.h>

enum { PROC_PIDS_MAX = 64 };

struct proc {
    pid_t    pids[PROC_PIDS_MAX];
    unsigned count;
};

struct proc_memory {
    uint64_t pss_bytes;   /* pages shared among the processes are counted once */
    uint64_t anon_bytes;  /* of these, heap and stacks */
};

/* Ends the run if there is no such process or its family is too large. */
struct proc proc_family(pid_t pid);

uint64_t           proc_cpu_ns(const struct proc *proc);
struct proc_memory proc_memory(const struct proc *proc);

#endif
