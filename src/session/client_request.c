/* client_request.c - requests of a client to back ends: from its frames to the uplink and back. The response is no answer of
 * this file: it comes by the log of the client's device, which the link follows before the request is sent on.
 *
 *     frame ──check──▶ waits until the link follows ──▶ shard_request() ──▶ accepted, or the refusal
 */
#include <stdlib.h>

#include "base/must.h"
#include "message/user_name.h"
#include "node/connection_key.h"
#include "publish/request_check.h"
#include "session/client.h"
#include "session/conn_follow.h"

/* Lives until the uplink has answered, even if its client is gone by then. It counts like a publish under way: who asks for too
 * much is not read from. */
struct client_asking {
    struct list             in_work;
    struct client          *client;   /* NULL: gone */
    struct request_command *command;  /* owned while it waits for its channel; NULL: it is with the uplink */
    size_t                  ref_len;
    char                    ref[];
};

/* --- the channel of the response ----------------------------------------------------------------------------------- */

struct request_home {
    struct span          user, device;  /* device empty: the response comes on conn:KEY */
    struct channel_name *channel;       /* owns a reference */
};

enum { HOME_BYTES = sizeof "device:" + USER_NAME_BYTES_MAX + DEVICE_NAME_BYTES_MAX + 2 };

static void client_home_of(const struct client *client, struct request_home *ret)
{
    const struct link           *link   = &client->link;
    const struct session_worker *worker = link->worker;
    char                         bytes[HOME_BYTES];
    struct buf                   text = { .at = bytes, .cap = sizeof bytes, .max = sizeof bytes };  /* never grows */

    ret->user   = identity_user(client_identity(client));
    ret->device = link_device(link) != NULL ? device_link_device(link_device(link)) : identity_device(client_identity(client));
    if (ret->user.len == 0)
        ret->device = SPAN("");
    if (ret->device.len > 0) {
        buf_put_lit(&text, "device:");
        buf_put(&text, ret->user);
        buf_putc(&text, '/');
        buf_put(&text, ret->device);
    } else {
        buf_put_lit(&text, "conn:");
        connection_key_put(&text, link->key);
    }
    must(!buf_is_over(&text));
    must(channel_name_new(worker->namespaces, worker->hash_key, buf_span(&text), &ret->channel) == CHANNEL_NAME_OK);
}

static void client_follow_home(struct client *client, const struct request_home *home)
{
    struct link *link = &client->link;

    if (reader_find(link_reader(link), channel_name_span(home->channel)) != NULL)
        return;
    if (home->device.len > 0)
        link_follow(link, home->channel, (struct start){ .kind = START_NOW });
    else
        link_follow_own(link, home->channel);
}

/* --- the answer ------------------------------------------------------------------------------------------------------ */

static void client_asking_end(struct client_asking *asking)
{
    struct client *client = asking->client;

    list_take(&asking->in_work);
    free(asking);
    if (client == NULL)
        return;
    client->work->publish_count--;
    client_kind(client)->answered(client);
    client_drop_work_if_done(client);
}

static void client_asking_tell(struct client *client, const struct request_command *command, struct span ref)
{
    unsigned    status;
    const char *why = request_explain(command->outcome, &status);

    if (why != NULL)
        client_say_request_error(client, status, status == 503 ? shard_engine_text(client->link.worker->shard, NULL, why) : why,
                                 command->id, ref);
    else if (command->outcome == REQUEST_REPLAYED)
        client_say(client, &(struct client_event){ .kind = EVENT_REPLAYED, .replayed = command->answer });
    else
        client_say(client, &(struct client_event){ .kind = EVENT_ACCEPTED, .ref = ref, .accepted = command->id });
}

static void client_asked(struct request_command *command)
{
    struct client_asking *asking = command->owner;

    if (asking->client != NULL)
        client_asking_tell(asking->client, command, span_of(asking->ref, asking->ref_len));
    command_free(&command->command);
    client_asking_end(asking);
}

/* --- the question ------------------------------------------------------------------------------------------------------ */

static void client_asking_send(struct client_asking *asking)
{
    struct request_command *command = asking->command;

    asking->command   = NULL;
    command->owner    = asking;
    command->answered = client_asked;
    shard_request(asking->client->link.worker->shard, command);
}

