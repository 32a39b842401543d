/* client_connect.c - a `connect` command: its token is identified, at once or later, and then its session is opened, if it
 * asks for one.
 *
 * While that takes time, what the client sends behind the command waits. It is taken in order afterwards. A command
 * borrows what it points to, so the command's frame is kept as it came and read again afterwards. */
#include <stdlib.h>

#include "base/must.h"
#include "session/client.h"

struct client_connecting {
    struct identification *identification;  /* under way, or NULL */
    struct session_open   *opening;         /* … and NULL until then */
    struct buf             frame;
    struct buf             behind;
};

bool client_is_identifying(const struct client *client)
{
    return client->work != NULL && client->work->connecting != NULL;
}

size_t client_behind_bytes(const struct client *client)
{
    return client_is_identifying(client) ? client->work->connecting->behind.len : 0;
}

static void connecting_free(struct client_connecting *connecting, struct session_worker *worker)
{
    worker->gathered_bytes -= connecting->frame.len + connecting->behind.len;
    buf_fini(&connecting->frame);
    buf_fini(&connecting->behind);
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
        connecting->opening->owner = NULL;
    connecting_free(connecting, client->link.worker);
    client->work->connecting = NULL;
}

/* A user's link stays that user's: what it follows, and what was stored for it, are. */
static bool is_somebody_else(const struct identity *holder, const struct identity *comer)
{
    if (holder == NULL || holder->is_open || identity_user(holder).len == 0)
        return false;
    struct span device = identity_device(holder), other = identity_device(comer);
    return !span_eq(identity_user(holder), identity_user(comer)) ||
           (device.len > 0 && other.len > 0 && !span_eq(device, other));
}

/* A fresh token may grant less than the one before. */
static void client_drop_forbidden(struct client *client)
{
    struct link *link = &client->link;

    for (struct reader_sub *sub = link->reader->subs, *next; sub != NULL; sub = next) {
        struct channel_name *name = channel_name_ref(subscription_name(&sub->sub));
        next                      = sub->next;
        struct verdict verdict    = may(link->holder, name, ACTION_SUBSCRIBE);
        if (verdict.status != 0 && !verdict.needs_member && !sub->sub.is_unasked) {
            free(client_take_ref(client, sub));
            device_link_let_go(link, sub);
            link_unfollow(link, sub);
            client_say(client, &(struct client_event){ .kind = EVENT_UNSUBSCRIBED, .unsubscribed = channel_name_span(name) });
        }
        channel_name_unref(name);
    }
}

static struct client_connecting *client_begin_connecting(struct client *client)
{
    struct client_work *work = client_get_work(client);

    if (work->connecting == NULL) {
        struct client_connecting *connecting = calloc(1, sizeof *connecting);
        must(connecting != NULL);
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
    client_read_again(client, buf_span(&client->work->connecting->frame), &command);
    client_opened(client, open, &command.connect, command.ref);
    client_end_connecting(client);
}

void client_await_session(struct client *client, const struct session_question *question)
{
    client_begin_connecting(client)->opening = device_link_ask(client->link.worker, question, on_opened, client);
}

/* --- its token -------------------------------------------------------------------------------------------------- */

/* Takes the answer's reference. */
static void client_connected(struct client *client, const struct identified *answer,
                             const struct client_command *command)
{
    if (answer->identity != NULL && is_somebody_else(client->link.holder, answer->identity)) {
        identity_unref(answer->identity);
        client_say_error(client, 403, "this connection belongs to another user or device; open another one for this token",
                         command->ref);
    } else if (answer->identity != NULL) {
        link_take_holder(&client->link, answer->identity);
        client_drop_forbidden(client);
        client_identified(client, &command->connect, command->ref);
    } else if (answer->refusal.status == 401) {
        client_say_error(client, 401, answer->refusal.reason, command->ref);
        client_kind(client)->close(client, CLIENT_CLOSE_POLICY, "token not known");
    } else if (answer->refusal.status == 400) {
        client_say_error(client, 400, answer->refusal.reason, command->ref);
        client_kind(client)->close(client, CLIENT_CLOSE_POLICY, "no such name can be");
    } else {
        client_say_error(client, answer->refusal.status, answer->refusal.reason, command->ref);
        client_kind(client)->close(client, CLIENT_CLOSE_TRY_LATER,
                                   answer->refusal.status == 429 ? "too many wrong tokens; come again in a minute"
                                                                 : "the token was not identified in time; come again later");
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

static bool put_sender_of_link(const void *stream, struct buf *address)
{
    return stream_put_peer(stream, address);
}

/* A client that says who it is, without a token, is believed where everybody is. Elsewhere it stays who it was, or is
 * nobody if it has not said it yet. */
static struct credential credential_of_connect(const struct client *client, const struct client_connect *connect)
{
    struct credential credential = { .kind = CREDENTIAL_NONE };

    if (connect->token.len > 0)
        credential = credential_of_token(connect->token);
    credential.put_address = put_sender_of_link;
    credential.sender      = client->link.stream;
    if (client->link.holder == NULL || client->link.holder->is_open) {
        credential.user   = connect->user;
        credential.device = connect->device;
    }
    return credential;
}

void client_connect(struct client *client, const struct client_command *command)
{
    struct session_worker *worker     = client->link.worker;
    struct credential      credential = credential_of_connect(client, &command->connect);
    struct identified      answer;

    must(!client_is_identifying(client));
    if (command->connect.ticket.len > 0) {
        client_connect_by_ticket(client, &command->connect, command->ref);
        return;
    }
    if (client->link.holder != NULL && credential.kind == CREDENTIAL_NONE && credential.user.len == 0) {
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
