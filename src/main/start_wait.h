/* start_wait.h - the start of a node whose store is another process (PostgreSQL), and may not answer yet: all of a cluster start at
 * once, or the machine is busy. What could not be asked is asked again, until start_timeout_s is over. What no waiting
 * mends (a password, a schema) is never waited for: those who ask answer it with another rc than RC_IO.
 *
 *     main's thread: begin ── ask ──▶ RC_IO ──▶ again(): a line in the log, a pause ──▶ ask … ──▶ end
 *     its own thread:  a second after the start began it listens on the addresses of `http`, and answers everything 503
 *
 * So probes, proxies and people are told that the node is starting, in place of a refused connection. The own thread also ends the process:
 * at SIGTERM and SIGINT with status 0, and if a question never comes back. */
#ifndef MAIN_START_WAIT_H
#define MAIN_START_WAIT_H

#include <pthread.h>

#include "base/counter.h"
#include "http/http.h"
#include "main/service_manager.h"
#include "reactor/listener.h"
#include "settings/settings.h"

struct start_wait {
    const struct settings        *settings;   /* borrowed until the end */
    const struct service_manager *manager;    /* likewise */
    bool                          may_wait;
    msec                          until;      /* monotonic: then the start gives up */
    msec                          pause_ms;   /* before the next question */
    struct counter                is_over;
    pthread_t                     thread;
    struct loop                   loop;       /* its thread's, as the rest */
    struct timer                  tick;
    struct http_server            http;
    msec                          listen_at;
    struct listener              *listeners[LISTENS_MAX];
};

/* Starts the thread, if the settings name a store that may be away. Not RC_OK: it has no thread, and nothing is to be
 * ended. */
enum rc start_wait_begin(struct start_wait *wait, const struct settings *settings, const struct service_manager *manager) RC_MUST_USE;

/* A question ended with rc: shall it be put again? If so, it has been waited for a moment. `why` is a sentence. */
bool start_wait_again(struct start_wait *wait, enum rc rc, const char *why);

/* Its addresses are free again. */
void start_wait_end(struct start_wait *wait);

#endif
