/* client_connect.c - a `connect` command: its token is identified, at once or later, and then its session is opened, if it
 * asks for one.
 *
 * While that takes time, what the client sends behind the command waits. It is taken in order afterwards. A command
 * borrows what it points to, so the command's frame is kept as it came and read again afterwards. */
#include <stdlib.h>

#include "base/must.h"
#include "session/client.h"
#include "session/device_link.h"
#include "session/device_ticket.h"
#include "session/member_subscribe.h"
#include "session/subscribe_request.h"

/* A ticket whose session the store has not opened after so long admits without it (client_unfenced.c). */
enum { TICKET_PATIENCE_MS = 1000 };

struct client_connecting {
    struct client         *client;
    msec                   came_at;         /* the `connect` */
    struct list            in_worker;       /* worker.ticket_waits, while a ticket is being tried */
    msec                   since;           /* … since then … */
    uint64_t               generation;      /* … and this is its generation */
    struct identification *identification;  /* under way, or NULL */
    struct session_open   *opening;         /* … and NULL until then */
    bool                   has_ticket;      /* that is being tried */
    uint64_t               token_mark;      /* … and what the next one has to remember of the token */
    struct identity       *before;          /* who the link was without the ticket; owns a reference */
    struct buf             frame;
    struct buf             behind;
};

bool client_is_identifying(const struct client *client)
{
    return client->work != NULL && client->work->connecting != NULL;
}

msec client_connect_came_at(const struct client *client)
{
    return client_is_identifying(client) ? client->work->connecting->came_at : client->link.worker->loop->now;
}

size_t client_behind_bytes(const struct client *client)
{
    return client_is_identifying(client) ? client->work->connecting->behind.len : 0;
}

static void connecting_free(struct client_connecting *connecting, struct session_worker *worker)
{
    list_take(&connecting->in_worker);
    worker->gathered_bytes -= connecting->frame.len + connecting->behind.len;
    buf_fini(&connecting->frame);
    buf_fini(&connecting->behind);
    identity_unref(connecting->before);
    free(connecting);
}

void client_cancel_connect(struct client *client)
{
    struct client_connecting *connecting = client->work->connecting;

    if (connecting == NULL)
        return;
    if (connecting->identification != NULL)
        identify_cancel(connecting->identification);
    if (connecting->opening != NULL)
        device_link_abandon(client->link.worker, connecting->opening);
    connecting_free(connecting, client->link.worker);
    client->work->connecting = NULL;
}

bool client_is_somebody_else(const struct identity *holder, const struct identity *comer)
{
    if (holder == NULL || holder->is_open || identity_user(holder).len == 0)
        return false;
    struct span device = identity_device(holder), other = identity_device(comer);
    return !span_eq(identity_user(holder), identity_user(comer)) ||
           (device.len > 0 && other.len > 0 && !span_eq(device, other));
}

void client_leave_forbidden(struct client *client, struct reader_sub *sub)
{
    struct channel_name *name = channel_name_ref(subscription_name(&sub->sub));

    free(client_take_ref(client, sub));
    device_link_let_go(&client->link, sub);
    link_unfollow(&client->link, sub);
    client_say(client, &(struct client_event){ .kind = EVENT_UNSUBSCRIBED, .unsubscribed = channel_name_span(name) });
    channel_name_unref(name);
}

/* A fresh token may grant less than the one before. What the link follows as a member is not asked about: who leaves a group is told so.
 * What a grant allowed is: a session knows all groups of its user; without one the ledger does. */
static void client_drop_forbidden(struct client *client)
{
    struct link *link = &client->link;

    for (struct reader_sub *sub = reader_subs(link_reader(link)), *next; sub != NULL; sub = next) {
        next                   = reader_sub_next(sub);
        struct verdict verdict = may(link->holder, subscription_name(&sub->sub), ACTION_SUBSCRIBE);
        if (verdict.status == 0 || (verdict.needs_member && reader_sub_is_of_member(sub)) || sub->sub.is_unasked)
            continue;
        if (verdict.needs_member && link_device(link) == NULL)
            client_ask_still_member(client, sub);
        else
            client_leave_forbidden(client, sub);
    }
}

static struct client_connecting *client_begin_connecting(struct client *client)
{
    struct client_work *work = client_get_work(client);

    if (work->connecting == NULL) {
        struct client_connecting *connecting = calloc(1, sizeof *connecting);
        must(connecting != NULL);
        connecting->client  = client;
        connecting->came_at = client->link.worker->loop->now;
        buf_init(&connecting->frame, SIZE_MAX / 2);   /* one frame, of frame_bytes_max at most */
        buf_init(&connecting->behind, SIZE_MAX / 2);  /* gathered_bytes_max bounds it; what came behind a handshake may be
                                                       * long */
        work->connecting = connecting;
    }
    return work->connecting;
}

