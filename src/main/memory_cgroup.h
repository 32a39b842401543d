/* memory_cgroup.h - how much memory the control group of this process may have. */
#ifndef MAIN_MEMORY_CGROUP_H
#define MAIN_MEMORY_CGROUP_H

#include <stdint.h>

/* The least limit of the process's memory cgroup and of those above it, in bytes; versions 1 and 2. 0: there is none, or
 * it can't be read. `membership` is /proc/self/cgroup and `root` is /sys/fs/cgroup, but in tests. In a container whose own
 * group is mounted as the root, the limit of the root counts. */
uint64_t memory_cgroup_limit(const char *membership, const char *root);

#endif
