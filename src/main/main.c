/* main.c - the process: settings, signals, and a few lines for the person who started it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "auth/issuer.h"
#include "base/must.h"
#include "main/confine.h"
#include "main/hand_over.h"
#include "main/hide_secrets.h"
#include "main/last_words.h"
#include "main/limits.h"
#include "main/memory_control.h"
#include "main/reload.h"
#include "main/reload_process.h"
#include "main/server.h"
#include "main/service_manager.h"
#include "main/stores.h"
#include "main/take_over.h"
#include "reactor/log.h"
#include "settings/config.h"
#include "settings/url_list.h"

enum { EXIT_CANT_START = 1, EXIT_BAD_SETTINGS = 2, EXIT_USURPED = 3 };

/* Beyond stop_timeout_s: to let clients close their ends (five seconds), and to close the store. */
enum { STOP_MORE_MS = 15000 };

enum { WHY_BYTES = 4096, TICK_LATE_MS = 2000 };

extern char **environ;

static void print_to(FILE *stream, const struct buf *text)
{
    fwrite(text->at, 1, text->len, stream);
}

/* Opens those of the three standard descriptors that are closed, as /dev/null. If the caller left one closed, the next
 * file that we open would get its number, and our messages would be written into that file: it could be one of the
 * store's. */
static bool fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return false;
    return true;
}

/* Raises the limit of open files as far as the system allows. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        LOG(LOG_WARN, "descriptor_limit_not_raised", log_errno(errno));
}

/* Threads inherit this mask: signals come to main alone. */
static void block_signals(sigset_t *ret_ours)
{
    last_words_prepare();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);  /* so that a write above RLIMIT_FSIZE fails, and the process lives on (threat 11) */
    sigemptyset(ret_ours);
    sigaddset(ret_ours, SIGTERM);
    sigaddset(ret_ours, SIGINT);
    sigaddset(ret_ours, SIGHUP);
    must(pthread_sigmask(SIG_BLOCK, ret_ours, NULL) == 0);
}

static void log_warnings(const struct buf *say)
{
    struct span rest = buf_span(say), line;

    while (span_cut(&rest, '\n', &line))
        LOG(LOG_WARN, "settings", log_span("notice", line));
}

/* An address that can be typed. An address that stands for all addresses of the machine is shown as loopback. */
static void put_url(struct buf *url, const struct listen_address *listen, unsigned port)
{
    struct span host = span_str(listen->text);

    while (host.at[host.len - 1] != ':')  /* drops the configured port, which may be 0 */
        host.len--;
    host.len--;
    if (span_eq(host, SPAN("0.0.0.0")))
        host = SPAN("127.0.0.1");
    else if (span_eq(host, SPAN("[::]")))
        host = SPAN("[::1]");
    buf_putf(url, "http://%.*s:%u", SPAN_ARG(host), port);
}

static void say_what_to_try(const struct settings *settings, const struct server *server)
{
    bool        needs_key = !settings_are_open(settings);
    const char *bearer    = needs_key ? " -H \"Authorization: Bearer $LONGWIRE_KEY\"" : "";
    struct buf  url;

    buf_init(&url, LISTEN_TEXT_BYTES_MAX + 32);
    put_url(&url, &settings->listens[0], server->ports[0]);
    bool is_default = span_eq(buf_span(&url), SPAN("http://127.0.0.1:8080"));
    buf_putc(&url, '\0');
    printf("\n  Longwire is running. In another terminal%s, try\n\n"
           "    build/longwire sub topic:hello%s%s        follow a channel\n"
           "    curl%s -d 'Hello' %s/v1/channels/topic:hello/messages\n"
           "    curl%s -N -H 'Accept: text/event-stream' '%s/v1/subscribe?channel=topic:hello&after=0'\n\n"
           "  or open %s/ in a browser. Ctrl-C stops the server.\n\n",
           needs_key ? ", with the secret of a key in LONGWIRE_KEY" : "", is_default ? "" : " --server ",
           is_default ? "" : url.at, bearer, url.at, bearer, url.at, url.at);
    fflush(stdout);
    buf_fini(&url);
}

