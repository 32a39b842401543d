/* commands.c - what each command of a client does; the same for every wire. */
#include <stdlib.h>

#include "base/must.h"
#include "codec/token/session_token.h"
#include "codec/token/token.h"
#include "publish/publish_check.h"
#include "session/client.h"
#include "session/member_subscribe.h"
#include "session/subscribe_request.h"

static void client_follow(struct client *client, const struct subscribe_request *request, bool is_kept,
                          struct span ref)
{
    struct reader_sub *sub = link_follow(&client->link, request->name, request->start);

    sub->sub.is_watched = request->is_watched;
    notify_set(&client->link, sub, request->mode);
    if (is_kept)
        device_link_keep(&client->link, sub);
    client_keep_ref(client, sub, ref);
}

/* It follows the channel already, and wants to be told who else does. What a session follows by itself it follows as a
 * member. The place stays. */
static void client_watch_presence(struct client *client, struct reader_sub *sub, struct span ref)
{
    struct verdict verdict = presence_may_watch(client_identity(client), subscription_name(&sub->sub));

    if (verdict.status != 0 && !(verdict.needs_member && reader_sub_is_of_member(sub))) {
        client_say_error(client, verdict.status, verdict.reason, ref);
        return;
    }
    presence_follow_watch(&client->link, sub);
    if (!client_knows_place(sub)) {
        client_keep_ref(client, sub, ref);
        return;
    }
    client_say(client, &(struct client_event){
        .kind = EVENT_SUBSCRIBED, .ref = ref,
        .subscribed = { channel_name_span(subscription_name(&sub->sub)), subscription_seen_epoch(&sub->sub),
                        client_known_head(sub), true, subscription_seen(&sub->sub) },
    });
}

static void client_follow_or_ask(struct client *client, struct subscribe_requests *requests,
                                 const struct client_subscribe *subscribe, struct span ref)
{
    struct subscribe_request *request = &requests->at[0];

    request->mode = subscribe->mode;
    if (requests->needs_member)
        client_ask_member(client, request, requests->not_member, ref);
    else
        client_follow(client, request, subscribe->is_kept, ref);
}

/* Follows one more channel; the answer comes when its head is known. */
static void client_subscribe(struct client *client, const struct client_subscribe *subscribe, struct span ref)
{
    struct session_worker    *worker = client->link.worker;
    struct reader_sub        *sub    = reader_find(link_reader(&client->link), subscribe->channel);
    struct subscribe_requests requests;

    if (sub != NULL && client_change_mode(client, sub, subscribe, ref))
        return;
    subscribe_requests_init(&requests);
    if (sub != NULL && subscribe->is_watched && !sub->sub.is_watched && client_identity(client) != NULL)
        client_watch_presence(client, sub, ref);
    else if (sub != NULL)
        client_say_error(client, 409, "this connection follows that channel already", ref);
    else if (subscribe->is_kept && link_device(&client->link) == NULL)
        client_say_error(client, 409, "only a session keeps a channel: connect with session", ref);
    else if (link_own_count(&client->link, subscribe->is_kept) >= worker->limits.channels_max)
        client_say_error(client, 400, "too many channels on one connection (channels_per_connection_max)", ref);
    else if (!subscribe_requests_add(&requests, worker, subscribe->channel, subscribe->start, client_identity(client)) ||
             (subscribe->is_watched && !subscribe_requests_watch(&requests, &requests.at[0], client_identity(client))))
        client_say_error(client, requests.fault_status, requests.fault, ref);
    else
        client_follow_or_ask(client, &requests, subscribe, ref);
    subscribe_requests_fini(&requests);
}

static void on_subscribe(struct client *client, const struct client_command *command)
{
    client_subscribe(client, &command->subscribe, command->ref);
}

static void on_unsubscribe(struct client *client, const struct client_command *command)
{
    struct reader_sub *sub = reader_find(link_reader(&client->link), command->unsubscribe);

    if (sub == NULL) {
        client_say_error(client, 404, "this connection does not follow that channel", command->ref);
        return;
    }
    if (!device_link_may_leave(&client->link, sub)) {
        client_say_error(client, 409, "a session follows this channel by itself", command->ref);
        return;
    }
    free(client_take_ref(client, sub));
    link_unfollow(&client->link, sub);
    client_send_requests(client);
    client_say(client, &(struct client_event){
        .kind = EVENT_UNSUBSCRIBED, .ref = command->ref, .unsubscribed = command->unsubscribe,
    });
}

static const struct span place_words[]      = { SPAN("epoch"), SPAN("seq") };
const struct known_words client_place_words = { place_words, sizeof place_words / sizeof place_words[0] };

