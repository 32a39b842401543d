#include "device_asker.h"

#include "base/must.h"
#include "device_roam.h"
#include "wire_node.h"

enum { PATIENCE_MS = 1500, RETRY_MS_MAX = 60, REQUEST_BYTES_MAX = 64 * 1024 };

void asker_init(struct asker *asker, struct wire_world *wire, enum purpose purpose)
{
    *asker = (struct asker){ .purpose = purpose };
    client_link_init(&asker->link, wire, purpose);
    buf_init(&asker->request, REQUEST_BYTES_MAX);
    buf_init(&asker->body, REQUEST_BYTES_MAX);
}

void asker_fini(struct asker *asker)
{
    client_link_fini(&asker->link);
    buf_fini(&asker->request);
    buf_fini(&asker->body);
}

void asker_ask(struct asker *asker, const char *token, const char *method, const char *path, const char *fields,
               const char *body)
{
    must(asker_is_idle(asker));
    buf_putf(&asker->request, "%s %s HTTP/1.1\r\nHost: sim\r\nAuthorization: Bearer %s\r\n%s", method, path,
             token, fields);
    if (body != NULL)
        buf_putf(&asker->request, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    else
        buf_put_lit(&asker->request, "\r\n");
    asker->is_sent = false;
    asker->tries   = 0;
    asker->at      = asker->link.wire->world.now;
}

bool asker_is_idle(const struct asker *asker)
{
    return asker->request.len == 0;
}

static void asker_try_later(struct asker *asker)
{
    struct world *world = &asker->link.wire->world;

    asker->is_sent = false;
    asker->at      = world->now + 1 + (msec)draw(world, asker->purpose, RETRY_MS_MAX);
}

void asker_cut(struct asker *asker)
{
    client_link_close(&asker->link);
    if (asker->is_sent)
        asker_try_later(asker);
}

static void asker_send(struct asker *asker)
{
    if (asker->link.link == NULL && !client_link_open(&asker->link, false)) {
        asker_try_later(asker);
        return;
    }
    client_link_send(&asker->link, buf_span(&asker->request));
    asker->is_sent = true;
    asker->tries++;
    asker->at      = asker->link.wire->world.now;
}

/* Is the trouble one that this world has? */
static void check_trouble(const struct asker *asker, unsigned status)
{
    struct wire_world       *wire   = asker->link.wire;
    const struct faults     *faults = &wire->world.faults;
    const struct roam       *roam   = device_world_of(wire)->roam;
    bool is_possible = (status == 429 && (faults->tight || roam != NULL)) || (status == 408 && roam != NULL && roam->faults.pauses) || (status == 507 && faults->full) ||
                       (status == 503 && (faults->broken || faults->away || faults->stuck || faults->read_io || faults->tight ||
                                          faults->unknown || faults->stalls || faults->refused ||
                                          wire->faults.stops || faults->crash));

    promise(&asker->link.wire->world, is_possible, "an asker is answered %u, for no reason: %.*s", status,
            SPAN_ARG(buf_span(&asker->request)));
}

static unsigned asker_take(struct asker *asker)
{
    struct world *world = &asker->link.wire->world;
    struct reply  reply;

    if (!reply_read(world, buf_span(&asker->link.in), &reply))
        return 0;
    unsigned status = reply.status;
    bool     ends   = reply.is_last || one_in(world, asker->purpose, 5);
    buf_clear(&asker->body);
    buf_put(&asker->body, reply.body);
    buf_drop(&asker->link.in, reply.used);
    if (ends)
        client_link_close(&asker->link);
    if (status == 408 || status == 429 || status == 503 || status == 507) {
        check_trouble(asker, status);
        asker_try_later(asker);
        return 0;
    }
    buf_clear(&asker->request);
    asker->is_sent = false;
    return status;
}

unsigned asker_turn(struct asker *asker)
{
    struct world *world  = &asker->link.wire->world;
    unsigned      status = 0;

    if (asker->link.link != NULL) {
        enum sim_end end = client_link_read(&asker->link);
        if (asker->is_sent)
            status = asker_take(asker);
        if (end != SIM_OPEN || (asker->is_sent && asker->at + PATIENCE_MS < world->now))
            asker_cut(asker);
    }
    if (!asker_is_idle(asker) && !asker->is_sent && asker->at <= world->now)
        asker_send(asker);
    return status;
}