static void say_misfits(const struct settings *settings)
{
    struct buf say;

    buf_init(&say, 4096);
    limits_put_misfits(settings, &say);
    log_warnings(&say);
    buf_fini(&say);
}

static void say_hello(const struct settings *settings, const struct server *server)
{
    for (size_t i = 0; i < server->listen_count; i++)
        LOG(LOG_INFO, "listening", log_str(listen_scheme(&server->listens[i]), server->listens[i].text),
            log_u64("port", server->ports[i]));
    if (settings_are_open(settings))
        LOG(LOG_WARN, "open_to_all", log_str("notice", "neither a [key] nor a [jwt] is configured: everyone on this machine may publish, "
                                                       "follow and manage; only loopback addresses are served"));
    struct buf store;

    buf_init(&store, sizeof settings->store + 4096);
    url_put_shown(&store, span_str(settings->store_kind == STORE_ROCKS ? settings->data : settings->store));
    LOG(LOG_INFO, "ready", log_str("version", LONGWIRE_VERSION), log_u64("loops", server->worker_count),
        log_span("store", buf_span(&store)));
    buf_fini(&store);
    say_misfits(settings);
    if (settings->listen_count > 0)
        say_what_to_try(settings, server);
}

static void *stop_server(void *server)
{
    server_stop(server);
    server_close(server);
    return NULL;
}

static void stop_at_once(const char *why)
{
    LOG(LOG_WARN, "stopping_at_once", log_str("why", why));
    _exit(EXIT_CANT_START);
}

/* Waits until all loops have adopted the new configuration. Further SIGHUPs wait meanwhile, as one. 0, or a signal to
 * stop that came before that. */
static int wait_for_adoption(const struct server *server)
{
    const struct timespec slice = { .tv_nsec = 5 * 1000 * 1000 };
    sigset_t              stops;

    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    while (!server_has_adopted(server)) {
        int which = sigtimedwait(&stops, NULL, &slice);
        if (which > 0)
            return which;
    }
    return 0;
}

/* 0, or a signal to stop that came meanwhile. */
static int reload(struct server *server, const struct service_manager *manager, char *const *argv)
{
    struct reload reload;
    int           which = 0;

    service_manager_tell_reloading(manager);
    reload_init(&reload, argv, environ, server);
    if (reload.settings == NULL) {
        server_count_failed_reload(server);
    } else {
        server_reload(server, reload.settings, reload.tls);
        reload.tls = NULL;
        which = wait_for_adoption(server);
        if (which == 0)
            reload_tell(&reload);
    }
    reload_fini(&reload);
    service_manager_tell(manager, "READY=1");
    return which;
}

/* A signal that has come, or -1: none in that time, or a process has come to take over. */
static int wait_for_signal(const struct hand_over *hand, int signals, const sigset_t *ours, msec wait)
{
    const struct timespec none  = { 0 };
    struct pollfd         fds[] = { { .fd = signals, .events = POLLIN }, { .fd = hand->fd, .events = POLLIN } };

    poll(fds, 2, (int)wait);
    return sigtimedwait(ours, NULL, &none);
}

static bool somebody_comes(const struct hand_over *hand)
{
    struct pollfd at = { .fd = hand->fd, .events = POLLIN };

    return hand->fd >= 0 && poll(&at, 1, 0) > 0;
}

/* Another process serves: what is left here leaves, and this process ends. */
static void leave_to_the_new_one(struct server *server, struct hand_over *hand, const sigset_t *ours)
{
    server_await_leaving(server, ours);
    hand_over_await_successor(hand);
    LOG(LOG_INFO, "stopped");
    log_tell_suppressed();
    _exit(EXIT_SUCCESS);
}

/* In how many ms to look again. */
static msec look_after(struct memory_control *memory, struct service_manager *manager, struct server *server)
{
    const msec now  = clock_now();
    msec       wait = memory_control_look(memory, server);

    if (service_manager_is_due(manager, now))
        service_manager_beat(manager, now, server_is_alive(server, now, manager->beat_ms + TICK_LATE_MS));
    return service_manager_wait(manager, now, wait);
}