/* All of the `connect` is carried out, unless it has begun to wait for something else. */
static void client_end_connecting(struct client *client)
{
    struct client_connecting *connecting = client->work->connecting;

    if (connecting->identification != NULL || connecting->opening != NULL)
        return;
    client->work->connecting = NULL;
    client_kind(client)->go_on(client, connecting->behind.at, connecting->behind.len);
    connecting_free(connecting, client->link.worker);
    client_drop_work_if_done(client);
}

static void client_read_again(struct client *client, struct span frame, struct client_command *ret)
{
    struct client_fault fault;

    must(client_kind(client)->dialect->read(&client->link.worker->dialect_scratch, frame, ret, &fault));
}

/* --- its session ------------------------------------------------------------------------------------------------ */

/* A ticket that opens nothing proves nothing: the link is who it was. */
static void client_settle_ticket(struct client *client, bool is_good)
{
    struct client_connecting *connecting = client->work->connecting;

    if (!connecting->has_ticket)
        return;
    connecting->has_ticket = false;
    if (is_good) {
        identity_unref(connecting->before);
        client_drop_forbidden(client);
    } else {
        link_take_holder(&client->link, connecting->before);
    }
    connecting->before = NULL;
}

static void client_opened_unfenced(struct client *client, struct session_open *open, const struct client_command *command)
{
    client_admit_unfenced(client, open, open->generation, buf_span(&client->work->connecting->frame), &command->connect,
                          command->ref);
    command_free(&open->command);
}

/* The store stands, or is slow: its answer will be that of the unfenced link. */
static void client_lose_patience(struct client *client)
{
    struct client_connecting *connecting = client->work->connecting;
    struct session_open      *open       = connecting->opening;
    struct client_command     command;

    connecting->opening = NULL;
    client_settle_ticket(client, true);
    client_read_again(client, buf_span(&connecting->frame), &command);
    client_admit_unfenced(client, open, connecting->generation, buf_span(&connecting->frame), &command.connect, command.ref);
    client_await_fence(client, open);
    client_end_connecting(client);
}

void client_connect_tick(struct session_worker *worker)
{
    for (struct list *at = worker->ticket_waits.next, *next; at != &worker->ticket_waits; at = next) {
        struct client_connecting *connecting = container_of(at, struct client_connecting, in_worker);
        struct client            *client     = connecting->client;
        next                                 = at->next;
        if (worker->loop->now - connecting->since < TICKET_PATIENCE_MS)
            return;
        if (connecting->opening != NULL && connecting->has_ticket && client_has_engine(client) && !client->link.is_over &&
            client_is_welcome(client))
            client_lose_patience(client);
    }
}

static void on_opened(struct session_open *open)
{
    struct client        *client = open->owner;
    struct client_command command;

    if (client == NULL) {
        device_link_drop(device_link_worker(open), open);
        return;
    }
    must(client_is_identifying(client) && client->work->connecting->opening == open);
    client->work->connecting->opening = NULL;
    bool is_unfenced = client_may_be_unfenced(client, open) && !client->link.is_over && client_is_welcome(client);
    client_settle_ticket(client, open->outcome == OPEN_DONE || is_unfenced);
    client_read_again(client, buf_span(&client->work->connecting->frame), &command);
    if (is_unfenced)
        client_opened_unfenced(client, open, &command);
    else
        client_opened(client, open, &command.connect, command.ref);
    client_end_connecting(client);
}

/* Its session is asked for: what the application gave is followed once that is there. */
static bool client_is_opening(const struct client *client)
{
    return client_is_identifying(client) && client->work->connecting->opening != NULL;
}

/* A storm of tickets without tokens reads each once. */
uint64_t client_token_mark(const struct client *client, const struct client_connect *connect)
{
    const struct client_connecting *connecting = client_is_identifying(client) ? client->work->connecting : NULL;

    return connecting != NULL && connecting->token_mark != 0 ? connecting->token_mark
                                                             : device_ticket_mark(client->link.worker, connect);
}

void client_await_session(struct client *client, const struct session_question *question)
{
    client_begin_connecting(client)->opening = device_link_ask(client->link.worker, question, on_opened, client);
}