/* A channel that the session follows by itself goes on from the place that the client names. */
static void client_resume_channel(struct client *client, struct span channel, struct start start)
{
    struct reader_sub *sub = reader_find(link_reader(&client->link), channel);

    if (sub != NULL && sub->sub.is_own)
        device_link_move(&client->link, sub, start);
    else
        client_subscribe(client, &(struct client_subscribe){ .channel = channel, .start = start }, SPAN(""));
}

static void client_resume_place(struct client *client, const struct client_place *place, struct span ref)
{
    char text[UNKNOWN_WORD_BYTES];

    if (place->unknown.len > 0)
        client_say_error(client, 400,
                         unknown_word_say("member of a place in resume", place->unknown, client_place_words, text), ref);
    else if (place->fault != NULL)
        client_say_error(client, 400, place->fault, ref);
    else
        client_resume_channel(client, place->channel, place->start);
}

#define NOT_A_CURSOR "not a cursor: use what the frame `cursor` gave you, unchanged"

/* The token of a session, whose places are this device's. */
static const char *read_session_cursor(struct span cursor, struct span device, struct token *ret)
{
    struct session_token session;
    struct span          places;
    struct buf           bytes;
    const char          *fault = NULL;

    buf_init(&bytes, SESSION_TOKEN_HEAD_TEXT_MAX);
    if (!session_token_get(cursor, &bytes, &session, &places) ||
        (places.len > 0 && (!token_get(places, ret) || ret->set != 0)))
        fault = NOT_A_CURSOR;
    else if (device.len == 0)
        fault = "this is the cursor of a session: connect with `session`, as its device";
    else if (!span_eq(device, session.device))
        fault = "this cursor belongs to another device than this link";
    buf_fini(&bytes);
    return fault;
}

/* `device`: of the link's session; empty: it has none. NULL: it is one whose channels can be followed. */
static const char *read_connect_cursor(struct span cursor, struct span device, struct token *ret)
{
    if (session_token_is_one(cursor))
        return read_session_cursor(cursor, device, ret);
    if (!token_get(cursor, ret))
        return NOT_A_CURSOR;
    if (ret->set != 0)
        return "this cursor holds the places of channels without their names: a stream of many channels gave it. Name them in "
               "resume";
    return NULL;
}

static void client_resume_token(struct client *client, const struct token *token)
{
    for (size_t i = 0; i < token->count; i++)
        client_resume_channel(client, token->places[i].channel,
                              (struct start){ START_AFTER, token->places[i].seq, token->places[i].epoch });
}

/* Of the session that the link has, or will have; empty: none. */
static struct span client_session_device(const struct client *client, const struct connected_session *session)
{
    if (session != NULL)
        return session->device;
    return link_device(&client->link) == NULL ? SPAN("") : device_link_device(link_device(&client->link));
}

/* `connected` is sent first. The faults of the places, or the `subscribed` of each, follow it. */
void client_resume_as(struct client *client, const struct client_connect *connect, const struct connected_session *session,
                      bool is_resumed, struct span ref)
{
    struct token token;
    const char  *fault = NULL;

    token_init(&token);
    if (connect->cursor.len > 0)
        fault = read_connect_cursor(connect->cursor, client_session_device(client, session), &token);
    bool has_token = connect->cursor.len > 0 && fault == NULL;
    client_take_mode(client, connect);
    if (connect->has_beats)
        client_agree_heartbeat(client, connect->beat_ms);
    link_note_connected(&client->link);
    is_resumed |= connect->is_resuming || has_token;
    if (session != NULL)
        client_say_connected_as(client, session, is_resumed, ref);
    else
        client_say_connected(client, connect, is_resumed, ref);
    for (size_t i = 0; i < connect->place_count; i++)
        client_resume_place(client, &connect->places[i], ref);
    if (has_token)
        client_resume_token(client, &token);
    else if (fault != NULL)
        client_say_error(client, 400, fault, ref);
    token_fini(&token);
}

void client_resume(struct client *client, const struct client_connect *connect, bool is_resumed, struct span ref)
{
    client_resume_as(client, connect, NULL, is_resumed, ref);
}

