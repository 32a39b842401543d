#include "resolve.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/must.h"
#include "server_list.h"

/* Owned by the loop and by the thread that asks; the last of both frees it. */
struct resolving {
    pthread_mutex_t  mutex;
    unsigned         owners;
    bool             is_done;
    int              fd;
    int              error;  /* of getaddrinfo() */
    struct addrinfo *found;
    char             host[HOST_BYTES_MAX + 1];
    char             port[PORT_BYTES_MAX + 1];
};

static void leave(struct resolving *resolving)
{
    must(pthread_mutex_lock(&resolving->mutex) == 0);
    bool is_last = --resolving->owners == 0;
    must(pthread_mutex_unlock(&resolving->mutex) == 0);
    if (!is_last)
        return;
    if (resolving->found != NULL)
        freeaddrinfo(resolving->found);
    pthread_mutex_destroy(&resolving->mutex);
    close(resolving->fd);
    free(resolving);
}

static void ask(struct resolving *resolving, int flags)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV };
    struct addrinfo      *found = NULL;
    int                   error = getaddrinfo(resolving->host, resolving->port, &hints, &found);

    must(pthread_mutex_lock(&resolving->mutex) == 0);
    resolving->error   = error;
    resolving->found   = error == 0 ? found : NULL;
    resolving->is_done = true;
    must(eventfd_write(resolving->fd, 1) == 0);
    must(pthread_mutex_unlock(&resolving->mutex) == 0);
}

static void *run(void *arg)
{
    ask(arg, AI_ADDRCONFIG);
    leave(arg);
    return NULL;
}

/* The thread takes no signals: they are the application's. */
static enum rc start_thread(struct resolving *resolving)
{
    sigset_t  all, before;
    pthread_t thread;

    sigfillset(&all);
    must(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    resolving->owners++;
    int error = pthread_create(&thread, NULL, run, resolving);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (error != 0) {
        resolving->owners--;
        return RC_NOMEM;
    }
    must(pthread_detach(thread) == 0);
    return RC_OK;
}

enum rc resolving_start(const char *host, const char *port, struct resolving **ret)
{
    struct resolving *resolving = calloc(1, sizeof *resolving);
    enum rc           rc        = RC_NOMEM;

    must(resolving != NULL);
    must(pthread_mutex_init(&resolving->mutex, NULL) == 0);
    resolving->owners = 1;
    resolving->fd     = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    snprintf(resolving->host, sizeof resolving->host, "%s", host);
    snprintf(resolving->port, sizeof resolving->port, "%s", port);
    if (resolving->fd < 0)
        goto out;
    ask(resolving, AI_NUMERICHOST);
    rc = RC_OK;
    if (resolving->error != 0) {
        resolving->is_done = false;
        must(eventfd_read(resolving->fd, &(eventfd_t){ 0 }) == 0);
        rc = start_thread(resolving);
    }
    if (rc != RC_OK)
        goto out;
    *ret      = resolving;
    resolving = NULL;
out:
    resolving_free(resolving);
    return rc;
}

int resolving_fd(const struct resolving *resolving)
{
    return resolving->fd;
}

bool resolving_take(struct resolving *resolving, struct addrinfo **ret_found, const char **ret_why)
{
    must(pthread_mutex_lock(&resolving->mutex) == 0);
    bool is_done = resolving->is_done;
    if (is_done) {
        *ret_why         = resolving->error == 0 ? NULL : gai_strerror(resolving->error);
        *ret_found       = resolving->found;
        resolving->found = NULL;
    }
    must(pthread_mutex_unlock(&resolving->mutex) == 0);
    return is_done;
}

void resolving_free(struct resolving *resolving)
{
    if (resolving != NULL)
        leave(resolving);
}
