#include "publishers.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "sim_node.h"
#include "model.h"

enum { REQUESTS_MAX = 6, PAUSE_MS_MAX = 50, RETRY_MS_MAX = 120, PATIENCE_MS = 25, TTL_MS_MAX = 500, PADDING_MAX = 200 };

struct request {
    struct publisher      *publisher;
    struct intent         *intent;   /* NULL: free */
    struct publish_command *command;   /* under way, or NULL */
    msec                   at;       /* sent, or to be sent again */
    unsigned               tries, loop;
    unsigned               burst;    /* asked for in one breath with others of this number, into one channel … */
    unsigned               place;    /* … as the how many-th of them */
};

struct publisher {
    struct world  *world;
    unsigned       no, loop;
    msec           next_at;
    unsigned       burst;          /* the last one */
    unsigned       burst_refused;  /* the first of it that was refused as one too many */
    uint64_t       burst_epoch, burst_seq;  /* of its last one that was done */
    struct request requests[REQUESTS_MAX];
};

struct publishers {
    unsigned         count;
    struct publisher at[PUBLISHERS_MAX];
};

struct publishers *publishers_new(struct world *world)
{
    struct publishers *publishers = calloc(1, sizeof *publishers);

    must(publishers != NULL);
    publishers->count = 1 + (unsigned)draw(world, OF_PLAN, PUBLISHERS_MAX);
    for (unsigned i = 0; i < publishers->count; i++)
        publishers->at[i] = (struct publisher){
            .world = world, .no = i, .loop = (unsigned)draw(world, OF_PLAN, world->loop_count),
        };
    return publishers;
}

void publishers_free(struct publishers *publishers)
{
    free(publishers);
}

/* --- answers --- */

static void request_end(struct request *request, enum intent_state state)
{
    request->intent->state = state;
    request->intent        = NULL;
}

/* It wasn't written, or nobody knows. */
static void request_failed(struct request *request, bool is_certain)
{
    struct world *world = request->publisher->world;

    if (request->intent->is_keyed)
        request->at = world->now + 1 + (msec)draw(world, OF_PUBLISHERS, RETRY_MS_MAX);
    else
        request_end(request, is_certain ? INTENT_REFUSED : INTENT_UNKNOWN);
}

static const char *outcome_text(enum publish_outcome outcome)
{
    static const char *const texts[] = {
        [PUBLISH_DONE] = "done", [PUBLISH_REPLAYED] = "replayed", [PUBLISH_KEY_CONFLICT] = "key conflict",
        [PUBLISH_NO_TARGET] = "no target", [PUBLISH_NO_SPACE] = "no space", [PUBLISH_BROKEN] = "broken",
        [PUBLISH_BUSY] = "busy", [PUBLISH_AWAY] = "away", [PUBLISH_PURGED] = "purged",
        [PUBLISH_STALE] = "stale", [PUBLISH_NO_MEMBER] = "no member",
        [PUBLISH_TOO_OFTEN] = "too often",
    };
    return texts[outcome];
}

/* What is said in one breath is numbered in that order, and nothing overtakes what was refused. */
static void request_check_order(const struct request *request, const struct publish_command *command)
{
    struct publisher *publisher = request->publisher;

    if (request->burst == 0 || request->burst != publisher->burst || request->tries != 1)
        return;
    if (command->outcome == PUBLISH_BUSY && request->place < publisher->burst_refused)
        publisher->burst_refused = request->place;
    if (command->outcome != PUBLISH_DONE)
        return;
    promise(publisher->world, request->place < publisher->burst_refused, "%u overtakes what was refused",
            request->intent->no);
    promise(publisher->world,
            command->answer.epoch != publisher->burst_epoch || command->answer.seq > publisher->burst_seq,
            "%u is numbered before what was said before it", request->intent->no);
    publisher->burst_epoch = command->answer.epoch;
    publisher->burst_seq   = command->answer.seq;
}

/* Another request has this key, and is in the log. */
static void request_check_key(const struct request *request, enum publish_outcome outcome)
{
    const struct intent *intent = request->intent;
    struct world        *world  = request->publisher->world;
    bool                 is_own = intent->key_no == intent->no;

    if (outcome == PUBLISH_KEY_CONFLICT)
        promise(world, !is_own, "%u: the same request is told to be another one", intent->no);
    else if (!is_own && world_log(world, intent->channel).epoch == intent->asked_epoch)
        promise(world, outcome != PUBLISH_DONE && outcome != PUBLISH_REPLAYED, "%u shows a key that is taken",
                intent->no);
}

