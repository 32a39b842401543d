#include "main/call_filter.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>

#include "reactor/log.h"

/* A sanitizer looks for leaks in a process of its own, which stops the threads of this one. */
#ifdef __SANITIZE_ADDRESS__
#define LOOKS_INTO_OTHERS
#define IS_SANITIZED true
#else
#define LOOKS_INTO_OTHERS "ptrace",
#define IS_SANITIZED false
#endif

/* A call that this machine's kernel does not have has no number there, and is left out. */
static const char *const refused[] = {
    /* other programs */
    "execve", "execveat", "fork", "vfork", "uselib",
    LOOKS_INTO_OTHERS
    "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd", "setns",
    /* another user, or more rights; who leaves root behind has done so before */
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid", "setgroups",
    "chroot", "pivot_root", "unshare", "personality",
    /* the machine */
    "mount", "umount2", "open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "swapon", "swapoff",
    "reboot", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module",
    "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "stime", "sethostname", "setdomainname", "acct", "quotactl", "quotactl_fd",
    "iopl", "ioperm", "modify_ldt", "vhangup", "syslog", "lookup_dcookie", "nfsservctl", "mknod", "mknodat",
    /* ways into the kernel that were holes more than once */
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "add_key", "request_key", "keyctl", "fanotify_init", "fanotify_mark", "name_to_handle_at", "open_by_handle_at",
    "vmsplice", "migrate_pages", "move_pages", "pkey_mprotect",
};

static const struct { const char *name; unsigned argument; enum scmp_compare compare; scmp_datum_t mask, value; } narrowed[] = {
    /* memory that can be written and run: code that somebody brought along */
    { "mmap", 2, SCMP_CMP_MASKED_EQ, PROT_WRITE | PROT_EXEC, PROT_WRITE | PROT_EXEC },
    { "mprotect", 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC },
    { "shmat", 2, SCMP_CMP_MASKED_EQ, SHM_EXEC, SHM_EXEC },
    /* namespaces of its own */
    { "clone", 0, SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER },
    { "clone", 0, SCMP_CMP_MASKED_EQ, CLONE_NEWNS, CLONE_NEWNS },
    { "clone", 0, SCMP_CMP_MASKED_EQ, CLONE_NEWNET, CLONE_NEWNET },
    { "clone", 0, SCMP_CMP_MASKED_EQ, CLONE_NEWPID, CLONE_NEWPID },
    /* a socket may be of AF_UNIX, AF_INET, AF_INET6, or AF_NETLINK, by which libc learns which addresses the machine has */
    { "socket", 0, SCMP_CMP_GT, AF_NETLINK, 0 },
};

static int refuse_families(scmp_filter_ctx filter)
{
    int rc = 0;

    for (unsigned family = AF_UNIX + 1; family < AF_NETLINK && rc == 0; family++)
        if (family != AF_INET && family != AF_INET6)
            rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, family, 0));
    return rc;
}

static int refuse_all(scmp_filter_ctx filter)
{
    int rc = 0;

    for (size_t i = 0; i < sizeof refused / sizeof refused[0] && rc == 0; i++) {
        const int number = seccomp_syscall_resolve_name(refused[i]);
        if (number >= 0)
            rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
    }
    for (size_t i = 0; i < sizeof narrowed / sizeof narrowed[0] && rc == 0; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), seccomp_syscall_resolve_name(narrowed[i].name), 1,
                              SCMP_CMP(narrowed[i].argument, narrowed[i].compare, narrowed[i].mask, narrowed[i].value));
    return rc;
}

/* clone without CLONE_THREAD makes a process. */
static int refuse_processes(scmp_filter_ctx filter)
{
    return IS_SANITIZED ? 0 : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                               SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
}

/* Its flags lie in memory, where no filter can look: libc uses clone where the kernel seems not to have it. */
static int refuse_clone3(scmp_filter_ctx filter)
{
    return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

void call_filter_install(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int             rc     = filter == NULL ? -ENOMEM : refuse_all(filter);

    if (rc == 0)
        rc = refuse_families(filter);
    if (rc == 0)
        rc = refuse_processes(filter);
    /* A search in a tree, not in a list. Without the second one some kernels slow the whole process down, against a weakness of
     * processors that concerns programs which run others' code. */
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    if (rc == 0)
        rc = refuse_clone3(filter);
    if (rc == 0)
        rc = seccomp_load(filter);
    if (rc != 0)
        LOG(LOG_WARN, "calls_not_filtered", log_errno(-rc), log_str("notice", "seccomp = off says that this is meant"));
    seccomp_release(filter);
}
