/* client_mark.c - `read` commands: a client marks channels as read, for its user (device/read_mark.h).
 *
 * A client that scrolls through a channel sets hundreds of marks. The first one goes to the devices at once; those that
 * come within a second of it wait, and the newest of them goes then. So the log of the user gets one message a second a
 * channel and link at most. Who asked for an answer gets it once its mark, or a newer one, is stored. */
#include <stdlib.h>

#include "base/must.h"
#include "device/read_mark.h"
#include "session/client.h"

enum { MARK_EVERY_MS = 1000 };

/* The marks of one channel: one under way, those that wait for the next, or none while the second passes. */
struct client_mark {
    struct list          in_work;    /* of client_work.marks */
    struct list          in_worker;  /* of worker.marks */
    struct client       *client;     /* NULL: gone, and the devices have yet to answer */
    struct channel_name *name;       /* owns a reference */
    struct list          asked, waiting;  /* mark_refs of the one under way, and of the one that waits */
    uint64_t             epoch, seq;      /* of the one that waits; seq 0: none does */
    uint32_t             waiting_count;   /* mark_refs that wait */
    bool                 needs_member;
    unsigned             away_count;      /* with the devices: one, or at the end of the link one more */
    msec                 sent_at;
};

/* An answer that a client waits for. It counts like a publish under way: who asks for too many is not read from. */
struct mark_ref {
    struct list in_mark;
    size_t      len;
    char        text[];
};

static void refs_drop(struct list *refs)
{
    struct list *at;

    while ((at = list_pop(refs)) != NULL)
        free(container_of(at, struct mark_ref, in_mark));
}

static void client_mark_free(struct client_mark *mark)
{
    list_take(&mark->in_work);
    list_take(&mark->in_worker);
    refs_drop(&mark->asked);
    refs_drop(&mark->waiting);
    channel_name_unref(mark->name);
    free(mark);
}