static void request_answered(struct request *request, const struct publish_command *command)
{
    struct world *world = request->publisher->world;

    tell(world, "publisher %u: %u is %s, %" PRIu64 "/%" PRIu64, request->publisher->no, request->intent->no,
         outcome_text(command->outcome), command->answer.epoch, command->answer.seq);
    request->command = NULL;
    request_check_order(request, command);
    request_check_key(request, command->outcome);
    switch (command->outcome) {
    case PUBLISH_DONE:
    case PUBLISH_REPLAYED:
        model_acked(world->model, request->intent, &command->answer);
        request_end(request, INTENT_ACKED);
        break;
    case PUBLISH_KEY_CONFLICT:
        request_end(request, INTENT_REFUSED);
        break;
    case PUBLISH_NO_TARGET:
        promise(world, request->intent->is_recall, "%u is no recall", request->intent->no);
        model_check_no_target(world->model, request->intent);
        request_end(request, INTENT_REFUSED);
        break;
    case PUBLISH_NO_SPACE:
    case PUBLISH_AWAY:
    case PUBLISH_BUSY:
        request_failed(request, true);
        break;
    case PUBLISH_BROKEN:
        request_failed(request, false);
        break;
    case PUBLISH_PURGED:
        promise(world, false, "%u is no purge", request->intent->no);
        break;
    case PUBLISH_NO_MEMBER:
    case PUBLISH_TOO_OFTEN:
    case PUBLISH_TOO_FAR:
    case PUBLISH_STALE:
        promise(world, false, "%u carries no rows and needs no member", request->intent->no);
        break;
    }
}

static void on_answered(struct publish_command *command)
{
    if (command->owner != NULL)
        request_answered(command->owner, command);
    command_free(&command->command);
}

/* --- asking --- */

static struct message *intent_message(const struct world *world, const struct intent *intent, msec wall)
{
    enum message_kind kind  = intent->is_recall ? MESSAGE_RECALL : MESSAGE_PLAIN;
    int               width = (int)(intent->no * 37 % PADDING_MAX);
    char              text[PADDING_MAX + 40];
    int               len = snprintf(text, sizeof text, "%u and %*s.", intent->no, width, "more");

    const struct message_tags tags = {
        .collapse_key   = world->plant == PLANT_COLLAPSE_ACROSS ? SPAN("one key") : intent_collapse_key(intent),
        .waits_for_beat = intent->no % 16 == 5 && channel_is_durable(world->channels[intent->channel]),
    };
    struct message *message = message_new_tagged(world->channels[intent->channel], kind, text,
                                                 intent->is_recall ? 0 : (uint32_t)len, SPAN("text/plain"),
                                                 SPAN("sim"), &tags);
    message->time       = wall;
    message->target     = intent->target;
    message->expires_at = intent->expires_at;
    return message;
}

static void request_send(struct request *request)
{
    struct publisher *publisher = request->publisher;
    struct world     *world     = publisher->world;
    struct message   *message   = intent_message(world, request->intent, world_loop_wall(world, publisher->loop));
    char              key[24];

    request->tries++;
    snprintf(key, sizeof key, "key-%u", request->intent->key_no);
    tell(world, "publisher %u: %u, %s %" PRIu64 ", into %s over loop %u%s", publisher->no, request->intent->no,
         request->intent->is_recall ? "recall of" : "publish", request->intent->target,
         world->channels[request->intent->channel]->text, publisher->loop, request->intent->is_keyed ? ", keyed" : "");
    request->command = publish_command_new(&message, request->intent->is_keyed ? span_str(key) : SPAN(""), SPAN("sim"));
    request->command->answered = on_answered;
    request->command->owner    = request;
    request->at               = world->now;
    request->loop = publisher->loop;
    shard_publish(world_shard(world, publisher->loop), request->command);
}

/* Takes back something that was acknowledged, or whatever stands at a seq: nothing yet, a recall, what is gone or was
 * taken back already. */
static void intent_make_recall(struct world *world, struct intent *intent)
{
    bool                 is_wild = one_in(world, OF_PUBLISHERS, 3);
    const struct intent *acked   = is_wild ? NULL : model_draw_acked(world->model, intent->channel);
    bool                 is_in   = acked != NULL && acked->epoch == intent->asked_epoch;

    intent->is_recall = true;
    intent->target    = is_in ? acked->seq : draw(world, OF_PUBLISHERS, intent->asked_head + 3);
    model_recall_asked(world->model, intent->channel, intent->asked_epoch, intent->target);
}

/* With a key under which something else was acknowledged, if chance finds it. */
static void intent_take_key(struct world *world, struct intent *intent)
{
    const struct intent *acked = model_draw_acked(world->model, intent->channel);

    if (acked == NULL || !acked->is_keyed || acked->key_no != acked->no || acked->epoch != intent->asked_epoch)
        return;
    intent->is_keyed = true;
    intent->key_no   = acked->no;
}

