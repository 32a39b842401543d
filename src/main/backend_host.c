#include "main/backend_host.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "main/command_mail.h"
#include "main/random.h"
#include "main/worker.h"
#include "reactor/log.h"
#include "settings/url_list.h"

_Static_assert((int)BACKENDS_MAX + (int)WEBHOOKS_MAX <= (int)BACKEND_NAMES_MAX, "each has a place");
_Static_assert((int)BACKEND_ADDRESSES_MAX <= (int)BACKEND_URLS_MAX, "each has a place");

enum { WEBHOOK_CALLS_MAX = 16 };  /* under way: its partitions have one each */

/* --- calls as mail ------------------------------------------------------------------------------------------------ */

struct backend_mail {
    struct command       command;
    struct backend_host *host;
    struct fetch_call   *call;
    void                *owner;
    struct worker       *worker;  /* whose loop has it; NULL: none */
};

static void backend_mail_free(struct command *command)
{
    free(container_of(command, struct backend_mail, command));
}

static void backend_mail_at_writer(struct command *command, struct writer *writer)
{
    struct backend_mail *mail = container_of(command, struct backend_mail, command);

    (void)writer;
    if (mail->worker != NULL)
        atomic_fetch_sub(&mail->host->on_loops, 1);
    backend_take(mail->owner, mail->host->set.now);
    backend_mail_free(command);
}

static void backend_came_back(struct fetch_call *call);
static void backend_came_back_on_loop(struct fetch_call *call);

static void backend_mail_at_loop(struct command *command, struct shard *shard)
{
    struct backend_mail *mail = container_of(command, struct backend_mail, command);

    mail->worker     = container_of(shard, struct worker, shard);
    mail->call->done = backend_came_back_on_loop;
    fetch_part_send(mail->worker->fetch, mail->call);
}

static const struct command_kind backend_mail_kind = {
    .name = "backend", .free = backend_mail_free, .at_loop = backend_mail_at_loop, .at_writer = backend_mail_at_writer, .is_brief = true,
};

/* On fetch's thread. */
static void backend_came_back(struct fetch_call *call)
{
    struct backend_mail *mail = call->owner;
    command_mail_put(mail->host->mailbox, &mail->command);
}

/* On that loop's thread; or on fetch's, if the loop could not serve it. */
static void backend_came_back_on_loop(struct fetch_call *call)
{
    struct backend_mail *mail = call->owner;

    if (call->is_passed_on)
        backend_came_back(call);
    else
        bundle_add(&mail->worker->to_writer, &mail->command.mail);
}

/* Loops end only once they have no call. So one is counted before it is known that there are loops. */
static bool goes_to_loop(struct backend_host *host, const struct fetch_call *call)
{
    if (call->loop == 0 || call->protocol == FETCH_H2C || strncmp(call->url, "http://", 7) != 0)
        return false;
    atomic_fetch_add(&host->on_loops, 1);
    if (!atomic_load(&host->no_loops))
        return true;
    atomic_fetch_sub(&host->on_loops, 1);
    return false;
}

static bool port_send(void *ctx, struct fetch_call *call, void *owner)
{
    struct backend_host *host = ctx;
    struct backend_mail *mail;

    if (!fetch_is_started(host->fetch))
        return false;
    mail = calloc(1, sizeof *mail);
    must(mail != NULL);
    *mail = (struct backend_mail){ .command.kind = &backend_mail_kind, .host = host, .call = call, .owner = owner };
    call->done  = backend_came_back;
    call->owner = mail;
    if (goes_to_loop(host, call))
        host->writer->port->send(host->writer->ctx, call->loop - 1, &mail->command);
    else
        must(fetch_send(host->fetch, call));  /* these are counted by their back end */
    return true;
}

static void port_cancel(void *ctx, struct fetch_call *call)
{
    (void)ctx;
    fetch_cancel(call);
}

static void port_circuit(void *ctx, struct span backend, const char *url, bool is_open, const char *why)
{
    (void)ctx;
    if (is_open)
        LOG(LOG_WARN, "backend_circuit_open", log_span("backend", backend), log_str("address", url), log_str("why", why));
    else
        LOG(LOG_INFO, "backend_circuit_closed", log_span("backend", backend), log_str("address", url));
}

static const struct backend_port backend_host_port = { .send = port_send, .cancel = port_cancel, .circuit = port_circuit };

/* --- which there are ---------------------------------------------------------------------------------------------- */

static const enum fetch_protocol protocols[] = {
    [BACKEND_AUTO] = FETCH_AUTO, [BACKEND_HTTP1] = FETCH_HTTP1, [BACKEND_H2C] = FETCH_H2C,
};

