#include "device/member_publish.h"

#include <stdlib.h>

#include "base/must.h"

/* Travels to the writer in place of the publish. */
struct member_publish {
    struct publish_gate        gate;
    struct list                in_line;     /* in memberships.publishes, in the order of arrival */
    struct membership_command *question;    /* owned; NULL while it is asked, and behind it */
    struct memberships        *memberships;
    enum publish_outcome       refusal;
    bool                       is_answered, is_refused;
};

static void member_publish_free(struct command *command)
{
    struct member_publish *mine = container_of(command, struct member_publish, gate.command);

    list_take(&mine->in_line);
    if (mine->question != NULL)
        command_free(&mine->question->command);
    if (mine->gate.publish != NULL)
        command_free(&mine->gate.publish->command);
    free(mine);
}

static void member_publish_go(struct member_publish *mine, struct writer *writer)
{
    struct publish_command *publish = mine->gate.publish;

    free(mine);
    publish_kind.at_writer(&publish->command, writer);
}

static void member_publish_refuse(struct member_publish *mine, struct writer *writer)
{
    struct publish_command *publish = mine->gate.publish;

    publish->outcome = mine->refusal;
    free(mine);
    writer->port->send(writer->ctx, publish->command.loop, &publish->command);
}

static void member_publishes_go_on(struct memberships *memberships, struct writer *writer)
{
    while (!list_is_empty(&memberships->publishes)) {
        struct member_publish *first = container_of(memberships->publishes.next, struct member_publish, in_line);
        if (!first->is_answered)
            return;
        list_take(&first->in_line);
        if (first->is_refused)
            member_publish_refuse(first, writer);
        else
            member_publish_go(first, writer);
    }
}

static enum publish_outcome refusal_by(const struct membership_command *question)
{
    switch (question->outcome) {
    case MEMBERSHIP_BUSY: return PUBLISH_BUSY;
    case MEMBERSHIP_AWAY:
    case MEMBERSHIP_BROKEN:
    case MEMBERSHIP_NO_SPACE: return PUBLISH_AWAY;
    case MEMBERSHIP_DONE:
    case MEMBERSHIP_NOT_DURABLE:
    case MEMBERSHIP_GROUP_FULL:
    case MEMBERSHIP_USER_FULL: break;
    }
    return PUBLISH_NO_MEMBER;
}

static void member_asked(struct membership_command *question)
{
    struct member_publish *mine   = question->owner;
    struct writer         *writer = question->writer;

    mine->is_answered = true;
    mine->is_refused  = question->outcome != MEMBERSHIP_DONE || !question->is_member;
    mine->refusal     = refusal_by(question);
    command_free(&question->command);
    member_publishes_go_on(mine->memberships, writer);
}

static void member_publish_at_writer(struct command *command, struct writer *writer)
{
    struct member_publish     *mine     = container_of(command, struct member_publish, gate.command);
    struct membership_command *question = mine->question;

    mine->question = NULL;
    list_push(&mine->memberships->publishes, &mine->in_line);
    question->settled = member_asked;
    question->owner   = mine;
    question->command.kind->at_writer(&question->command, writer);
}

static const struct command_kind member_publish_kind = {
    .name = "publish of a member", .free = member_publish_free, .at_writer = member_publish_at_writer,
};

void publish_only_for_member(struct memberships *memberships, struct namespaces *spaces, const struct hash_key *key,
                             struct span user, struct publish_command *publish)
{
    struct member_publish *mine = calloc(1, sizeof *mine);

    must(mine != NULL && publish->gate == NULL);
    mine->gate.command.kind = &member_publish_kind;
    mine->memberships  = memberships;
    mine->gate.publish = publish;
    mine->question     = membership_question_new(memberships, spaces, key, user, publish->append.message->channel);
    publish->gate      = &mine->gate;
}
