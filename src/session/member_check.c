#include "session/member_check.h"

#include "base/must.h"
#include "device/membership.h"
#include "session/member_subscribe.h"
#include "session/serve.h"

static void on_checked(struct membership_command *answer)
{
    struct session_worker *worker = answer->owner;

    must(worker->member_check.away > 0);
    worker->member_check.away--;
    if (answer->outcome == MEMBERSHIP_DONE && !answer->is_member)
        session_worker_left(worker, answer->user, answer->group);
    command_free(&answer->command);
}

static void check_ask(struct session_worker *worker, const struct link *link, const struct channel_name *channel)
{
    struct membership_command *question = membership_question_new(
        worker->memberships, worker->namespaces, worker->hash_key, identity_user(link->holder), channel);

    question->owner    = worker;
    question->answered = on_checked;
    worker->member_check.away++;
    shard_ask_membership(worker->shard, question);
}

/* The subscriptions of one slot. */
struct check_step {
    struct session_worker *worker;
    size_t                 met;
    bool                   is_cut;  /* there was no room for all */
};

static void check_visit(struct subscription *sub, void *ctx)
{
    struct check_step   *step  = ctx;
    struct member_check *check = &step->worker->member_check;

    if (step->is_cut || step->met++ < check->passed)
        return;
    if (check->away == MEMBER_CHECKS_A_TICK) {
        step->is_cut = true;
        return;
    }
    check->passed++;
    if (!sub->is_bounded)
        return;
    const struct link *link = reader_owner(near_get(sub->owner));
    if (link_follows_as_member(link, sub))
        check_ask(step->worker, link, subscription_name(sub));
}

static void check_go_on(struct session_worker *worker)
{
    struct member_check *check = &worker->member_check;

    do {
        struct check_step step = { .worker = worker };
        size_t            next = hub_walk(&worker->shard->hub, check->slot, check_visit, &step);
        if (step.is_cut)
            return;
        check->slot         = next;
        check->passed       = 0;
        check->is_under_way = next != 0;
    } while (check->is_under_way);
}

static bool check_is_of_use(const struct session_worker *worker)
{
    return worker->limits.member_check_ms != 0 &&
           (worker->limits.may_miss_leaves || counter_get(&worker->memberships->unknown_leaves) > 0);
}

void member_check_tick(struct session_worker *worker)
{
    struct member_check *check = &worker->member_check;

    if (!check_is_of_use(worker))
        return;
    if (!check->is_under_way) {
        if (worker->loop->now < check->next_round)
            return;
        check->next_round   = worker->loop->now + worker->limits.member_check_ms;
        check->is_under_way = true;
    }
    if (check->away == 0)
        check_go_on(worker);
}
