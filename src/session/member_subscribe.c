#include "session/member_subscribe.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device/membership.h"
#include "session/serve.h"

#define STORE_AWAY "the store can't be asked now; send it again a little later"

static struct membership_command *question_new(struct session_worker *worker, const struct identity *identity,
                                               const struct channel_name *channel)
{
    return membership_question_new(worker->memberships, worker->namespaces, worker->hash_key, identity_user(identity),
                                   channel);
}

static bool is_known(const struct membership_command *question)
{
    return question->outcome == MEMBERSHIP_DONE || question->outcome == MEMBERSHIP_NOT_DURABLE;
}

/* --- a `subscribe` of a client --- */

struct member_question {
    struct list          in_work;
    struct client       *client;  /* NULL: gone */
    struct channel_name *name;    /* owns a reference */
    struct start         start;
    bool                 is_watched;
    bool                 is_followed;  /* already, and not as a member's */
    enum delivery_mode   mode;
    const char          *not_member;
    struct leave_mark    leaves;  /* when it was looked up */
    size_t               ref_len;
    char                 ref[];
};

static void client_follow_as_member(struct client *client, struct member_question *question, struct span ref)
{
    struct link *link = &client->link;

    if (reader_find(link_reader(link), channel_name_span(question->name)) != NULL) {
        client_say_error(client, 409, "this connection follows that channel already", ref);
        return;
    }
    struct reader_sub *sub = link_follow(link, question->name, question->start);
    sub->sub.is_bounded    = true;
    sub->sub.is_watched    = question->is_watched;
    notify_set(link, sub, question->mode);
    client_keep_ref(client, sub, ref);
}

/* What allowed it is gone: then it is followed as a member, or no longer; no longer, too, if nobody knows. */
static void client_stay_as_member(struct client *client, const struct channel_name *name, bool is_member)
{
    struct reader_sub *sub = reader_find(link_reader(&client->link), channel_name_span(name));

    if (sub == NULL || reader_sub_is_of_member(sub) || may(client_identity(client), name, ACTION_SUBSCRIBE).status == 0)
        return;
    if (!is_member)
        client_leave_forbidden(client, sub);
    else if (link_device(&client->link) == NULL)
        sub->sub.is_bounded = true;
}

static void client_member_told(struct client *client, const struct membership_command *answer,
                               struct member_question *question)
{
    struct span ref = span_of(question->ref, question->ref_len);

    list_take(&question->in_work);
    client->work->publish_count--;
    if (question->is_followed)
        client_stay_as_member(client, question->name, answer->outcome == MEMBERSHIP_DONE && answer->is_member);
    else if (answer->outcome == MEMBERSHIP_DONE && answer->is_member)
        client_follow_as_member(client, question, ref);
    else if (is_known(answer))
        client_say_error(client, 403, question->not_member, ref);
    else
        client_say_error(client, 503, shard_engine_text(client->link.worker->shard, NULL, STORE_AWAY), ref);
    client_kind(client)->answered(client);
    client_drop_work_if_done(client);
}

static void client_look_up(struct client *client, struct member_question *question);

/* Says yes, and may be older than a leave that this loop was told of? */
static bool answer_is_old(const struct session_worker *worker, const struct membership_command *answer, struct leave_mark mark)
{
    return answer->outcome == MEMBERSHIP_DONE && answer->is_member && leave_mark_is_old(&worker->leaves, mark);
}

static void client_member_asked(struct membership_command *answer)
{
    struct member_question *question = answer->owner;
    struct client          *client   = question->client;
    bool                    is_there = client != NULL && !client->link.is_over && client_is_welcome(client);

    if (is_there && answer_is_old(client->link.worker, answer, question->leaves)) {
        client_look_up(client, question);
        command_free(&answer->command);
        return;
    }
    if (is_there)
        client_member_told(client, answer, question);
    list_take(&question->in_work);
    channel_name_unref(question->name);
    free(question);
    command_free(&answer->command);
}