/* As publish_check(): if the verdict is yes, *ret_message is the message and the caller owns it. */
static struct verdict check_publish(struct client *client, const struct client_publish *publish,
                                    char scratch[PUBLISH_WHY_BYTES], struct message **ret_message)
{
    struct session_worker *worker = client->link.worker;
    struct channel_name   *name;
    struct verdict         verdict = may_name_known(client_identity(client), ACTION_PUBLISH, &worker->names,
                                                   worker->namespaces, worker->hash_key, publish->channel, &name);

    if (verdict.status != 0)
        return verdict;
    struct publish_request request = {
        .name = name, .payload = publish->payload, .media = publish->media, .key = publish->key,
        .event = publish->event, .collapse_key = publish->collapse_key, .priority = publish->priority,
        .has_ttl = publish->has_ttl, .ttl_s = publish->ttl_s, .wall = worker->loop->wall,
        .identity = client_identity(client),
    };
    verdict = publish_check(&request, scratch, ret_message);
    channel_name_unref(name);
    return verdict;
}

static void on_publish(struct client *client, const struct client_command *command)
{
    struct message *message;
    char            why[PUBLISH_WHY_BYTES];
    struct verdict  verdict = usage_publish(client->link.worker->usage, client_identity(client), client->link.key,
                                                  client->link.worker->loop->now);

    if (verdict.status != 0) {
        client_refuse_usage(client, verdict, command->ref);
        return;
    }
    verdict = check_publish(client, &command->publish, why, &message);
    if (verdict.status == 0)
        client_send_publish(client, message, command->publish.key, command->ref, verdict.needs_member);
    else
        client_say_error(client, verdict.status, verdict.reason, command->ref);
}

static void on_ping(struct client *client, const struct client_command *command)
{
    client_beat(client, command->ping.next_ms);
    client_answer_ping(client, command);
}

/* Any byte counts as a sign of life. */
static void on_pong(struct client *client, const struct client_command *command)
{
    (void)client;
    (void)command;
}

/* The command is short, but a token of many channels is long: client_has_to_rest() bounds how many of them wait. */
static void on_cursor(struct client *client, const struct client_command *command)
{
    struct buf *token = &client->link.worker->frames.token;

    buf_clear(token);
    if (!link_put_token(&client->link, 0, token)) {
        client_say_error(client, 409, "there is no cursor before every channel has said subscribed", command->ref);
        return;
    }
    client_say(client, &(struct client_event){ .kind = EVENT_CURSOR, .ref = command->ref, .cursor = buf_span(token) });
}

/* Or shows a ticket: it was here before. */
static bool client_names_place(const struct client_command *command)
{
    const struct client_connect *connect = &command->connect;

    if (command->kind == CLIENT_SUBSCRIBE)
        return command->subscribe.start.kind == START_AFTER;
    return connect->is_resuming || connect->cursor.len > 0 || connect->ticket.len > 0;
}

/* A link is let in once, by the first command that makes it follow anything. Publishes are not asked: they bring no
 * state to load. */
static bool client_is_let_in(struct client *client, const struct client_command *command)
{
    struct link   *link = &client->link;
    struct put_off put_off;

    if (link->is_let_in || (command->kind != CLIENT_CONNECT && command->kind != CLIENT_SUBSCRIBE))
        return true;
    link->is_let_in = session_lets_in(link->worker, client_names_place(command), &put_off);
    if (!link->is_let_in)
        client_put_off(client, &put_off);
    return link->is_let_in;
}

/* The first `connect` of a link brings back what the client had before, however much that is. */
static bool client_may_subscribe(struct client *client, const struct client_command *command)
{
    struct session_worker *worker = client->link.worker;

    if (command->kind != CLIENT_SUBSCRIBE && (command->kind != CLIENT_CONNECT || !client->link.is_let_in))
        return true;
    struct verdict verdict = usage_subscribe(worker->usage, client->link.key, worker->loop->now);
    if (verdict.status != 0)
        client_refuse_usage(client, verdict, command->ref);
    return verdict.status == 0;
}

void client_carry_out(struct client *client, const struct client_command *command)
{
    static void (*const carry_out[CLIENT_COMMAND_COUNT])(struct client *, const struct client_command *) = {
        [CLIENT_CONNECT] = client_connect, [CLIENT_SUBSCRIBE] = on_subscribe, [CLIENT_UNSUBSCRIBE] = on_unsubscribe,
        [CLIENT_PUBLISH] = on_publish, [CLIENT_CURSOR] = on_cursor,       [CLIENT_PING] = on_ping,
        [CLIENT_PONG] = on_pong,
        [CLIENT_ACK] = client_acknowledge, [CLIENT_READ] = client_read,
        [CLIENT_REQUEST] = client_request, [CLIENT_CANCEL] = client_cancel,
    };

    must(command->kind < CLIENT_COMMAND_COUNT);
    if (!client_may_subscribe(client, command) || !client_is_let_in(client, command))
        return;
    if (command->kind != CLIENT_CONNECT)
        link_note_connected(&client->link);
    carry_out[command->kind](client, command);
}
