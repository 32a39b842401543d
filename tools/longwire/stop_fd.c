#include "longwire/stop_fd.h"

#include <signal.h>
#include <sys/signalfd.h>

#include "base/must.h"

int stop_fd_open(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    must(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    must(fd >= 0);
    return fd;
}
