/* What the kernel refuses once the filter is there, and what goes on (threat 111). Each case in a process of its own. */
#include "main/call_filter.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int run_program(void)
{
    char *const argv[] = { (char[]){ "true" }, NULL };

    return execv("/bin/true", argv) == 0 ? 0 : errno;
}

static int write_code(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at != MAP_FAILED ? 0 : errno;
}

static int run_data(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? -1 : mprotect(at, 4096, PROT_READ | PROT_EXEC) == 0 ? 0 : errno;
}

static int open_socket_of(int family, int type)
{
    int fd = socket(family, type, 0);

    if (fd >= 0)
        close(fd);
    return fd >= 0 ? 0 : errno;
}

static int open_packets(void) { return open_socket_of(AF_PACKET, SOCK_RAW); }
static int open_alg(void) { return open_socket_of(AF_ALG, SOCK_SEQPACKET); }
static int open_vsock(void) { return open_socket_of(AF_VSOCK, SOCK_STREAM); }
static int open_tcp(void) { return open_socket_of(AF_INET6, SOCK_STREAM); }
static int open_unix(void) { return open_socket_of(AF_UNIX, SOCK_STREAM); }
static int open_netlink(void) { return open_socket_of(AF_NETLINK, SOCK_RAW); }
static int mount_something(void) { return mount("none", "/", "tmpfs", 0, NULL) == 0 ? 0 : errno; }
static int become_somebody(void) { return setuid(getuid()) == 0 ? 0 : errno; }
static int make_ring(void) { return syscall(SYS_io_uring_setup, 1, NULL) >= 0 ? 0 : errno; }
static int leave_namespace(void) { return syscall(SYS_unshare, 0) == 0 ? 0 : errno; }

static void *nothing(void *ctx)
{
    return ctx;
}

static int start_thread(void)
{
    pthread_t thread;
    int       rc = pthread_create(&thread, NULL, nothing, NULL);

    return rc != 0 ? rc : pthread_join(thread, NULL);
}

static int take_memory(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at != MAP_FAILED && mprotect(at, 4096, PROT_READ) == 0 ? 0 : errno;
}

static const struct { const char *name; int (*act)(void); int want; } rows[] = {
    { "start a program", run_program, EPERM },
    { "memory to write and run", write_code, EPERM },
    { "memory to run that was written", run_data, EPERM },
    { "packets as they are", open_packets, EPERM },
    { "the kernel's ciphers", open_alg, EPERM },
    { "the host of a virtual machine", open_vsock, EPERM },
    { "mount", mount_something, EPERM },
    { "become another user", become_somebody, EPERM },
    { "io_uring", make_ring, EPERM },
    { "namespaces", leave_namespace, EPERM },
    { "TCP", open_tcp, 0 },
    { "a Unix socket", open_unix, 0 },
    { "netlink, for libc", open_netlink, 0 },
    { "a thread", start_thread, 0 },
    { "memory", take_memory, 0 },
};

/* The exit status of a process that has the filter: the error of the act. */
static int outcome_of(int (*act)(void))
{
    int   status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        call_filter_install();
        _exit(act());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void an_intruder_gets_nowhere_and_a_server_goes_on(void **state)
{
    (void)state;
    if (access("/proc/sys/kernel/seccomp/actions_avail", F_OK) != 0)
        skip();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (outcome_of(rows[i].act) != rows[i].want)
            fail_msg("%s: %d, not %d", rows[i].name, outcome_of(rows[i].act), rows[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(an_intruder_gets_nowhere_and_a_server_goes_on) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
