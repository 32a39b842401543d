#include "main/confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "main/call_filter.h"
#include "reactor/log.h"

/* --- privileges -------------------------------------------------------------------------------------------------- */

static uint64_t capabilities_get(void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct   data[_LINUX_CAPABILITY_U32S_3] = { 0 };

    if (syscall(SYS_capget, &header, data) != 0)
        return 0;
    return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

/* Of the ones that the thread has, these stay; none can come back. */
static void capabilities_keep(uint64_t wanted)
{
    const uint64_t                  kept   = capabilities_get() & wanted;
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct   data[_LINUX_CAPABILITY_U32S_3] = {
        { .effective = (uint32_t)kept, .permitted = (uint32_t)kept },
        { .effective = (uint32_t)(kept >> 32), .permitted = (uint32_t)(kept >> 32) },
    };

    if (capabilities_get() != kept && syscall(SYS_capset, &header, data) != 0)
        LOG(LOG_WARN, "privileges_not_dropped", log_str("what", "capabilities"), log_errno(errno));
}

static void privileges_drop(void)
{
    if (geteuid() == 0)
        LOG(LOG_WARN, "runs_as_root", log_str("notice", "a user of its own is safer; the unit file has one (docs/security.md)"));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        LOG(LOG_WARN, "privileges_not_dropped", log_str("what", "no_new_privs"), log_errno(errno));
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    /* To bind a port below 1024, and for a congestion control that is not for everybody. */
    capabilities_keep(UINT64_C(1) << CAP_NET_BIND_SERVICE | UINT64_C(1) << CAP_NET_ADMIN);
}

void confine_listening(void)
{
    capabilities_keep(0);
}

/* --- core dumps -------------------------------------------------------------------------------------------------- */

/* A limit of one byte is too little for a file, and for the kernel it means that a program which takes dumps is not
 * started either; 0 would not mean that (fs/coredump.c). */
static void core_dumps_forbid(void)
{
    const struct rlimit none = { 1, 1 };
    struct rlimit       now;

    if (getrlimit(RLIMIT_CORE, &now) == 0 && now.rlim_max < none.rlim_max)
        return;  /* 0: nothing is written, and it can't be raised to 1 */
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        LOG(LOG_WARN, "core_dumps_not_forbidden", log_errno(errno));
}

void confine(const struct confinement *how)
{
    privileges_drop();
    if (!how->dumps_core)
        core_dumps_forbid();
    if (how->filters_calls)
        call_filter_install();
}
