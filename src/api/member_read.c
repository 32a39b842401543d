/* member_read.c - reads that only a member may make: the ledger is asked first. */
#include <stdlib.h>

#include "api/call.h"
#include "base/must.h"
#include "device/membership.h"

struct member_read {
    struct api           *api;
    struct http_exchange *exchange;
    struct read_command  *read;
    void                (*go)(struct api *api, struct http_exchange *exchange, struct read_command *read);
    const char           *reason;  /* for who is no member; static */
};

static void member_read_refuse(const struct member_read *mine, const struct membership_command *question)
{
    bool is_known = question->outcome == MEMBERSHIP_DONE || question->outcome == MEMBERSHIP_NOT_DURABLE;

    if (is_known)
        http_problem(mine->api->server, mine->exchange, 403, NULL, mine->reason, HTTP_NO_FIELDS);
    else
        call_answer_unreadable(mine->api, mine->exchange, NULL);
    command_free(&mine->read->command);
}

static void member_read_asked(struct membership_command *question)
{
    struct member_read *mine = question->owner;

    if (question->outcome == MEMBERSHIP_DONE && question->is_member)
        mine->go(mine->api, mine->exchange, mine->read);
    else
        member_read_refuse(mine, question);
    command_free(&question->command);
    free(mine);
}

void call_read(const struct call *call, struct read_command *read, struct verdict verdict,
               void (*go)(struct api *api, struct http_exchange *exchange, struct read_command *read))
{
    struct api *api = call->api;

    if (!verdict.needs_member) {
        go(api, call->exchange, read);
        return;
    }
    struct member_read        *mine     = malloc(sizeof *mine);
    struct membership_command *question = membership_question_new(api->memberships, api->namespaces, api->hash_key,
                                                                  identity_user(call->identity), read->read.channel);
    must(mine != NULL);
    *mine              = (struct member_read){ api, call->exchange, read, go, verdict.reason };
    question->owner    = mine;
    question->answered = member_read_asked;
    shard_ask_membership(api->shard, question);
}
