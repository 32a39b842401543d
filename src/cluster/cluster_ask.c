#include "cluster/cluster_ask.h"

#include <stdlib.h>

#include "base/list.h"
#include "base/map.h"
#include "base/must.h"
#include "node/connection_key.h"

enum { ENDS_SEEN_MAX = 64 };

/* A node that has yet to answer, and what has come of its answer. */
struct asked_node {
    struct node_id id;
    struct buf     answer;
};

struct asking {
    struct map_node       node;      /* in cluster_ask.by_number */
    struct list           in_all;
    struct peer_question *question;
    uint64_t              number;
    msec                  until;
    struct asked_node    *waited;    /* owned: those that have not answered */
    size_t                waited_count;
    size_t                answer_bytes;
};

/* Another node's question, of which parts are yet to come. */
struct partial_call {
    struct list       in_partial;
    struct peer_call *call;
    msec              until;
};

struct cluster_ask {
    struct cluster_ask_setup setup;
    struct map               by_number;
    struct list              all;           /* askings, the oldest first */
    struct list              partial;       /* partial_calls, the oldest first */
    uint64_t                 last_number;
    uint32_t                 asking_count, partial_count, call_count;
    bool                     is_reached;
    struct node_id           ends[ENDS_SEEN_MAX];  /* what cluster_ask_lost() named last */
    uint32_t                 ends_next;
};

struct cluster_ask *cluster_ask_new(const struct cluster_ask_setup *setup)
{
    struct cluster_ask *ask = calloc(1, sizeof *ask);

    must(ask != NULL && setup->part_bytes_max >= 1024);
    ask->setup      = *setup;
    map_init(&ask->by_number);
    list_init(&ask->all);
    list_init(&ask->partial);
    return ask;
}

/* --- questions of this node: their life ------------------------------------------------------------------------------ */

/* Spreads numbers that follow one another. */
static uint64_t question_hash(uint64_t number)
{
    return number * UINT64_C(0x9e3779b97f4a7c15);
}

static bool asking_is(const struct map_node *node, const void *key)
{
    return container_of(node, struct asking, node)->number == *(const uint64_t *)key;
}

static struct asking *asking_find(struct cluster_ask *ask, uint64_t number)
{
    struct map_node *node = map_find(&ask->by_number, question_hash(number), asking_is, &number);

    return node == NULL ? NULL : container_of(node, struct asking, node);
}

static struct asking *asking_new(struct cluster_ask *ask, struct peer_question *question, msec now)
{
    struct asking *asking = calloc(1, sizeof *asking);

    must(asking != NULL);
    asking->question = question;
    asking->number   = ++ask->last_number;
    asking->until    = now + question->wait_ms;
    map_add(&ask->by_number, &asking->node, question_hash(asking->number));
    list_push(&ask->all, &asking->in_all);
    ask->asking_count++;
    return asking;
}

static struct peer_question *asking_free(struct cluster_ask *ask, struct asking *asking)
{
    struct peer_question *question = asking->question;

    for (size_t i = 0; i < asking->waited_count; i++)
        buf_fini(&asking->waited[i].answer);
    free(asking->waited);
    map_take(&ask->by_number, &asking->node);
    list_take(&asking->in_all);
    ask->asking_count--;
    free(asking);
    return question;
}

/* The answers are told in the order of their nodes, so that it does not matter which of them came first. */
static void sort_answers(struct peer_question *question)
{
    struct peer_answer *sorted = NULL;

    while (question->answers != NULL) {
        struct peer_answer  *answer = question->answers;
        struct peer_answer **place  = &sorted;
        question->answers           = answer->next;
        while (*place != NULL && strcmp((*place)->node, answer->node) < 0)
            place = &(*place)->next;
        answer->next = *place;
        *place       = answer;
    }
    question->answers = sorted;
}

static void asking_end(struct cluster_ask *ask, struct asking *asking)
{
    struct peer_question *question = asking->question;

    question->missing += (uint32_t)asking->waited_count;
    counter_add(&ask->setup.counters->missing_answers, question->missing);
    asking_free(ask, asking);
    sort_answers(question);
    peer_question_end(question, ask->setup.writer);
}

void cluster_ask_free(struct cluster_ask *ask)
{
    if (ask == NULL)
        return;
    while (!list_is_empty(&ask->all))
        command_free(&asking_free(ask, container_of(ask->all.next, struct asking, in_all))->command);
    for (struct list *at; (at = list_pop(&ask->partial)) != NULL;) {
        struct partial_call *partial = container_of(at, struct partial_call, in_partial);
        command_free(&partial->call->command);
        free(partial);
    }
    map_fini(&ask->by_number);
    free(ask);
}

