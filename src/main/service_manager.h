/* service_manager.h - what the service manager (systemd, a unit of Type=notify) is told of this process: that it serves, reads its
 * configuration again, stops, is the service's main process from now on, and that its threads are alive. The protocol is that of
 * sd_notify(3): a datagram to the socket that NOTIFY_SOCKET names. Without NOTIFY_SOCKET nothing is said.
 *
 * A manager that does not take a message within TELL_MS is not waited for. */
#ifndef MAIN_SERVICE_MANAGER_H
#define MAIN_SERVICE_MANAGER_H

#include <stdbool.h>

#include "base/msec.h"

struct service_manager {
    int  fd;          /* -1: there is none */
    msec beat_ms;     /* it is told so often that the threads are alive; 0: it does not ask for that */
    msec beat_at;     /* next */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. */
void service_manager_open(struct service_manager *manager, msec now);
void service_manager_close(struct service_manager *manager);

/* Lines `NAME=value`. */
void service_manager_tell(const struct service_manager *manager, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* It reads its configuration again: tells RELOADING, and when. */
void service_manager_tell_reloading(const struct service_manager *manager);

/* Is it time to tell that the threads are alive? */
bool service_manager_is_due(const struct service_manager *manager, msec now);
/* Tells it if that is true; the next time is some time later in any case. */
void service_manager_beat(struct service_manager *manager, msec now, bool are_alive);
/* How long to wait, if nothing else ends it before `wait` (-1: for ever). */
msec service_manager_wait(const struct service_manager *manager, msec now, msec wait);

#endif
