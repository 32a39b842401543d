/* slice.h - how the kernel schedules a thread. <linux/sched/types.h> has the same struct, but can't stand beside <sched.h>. */
#ifndef TEST_LIB_SLICE_H
#define TEST_LIB_SLICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

struct slice_attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t  nice;
    uint32_t priority;
    uint64_t slice_ns;  /* 0: the system knows no slices */
    uint64_t deadline, period;
};

/* thread 0: the caller. False: there is no such thread. */
static inline bool slice_attr_get(pid_t thread, struct slice_attr *ret)
{
    *ret = (struct slice_attr){ 0 };
    return syscall(SYS_sched_getattr, thread, ret, sizeof *ret, 0) == 0;
}

/* Of the caller. False: it is refused, as in some sandboxes. */
static inline bool slice_attr_set(const struct slice_attr *attr)
{
    return syscall(SYS_sched_setattr, 0, attr, 0) == 0;
}

#endif