static void client_look_up(struct client *client, struct member_question *question)
{
    struct session_worker     *worker  = client->link.worker;
    struct membership_command *command = question_new(worker, client_identity(client), question->name);

    question->leaves  = leave_mark_of(&worker->leaves, command->user, command->group);
    command->owner    = question;
    command->answered = client_member_asked;
    shard_ask_membership(worker->shard, command);
}

/* It counts like a publish under way: who asks for too much is not read from. */
static void client_ask(struct client *client, struct member_question *question)
{
    question->client = client;
    list_push(&client_get_work(client)->questions, &question->in_work);
    client->work->publish_count++;
    client_look_up(client, question);
}

void client_ask_still_member(struct client *client, const struct reader_sub *sub)
{
    struct member_question *question = calloc(1, sizeof *question);

    must(question != NULL);
    question->name        = channel_name_ref(subscription_name(&sub->sub));
    question->is_followed = true;
    client_ask(client, question);
}

void client_ask_member(struct client *client, const struct subscribe_request *request, const char *not_member,
                       struct span ref)
{
    struct member_question *question = calloc(1, sizeof *question + ref.len);

    must(question != NULL);
    question->name       = channel_name_ref(request->name);
    question->start      = request->start;
    question->is_watched = request->is_watched;
    question->mode       = request->mode;
    question->not_member = not_member;
    question->ref_len    = ref.len;
    if (ref.len > 0)
        memcpy(question->ref, ref.at, ref.len);
    client_ask(client, question);
}

void client_forget_questions(struct client *client)
{
    struct list *at;

    while ((at = list_pop(&client->work->questions)) != NULL)
        container_of(at, struct member_question, in_work)->client = NULL;
}

/* --- a request for a stream or a poll --- */

struct member_requests {
    struct session_worker    *worker;
    struct http_exchange     *exchange;
    struct subscribe_requests requests;
    const struct media_row   *row;
    void                    (*go)(struct session_worker *worker, struct http_exchange *exchange,
                                  const struct media_row *row, struct subscribe_requests *requests);
    size_t                    waiting;
    unsigned                  status;    /* of the refusal; 0: none yet */
    bool                      is_gone;
    struct leave_mark         leaves[];  /* when each was looked up */
};

static void member_requests_gone(void *owner)
{
    ((struct member_requests *)owner)->is_gone = true;
}

static void member_requests_end(struct member_requests *mine)
{
    struct session_worker *worker = mine->worker;

    if (mine->is_gone && mine->status == 0)
        mine->status = 503;
    mine->exchange->gone = NULL;
    if (mine->status == 0)
        mine->go(worker, mine->exchange, mine->row, &mine->requests);
    else
        http_problem(worker->server, mine->exchange, mine->status, NULL,
                     mine->status == 403 ? mine->requests.not_member : shard_engine_text(worker->shard, NULL, STORE_AWAY),
                     mine->status == 403 ? HTTP_NO_FIELDS : HTTP_FIELDS({ SPAN("Retry-After"), SPAN("1") }));
    subscribe_requests_fini(&mine->requests);
    free(mine);
}

static void member_requests_asked(struct membership_command *answer);

static void member_requests_look_up(struct member_requests *mine, size_t at)
{
    struct session_worker     *worker  = mine->worker;
    struct membership_command *command = question_new(worker, mine->exchange->caller.identity, mine->requests.at[at].name);

    mine->leaves[at]  = leave_mark_of(&worker->leaves, command->user, command->group);
    mine->waiting++;
    command->owner    = mine;
    command->answered = member_requests_asked;
    shard_ask_membership(worker->shard, command);
}

/* All have been answered. One may be older than a leave that this loop was told of, perhaps while the others were looked up. */
static void member_requests_answered(struct member_requests *mine)
{
    for (size_t i = 0; !mine->is_gone && mine->status == 0 && i < mine->requests.count; i++)
        if (mine->requests.at[i].needs_member && leave_mark_is_old(&mine->worker->leaves, mine->leaves[i]))
            member_requests_look_up(mine, i);
    if (mine->waiting == 0)
        member_requests_end(mine);
}

