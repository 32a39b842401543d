#include "main/tls_host.h"

#include <unistd.h>

#include "base/must.h"
#include "main/worker_priv.h"
#include "reactor/log.h"
#include "reactor/tls_tickets.h"

_Static_assert((int)CLIENT_CERT_OPTIONAL == (int)TLS_CLIENT_CERT_OPTIONAL &&
               (int)CLIENT_CERT_REQUIRED == (int)TLS_CLIENT_CERT_REQUIRED && (int)CLIENT_USER_CN == (int)TLS_CLIENT_USER_CN,
               "the words of the settings stand in the order of the reactor's");

/* --- sections ---------------------------------------------------------------------------------------------------- */

bool tls_host_read(const struct settings *settings, struct tls_tickets *tickets, struct tls_sections **ret, struct buf *why)
{
    struct tls_section_facts facts[TLS_SECTIONS_MAX];

    *ret = NULL;
    for (size_t i = 0; i < settings->tls_count; i++) {
        const struct tls_section_files *files = &settings->tls[i];
        facts[i] = (struct tls_section_facts){
            .name        = files->name,
            .certificate = files->certificate,
            .key         = files->key,
            .client_ca   = files->client_ca,
            .client_cert = (enum tls_client_cert)files->client_cert,
            .client_user = (enum tls_client_user)files->client_user,
        };
    }
    return settings->tls_count == 0 || tls_sections_new(facts, settings->tls_count, tickets, ret, why);
}

bool tls_host_check(const struct settings *settings, struct buf *why)
{
    struct tls_tickets  *tickets = tls_tickets_new();
    struct tls_sections *sections;
    bool                 is_good = tls_host_read(settings, tickets, &sections, why);

    if (is_good)
        tls_sections_unref(sections);
    tls_tickets_free(tickets);
    return is_good;
}

static struct tls_limits tls_limits_of(const struct settings *settings)
{
    return (struct tls_limits){ .handshakes_max = settings->tls_handshakes_max, .handshake_ms = settings->tls_handshake_s * 1000 };
}

/* --- connections ------------------------------------------------------------------------------------------------- */

/* What ALPN offers, the best first. A version of HTTP that a client may choose here is chosen in http/accept.c. */
#define PROTOCOLS_HTTP   SPAN("\x02" "h2" "\x08" "http/1.1")
#define PROTOCOLS_NATIVE SPAN("\x0f" "longwire.bin.v1")

static void accepted_http(void *ctx, struct stream *stream)
{
    struct worker *worker = ctx;

    http_server_open(&worker->http, stream);
}

/* Nobody is let in for arithmetic who would be turned away behind it. The room for brief answers lets through whoever can be
 * told why. */
static void begin(struct worker *worker, int fd, const struct ip_address *named, const struct tls_use *use)
{
    struct http_refusal refusal = { 0 };

    if (worker_admit(worker, &refusal) != HTTP_NOT_ADMITTED) {
        tls_accept_begin(&worker->tls, fd, named, use);
        return;
    }
    counter_add(&worker->http.counters.refused, 1);
    loop_close(&worker->loop, fd);
}

void tls_host_accepted(struct worker *worker, int fd, const struct ip_address *named)
{
    begin(worker, fd, named, &worker->tls_http);
}

void tls_host_accepted_native(struct worker *worker, int fd, const struct ip_address *named)
{
    begin(worker, fd, named, &worker->tls_native);
}

/* --- a worker's -------------------------------------------------------------------------------------------------- */

static void take_sections(struct worker *worker)
{
    struct tls_sections *sections = worker->snapshot->tls;

    tls_accept_set_sections(&worker->tls, sections == NULL ? NULL : tls_sections_ref(sections));
}

void tls_host_open(struct worker *worker)
{
    const struct tls_limits limits = tls_limits_of(&worker->snapshot->settings);

    tls_accept_init(&worker->tls, &worker->loop, &limits);
    worker->tls_http   = (struct tls_use){ PROTOCOLS_HTTP, true, accepted_http, worker };
    worker->tls_native = (struct tls_use){ PROTOCOLS_NATIVE, false, worker_open_native, worker };
    take_sections(worker);
}

void tls_host_adopt(struct worker *worker)
{
    worker->tls.limits = tls_limits_of(&worker->snapshot->settings);
    take_sections(worker);
}
