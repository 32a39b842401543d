/* proxy.c - `longwire proxy`: HTTP/1.1 of local programs becomes requests over one long link to the server. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "longwire/command.h"
#include "longwire/native_wait.h"
#include "longwire/proxy_link.h"
#include "longwire/stop_fd.h"

enum { LOOK_MS = 1000, LEAVE_MS = 5000, LISTEN_BACKLOG = 128, ADDRESS_BYTES = 64 };

struct proxy {
    const char *listen, *user, *device;
    msec        timeout_ms;
    struct lw  *lw;
    int         listen_fd, stop_fd;
    struct list links;          /* proxy_link.in_proxy */
    size_t      link_count;
    struct list asks;           /* requests without a response */
    bool        was_connected, has_ended;
    int         exit;
    struct pollfd     fds[PROXY_LINKS_MAX + 3];
    struct proxy_link *at[PROXY_LINKS_MAX];  /* fds[i + 3] is its */
};

/* --- the local side --------------------------------------------------------------------------------------------------- */

/* "127.0.0.1:8000", "[::1]:8000", ":8000". */
static bool read_address(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len)
{
    const char *colon = strrchr(text, ':');
    char        host[ADDRESS_BYTES], *end;
    struct sockaddr_in  v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

    if (colon == NULL || (size_t)(colon - text) >= sizeof host)
        return false;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (end == colon + 1 || *end != '\0' || port > 65535)
        return false;
    bool is_bracketed = text[0] == '[' && colon > text && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - text) - (is_bracketed ? 2 : 0), text + is_bracketed);
    v4.sin_port = v6.sin6_port = htons((uint16_t)port);
    memset(ret, 0, sizeof *ret);
    if (inet_pton(AF_INET, host[0] == '\0' ? "127.0.0.1" : host, &v4.sin_addr) == 1) {
        memcpy(ret, &v4, *ret_len = sizeof v4);
        return true;
    }
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) != 1)
        return false;
    memcpy(ret, &v6, *ret_len = sizeof v6);
    return true;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    struct sockaddr_in  v4;
    struct sockaddr_in6 v6;

    memcpy(&v4, address, sizeof v4);
    memcpy(&v6, address, sizeof v6);
    return address->ss_family == AF_INET ? ntohl(v4.sin_addr.s_addr) >> 24 == 127 : IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

static unsigned port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t               len = sizeof address;
    struct sockaddr_in      v4;

    must(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    memcpy(&v4, &address, sizeof v4);  /* the port stands at the same place in both families */
    return ntohs(v4.sin_port);
}