void client_try_ticket(struct client *client, const struct session_question *question, struct identity *holder, uint64_t token_mark)
{
    struct client_connecting *connecting = client_begin_connecting(client);

    connecting->has_ticket = true;
    connecting->since      = client->link.worker->loop->now;
    connecting->generation = question->generation;
    connecting->token_mark = token_mark;
    list_take(&connecting->in_worker);
    list_push(&client->link.worker->ticket_waits, &connecting->in_worker);
    connecting->before     = client->link.holder == NULL ? NULL : identity_ref(client->link.holder);
    link_take_holder(&client->link, identity_ref(holder));  /* so that it can be revoked meanwhile */
    client_await_session(client, question);
}

/* --- the application's connect hook ----------------------------------------------------------------------------- */

/* Nobody's. Who was let in by the hook is a user. */
static bool client_is_nobodys(const struct client *client)
{
    return client->link.worker->asks_links &&
           (client->link.holder == NULL || identity_is_stranger(client->link.holder));
}

void client_keep_fields(struct client *client, const struct request_head *head)
{
    struct session_worker  *worker = client->link.worker;
    struct credential_field fields[CREDENTIAL_FIELDS_MAX];
    size_t                  count  = 0;

    if (client_is_nobodys(client))
        count = worker->port->hook_fields(worker->ctx, head, fields);
    for (size_t i = 0; i < count; i++) {
        buf_put(&client_get_work(client)->fields, fields[i].name);
        buf_putc(&client->work->fields, '\0');
        buf_put(&client->work->fields, fields[i].value);
        buf_putc(&client->work->fields, '\0');
    }
}

static size_t client_fields(const struct client *client, struct credential_field ret[static CREDENTIAL_FIELDS_MAX])
{
    struct span rest  = client->work == NULL ? SPAN("") : buf_span(&client->work->fields);
    size_t      count = 0;

    while (rest.len > 0 && span_cut(&rest, '\0', &ret[count].name) && span_cut(&rest, '\0', &ret[count].value))
        count++;
    return count;
}

bool client_must_be_asked(const struct client *client, const struct client_command *command)
{
    bool needs_identity = command->kind == CLIENT_SUBSCRIBE || command->kind == CLIENT_PUBLISH ||
                          command->kind == CLIENT_REQUEST;

    return needs_identity && client_is_nobodys(client) && !client_is_identifying(client);
}

/* A session keeps it, so that its next link goes on from there, with a ticket too. */
static void client_keep_given(struct link *link, struct reader_sub *sub)
{
    if (link_device(link) != NULL && !sub->sub.is_own && link_own_count(link, true) < link->worker->limits.channels_max)
        device_link_keep(link, sub);
}

void client_follow_given(struct client *client)
{
    struct link              *link     = &client->link;
    const struct identity    *identity = link->holder;
    struct subscribe_requests requests;

    subscribe_requests_init(&requests);
    for (size_t i = 0; i < identity->follow_count; i++)
        subscribe_requests_give(&requests, link->worker, identity_grants(identity)[i].match, identity);
    for (size_t i = 0; i < requests.count; i++) {
        struct reader_sub *sub = reader_find(link_reader(link), channel_name_span(requests.at[i].name));
        if (sub == NULL && link_reader(link)->sub_count < link->worker->limits.channels_max)
            sub = link_follow(link, requests.at[i].name, requests.at[i].start);
        if (sub != NULL)
            client_keep_given(link, sub);
    }
    subscribe_requests_fini(&requests);
}

/* What was kept for the hook has served. */
static void client_drop_fields(struct client *client)
{
    if (client->work != NULL)
        buf_fini(&client->work->fields);
}

/* --- its token -------------------------------------------------------------------------------------------------- */

/* Takes the answer's reference. The command is the `connect`, or the first one that needs an identity. */
static void client_connected(struct client *client, const struct identified *answer,
                             const struct client_command *command)
{
    struct verdict verdict;

    client_drop_fields(client);
    if (answer->identity != NULL && client_is_somebody_else(client->link.holder, answer->identity)) {
        identity_unref(answer->identity);
        client_say_error(client, 403, "this connection belongs to another user or device; open another one for this token",
                         command->ref);
    } else if (answer->identity != NULL && !client->link.is_counted &&
               (verdict = usage_link(client->link.worker->usage, answer->identity, false)).status != 0) {
        identity_unref(answer->identity);
        client_refuse_link(client, verdict, command->ref);
    } else if (answer->identity != NULL) {
        link_take_holder(&client->link, answer->identity);
        client_drop_forbidden(client);
        if (command->kind == CLIENT_CONNECT)
            client_identified(client, &command->connect, command->ref);
        if (!client_is_opening(client))
            client_follow_given(client);
        if (command->kind != CLIENT_CONNECT)
            client_carry_out(client, command);
    } else if (answer->refusal.status == 401 || answer->refusal.status == 403) {
        client_say_error(client, answer->refusal.status, answer->refusal.reason, command->ref);
        client_kind(client)->close(client, CLIENT_CLOSE_POLICY,
                                   answer->refusal.status == 401 ? "token not known" : "refused by the application");
    } else if (answer->refusal.status == 400) {
        client_say_error(client, 400, answer->refusal.reason, command->ref);
        client_kind(client)->close(client, CLIENT_CLOSE_POLICY, "no such name can be");
    } else {
        client_say_error(client, answer->refusal.status, answer->refusal.reason, command->ref);
        client_kind(client)->close(client, CLIENT_CLOSE_TRY_LATER,
                                   answer->refusal.status == 429 ? "too many wrong tokens; come again in a minute"
                                                                 : "the token could not be checked; come again later");
    }
}

