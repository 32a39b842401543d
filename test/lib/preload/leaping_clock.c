/* leaping_clock.so - a wall clock that is set while the process runs, for tests of a whole process. The monotonic clock
 * stays true, as it does when a real wall clock is set.
 *
 *   LD_PRELOAD=…/leaping_clock.so LEAPING_CLOCK_CONTROL=/tmp/control server …
 *
 * The control file exists before the process starts. It holds a signed 64-bit number in the machine's byte order: by
 * how many seconds the wall clock is wrong, from the moment at which the number is written. A wait until a date is
 * translated to the kernel's date; a leap during the wait makes it end neither early nor late. The times of files don't
 * leap. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* No machine has been up for so many seconds, and no test sets the clock back so far. */
enum { DATES_FROM_S = 500 * 1000 * 1000 };

static const _Atomic int64_t *off_s;

__attribute__((constructor)) static void control_map(void)
{
    const char *path = getenv("LEAPING_CLOCK_CONTROL");
    int         fd   = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void       *at   = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *off_s, PROT_READ, MAP_SHARED, fd, 0);

    if (fd >= 0)
        close(fd);
    if (at == MAP_FAILED)
        abort();  /* otherwise a test would pass because its clock never leaps */
    off_s = at;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, at);

    if (rc == 0 && off_s != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        at->tv_sec += atomic_load(off_s);
    return rc;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    *at = (struct timeval){ .tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000 };
    return 0;
}

time_t time(time_t *ret)
{
    struct timespec now;

    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    if (ret != NULL)
        *ret = now.tv_sec;
    return now.tv_sec;
}

/* The wait is until a date or, by the condition's attributes, until a monotonic time, which is a far smaller number. */
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict lock,
                           const struct timespec *restrict until)
{
    static int (*next)(pthread_cond_t *restrict, pthread_mutex_t *restrict, const struct timespec *restrict);
    struct timespec at = *until;

    if (next == NULL)
        next = (__typeof__(next))dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    if (at.tv_sec >= DATES_FROM_S)
        at.tv_sec -= atomic_load(off_s);
    return next(cond, lock, &at);
}