/* --- sending --------------------------------------------------------------------------------------------------------- */

/* False: some part of it could not be sent. */
static bool send_parts(struct cluster_ask *ask, const struct node_id *to, struct bus_item *item, struct span body)
{
    item->offset = 0;
    do {
        item->body     = span_head(body, ask->setup.part_bytes_max);
        body           = span_skip(body, item->body.len);
        item->has_more = body.len > 0;
        if (!ask->setup.port->send(ask->setup.ctx, to, item))
            return false;
        item->offset += item->body.len;
    } while (body.len > 0);
    return true;
}

static bool send_question(struct cluster_ask *ask, const struct asking *asking, const struct node_id *to)
{
    const struct peer_question *question = asking->question;
    struct bus_item             item     = {
        .kind     = question->is_notice ? BUS_NOTICE : BUS_QUESTION,
        .channel  = question->channel == NULL ? SPAN("") : channel_name_span(question->channel),
        .question = asking->number,
        .topic    = (uint8_t)question->topic,
    };
    return send_parts(ask, to, &item, buf_span(&question->body));
}

static bool asking_waits_for(const struct asking *asking, const struct node_id *id)
{
    for (size_t i = 0; i < asking->waited_count; i++)
        if (node_id_eq(&asking->waited[i].id, id))
            return true;
    return false;
}

/* Own node, and those that were asked already, are passed by. */
static void ask_node(struct cluster_ask *ask, struct asking *asking, const struct node_id *id)
{
    if (node_id_eq(id, ask->setup.self) || asking_waits_for(asking, id))
        return;
    asking->question->asked++;
    if (!send_question(ask, asking, id)) {
        asking->question->missing++;
        return;
    }
    struct asked_node *waited = &asking->waited[asking->waited_count++];
    waited->id                = *id;
    buf_init(&waited->answer, PEER_BODY_BYTES_MAX);
}

/* Nobody answers a notice. */
static void end_if_asked(struct cluster_ask *ask, struct asking *asking)
{
    if (asking->question->is_notice)
        asking->waited_count = 0;
    if (asking->waited_count == 0)
        asking_end(ask, asking);
}

static void expect_nodes(struct asking *asking, size_t count)
{
    asking->waited = calloc(count + 1, sizeof *asking->waited);
    must(asking->waited != NULL);
}

static void ask_all(struct cluster_ask *ask, struct asking *asking)
{
    const struct registry *registry = ask->setup.registry;

    expect_nodes(asking, registry->count);
    for (size_t i = 0; i < registry->count; i++)
        if (registry->nodes[i].state != NODE_LOST)
            ask_node(ask, asking, &registry->nodes[i].record.id);
}

/* Mostly one. */
static void ask_tagged(struct cluster_ask *ask, struct asking *asking)
{
    const struct registry *registry = ask->setup.registry;

    expect_nodes(asking, registry->count);
    for (size_t i = 0; i < registry->count; i++)
        if (registry->nodes[i].state != NODE_LOST &&
            connection_tag(registry->nodes[i].record.id.incarnation) == asking->question->tag)
            ask_node(ask, asking, &registry->nodes[i].record.id);
}

static bool has_seen_end(const struct cluster_ask *ask, const struct node_id *id)
{
    for (size_t i = 0; i < ENDS_SEEN_MAX; i++)
        if (node_id_eq(&ask->ends[i], id))
            return true;
    return false;
}

/* Others learn of a start when they list the nodes, some seconds later. */
static bool start_is_asked(const struct cluster_ask *ask, const struct peer_question *question, const struct node_id *id)
{
    const struct registry_node *node = registry_find_id(ask->setup.registry, id);

    return node == NULL ? question->may_be_new && !has_seen_end(ask, id) : node->state != NODE_LOST;
}

/* A node that is lost, or has begun anew where that matters, has nothing that could be asked for. */
static void ask_one(struct cluster_ask *ask, struct asking *asking)
{
    const struct peer_question *question = asking->question;
    const struct registry_node *node     = registry_find(ask->setup.registry, span_str(question->node));
    struct node_id              start    = { .incarnation = question->incarnation };

    expect_nodes(asking, 1);
    memcpy(start.name, question->node, sizeof start.name);
    if (question->incarnation == 0 && node != NULL)
        start = node->record.id;
    if (start.incarnation != 0 && start_is_asked(ask, question, &start))
        ask_node(ask, asking, &start);
}