static void client_connected_late(struct client *client, const struct identified *answer, struct span frame)
{
    struct client_command command;

    if (client->link.is_over) {
        identity_unref(answer->identity);
        return;
    }
    client_read_again(client, frame, &command);
    client_connected(client, answer, &command);
}

static void on_identified(void *owner, const struct identified *answer)
{
    struct client            *client     = owner;
    struct client_connecting *connecting = client->work->connecting;

    must(connecting != NULL);
    connecting->identification = NULL;
    client_connected_late(client, answer, buf_span(&connecting->frame));
    client_end_connecting(client);
}

static bool get_sender_of_link(const void *stream, struct ip_address *ret)
{
    return stream_peer(stream, ret);
}

/* A client that says who it is, without a token, is believed where everybody is. Elsewhere it stays who it was, or is
 * nobody if it has not said it yet. */
static struct credential credential_of_connect(const struct client *client, const struct client_connect *connect)
{
    struct credential    credential = { .kind = CREDENTIAL_NONE };
    struct stream_person person;

    if (connect != NULL && connect->token.len > 0)
        credential = credential_of_token(connect->token);
    credential.is_link     = true;
    credential.connection  = client->link.key;
    credential.transport   = transport_text((enum transport)client->link.transport);
    credential.get_address = get_sender_of_link;
    credential.sender      = link_stream(&client->link);
    if (stream_get_person(link_stream(&client->link), &person)) {
        credential.certified       = person.user;
        credential.certified_from  = person.from;
        credential.certified_until = person.until;
    }
    if (connect != NULL && (client->link.holder == NULL || client->link.holder->is_open)) {
        credential.user   = connect->user;
        credential.device = connect->device;
    }
    return credential;
}

void client_connect(struct client *client, const struct client_command *command)
{
    struct session_worker *worker     = client->link.worker;
    bool                    is_connect = command->kind == CLIENT_CONNECT;
    struct credential       credential = credential_of_connect(client, is_connect ? &command->connect : NULL);
    struct credential_field fields[CREDENTIAL_FIELDS_MAX];
    struct identified       answer;

    must(!client_is_identifying(client));
    if (is_connect)
        client_cancel_unfenced(client);
    credential.fields      = fields;
    credential.field_count = client_fields(client, fields);
    if (is_connect && command->connect.ticket.len > 0 && client_connect_by_ticket(client, &command->connect, command->ref))
        return;
    if (client->link.holder != NULL && credential.kind == CREDENTIAL_NONE && credential.user.len == 0 &&
        !client_is_nobodys(client)) {
        client_identified(client, &command->connect, command->ref);
        return;
    }
    struct identification *identification = identify(worker->identifier, &credential, worker->loop->now, on_identified,
                                                     client, &answer);
    if (identification == NULL) {
        client_connected(client, &answer, command);
        return;
    }
    client_begin_connecting(client)->identification = identification;
}

void client_keep_connect(struct client *client, struct span frame)
{
    struct client_connecting *connecting = client->work->connecting;

    must(connecting->frame.len == 0);
    buf_put(&connecting->frame, frame);
    must(!buf_is_over(&connecting->frame));
    client->link.worker->gathered_bytes += frame.len;
}

bool client_keep_behind(struct client *client, struct span bytes)
{
    struct session_worker    *worker     = client->link.worker;
    struct client_connecting *connecting = client->work->connecting;

    if (worker->gathered_bytes + bytes.len > worker->limits.gathered_bytes_max)
        return false;
    buf_put(&connecting->behind, bytes);
    must(!buf_is_over(&connecting->behind));
    worker->gathered_bytes += bytes.len;
    return true;
}
