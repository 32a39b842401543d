/* client_session.c - what a `connect` does once it is known who sent it: the session that it asks for is opened, and its
 * channels are followed from the places that are stored. */
#include "base/must.h"
#include "session/client.h"
#include "session/device_ticket.h"

/* --- asking for a session --------------------------------------------------------------------------------------- */

/* The client is gone, and the end of its stream will be read behind this command. It may have come by another link since,
 * which a session that is opened now would take from it. */
static bool client_has_left(const struct client *client)
{
    return link_stream(&client->link)->is_ended;
}

/* Whose device has no name but the one in a ticket that could not be used keeps that. */
static void client_ask_session(struct client *client, const struct client_connect *connect, struct span ref)
{
    const struct identity  *holder   = client->link.holder;
    struct session_question question = {
        .way = OPEN_NEWER, .user = identity_user(holder), .device_class = connect->device_class,
        .key = client->link.key, .asked_at = client_connect_came_at(client),
        .transport = (enum transport)client->link.transport,
    };
    char        made[MADE_DEVICE_BYTES];
    struct span named = connect->device;
    struct buf  bytes;

    buf_init(&bytes, TICKET_TEXT_BYTES_MAX);
    if (named.len == 0 && connect->ticket.len > 0 && identity_device(holder).len == 0)
        named = device_ticket_device(client->link.worker, connect->ticket, identity_user(holder), &bytes);
    struct verdict verdict = device_link_choose(client->link.worker, holder, named, made, &question.device);

    if (verdict.status == 0 && connect->device_class.len > DEVICE_CLASS_BYTES_MAX)
        verdict = (struct verdict){ 400, "the class of a device is at most 32 bytes" };
    if (verdict.status != 0)
        client_say_error(client, verdict.status, verdict.reason, ref);
    else
        client_await_session(client, &question);
    buf_fini(&bytes);
}

/* A link that has a session keeps it: the client shows a fresh token. */
static void client_stay(struct client *client, const struct client_connect *connect, struct span ref)
{
    if (span_eq(identity_user(client->link.holder), device_link_user(link_device(&client->link)))) {
        client_resume(client, connect, true, ref);
        return;
    }
    client_say_error(client, 403, "this link has the session of another user: open another one", ref);
    client_kind(client)->close(client, CLIENT_CLOSE_POLICY, "another user");
}

void client_identified(struct client *client, const struct client_connect *connect, struct span ref)
{
    if (link_device(&client->link) != NULL)
        client_stay(client, connect, ref);
    else if (!connect->wants_session)
        client_resume(client, connect, false, ref);
    else if (!client_has_left(client))
        client_ask_session(client, connect, ref);
}

bool client_connect_by_ticket(struct client *client, const struct client_connect *connect, struct span ref)
{
    struct session_worker *worker  = client->link.worker;
    bool                   decides = true;
    struct ticket_holder   holder;
    struct verdict         crowd;
    struct buf             bytes;
    uint64_t               token_mark;

    if (client_has_left(client))
        return true;
    buf_init(&bytes, TICKET_TEXT_BYTES_MAX);
    struct verdict verdict = device_ticket_read(worker, client->link.holder, connect->ticket, &bytes, &holder);
    if (link_device(&client->link) != NULL) {
        client_say_error(client, 409, "this link has a session already", ref);
    } else if (verdict.status != 0 && connect->token.len > 0) {
        decides = false;
    } else if (verdict.status != 0) {
        client_say_error(client, verdict.status, verdict.reason, ref);
    } else if (!device_ticket_is_of_comer(worker, &holder, connect, &token_mark)) {
        decides = false;
    } else if (client_is_somebody_else(client->link.holder, holder.identity)) {
        client_say_error(client, 403, "this connection belongs to another user or device; open another one for this ticket", ref);
    } else if (!client->link.is_counted && (crowd = usage_link(worker->usage, holder.identity, true)).status != 0) {
        client_refuse_link(client, crowd, ref);
    } else {
        client_try_ticket(client, &(struct session_question){
            .way = OPEN_TICKET, .user = holder.user, .device = holder.device, .generation = holder.generation,
            .since = holder.since, .key = client->link.key, .transport = (enum transport)client->link.transport,
        }, holder.identity, token_mark);
    }
    if (verdict.status == 0)
        identity_unref(holder.identity);
    buf_fini(&bytes);
    return decides;
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void client_refuse_session(struct client *client, enum open_outcome outcome, struct span ref)
{
    struct verdict verdict = device_link_verdict(outcome);

    if (outcome == OPEN_AWAY)
        verdict.reason = shard_engine_text(client->link.worker->shard, NULL, verdict.reason);
    client_say_error(client, verdict.status, verdict.reason, ref);
    if (verdict.status >= 500)
        client_kind(client)->close(client, CLIENT_CLOSE_TRY_LATER, "the session could not be opened; come again later");
}

void client_opened(struct client *client, struct session_open *open, const struct client_connect *connect,
                   struct span ref)
{
    struct link *link = &client->link;

    if (link->is_over || !client_is_welcome(client)) {
        device_link_drop(link->worker, open);
        return;
    }
    if (open->outcome == OPEN_DONE) {
        device_link_begin(link, open);
        client_take_mode(client, connect);
        device_link_follow_all(link, open, NULL);
        client_resume(client, connect, open->is_resumed, ref);
    } else if (open->way == OPEN_NEWER && open->outcome == OPEN_STALE) {
        client_end(link, LINK_END_REPLACED);
    } else {
        client_refuse_session(client, open->outcome, ref);
    }
    if (!link->is_over && link->holder != NULL)
        client_follow_given(client);
    if (link_device(link) != NULL)
        link_join(link);
    command_free(&open->command);
}

/* --- acknowledging ---------------------------------------------------------------------------------------------- */

static void client_say_ack(struct client *client, const struct client_command *command, uint64_t seq)
{
    if (command->ref.len > 0)
        client_say(client, &(struct client_event){ .kind = EVENT_ACK, .ref = command->ref, .ack = { command->ack.channel, seq } });
}

void client_acknowledge(struct client *client, const struct client_command *command)
{
    const struct client_ack *ack  = &command->ack;
    struct link             *link = &client->link;
    struct reader_sub       *sub  = reader_find(link_reader(link), ack->channel);
    uint64_t                 seq;

    if (link_device(link) == NULL) {
        client_say_error(client, 409, "this link has no session: connect with session", command->ref);
    } else if (sub == NULL && device_link_acknowledge_left(link, ack->channel, ack->epoch, ack->seq, &seq)) {
        client_say_ack(client, command, seq);
    } else if (sub == NULL || !sub->sub.is_own) {
        client_say_error(client, 404, "this session does not follow that channel", command->ref);
    } else if (!subscription_is_placed(&sub->sub)) {
        if (device_link_acknowledge_known(link, sub, ack->epoch, ack->seq))
            client_say_ack(client, command, ack->seq);
        else
            client_say_error(client, 409, "the channel has not answered yet: nothing behind the place of the session was delivered", command->ref);
    } else {
        seq = device_link_acknowledge(link, sub, ack->epoch, ack->seq);
        notify_pulled(link, sub);
        client_say_ack(client, command, seq);
    }
}