/* Nobody can be asked: those who would be are missing. */
static void refuse_question(struct cluster_ask *ask, struct peer_question *question)
{
    const struct registry *registry = ask->setup.registry;
    const bool             is_one   = question->channel == NULL && question->node[0] != '\0';

    for (size_t i = 0; i < registry->count; i++) {
        const struct registry_node *node = &registry->nodes[i];
        if (node->state != NODE_LOST && !node_id_eq(&node->record.id, ask->setup.self) &&
            (!is_one || strcmp(node->record.id.name, question->node) == 0))
            question->asked++;
    }
    question->missing   = question->asked;
    question->is_unsure = true;
    counter_add(&ask->setup.counters->missing_answers, question->missing);
    peer_question_end(question, ask->setup.writer);
}

void cluster_ask_put(struct cluster_ask *ask, struct peer_question *question, msec now)
{
    counter_add(&ask->setup.counters->questions, 1);
    if (!ask->is_reached || ask->setup.registry->version == 0 || ask->asking_count >= ask->setup.questions_max) {
        refuse_question(ask, question);
        return;
    }
    struct asking *asking = asking_new(ask, question, now);
    if (question->channel != NULL) {
        ask->setup.port->look_up(ask->setup.ctx, asking->number, question->channel);
        return;
    }
    if (question->tag != 0)
        ask_tagged(ask, asking);
    else if (question->node[0] != '\0')
        ask_one(ask, asking);
    else
        ask_all(ask, asking);
    end_if_asked(ask, asking);
}

/* Routes of a start of a node that is over may still be there: its answer would be waited for in vain. A notice is not waited for,
 * and goes to a start that the registry does not have yet, too: what it says would be missed there. */
static bool follower_is_asked(const struct cluster_ask *ask, const struct asking *asking, const struct node_id *id)
{
    const struct registry_node *node = registry_find_id(ask->setup.registry, id);

    return node == NULL ? asking->question->is_notice : node->state != NODE_LOST;
}

void cluster_ask_found(struct cluster_ask *ask, uint64_t question, const struct node_id *ids, size_t count,
                       bool is_failed)
{
    struct asking *asking = asking_find(ask, question);

    if (asking == NULL || asking->waited != NULL)
        return;
    expect_nodes(asking, count);
    asking->question->is_unsure = is_failed;
    for (size_t i = 0; i < count; i++)
        if (follower_is_asked(ask, asking, &ids[i]))
            ask_node(ask, asking, &ids[i]);
    end_if_asked(ask, asking);
}

/* --- answers to this node ---------------------------------------------------------------------------------------------- */

static void asking_drop(struct asking *asking, size_t at)
{
    buf_fini(&asking->waited[at].answer);
    asking->waited[at] = asking->waited[--asking->waited_count];
}

/* The answer is whole. One that would be too much together, or that has lost a part, is missing. */
static void asking_keep(struct asking *asking, size_t at, bool is_whole)
{
    struct asked_node *node = &asking->waited[at];

    if (!is_whole || buf_is_over(&node->answer) || asking->answer_bytes + node->answer.len > PEER_ANSWERS_BYTES_MAX) {
        asking->question->missing++;
        return;
    }
    asking->answer_bytes += node->answer.len;
    peer_question_add(asking->question, node->id.name, buf_span(&node->answer));
}

static void take_answer(struct cluster_ask *ask, const struct node_id *from, const struct bus_item *item)
{
    struct asking *asking = asking_find(ask, item->question);
    size_t         at     = 0;

    if (asking == NULL)
        return;
    while (at < asking->waited_count && !node_id_eq(&asking->waited[at].id, from))
        at++;
    if (at == asking->waited_count)
        return;
    bool is_next = item->offset == asking->waited[at].answer.len;
    buf_put(&asking->waited[at].answer, item->body);
    if (is_next && item->has_more)
        return;
    asking_keep(asking, at, is_next);
    asking_drop(asking, at);
    if (asking->waited_count == 0)
        asking_end(ask, asking);
}

/* --- questions of other nodes ------------------------------------------------------------------------------------------ */

static struct partial_call *partial_find(struct cluster_ask *ask, const struct node_id *from, uint64_t number)
{
    for (struct list *at = ask->partial.next; at != &ask->partial; at = at->next) {
        struct partial_call *partial = container_of(at, struct partial_call, in_partial);
        if (partial->call->question == number && partial->call->from_incarnation == from->incarnation &&
            strcmp(partial->call->from, from->name) == 0)
            return partial;
    }
    return NULL;
}

static struct peer_call *partial_close(struct cluster_ask *ask, struct partial_call *partial)
{
    struct peer_call *call = partial->call;

    list_take(&partial->in_partial);
    ask->partial_count--;
    free(partial);
    return call;
}

static void keep_partial(struct cluster_ask *ask, struct peer_call *call, msec now)
{
    struct partial_call *partial = calloc(1, sizeof *partial);

    must(partial != NULL);
    *partial = (struct partial_call){ .call = call, .until = now + PEER_WAIT_MS_MAX };
    list_push(&ask->partial, &partial->in_partial);
    ask->partial_count++;
}