static void setup_backend(struct backend_setup *setup, const struct backend_section *section)
{
    struct span rest = span_str(section->urls), url;

    *setup = (struct backend_setup){
        .name   = span_str(section->name),
        .limits = {
            .timeout_ms         = section->timeout_s * 1000,
            .connect_timeout_ms = section->connect_timeout_s * 1000,
            .connections_max    = (uint32_t)section->connections_max,
            .requests_max       = (uint32_t)section->requests_max,
            .retries            = (uint32_t)section->retries,
            .protocol           = protocols[section->protocol],
        },
    };
    while (url_list_next(&rest, &url))
        setup->urls[setup->url_count++] = url;
    must(setup->url_count == section->url_count);
}

static void setup_webhook(struct backend_setup *setup, const struct webhook_section *section, char *name, size_t name_size)
{
    int len = snprintf(name, name_size, "webhook:%s", section->name);

    must(len > 0 && (size_t)len < name_size);
    *setup = (struct backend_setup){
        .name      = span_of(name, (size_t)len),
        .urls      = { span_str(section->url) },
        .url_count = 1,
        .limits    = {
            .timeout_ms         = section->timeout_s * 1000,
            .connect_timeout_ms = section->timeout_s * 1000,
            .connections_max    = WEBHOOK_CALLS_MAX,
            .requests_max       = WEBHOOK_CALLS_MAX,
        },
    };
}

void backend_host_adopt(struct backend_host *host, const struct settings *settings)
{
    static _Thread_local struct backend_setup setups[BACKEND_NAMES_MAX];
    char                                      names[WEBHOOKS_MAX][KEY_NAME_BYTES_MAX + 16];
    size_t                                    count = 0;

    for (size_t i = 0; i < settings->backend_count; i++)
        setup_backend(&setups[count++], &settings->backends[i]);
    for (size_t i = 0; i < settings->webhook_count; i++)
        setup_webhook(&setups[count++], &settings->webhooks[i], names[i], sizeof names[i]);
    must(pthread_mutex_lock(&host->lock) == 0);
    backends_set(&host->set, setups, count);
    must(pthread_mutex_unlock(&host->lock) == 0);
}

bool backend_host_is_needed(const struct settings *settings)
{
    return settings->backend_count > 0 || settings->webhook_count > 0;
}

static uint64_t connections_of(const struct settings *settings)
{
    uint64_t count = settings->webhook_count * WEBHOOK_CALLS_MAX;

    for (size_t i = 0; i < settings->backend_count; i++) {
        const struct backend_section *section = &settings->backends[i];
        const uint64_t                each    = section->connections_max;
        count += (each < section->requests_max ? each : section->requests_max) * section->url_count;
    }
    return count;
}

uint64_t backend_host_leaves(const struct settings *settings, uint64_t descriptors)
{
    uint64_t taken = connections_of(settings);

    if (descriptors == UINT64_MAX)
        return descriptors;
    return descriptors > taken ? descriptors - taken : 0;
}

void backend_host_open(struct backend_host *host, struct fetch *fetch, struct writer *writer, struct mailbox *mailbox,
                       const struct settings *settings)
{
    *host = (struct backend_host){ .fetch = fetch, .writer = writer, .mailbox = mailbox, .is_open = true };
    must(pthread_mutex_init(&host->lock, NULL) == 0);
    backends_init(&host->set, &backend_host_port, host, random_u64());
    backend_host_adopt(host, settings);
}

void backend_host_close(struct backend_host *host)
{
    if (!host->is_open)
        return;
    backends_fini(&host->set);
    pthread_mutex_destroy(&host->lock);
    host->is_open = false;
}

/* --- turns -------------------------------------------------------------------------------------------------------- */

void backend_host_send(void *ctx, struct span name, struct backend_call *call)
{
    struct backend_host *host = ctx;
    backends_send(&host->set, name, call);
}

void backend_host_cancel(void *ctx, struct backend_call *call)
{
    (void)ctx;
    backend_cancel(call);
}

/* Loops read the clock at different moments. */
void backend_host_turn_begin(struct backend_host *host, msec now)
{
    backends_turn_begin(&host->set, now > host->set.now ? now : host->set.now);
}

void backend_host_turn(struct backend_host *host)
{
    backends_turn_end(&host->set);
}

/* What done() has asked of the writer now is carried out in another turn. */
void backend_host_turn_end(struct backend_host *host)
{
    if (backends_turn_end(&host->set))
        mailbox_ring(host->mailbox);
}

void backend_host_leave_loops(struct backend_host *host)
{
    atomic_store(&host->no_loops, true);
}

bool backend_host_has_left_loops(const struct backend_host *host)
{
    return atomic_load(&host->no_loops) && atomic_load(&host->on_loops) == 0;
}

bool backend_host_is_idle(const struct backend_host *host)
{
    return backends_are_idle(&host->set);
}
