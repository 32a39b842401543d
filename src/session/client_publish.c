/* client_publish.c - the publishes of a client that are under way: to the writer and back. */
#include <stdlib.h>

#include "base/must.h"
#include "device/member_publish.h"
#include "publish/publish_check.h"
#include "session/client.h"

/* Stands in the room of its command: lives until the writer has answered, even if its client is gone by then. */
struct publish_under_way {
    struct list             in_work;
    struct client          *client;  /* NULL: gone */
    size_t                  ref_len;
    char                    ref[];
};

static void say_published(struct client *client, const struct publish_command *command, struct span ref)
{
    unsigned    status;
    const char *why = publish_explain_sent(client->link.worker->shard, command, &status);

    if (why != NULL) {
        client_say_error(client, status, why, ref);
        return;
    }
    client_say(client, &(struct client_event){
        .kind = EVENT_PUBLISHED, .ref = ref,
        .published = { command->append.message->channel, &command->answer, command->outcome == PUBLISH_REPLAYED },
    });
}

static void on_published(struct publish_command *command)
{
    struct publish_under_way *publish = command->owner;
    struct client            *client  = publish->client;

    if (client != NULL) {
        say_published(client, command, span_of(publish->ref, publish->ref_len));
        list_take(&publish->in_work);
        client->work->publish_count--;
        client_kind(client)->answered(client);
        client_drop_work_if_done(client);
    }
    command_free(&command->command);
}

void client_send_publish(struct client *client, struct message *message, struct span key, struct span ref,
                         bool needs_member)
{
    struct session_worker    *worker  = client->link.worker;
    void                     *room;
    struct publish_command   *command = publish_command_new_with(&message, key, identity_from(client_identity(client)),
                                                                 sizeof(struct publish_under_way) + ref.len, &room);
    struct publish_under_way *publish = room;

    *publish = (struct publish_under_way){ .client = client, .ref_len = ref.len };
    if (ref.len > 0)
        memcpy(publish->ref, ref.at, ref.len);
    list_push(&client_get_work(client)->publishes, &publish->in_work);
    client->work->publish_count++;

    command->owner    = publish;
    command->answered = on_published;
    if (needs_member)
        publish_only_for_member(worker->memberships, worker->namespaces, worker->hash_key,
                                identity_user(client_identity(client)), command);
    shard_publish(worker->shard, command);
}

void client_forget_publishes(struct client *client)
{
    struct list *at;

    while ((at = list_pop(&client->work->publishes)) != NULL)
        container_of(at, struct publish_under_way, in_work)->client = NULL;
}