/* Waits for a signal to stop, and returns it. */
static int wait_and_reload(struct server *server, struct hand_over *hand, struct service_manager *manager, const sigset_t *ours,
                           char *const *argv)
{
    struct memory_control memory;
    int                   signals = signalfd(-1, ours, SFD_CLOEXEC | SFD_NONBLOCK);
    int                   which;

    memory_control_open(&memory);
    do {
        which = wait_for_signal(hand, signals, ours, look_after(&memory, manager, server));
        if (which == SIGHUP)
            which = reload(server, manager, argv);
        else if (which < 0 && somebody_comes(hand) && hand_over_serve(hand, server))
            leave_to_the_new_one(server, hand, ours);
    } while (which <= 0);
    memory_control_close(&memory);
    close(signals);
    return which;
}

/* Waits for a signal to stop, then stops and closes the server. The process ends at once if a second signal comes,
 * or if a store never finishes a write: its threads can't be ended, and what was acknowledged is on the disk
 * already. */
static void wait_for_the_end(struct server *server, struct hand_over *hand, struct service_manager *manager, const sigset_t *ours,
                             char *const *argv)
{
    pthread_t stopper;
    int       which   = wait_and_reload(server, hand, manager, ours, argv);
    msec      patient = clock_now() + server_settings(server)->stop_timeout_s * 1000 + STOP_MORE_MS;

    if (atomic_load(&server->cluster.is_usurped))
        LOG(LOG_ERROR, "usurped", log_str("why", server->cluster.why));
    else
        LOG(LOG_INFO, "stopping", log_str("signal", which == SIGTERM ? "SIGTERM" : "SIGINT"));

    service_manager_tell(manager, "STOPPING=1");
    hand_over_close(hand);
    must(pthread_create(&stopper, NULL, stop_server, server) == 0);
    while (pthread_tryjoin_np(stopper, NULL) != 0) {
        struct timespec wait = { .tv_nsec = 20 * 1000 * 1000 };
        which                = sigtimedwait(ours, NULL, &wait);
        if (which == SIGTERM || which == SIGINT)
            stop_at_once("a second signal");
        if (clock_now() > patient)
            stop_at_once("the store does not finish");
    }
}

/* The manager first: the process whose place this one takes ends only when the manager knows that it is not the main one. */
static void say_ready(struct server *server, const struct service_manager *manager, int ready)
{
    service_manager_tell(manager, "READY=1\nMAINPID=%d\nSTATUS=longwired " LONGWIRE_VERSION " serves", (int)getpid());
    server_let_predecessor_go(server);
    reload_process_is_ready(ready);
}

/* `ready`: where a reload waits for this process; -1: none does. */
static int run(struct settings *settings, const struct buf *warnings, bool takes_over, int ready, char *const *argv)
{
    static struct server server;
    struct hand_over    hand;
    struct service_manager manager;
    char                why[WHY_BYTES] = "";
    sigset_t            ours;

    log_init(settings->log_level, settings->log_format, STDERR_FILENO);
    block_signals(&ours);
    raise_descriptor_limit();
    log_warnings(warnings);
    confine(&(const struct confinement){ .filters_calls = settings->seccomp, .dumps_core = settings->core_dumps });

    service_manager_open(&manager, clock_now());
    enum rc rc = server_open(&server, settings, &manager, takes_over, why, sizeof why);
    if (rc != RC_OK) {
        LOG(LOG_ERROR, "cant_start", log_str("why", why));
        take_over_free(server.take_over, why);
        server_stop(&server);
        server_close(&server);
        service_manager_close(&manager);
        return EXIT_CANT_START;
    }
    say_hello(settings, &server);
    hand_over_open(&hand, settings);
    settings_fini(settings);  /* the server has a copy; here the secrets are wiped */
    say_ready(&server, &manager, ready);
    wait_for_the_end(&server, &hand, &manager, &ours, argv);
    service_manager_close(&manager);
    LOG(LOG_INFO, "stopped");
    log_tell_suppressed();
    return atomic_load(&server.cluster.is_usurped) ? EXIT_USURPED : EXIT_SUCCESS;
}