static void intent_draw(struct world *world, struct intent *intent)
{
    struct log_now log = world_log(world, intent->channel);

    intent->asked_epoch = log.epoch;
    intent->asked_head  = log.head;
    intent->is_keyed    = !one_in(world, OF_PUBLISHERS, 3);
    if (world->faults.recalls && one_in(world, OF_PUBLISHERS, 4))
        intent_make_recall(world, intent);
    if (world->faults.ttl && !intent->is_recall && one_in(world, OF_PUBLISHERS, 3))
        intent->expires_at = world_wall(world) + 1 + (msec)draw(world, OF_PUBLISHERS, TTL_MS_MAX);
    if (world->faults.key_reuse && channel_is_durable(world->channels[intent->channel]) &&
        one_in(world, OF_PUBLISHERS, 8))
        intent_take_key(world, intent);
}

static bool publisher_ask(struct publisher *publisher, struct request *request, unsigned channel)
{
    struct world  *world  = publisher->world;
    struct intent *intent = model_intent_new(world->model, channel);

    if (intent == NULL)
        return false;
    intent_draw(world, intent);
    *request = (struct request){ .publisher = publisher, .intent = intent };
    return true;
}

/* As much as it can have under way, in one breath. */
static void publisher_burst(struct publisher *publisher)
{
    unsigned channel = (unsigned)draw(publisher->world, OF_PUBLISHERS, publisher->world->channel_count);
    unsigned place   = 0;

    publisher->burst++;
    publisher->burst_refused = REQUESTS_MAX;
    publisher->burst_epoch   = publisher->burst_seq = 0;
    for (unsigned i = 0; i < REQUESTS_MAX; i++) {
        struct request *request = &publisher->requests[i];
        if (request->intent != NULL || !publisher_ask(publisher, request, channel))
            continue;
        request->burst = publisher->burst;
        request->place = place++;
        request_send(request);
    }
}

static void request_turn(struct request *request)
{
    struct publisher *publisher = request->publisher;
    struct world     *world     = publisher->world;

    if (request->command == NULL && request->at <= world->now) {
        request_send(request);
    } else if (request->command != NULL && request->intent->is_keyed && !request->intent->is_recall &&
               world->faults.impatience && !world->is_healing && request->at + PATIENCE_MS <= world->now) {
        tell(world, "publisher %u: %u takes too long", publisher->no, request->intent->no);
        request->command->owner = NULL;
        publisher->loop        = draw_loop(world, OF_PUBLISHERS);
        request_send(request);
    }
}

static void publisher_turn(struct publisher *publisher)
{
    struct world *world  = publisher->world;
    bool          is_due = publisher->next_at <= world->now && !world->is_healing;

    if (is_due)
        publisher->next_at = world->now + (msec)draw(world, OF_PUBLISHERS, PAUSE_MS_MAX);
    if (is_due && one_in(world, OF_PUBLISHERS, 6))
        publisher_burst(publisher);
    for (unsigned i = 0; i < REQUESTS_MAX; i++) {
        struct request *request = &publisher->requests[i];
        unsigned        channel = (unsigned)draw(world, OF_PUBLISHERS, world->channel_count);
        if (request->intent != NULL)
            request_turn(request);
        else if (is_due && one_in(world, OF_PUBLISHERS, 3) && publisher_ask(publisher, request, channel))
            request_send(request);
    }
}

void publishers_turn(struct publishers *publishers, unsigned loop)
{
    for (unsigned i = 0; i < publishers->count; i++)
        if (publishers->at[i].loop == loop)
            publisher_turn(&publishers->at[i]);
}

void publishers_move(struct publishers *publishers, struct loop_range range)
{
    for (unsigned i = 0; i < publishers->count; i++)
        if (loop_is_in(range, publishers->at[i].loop))
            publishers->at[i].loop = draw_loop(publishers->at[i].world, OF_PUBLISHERS);
}

bool publishers_wait_for(const struct publishers *publishers, struct loop_range range)
{
    for (unsigned i = 0; i < publishers->count; i++)
        for (unsigned j = 0; j < REQUESTS_MAX; j++) {
            const struct request *request = &publishers->at[i].requests[j];
            if (request->command != NULL && loop_is_in(range, request->loop))
                return true;
        }
    return false;
}

bool publishers_are_done(const struct publishers *publishers)
{
    for (unsigned i = 0; i < publishers->count; i++)
        for (unsigned j = 0; j < REQUESTS_MAX; j++)
            if (publishers->at[i].requests[j].intent != NULL)
                return false;
    return true;
}

void publishers_cut(struct publishers *publishers, struct loop_range range)
{
    for (unsigned i = 0; i < publishers->count; i++) {
        for (unsigned j = 0; j < REQUESTS_MAX; j++) {
            struct request *request = &publishers->at[i].requests[j];
            bool            is_away = request->command != NULL;
            if (is_away && !loop_is_in(range, request->loop))
                continue;
            request->command         = NULL;
            /* A recall names a seq, and a seq may mean another message in the next life of a log. */
            if (request->intent != NULL && request->intent->is_recall)
                request_end(request, INTENT_UNKNOWN);
            else if (request->intent != NULL && is_away)
                request_failed(request, false);
        }
    }
}