static void member_requests_asked(struct membership_command *answer)
{
    struct member_requests *mine = answer->owner;

    if (!is_known(answer))
        mine->status = 503;
    else if (!answer->is_member && mine->status == 0)
        mine->status = 403;
    command_free(&answer->command);
    if (--mine->waiting == 0)
        member_requests_answered(mine);
}

void subscribe_ask_members(struct session_worker *worker, struct http_exchange *exchange,
                           struct subscribe_requests *requests, const struct media_row *row,
                           void (*go)(struct session_worker *worker, struct http_exchange *exchange,
                                      const struct media_row *row, struct subscribe_requests *requests))
{
    struct member_requests *mine = calloc(1, sizeof *mine + requests->count * sizeof mine->leaves[0]);

    must(mine != NULL);
    *mine = (struct member_requests){ .worker = worker, .exchange = exchange, .requests = *requests, .row = row,
                                      .go = go };
    subscribe_requests_init(requests);
    exchange->owner = mine;
    exchange->gone  = member_requests_gone;
    for (size_t i = 0; i < mine->requests.count; i++)
        if (mine->requests.at[i].needs_member)
            member_requests_look_up(mine, i);
}

/* --- who leaves the group --------------------------------------------------------------------------------------------- */

bool link_follows_as_member(const struct link *link, const struct subscription *sub)
{
    return link != NULL && !link->is_over && link_device(link) == NULL && sub->is_bounded && link->holder != NULL;
}

struct leaver {
    struct session_worker *worker;
    struct span            user;
};

/* A stream that followed as a member ends: its
 * cursors name its channels, and when it comes again it is told which one it may not follow. */
static void leaver_visit(struct subscription *sub, void *ctx)
{
    const struct leaver *leaver  = ctx;
    struct reader_sub   *mine    = container_of(sub, struct reader_sub, sub);
    struct link         *link    = reader_owner(near_get(sub->owner));

    if (!link_follows_as_member(link, sub) || !span_eq(identity_user(link->holder), leaver->user))
        return;
    if (link->kind->left != NULL)
        link->kind->left(link, mine);
    else
        link->kind->leave(link);
}

void session_worker_left(struct session_worker *worker, struct channel_name *user, struct channel_name *group)
{
    const struct namespaces *spaces = worker->namespaces;
    const struct leaver      leaver = { worker, channel_own_name(user) };
    char                     text[NAMESPACE_NAME_BYTES_MAX + 1 + CHANNEL_NAME_BYTES_MAX + 1];

    leave_counts_note(&worker->leaves, user, group);
    for (size_t i = 0; i < spaces->count; i++) {
        struct channel_name *name;
        int len = snprintf(text, sizeof text, "%s:%.*s", spaces->at[i].name, SPAN_ARG(channel_own_name(group)));
        if (spaces->at[i].membership != MEMBER_OF_GROUP || spaces->at[i].subscribe != ALLOW_MEMBER ||
            channel_name_new(worker->namespaces, worker->hash_key, span_of(text, (size_t)len), &name) !=
                CHANNEL_NAME_OK)
            continue;
        hub_visit(&worker->shard->hub, name, leaver_visit, (void *)(uintptr_t)&leaver);
        channel_name_unref(name);
    }
}

void client_left(struct link *link, struct reader_sub *sub)
{
    struct client       *client = container_of(link, struct client, link);
    struct channel_name *name   = channel_name_ref(subscription_name(&sub->sub));

    free(client_take_ref(client, sub));
    link_unfollow(link, sub);
    client_say(client, &(struct client_event){ .kind = EVENT_UNSUBSCRIBED, .unsubscribed = channel_name_span(name) });
    channel_name_unref(name);
}