static void client_mark_free_if_done(struct client_mark *mark)
{
    if (mark->away_count == 0)
        client_mark_free(mark);
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static struct verdict mark_verdict(enum read_mark_outcome outcome)
{
    static const struct verdict rows[] = {
        [READ_MARK_DONE]        = { 0, NULL },
        [READ_MARK_NO_MEMBER]   = { 403, "you may not follow this channel, or there is none" },
        [READ_MARK_BUSY]        = { 429, "too many read marks are being set; send it again a little later" },
        [READ_MARK_NO_SPACE]    = { 507, "the disk is full; the mark was not set" },
        [READ_MARK_AWAY]        = { 503, "the store can't be asked now; the mark was not set" },
        [READ_MARK_BROKEN]      = { 503, "the store can't be written to now; whether the mark was set is not known" },
        [READ_MARK_NOT_DURABLE] = { 409, "the configuration says that the namespace user is not durable; marks can't be kept" },
    };

    must(outcome < sizeof rows / sizeof rows[0]);
    return rows[outcome];
}

static void tell_ref(struct client *client, const struct read_mark_command *answer, struct span ref)
{
    struct verdict verdict = mark_verdict(answer->outcome);

    if (verdict.status == 503)
        verdict.reason = shard_engine_text(client->link.worker->shard, NULL, verdict.reason);
    if (verdict.status != 0)
        client_say_error(client, verdict.status, verdict.reason, ref);
    else
        client_say(client, &(struct client_event){
            .kind = EVENT_READ, .ref = ref, .ack = { channel_name_span(answer->channel), answer->seq },
        });
}

static void tell_refs(struct client_mark *mark, const struct read_mark_command *answer)
{
    struct list *at;

    while ((at = list_pop(&mark->asked)) != NULL) {
        struct mark_ref *ref = container_of(at, struct mark_ref, in_mark);
        tell_ref(mark->client, answer, span_of(ref->text, ref->len));
        mark->client->work->publish_count--;
        free(ref);
    }
}

static void client_mark_set(struct read_mark_command *answer)
{
    struct client_mark *mark   = answer->owner;
    struct client      *client = mark->client;

    mark->away_count--;
    if (client == NULL) {
        client_mark_free_if_done(mark);
    } else {
        tell_refs(mark, answer);
        client->work->publish_count--;
        client_kind(client)->answered(client);
    }
    command_free(&answer->command);
}

/* --- the question ----------------------------------------------------------------------------------------------- */

static void client_mark_send(struct client_mark *mark)
{
    struct client            *client  = mark->client;
    struct link              *link    = &client->link;
    const struct identity    *holder  = client_identity(client);
    struct span               device  = link_device(link) != NULL ? device_link_device(link_device(link)) : identity_device(holder);
    struct read_mark_command *command = read_mark_command_new(link->worker->devices, identity_user(holder), device,
                                                              mark->name);
    struct list              *at;

    command->needs_member = mark->needs_member;
    command->epoch        = mark->epoch;
    command->seq          = mark->seq;
    command->owner        = mark;
    command->answered     = client_mark_set;
    mark->seq     = 0;
    mark->sent_at = link->worker->loop->now;
    mark->away_count++;
    mark->waiting_count = 0;
    while ((at = list_pop(&mark->waiting)) != NULL)
        list_push(&mark->asked, at);
    client->work->publish_count++;
    shard_set_read_mark(link->worker->shard, command);
}

static struct client_mark *client_mark_find(const struct client *client, const struct channel_name *name)
{
    const struct client_work *work = client->work;

    for (const struct list *at = work == NULL ? NULL : work->marks.next; at != NULL && at != &work->marks; at = at->next) {
        struct client_mark *mark = container_of(at, struct client_mark, in_work);
        if (channel_name_eq(mark->name, name))
            return mark;
    }
    return NULL;
}

static struct client_mark *client_mark_new(struct client *client, struct channel_name *name, bool needs_member)
{
    struct client_mark *mark = calloc(1, sizeof *mark);

    must(mark != NULL);
    mark->client       = client;
    mark->name         = channel_name_ref(name);
    mark->needs_member = needs_member;
    list_init(&mark->asked);
    list_init(&mark->waiting);
    list_push(&client_get_work(client)->marks, &mark->in_work);
    list_push(&client->link.worker->marks, &mark->in_worker);
    client->work->mark_count++;
    return mark;
}

static void client_mark_want(struct client_mark *mark, const struct client_ack *read, struct span ref)
{
    if (mark->seq == 0 || read->epoch != mark->epoch || read->seq > mark->seq) {
        mark->epoch = read->epoch;
        mark->seq   = read->seq;
    }
    if (ref.len == 0)
        return;
    struct mark_ref *kept = malloc(sizeof *kept + ref.len);
    must(kept != NULL);
    *kept = (struct mark_ref){ .len = ref.len };
    memcpy(kept->text, ref.at, ref.len);
    list_init(&kept->in_mark);
    list_push(&mark->waiting, &kept->in_mark);
    mark->waiting_count++;
    mark->client->work->publish_count++;
}

static void client_mark(struct client *client, struct channel_name *name, bool needs_member,
                        const struct client_command *command)
{
    struct client_mark *mark = client_mark_find(client, name);

    if (mark == NULL && client->work != NULL && client->work->mark_count >= CLIENT_MARKS_MAX) {
        client_say_error(client, 429, "at most 256 channels a second are marked as read on one connection", command->ref);
        return;
    }
    if (mark == NULL) {
        mark = client_mark_new(client, name, needs_member);
        client_mark_want(mark, &command->ack, command->ref);
        client_mark_send(mark);
    } else {
        client_mark_want(mark, &command->ack, command->ref);
    }
}

/* The channel that a client may read. Status 0: the caller owns *ret. */
static struct verdict mark_channel(struct client *client, struct span channel, struct channel_name **ret)
{
    struct session_worker   *worker   = client->link.worker;
    const struct identity   *identity = client_identity(client);
    const struct reader_sub *sub      = reader_find(link_reader(&client->link), channel);

    if (identity == NULL || identity_user(identity).len == 0)
        return (struct verdict){ 401, "a read mark belongs to a user: connect with the token of one", false };
    if (sub != NULL) {
        *ret = channel_name_ref(subscription_name(&sub->sub));
        return (struct verdict){ 0 };
    }
    struct verdict verdict = may_name(identity, ACTION_SUBSCRIBE, worker->namespaces, worker->hash_key, channel, ret);
    if (verdict.status != 0)
        return verdict;
    verdict = may(identity, *ret, ACTION_SUBSCRIBE);
    if (verdict.status != 0 && !verdict.needs_member) {
        channel_name_unref(*ret);
        return verdict;
    }
    return (struct verdict){ .needs_member = verdict.status != 0 };
}

void client_read(struct client *client, const struct client_command *command)
{
    struct channel_name *name;

    if (command->ack.seq == 0) {
        client_say_error(client, 400, "the first message that can be marked as read is that of seq 1", command->ref);
        return;
    }
    struct verdict verdict = mark_channel(client, command->ack.channel, &name);
    if (verdict.status != 0) {
        client_say_error(client, verdict.status, verdict.reason, command->ref);
        return;
    }
    client_mark(client, name, verdict.needs_member, command);
    channel_name_unref(name);
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

static bool client_mark_may_go(const struct client_mark *mark)
{
    return mark->seq != 0 && client_identity(mark->client) != NULL;
}

/* What waits was asked for before the end, and counts: it is sent, and nobody waits for its answer. */
static void client_mark_leave(struct client_mark *mark)
{
    if (client_mark_may_go(mark) && !mark->client->link.worker->is_stopping)
        client_mark_send(mark);
    mark->client = NULL;
    list_take(&mark->in_worker);
    client_mark_free_if_done(mark);
}

void client_forget_marks(struct client *client)
{
    struct list *at;

    while ((at = list_pop(&client->work->marks)) != NULL)
        client_mark_leave(container_of(at, struct client_mark, in_work));
}

static void client_mark_rest(struct client_mark *mark)
{
    struct client *client = mark->client;

    client->work->publish_count -= mark->waiting_count;
    client->work->mark_count--;
    client_mark_free(mark);
    client_drop_work_if_done(client);
}

void client_marks_tick(struct session_worker *worker)
{
    for (struct list *at = worker->marks.next, *next; at != &worker->marks; at = next) {
        struct client_mark *mark = container_of(at, struct client_mark, in_worker);
        next                     = at->next;
        if (mark->away_count > 0 || worker->loop->now - mark->sent_at < MARK_EVERY_MS)
            continue;
        if (client_mark_may_go(mark))
            client_mark_send(mark);
        else
            client_mark_rest(mark);
    }
}

void client_marks_send_all(struct session_worker *worker)
{
    for (struct list *at = worker->marks.next; at != &worker->marks; at = at->next) {
        struct client_mark *mark = container_of(at, struct client_mark, in_worker);
        if (client_mark_may_go(mark))
            client_mark_send(mark);
    }
}
