#include "main/process_use.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static double seconds_of(const struct timeval *time)
{
    return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static void memory_get(struct process_use *ret)
{
    unsigned long long pages[2] = { 0 };
    const uint64_t     page     = (uint64_t)sysconf(_SC_PAGESIZE);
    FILE              *statm    = fopen("/proc/self/statm", "re");

    if (statm == NULL)
        return;
    if (fscanf(statm, "%llu %llu", &pages[0], &pages[1]) == 2) {
        ret->virtual_bytes  = pages[0] * page;
        ret->resident_bytes = pages[1] * page;
    }
    fclose(statm);
}

/* The directory's own descriptor is not counted, nor "." and "..". */
static uint64_t entries_count(void)
{
    uint64_t count = 0;
    DIR     *fds   = opendir("/proc/self/fd");

    if (fds == NULL)
        return 0;
    while (readdir(fds) != NULL)
        count++;
    closedir(fds);
    return count < 3 ? 0 : count - 3;
}

/* Since Linux 6.2 the size of that directory is the number of descriptors. */
static uint64_t open_fds_count(void)
{
    struct stat fds;

    return stat("/proc/self/fd", &fds) == 0 && fds.st_size > 0 ? (uint64_t)fds.st_size : entries_count();
}

struct process_use process_use_get(void)
{
    struct process_use use = { .open_fds = open_fds_count() };
    struct rusage      usage;
    struct rlimit      limit;

    if (getrusage(RUSAGE_SELF, &usage) == 0)
        use.cpu_seconds = seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        use.max_fds = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
    memory_get(&use);
    return use;
}
