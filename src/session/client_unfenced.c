/* client_unfenced.c - a ticket that comes while the database is away. The ticket itself says who comes, so the client is let in, and
 * `connected` says that the session is not fenced yet: the link has no generation of its own, gets nothing of the session's
 * channels, and acknowledges nothing. The opening is tried again once a second. When the database is back the generation is raised,
 * older links are fenced, and the session's channels go on. A ticket that turns out to be stale ends the link. */
#include <stdlib.h>

#include "base/must.h"
#include "session/client.h"
#include "session/device_ticket.h"

struct client_unfenced {
    struct list          in_worker;  /* worker.unfenced */
    struct client       *client;
    struct session_open *opening;    /* under way, or NULL */
    struct buf           frame;      /* the `connect` */
};

void client_cancel_unfenced(struct client *client)
{
    struct client_unfenced *unfenced = client->work == NULL ? NULL : client->work->unfenced;

    if (unfenced == NULL)
        return;
    if (unfenced->opening != NULL)
        device_link_abandon(client->link.worker, unfenced->opening);
    list_take(&unfenced->in_worker);
    client->link.worker->gathered_bytes -= unfenced->frame.len;
    buf_fini(&unfenced->frame);
    free(unfenced);
    client->work->unfenced = NULL;
}

bool client_has_engine(const struct client *client)
{
    return client->link.worker->shard->engines.durable != NULL;
}

bool client_may_be_unfenced(const struct client *client, const struct session_open *open)
{
    return open->way == OPEN_TICKET && open->outcome == OPEN_AWAY && client_has_engine(client);
}

void client_admit_unfenced(struct client *client, const struct session_open *open, uint64_t generation, struct span frame,
                           const struct client_connect *connect, struct span ref)
{
    struct session_worker  *worker   = client->link.worker;
    struct client_unfenced *unfenced = calloc(1, sizeof *unfenced);

    must(unfenced != NULL && client_get_work(client)->unfenced == NULL);
    unfenced->client       = client;
    client->work->unfenced = unfenced;
    list_push(&worker->unfenced, &unfenced->in_worker);
    buf_init(&unfenced->frame, SIZE_MAX / 2);  /* one frame, which is kept in place of another one */
    buf_put(&unfenced->frame, frame);
    worker->gathered_bytes += frame.len;
    client_resume_as(client, connect, &(struct connected_session){
        .user = open->user, .device = open->device, .generation = generation, .ticket = connect->ticket,
        .is_unfenced = true }, true, ref);
}

/* The link is the session's from now on. */
static void unfenced_fenced(struct client *client, struct session_open *open, const struct client_connect *connect,
                            struct span ref)
{
    device_link_begin(&client->link, open);
    client_take_mode(client, connect);
    device_link_follow_all(&client->link, open, NULL);
    client_say_connected(client, connect, open->is_resumed, ref);
}

/* The client comes again, with its token if the ticket is stale. */
static void unfenced_refused(struct client *client, enum open_outcome outcome, struct span ref)
{
    struct verdict verdict = device_link_verdict(outcome);

    client_say_error(client, verdict.status, verdict.reason, ref);
    client_send_away(client, CLIENT_CLOSE_POLICY, "this ticket is stale");
}

static void unfenced_opened(struct session_open *open)
{
    struct client_unfenced *unfenced = open->owner;
    struct client_command   command;
    struct client_fault     fault;

    if (unfenced != NULL)
        unfenced->opening = NULL;
    if (unfenced == NULL || unfenced->client->link.is_over) {
        device_link_drop(device_link_worker(open), open);
        return;
    }
    if (open->outcome == OPEN_AWAY || open->outcome == OPEN_BUSY || open->outcome == OPEN_NO_SPACE) {
        command_free(&open->command);
        return;
    }
    struct client         *client = unfenced->client;
    struct session_worker *worker = client->link.worker;
    struct buf             frame  = unfenced->frame;

    buf_init(&unfenced->frame, 0);
    worker->gathered_bytes -= frame.len;
    client_cancel_unfenced(client);
    must(client_kind(client)->dialect->read(&worker->dialect_scratch, buf_span(&frame), &command, &fault));
    if (open->outcome == OPEN_DONE)
        unfenced_fenced(client, open, &command.connect, command.ref);
    else
        unfenced_refused(client, open->outcome, command.ref);
    command_free(&open->command);
    buf_fini(&frame);
    client_drop_work_if_done(client);
}

void client_await_fence(struct client *client, struct session_open *open)
{
    struct client_unfenced *unfenced = client->work->unfenced;

    unfenced->opening = open;
    open->owner       = unfenced;
    open->answered    = unfenced_opened;
}

/* The ticket may have ended meanwhile, or been revoked. */
static void unfenced_try(struct session_worker *worker, struct client_unfenced *unfenced)
{
    struct client        *client = unfenced->client;
    struct client_command command;
    struct client_fault   fault;
    struct ticket_holder  holder;
    struct buf            bytes;

    must(client_kind(client)->dialect->read(&worker->dialect_scratch, buf_span(&unfenced->frame), &command, &fault));
    buf_init(&bytes, TICKET_TEXT_BYTES_MAX);
    struct verdict verdict = device_ticket_read(worker, client->link.holder, command.connect.ticket, &bytes, &holder);
    if (verdict.status != 0) {
        client_say_error(client, verdict.status, verdict.reason, command.ref);
        client_send_away(client, CLIENT_CLOSE_POLICY, "this ticket is no longer good");
    } else {
        unfenced->opening = device_link_ask(worker, &(struct session_question){
            .way = OPEN_TICKET, .user = holder.user, .device = holder.device, .generation = holder.generation,
            .since = holder.since, .key = client->link.key, .transport = (enum transport)client->link.transport,
        }, unfenced_opened, unfenced);
        identity_unref(holder.identity);
    }
    buf_fini(&bytes);
}

void client_unfenced_tick(struct session_worker *worker)
{
    for (struct list *at = worker->unfenced.next, *next; at != &worker->unfenced; at = next) {
        struct client_unfenced *unfenced = container_of(at, struct client_unfenced, in_worker);
        next                             = at->next;
        if (unfenced->opening == NULL && !unfenced->client->link.is_over)
            unfenced_try(worker, unfenced);
    }
}
