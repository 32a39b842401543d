#include "main/reload_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_NOT_RELOADED = 1, EXIT_NO_SERVER = 2 };

/* 0: MAINPID is not there, or is no number of a process. */
static pid_t main_process(void)
{
    const char *text = getenv("MAINPID");
    char       *end  = NULL;
    const long  pid  = text == NULL ? 0 : strtol(text, &end, 10);

    return pid > 1 && pid <= INT32_MAX && *end == '\0' ? (pid_t)pid : 0;
}

/* By the file: a package or `make install` puts a new one in the place of the old one. */
static bool runs_this_program(pid_t pid)
{
    char        path[64];
    struct stat that, own;

    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    return stat(path, &that) == 0 && stat("/proc/self/exe", &own) == 0 && that.st_dev == own.st_dev && that.st_ino == own.st_ino;
}

static int reload_by_signal(pid_t pid)
{
    if (kill(pid, SIGHUP) == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "longwired --reload: the process %d can't be told: %s\n", (int)pid, strerror(errno));
    return EXIT_NOT_RELOADED;
}

/* EOF: the new process has ended, and has said why. */
static int await_ready(int from)
{
    char    said;
    ssize_t got;

    do
        got = read(from, &said, 1);
    while (got < 0 && errno == EINTR);
    if (got == 1)
        return EXIT_SUCCESS;
    fprintf(stderr, "longwired --reload: the new program could not take over; the old one serves on\n");
    return EXIT_NOT_RELOADED;
}

/* The process in between ends at once, so that the new one is a child of the service manager, which hears of its end. */
static bool become_orphan(int *ret_status)
{
    const pid_t between = fork();

    if (between > 0) {
        waitpid(between, NULL, 0);
        return false;
    }
    if (between < 0) {
        *ret_status = EXIT_NOT_RELOADED;
        return false;
    }
    const pid_t new_one = fork();
    if (new_one != 0)
        _exit(EXIT_SUCCESS);
    return true;
}

/* It was meant for the process that the service manager started, and this one takes its place. */
static void take_watchdog(pid_t before)
{
    const char *pid = getenv("WATCHDOG_PID");

    if (pid != NULL && strtoll(pid, NULL, 10) == before)
        unsetenv("WATCHDOG_PID");
}

static bool take_over_beside(int *ret_ready, int *ret_status)
{
    const pid_t before = getpid();
    int         pipes[2];

    if (pipe2(pipes, O_CLOEXEC) != 0) {
        fprintf(stderr, "longwired --reload: %s\n", strerror(errno));
        *ret_status = EXIT_NOT_RELOADED;
        return false;
    }
    if (become_orphan(ret_status)) {
        close(pipes[0]);
        take_watchdog(before);
        *ret_ready = pipes[1];
        return true;
    }
    close(pipes[1]);
    *ret_status = await_ready(pipes[0]);
    close(pipes[0]);
    return false;
}

bool reload_process(const struct settings *settings, int *ret_ready, int *ret_status)
{
    const pid_t pid = main_process();

    *ret_ready  = -1;
    *ret_status = EXIT_NO_SERVER;
    if (pid == 0) {
        fprintf(stderr, "longwired --reload: MAINPID has to name the process of the server, as ExecReload= of systemd does\n");
        return false;
    }
    const bool is_same = runs_this_program(pid);
    if (!is_same && settings->cluster_kind == CLUSTER_NONE)
        return take_over_beside(ret_ready, ret_status);
    if (!is_same)
        fprintf(stderr, "longwired --reload: a node of a cluster reads its configuration again, and does not change its program: drain it, "
                        "and restart it\n");
    *ret_status = reload_by_signal(pid);
    return false;
}

void reload_process_is_ready(int ready)
{
    if (ready < 0)
        return;
    if (write(ready, "1", 1) != 1)
        fprintf(stderr, "longwired --reload: nobody waits any more\n");
    close(ready);
}