/* What ExecReload= of the unit starts. */
static int reload_or_take_over(struct settings *settings, const struct buf *warnings, char *const *argv)
{
    int ready, status;

    return reload_process(settings, &ready, &status) ? run(settings, warnings, true, ready, argv) : status;
}

/* Says on standard output what was found and what it cost. */
static int repair(struct settings *settings)
{
    char why[WHY_BYTES] = "";

    log_init(settings->log_level, settings->log_format, STDERR_FILENO);
    const enum rc rc = stores_repair(settings, why, sizeof why);
    if (rc != RC_OK) {
        LOG(LOG_ERROR, "cant_repair", log_str("why", why));
        return EXIT_CANT_START;
    }
    printf("%s\n", why[0] == '\0' ? "nothing is damaged that a start could not read" : why);
    return EXIT_SUCCESS;
}

/* Makes the schema, or finds it there. */
static int init(struct settings *settings)
{
    char why[WHY_BYTES] = "";

    log_init(settings->log_level, settings->log_format, STDERR_FILENO);
    const enum rc rc = stores_init(settings, why, sizeof why);
    if (rc != RC_OK)
        LOG(LOG_ERROR, "cant_init", log_str("why", why));
    else
        printf("%s\n", why);
    return rc == RC_OK ? EXIT_SUCCESS : EXIT_CANT_START;
}

static int copy(struct settings *settings)
{
    char why[WHY_BYTES] = "";

    log_init(settings->log_level, settings->log_format, STDERR_FILENO);
    const enum rc rc = stores_copy(settings, why, sizeof why);
    if (rc != RC_OK)
        LOG(LOG_ERROR, "cant_copy", log_str("why", why));
    else
        printf("%s\n", why);
    return rc == RC_OK ? EXIT_SUCCESS : EXIT_CANT_START;
}

/* The keys of issuers and the certificates are read here, because settings knows no keys. False: *say says what does not fit, alone. */
static bool keys_fit(const struct settings *settings, struct buf *say)
{
    struct buf why;

    buf_init(&why, WHY_BYTES);
    bool do_fit = issuers_check(settings, &why) && tls_host_check(settings, &why);
    if (!do_fit) {
        buf_clear(say);
        buf_put(say, buf_span(&why));
        buf_putc(say, '\n');
    }
    buf_fini(&why);
    return do_fit;
}

int main(int argc, char **argv)
{
    static struct settings settings;
    struct buf             say;
    int                    status = EXIT_SUCCESS;

    (void)argc;
    if (!fill_standard_descriptors())
        return EXIT_CANT_START;  /* there is no descriptor on which to say why */
    argv = hide_secrets(argv);
    buf_init(&say, CONFIG_SAY_BYTES_MAX);
    enum config_verdict outcome = config_load(argv, environ, &settings, &say);
    if (outcome != CONFIG_EXIT_BAD && !keys_fit(&settings, &say))
        outcome = CONFIG_EXIT_BAD;
    switch (outcome) {
    case CONFIG_RUN:
    case CONFIG_TAKE_OVER:
        status = run(&settings, &say, outcome == CONFIG_TAKE_OVER, -1, argv);
        break;
    case CONFIG_RELOAD:
        status = reload_or_take_over(&settings, &say, argv);
        break;
    case CONFIG_INIT:
        status = init(&settings);
        break;
    case CONFIG_COPY:
        status = copy(&settings);
        break;
    case CONFIG_REPAIR:
        status = repair(&settings);
        break;
    case CONFIG_EXIT_OK:
        print_to(stdout, &say);
        break;
    case CONFIG_EXIT_BAD:
        print_to(stderr, &say);
        status = EXIT_BAD_SETTINGS;
        break;
    }
    settings_fini(&settings);
    secrets_free(argv);
    buf_fini(&say);
    return status;
}