/* Once `subscribed` is said: where the channel is known here already that is when the link draws next, and the answer of an uplink on another
 * core may be there before. A client that unsubscribes from the channel meanwhile has its request sent all the same. */
static bool client_asking_may_go(const struct client_asking *asking)
{
    const struct reader_sub *sub =
        reader_find(link_reader(&asking->client->link), channel_name_span(asking->command->channel));

    return sub == NULL || client_knows_place(sub);
}

void client_send_requests(struct client *client)
{
    struct list *requests = client->work == NULL ? NULL : &client->work->requests;

    if (requests == NULL)
        return;
    for (struct list *at = requests->next, *next; at != requests; at = next) {
        struct client_asking *asking = container_of(at, struct client_asking, in_work);
        next                         = at->next;
        if (asking->command != NULL && client_asking_may_go(asking))
            client_asking_send(asking);
    }
}

/* Takes the command. */
static void client_asking_begin(struct client *client, struct request_command *command, struct span ref)
{
    struct client_asking *asking = calloc(1, sizeof *asking + ref.len);

    must(asking != NULL);
    asking->client  = client;
    asking->command = command;
    asking->ref_len = ref.len;
    if (ref.len > 0)
        memcpy(asking->ref, ref.at, ref.len);
    list_push(&client_get_work(client)->requests, &asking->in_work);
    client->work->publish_count++;
    if (client_asking_may_go(asking))
        client_asking_send(asking);
}

static struct verdict client_check_request(struct client *client, const struct request_home *home, const struct request_asked *asked,
                            char why[REQUEST_WHY_BYTES], struct request_command **ret)
{
    const struct link          *link   = &client->link;
    const struct request_sender sender = {
        .identity = client_identity(client), .channel = home->channel, .user = home->user, .device = home->device,
        .key = link->key, .address = peer_text_of(&link->worker->peer_texts, link->key, link_stream(link)),
    };

    return request_check(link->worker->routes, &sender, asked, why, ret);
}

void client_request(struct client *client, const struct client_command *command)
{
    struct request_command *request;
    struct request_home     home;
    char                    why[REQUEST_WHY_BYTES];

    if (client_identity(client) == NULL) {
        client_say_request_error(client, 401, "a request needs to know who sends it: connect with a token", command->request_id,
                                 command->ref);
        return;
    }
    client_home_of(client, &home);
    struct verdict verdict = client_check_request(client, &home, command->request, why, &request);
    if (verdict.status != 0) {
        client_say_request_error(client, verdict.status, verdict.reason, command->request_id, command->ref);
    } else {
        client_follow_home(client, &home);
        client_asking_begin(client, request, command->ref);
    }
    channel_name_unref(home.channel);
}

static void client_cancelled(struct request_command *command)
{
    command_free(&command->command);
}

/* One that still waits for its channel is sent on first, so that there is something to cancel. */
void client_cancel(struct client *client, const struct client_command *command)
{
    struct request_home home;

    if (command->request_id.len == 0 || command->request_id.len > REQUEST_ID_BYTES_MAX) {
        client_say_request_error(client, 400, "cancel takes the id of a request, of 1 to 128 bytes", SPAN(""), command->ref);
        return;
    }
    if (client_identity(client) == NULL)
        return;  /* it has asked for nothing */
    client_home_of(client, &home);
    struct list *requests = &client_get_work(client)->requests;
    for (struct list *at = requests->next; at != requests; at = at->next) {
        struct client_asking *asking = container_of(at, struct client_asking, in_work);
        if (asking->command != NULL && span_eq(asking->command->id, command->request_id))
            client_asking_send(asking);
    }
    struct request_command *cancel = request_cancel_new(home.channel, home.user, home.device, client->link.key, command->request_id);
    cancel->answered               = client_cancelled;
    shard_request(client->link.worker->shard, cancel);
    client_drop_work_if_done(client);
    channel_name_unref(home.channel);
}

void client_forget_requests(struct client *client)
{
    struct list *at;

    while ((at = list_pop(&client->work->requests)) != NULL) {
        struct client_asking *asking = container_of(at, struct client_asking, in_work);
        asking->client               = NULL;
        if (asking->command != NULL) {
            command_free(&asking->command->command);
            free(asking);
        }
    }
}
