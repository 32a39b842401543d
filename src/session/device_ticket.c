#include "session/device_ticket.h"

#include <inttypes.h>
#include <stdio.h>

#include "auth/may.h"
#include "auth/revocations.h"
#include "base/must.h"
#include "message/grant.h"
#include "node/connection_key.h"

_Static_assert((int)TICKET_GRANTS_MAX == (int)GRANTS_MAX, "a ticket has room for the grants of a token");

/* The end of the ticket: ticket_ttl_s from now, or with the token, whichever comes first. */
static uint64_t ticket_end_s(const struct session_worker *worker, const struct identity *holder)
{
    msec end = worker->loop->wall + worker->limits.ticket_ttl_ms;

    if (holder->expires_at != 0 && holder->expires_at < end)
        end = holder->expires_at;
    return (uint64_t)end / 1000;
}

static void ticket_take_grants_of(struct ticket *ticket, const struct identity *holder)
{
    ticket->grant_count = holder->grant_count;
    for (size_t i = 0; i < ticket->grant_count; i++)
        ticket->grants[i] = (struct ticket_grant){ (uint8_t)identity_grants(holder)[i].can, identity_grants(holder)[i].match };
}

void device_ticket_put(const struct link *link, uint64_t token_mark, struct buf *buf)
{
    const struct session_worker *worker = link->worker;
    const struct device_link    *device = link_device(link);
    const struct identity       *holder = link->holder;
    uint64_t                     now_s  = (uint64_t)worker->loop->wall / 1000;
    struct ticket                ticket;

    ticket.generation     = device->generation;
    ticket.since          = device->since;
    ticket.issued_s       = now_s;
    ticket.ends_s         = ticket_end_s(worker, holder);
    ticket.token_issued_s = (uint64_t)holder->issued_at / 1000;
    ticket.connection     = link->key;
    ticket.token_mark     = token_mark;
    ticket.user           = device_link_user(device);
    ticket.device         = device_link_device(device);
    ticket.jti            = identity_jti(holder);
    ticket_take_grants_of(&ticket, holder);
    if (ticket.ends_s > now_s)
        ticket_put(buf, &ticket, &worker->ticket_key);
}

/* A server without keys and issuers believes everybody, and its tickets too: `shown` is who came without the ticket. */
static struct identity *identity_of(const struct identity *shown, const struct ticket *ticket)
{
    bool         is_open = shown != NULL && shown->is_open;
    struct grant grants[GRANTS_MAX];

    for (size_t i = 0; i < ticket->grant_count; i++)
        grants[i] = (struct grant){ ticket->grants[i].pattern, ticket->grants[i].can };
    return identity_new(&(struct identity_facts){
        .user = ticket->user, .device = ticket->device, .jti = ticket->jti, .grants = grants,
        .grant_count = ticket->grant_count, .issued_at = (msec)ticket->token_issued_s * 1000,
        .expires_at = is_open ? 0 : (msec)ticket->ends_s * 1000, .is_open = is_open,
        .rights = is_open ? shown->rights : 0, .authority = is_open ? shown->authority : NULL,
    });
}

/* Tickets die with the user, device, token or connection that was revoked. In a server without keys and issuers everybody
 * is who they say, with a ticket or without: there only the connection counts. */
static bool ticket_is_revoked(const struct session_worker *worker, const struct identity *shown,
                              const struct ticket *ticket)
{
    bool is_open = shown != NULL && shown->is_open;
    char connection[CONNECTION_KEY_DIGITS + 1];

    if (worker->revocations == NULL || worker->revocations->count == 0)
        return false;
    snprintf(connection, sizeof connection, "%016" PRIx64, ticket->connection);
    return revocations_refuse(worker->revocations, &(struct revocable){
               .connection = span_str(connection), .issued_at = ticket->issued_s }) ||
           (!is_open && revocations_refuse(worker->revocations, &(struct revocable){
               .user = ticket->user, .device = ticket->device, .jti = ticket->jti, .issued_at = ticket->token_issued_s }));
}

struct verdict device_ticket_read(struct session_worker *worker, const struct identity *shown, struct span text,
                                  struct buf *bytes, struct ticket_holder *ret)
{
    struct ticket ticket;

    if (!ticket_get(text, &worker->ticket_key, bytes, &ticket)) {
        counter_add(&worker->counters.tickets_refused, 1);
        return (struct verdict){ 401, "this ticket is not known here; come with a token" };
    }
    if (ticket.ends_s <= (uint64_t)worker->loop->wall / 1000) {
        counter_add(&worker->counters.tickets_refused, 1);
        return (struct verdict){ 401, "this ticket has ended; come with a token" };
    }
    struct identified nobody = { .identity = NULL };
    if (shown == NULL && worker->identifier->ops->look(worker->identifier, &(struct credential){ 0 }, &nobody))
        shown = nobody.identity;
    if (ticket_is_revoked(worker, shown, &ticket)) {
        identity_unref(nobody.identity);
        counter_add(&worker->counters.tickets_refused, 1);
        return (struct verdict){ 401, "this ticket was revoked; come with a token" };
    }
    *ret = (struct ticket_holder){ identity_of(shown, &ticket), ticket.user, ticket.device, ticket.generation,
                                   ticket.since, ticket.token_mark };
    identity_unref(nobody.identity);
    return (struct verdict){ 0 };
}

/* --- beside a token --------------------------------------------------------------------------------------------- */

/* Empty: nothing was said. */
static bool name_agrees(struct span said, struct span name)
{
    return said.len == 0 || span_eq(said, name);
}

/* What `sub` means in a token that the application reads is the application's to say. */
static bool token_names(struct session_worker *worker, struct span token, const struct ticket_holder *holder)
{
    struct jwt jwt;

    return !worker->asks_links && jwt_read(&worker->jwts, token, &jwt) == NULL && span_eq(jwt.user, holder->user) && name_agrees(jwt.device, holder->device);
}

bool device_ticket_is_of_comer(struct session_worker *worker, const struct ticket_holder *holder, const struct client_connect *connect,
                               uint64_t *ret_mark)
{
    bool is_shown = connect->token.len > 0, is_believed = !is_shown && connect->user.len > 0 && holder->identity->is_open;

    if (!is_shown && !is_believed) {
        *ret_mark = holder->token_mark;
        return true;
    }
    uint64_t mark    = is_shown ? ticket_mark(&worker->ticket_key, connect->token) : holder->token_mark;
    bool     is_same = is_shown ? mark == holder->token_mark || token_names(worker, connect->token, holder)
                                : name_agrees(connect->user, holder->user);

    if (!is_same || !name_agrees(connect->device, holder->device))
        return false;
    *ret_mark = mark;
    return true;
}

struct span device_ticket_device(struct session_worker *worker, struct span text, struct span user, struct buf *bytes)
{
    struct ticket ticket;

    return ticket_get(text, &worker->ticket_key, bytes, &ticket) && span_eq(ticket.user, user) ? ticket.device : SPAN("");
}

uint64_t device_ticket_mark(struct session_worker *worker, const struct client_connect *connect)
{
    struct ticket ticket;
    struct buf    bytes;

    if (connect->token.len > 0)
        return ticket_mark(&worker->ticket_key, connect->token);
    buf_init(&bytes, TICKET_TEXT_BYTES_MAX);
    bool     is_one = connect->ticket.len > 0 && ticket_get(connect->ticket, &worker->ticket_key, &bytes, &ticket);
    uint64_t mark   = is_one ? ticket.token_mark : 0;
    buf_fini(&bytes);
    return mark;
}
