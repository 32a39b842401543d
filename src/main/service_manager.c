#include "main/service_manager.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "reactor/log.h"

enum { TELL_MS = 2000, MESSAGE_BYTES = 512, BEATS_A_TIMEOUT = 3 };

/* --- opening ----------------------------------------------------------------------------------------------------- */

/* A path, or a name behind @ in the abstract namespace; sd_notify(3) knows no others that are of use here. */
static bool notify_address(const char *name, struct sockaddr_un *ret, socklen_t *ret_len)
{
    const size_t len = strlen(name);

    *ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof ret->sun_path)
        return false;
    memcpy(ret->sun_path, name, len);
    if (name[0] == '@')
        ret->sun_path[0] = '\0';
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '/'));
    return true;
}

static int connect_to(const struct sockaddr_un *address, socklen_t len)
{
    const struct timeval most = { .tv_sec = TELL_MS / 1000 };
    const int            fd   = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most) != 0 ||
        connect(fd, (const struct sockaddr *)address, len) != 0) {
        const int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

/* WATCHDOG_PID says for which process it is meant. */
static msec watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    if (usec == NULL || (pid != NULL && strtoll(pid, NULL, 10) != getpid()))
        return 0;
    const long long ms = strtoll(usec, NULL, 10) / 1000;
    return ms > 0 ? (msec)ms : 0;
}

void service_manager_open(struct service_manager *manager, msec now)
{
    const char        *name = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address;
    socklen_t          len;

    *manager = (struct service_manager){ .fd = -1 };
    if (name == NULL || name[0] == '\0')
        return;
    if (notify_address(name, &address, &len))
        manager->fd = connect_to(&address, len);
    else
        errno = EINVAL;
    if (manager->fd < 0)
        LOG(LOG_WARN, "service_manager_not_told", log_str("notify_socket", name), log_errno(errno));
    else
        manager->beat_ms = watchdog_ms() / BEATS_A_TIMEOUT;
    manager->beat_at = now;
}

void service_manager_close(struct service_manager *manager)
{
    if (manager->fd >= 0)
        close(manager->fd);
    manager->fd = -1;
}

/* --- telling ----------------------------------------------------------------------------------------------------- */

void service_manager_tell(const struct service_manager *manager, const char *format, ...)
{
    char    text[MESSAGE_BYTES];
    va_list values;

    if (manager->fd < 0)
        return;
    va_start(values, format);
    int len = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    if (len > 0 && (size_t)len < sizeof text && send(manager->fd, text, (size_t)len, MSG_NOSIGNAL) != len)
        LOG(LOG_WARN, "service_manager_not_told", log_errno(errno));
}

void service_manager_tell_reloading(const struct service_manager *manager)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    service_manager_tell(manager, "RELOADING=1\nMONOTONIC_USEC=%lld",
                         (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

bool service_manager_is_due(const struct service_manager *manager, msec now)
{
    return manager->fd >= 0 && manager->beat_ms != 0 && now >= manager->beat_at;
}

msec service_manager_wait(const struct service_manager *manager, msec now, msec wait)
{
    if (manager->fd < 0 || manager->beat_ms == 0 || (wait >= 0 && wait <= manager->beat_at - now))
        return wait;
    return manager->beat_at > now ? manager->beat_at - now : 0;
}

void service_manager_beat(struct service_manager *manager, msec now, bool are_alive)
{
    if (are_alive)
        service_manager_tell(manager, "WATCHDOG=1");
    manager->beat_at = now + manager->beat_ms;
}