static struct peer_call *call_of_item(const struct node_id *from, const struct bus_item *item,
                                      struct channel_name *channel)
{
    struct peer_call *call = peer_call_new((enum peer_topic)item->topic, channel, item->body);

    call->is_notice        = item->kind == BUS_NOTICE;
    call->question         = item->question;
    call->from_incarnation = from->incarnation;
    memcpy(call->from, from->name, sizeof from->name);
    return call;
}

static void serve_call(struct cluster_ask *ask, struct peer_call *call)
{
    if (buf_is_over(&call->body) || ask->call_count >= CLUSTER_CALLS_MAX) {
        command_free(&call->command);
        return;
    }
    ask->call_count++;
    ask->setup.port->serve(ask->setup.ctx, call);
}

static void begin_call(struct cluster_ask *ask, struct peer_call *call, bool has_more, msec now)
{
    if (!has_more)
        serve_call(ask, call);
    else if (ask->partial_count < CLUSTER_PARTS_MAX)
        keep_partial(ask, call, now);
    else
        command_free(&call->command);
}

/* One that has lost a part gets no answer. */
static void take_question(struct cluster_ask *ask, const struct node_id *from, const struct bus_item *item,
                          struct channel_name *channel, msec now)
{
    struct partial_call *partial = partial_find(ask, from, item->question);

    if (partial == NULL) {
        if (item->offset == 0)
            begin_call(ask, call_of_item(from, item, channel), item->has_more, now);
        return;
    }
    if (item->offset != partial->call->body.len) {
        command_free(&partial_close(ask, partial)->command);
        return;
    }
    buf_put(&partial->call->body, item->body);
    if (!item->has_more)
        serve_call(ask, partial_close(ask, partial));
}

void cluster_ask_take(struct cluster_ask *ask, const struct node_id *from, const struct bus_item *item,
                      struct channel_name *channel, msec now)
{
    if (item->kind == BUS_ANSWER)
        take_answer(ask, from, item);
    else
        take_question(ask, from, item, channel, now);
}

void cluster_ask_answer(struct cluster_ask *ask, struct peer_call *call)
{
    struct node_id  to   = { .incarnation = call->from_incarnation };
    struct bus_item item = { .kind = BUS_ANSWER, .question = call->question };

    must(ask->call_count > 0);
    ask->call_count--;
    memcpy(to.name, call->from, sizeof to.name);
    /* One that can't be sent is missing at the asker, as one that is lost. */
    if (!call->is_notice && !call->is_unknown && !buf_is_over(&call->answer))
        (void)send_parts(ask, &to, &item, buf_span(&call->answer));
    command_free(&call->command);
}

/* --- time and losses ----------------------------------------------------------------------------------------------------- */

void cluster_ask_lost(struct cluster_ask *ask, const struct node_id *id)
{
    ask->ends[ask->ends_next++ % ENDS_SEEN_MAX] = *id;
    for (struct list *at = ask->all.next, *next; at != &ask->all; at = next) {
        struct asking *asking = container_of(at, struct asking, in_all);
        next = at->next;
        for (size_t i = 0; i < asking->waited_count; i++)
            if (node_id_eq(&asking->waited[i].id, id)) {
                asking->question->missing++;
                asking_drop(asking, i);
                break;
            }
        if (asking->waited != NULL && asking->waited_count == 0)
            asking_end(ask, asking);
    }
}

void cluster_ask_reach(struct cluster_ask *ask, bool is_reached)
{
    ask->is_reached = is_reached;
    if (is_reached)
        return;
    for (struct list *at = ask->all.next, *next; at != &ask->all; at = next) {
        struct asking *asking       = container_of(at, struct asking, in_all);
        next = at->next;
        asking->question->is_unsure = asking->question->is_unsure || asking->waited == NULL;
        asking_end(ask, asking);
    }
}

static void drop_old_parts(struct cluster_ask *ask, msec now)
{
    while (!list_is_empty(&ask->partial)) {
        struct partial_call *oldest = container_of(ask->partial.next, struct partial_call, in_partial);
        if (oldest->until > now)
            return;
        command_free(&partial_close(ask, oldest)->command);
    }
}

void cluster_ask_tick(struct cluster_ask *ask, msec now)
{
    for (struct list *at = ask->all.next, *next; at != &ask->all; at = next) {
        struct asking *asking = container_of(at, struct asking, in_all);
        next = at->next;
        if (asking->until > now)
            continue;
        asking->question->is_unsure = asking->question->is_unsure || asking->waited == NULL;
        asking_end(ask, asking);
    }
    drop_old_parts(ask, now);
}
