#include "bench/proc.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/clock.h"
#include "bench/die.h"

/* The parent's id from /proc/PID/stat, or 0 if the process is gone. The name in parentheses may hold anything, so the
 * fields are counted from the last one (proc(5)). */
static pid_t proc_parent(pid_t pid)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    int         parent = 0;
    const char *end    = fgets(line, sizeof line, file) == NULL ? NULL : strrchr(line, ')');
    if (end == NULL || sscanf(end, ") %*c %d", &parent) != 1)
        parent = 0;
    fclose(file);
    return parent;
}

static bool proc_has(const struct proc *proc, pid_t pid)
{
    for (unsigned i = 0; i < proc->count; i++)
        if (proc->pids[i] == pid)
            return true;
    return false;
}

static void proc_add(struct proc *proc, pid_t pid)
{
    if (proc->count == PROC_PIDS_MAX)
        die("the server has more than %d processes", PROC_PIDS_MAX);
    proc->pids[proc->count++] = pid;
}

/* One pass over /proc finds the next generation; true while it found any. */
static bool proc_add_children(struct proc *proc)
{
    unsigned before = proc->count;
    DIR     *dir    = opendir("/proc");
    if (dir == NULL)
        die("/proc: %m");
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        pid_t pid = atoi(entry->d_name);
        if (pid > 0 && !proc_has(proc, pid) && proc_has(proc, proc_parent(pid)))
            proc_add(proc, pid);
    }
    closedir(dir);
    return proc->count > before;
}

struct proc proc_family(pid_t pid)
{
    struct proc proc = { .pids = { pid }, .count = 1 };
    if (pid <= 0 || proc_parent(pid) == 0)
        die("--pid %d: no such process", (int)pid);
    while (proc_add_children(&proc))
        continue;
    return proc;
}

uint64_t proc_cpu_ns(const struct proc *proc)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < proc->count; i++) {
        clockid_t       clock;
        struct timespec used;
        if (clock_getcpuclockid(proc->pids[i], &clock) != 0 || clock_gettime(clock, &used) != 0)
            die("process %d of the server is gone", (int)proc->pids[i]);
        sum += (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
    }
    return sum;
}

static uint64_t kilobytes_of(const char *line, const char *name)
{
    size_t len = strlen(name);
    return strncmp(line, name, len) == 0 ? strtoull(line + len, NULL, 10) * 1024 : 0;
}

struct proc_memory proc_memory(const struct proc *proc)
{
    struct proc_memory sum = { 0 };
    for (unsigned i = 0; i < proc->count; i++) {
        char path[64], line[256];
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)proc->pids[i]);
        FILE *file = fopen(path, "re");
        if (file == NULL)
            die("%s: %m", path);
        while (fgets(line, sizeof line, file) != NULL) {
            sum.pss_bytes += kilobytes_of(line, "Pss:");
            sum.anon_bytes += kilobytes_of(line, "Pss_Anon:");
        }
        fclose(file);
    }
    return sum;
}