/* Whoever reaches the port asks in the name of this device, so it is on this machine alone unless that is said. */
static bool open_port(struct proxy *proxy)
{
    struct sockaddr_storage address;
    socklen_t               len;
    int                     one = 1;

    if (!read_address(proxy->listen, &address, &len)) {
        say("--listen needs ADDRESS:PORT, for instance 127.0.0.1:8000, not \"%s\"", proxy->listen);
        return false;
    }
    proxy->listen_fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (proxy->listen_fd < 0 || setsockopt(proxy->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(proxy->listen_fd, (struct sockaddr *)&address, len) != 0 || listen(proxy->listen_fd, LISTEN_BACKLOG) != 0) {
        say("can't listen on %s: %s", proxy->listen, strerror(errno));
        return false;
    }
    if (!is_loopback(&address))
        say("%s can be reached from other machines: they will ask in the name of this device", proxy->listen);
    say("listening on port %u", port_of(proxy->listen_fd));
    return true;
}

static void accept_one(struct proxy *proxy)
{
    int fd = accept4(proxy->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;  /* it has gone already, or there is no descriptor: the next one may fare better */
    struct proxy_link *link = proxy_link_new(proxy->lw, &proxy->asks, fd, proxy->timeout_ms);
    list_push(&proxy->links, &link->in_proxy);
    proxy->link_count++;
}

/* --- the server's side ------------------------------------------------------------------------------------------------- */

static void on_state(void *arg, const struct lw_status *status)
{
    struct proxy *proxy = arg;

    if (status->state == LW_CONNECTED)
        say("connected to %s", status->server);
    else if (status->state == LW_WAITING)
        native_say_waiting(status, proxy->was_connected);
    else if (status->state == LW_ENDED && status->code != 0) {
        say("the server has ended it: %s (%u)", status->reason, status->code);
        proxy->exit = EXIT_REFUSED;
    }
    proxy->was_connected |= status->state == LW_CONNECTED;
    proxy->has_ended |= status->state == LW_ENDED;
}

static bool open_link(struct proxy *proxy, const struct target *target)
{
    const char *fault = NULL;

    proxy->lw = lw_new(&(struct lw_options){
        .servers = target->server, .token = target->key, .user = proxy->user, .device = proxy->device,
        .publish_bytes_max = (size_t)4 * PROXY_BODY_BYTES_MAX, .on = { .state = on_state }, .arg = proxy,
    }, &fault);
    if (proxy->lw == NULL)
        say("%s", fault);
    return proxy->lw != NULL;
}

/* --- the loop ------------------------------------------------------------------------------------------------------------- */

static nfds_t fill_in(struct proxy *proxy)
{
    nfds_t count = 3;

    proxy->fds[0] = (struct pollfd){ .fd = proxy->stop_fd, .events = POLLIN };
    proxy->fds[1] = (struct pollfd){ .fd = lw_fd(proxy->lw), .events = POLLIN };
    proxy->fds[2] = (struct pollfd){ .fd = proxy->link_count < PROXY_LINKS_MAX ? proxy->listen_fd : -1, .events = POLLIN };
    for (struct list *at = proxy->links.next; at != &proxy->links; at = at->next) {
        struct proxy_link *link = container_of(at, struct proxy_link, in_proxy);
        proxy->at[count - 3]    = link;
        proxy->fds[count++]     = (struct pollfd){ .fd = link->fd, .events = proxy_link_events(link) };
    }
    return count;
}

static void serve_links(struct proxy *proxy, nfds_t count)
{
    msec now = msec_now();

    for (nfds_t i = 3; i < count; i++) {
        struct proxy_link *link = proxy->at[i - 3];
        if (proxy->fds[i].revents != 0)
            proxy_link_serve(link, proxy->fds[i].revents);
        proxy_link_look(link, now);
        if (!link->is_gone)
            continue;
        proxy_link_free(link);
        proxy->link_count--;
    }
}

static void run(struct proxy *proxy)
{
    while (!proxy->has_ended) {
        nfds_t count   = fill_in(proxy);
        int    timeout = lw_timeout(proxy->lw);
        if (timeout < 0 || timeout > LOOK_MS)
            timeout = LOOK_MS;
        must(poll(proxy->fds, count, timeout) >= 0 || errno == EINTR);
        if ((proxy->fds[0].revents & POLLIN) != 0)
            return;
        (void)lw_process(proxy->lw);
        serve_links(proxy, count);
        if ((proxy->fds[2].revents & POLLIN) != 0)
            accept_one(proxy);
    }
}

/* What is under way is cancelled: nobody waits for it any more. */
static void leave(struct proxy *proxy)
{
    struct pollfd fds     = { .fd = lw_fd(proxy->lw), .events = POLLIN };
    msec          give_up = msec_now() + LEAVE_MS;
    struct list  *at;

    while ((at = list_pop(&proxy->links)) != NULL)
        proxy_link_free(container_of(at, struct proxy_link, in_proxy));
    (void)lw_process(proxy->lw);
    if (lw_close(proxy->lw) != LW_OK)
        return;
    while (!proxy->has_ended && msec_now() < give_up) {
        int timeout = lw_timeout(proxy->lw);
        must(poll(&fds, 1, timeout < 0 || timeout > LOOK_MS ? LOOK_MS : timeout) >= 0 || errno == EINTR);
        (void)lw_process(proxy->lw);
    }
}

/* --- the command line ------------------------------------------------------------------------------------------------------ */

static bool proxy_option(void *arg, int option, const char *value)
{
    struct proxy *proxy = arg;

    switch (option) {
    case OPTION_LISTEN: proxy->listen = value; return true;
    case OPTION_USER: proxy->user = value; return true;
    case OPTION_DEVICE: proxy->device = value; return true;
    default: return cli_duration("--timeout", value, &proxy->timeout_ms);
    }
}

static bool is_sound(struct proxy *proxy, const struct target *target)
{
    if (!target->is_native) {
        say("longwire proxy keeps one long link over the native protocol: --server lw://HOST:7400");
        return false;
    }
    if (proxy->user != NULL && proxy->device == NULL)
        proxy->device = "proxy";
    else if (proxy->user == NULL && proxy->device != NULL)
        say("--device counts beside --user alone: a token names its device itself, and without one a lost link loses its responses");
    return true;
}

int command_proxy(struct invocation *invocation)
{
    struct proxy *proxy = calloc(1, sizeof *proxy);

    must(proxy != NULL);
    proxy->listen    = "127.0.0.1:8000";
    proxy->listen_fd = -1;
    list_init(&proxy->links);
    list_init(&proxy->asks);
    if (!invocation_read(invocation, proxy_option, proxy)) {
        proxy->exit = invocation->exit;
    } else if (!is_sound(proxy, &invocation->target) || !open_link(proxy, &invocation->target)) {
        proxy->exit = EXIT_USAGE;
    } else if (!open_port(proxy)) {
        proxy->exit = EXIT_REFUSED;
    } else {
        proxy->stop_fd = stop_fd_open();
        run(proxy);
        leave(proxy);
    }
    int exit_code = proxy->exit;
    lw_free(proxy->lw);
    proxy_asks_free(&proxy->asks);
    if (proxy->listen_fd >= 0)
        close(proxy->listen_fd);
    free(proxy);
    return exit_code;
}
