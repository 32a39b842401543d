#include "model.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "house.h"
#include "store_sim.h"

enum { NO_INTENT = -1 };

/* What is known of one seq. */
struct place {
    uint64_t     epoch, seq;
    unsigned     channel;
    uint8_t      kind;     /* PLAIN or RECALL; RECALLED: not known, its remains or less were seen */
    int          intent;
    uint64_t     target;   /* of a RECALL */
    msec         recalled_at;  /* when its recall was acknowledged, or 0 */
};

struct model {
    struct world *world;
    unsigned      count;
    struct intent intents[INTENTS_MAX];
    size_t        place_count, place_cap;
    struct place *places;
};

struct model *model_new(struct world *world)
{
    struct model *model = calloc(1, sizeof *model);

    must(model != NULL);
    model->world = world;
    return model;
}

void model_free(struct model *model)
{
    free(model->places);
    free(model);
}

struct intent *model_intent_new(struct model *model, unsigned channel)
{
    if (model->count == INTENTS_MAX)
        return NULL;
    struct intent *intent = &model->intents[model->count];
    *intent               = (struct intent){ .no = model->count++, .channel = channel };
    return intent;
}

struct intent *model_draw_acked(struct model *model, unsigned channel)
{
    if (model->count == 0)
        return NULL;
    struct intent *intent = &model->intents[draw(model->world, OF_PUBLISHERS, model->count)];
    return intent->channel == channel && intent->state == INTENT_ACKED && !intent->is_recall ? intent : NULL;
}

static const char *name_of(const struct model *model, unsigned channel)
{
    return model->world->channels[channel]->text;
}

/* The place, found or new; backwards, for what is asked for is mostly recent. */
static struct place *model_place(struct model *model, unsigned channel, uint64_t epoch, uint64_t seq)
{
    for (size_t i = model->place_count; i-- > 0;) {
        struct place *place = &model->places[i];
        if (place->seq == seq && place->channel == channel && place->epoch == epoch)
            return place;
    }
    if (model->place_count == model->place_cap) {
        model->place_cap = model->place_cap == 0 ? 256 : model->place_cap * 2;
        model->places    = reallocarray(model->places, model->place_cap, sizeof *model->places);
        must(model->places != NULL);
    }
    struct place *place = &model->places[model->place_count++];
    *place              = (struct place){
                     .channel = channel, .epoch = epoch, .seq = seq, .kind = MESSAGE_RECALLED, .intent = NO_INTENT,
    };
    return place;
}

static bool place_is_unknown(const struct place *place)
{
    return place->kind == MESSAGE_RECALLED && place->intent == NO_INTENT;
}

/* One message has one seq in one life of a log. */
static void model_place_intent(struct model *model, struct intent *intent, uint64_t epoch, uint64_t seq)
{
    promise(model->world, intent->seq == 0 || intent->epoch != epoch || intent->seq == seq,
            "one publish, one message: %u is in %s twice, as %" PRIu64 " and %" PRIu64, intent->no,
            name_of(model, intent->channel), intent->seq, seq);
    intent->epoch = epoch;
    intent->seq   = seq;
}

static void model_note_recall(struct model *model, const struct intent *intent, const struct append_answer *answer)
{
    struct place *target = model_place(model, intent->channel, answer->epoch, intent->target);

    if (target->recalled_at == 0)
        target->recalled_at = model->world->now;
}

void model_acked(struct model *model, struct intent *intent, const struct append_answer *answer)
{
    promise(model->world, answer->seq != 0 && answer->epoch != 0, "%u is acknowledged without a number", intent->no);
    if (channel_is_durable(model->world->channels[intent->channel]))
        promise(model->world, store_sim_is_durable(model->world->disk, answer, intent->channel),
                "acknowledged is durable: %s %" PRIu64 " is not on the disk", name_of(model, intent->channel),
                answer->seq);
    model_place_intent(model, intent, answer->epoch, answer->seq);
    intent->state    = INTENT_ACKED;
    intent->acked_at = model->world->now;

    struct place *place = model_place(model, intent->channel, answer->epoch, answer->seq);
    if (place_is_unknown(place)) {
        place->kind   = intent->is_recall ? MESSAGE_RECALL : MESSAGE_PLAIN;
        place->target = intent->target;
        if (!intent->is_recall)
            place->intent = (int)intent->no;
    }
    promise(model->world,
            intent->is_recall ? place->kind == MESSAGE_RECALL && place->target == intent->target
                              : place->intent == (int)intent->no,
            "one seq, one message: %s %" PRIu64 " was %d, is acknowledged as %u", name_of(model, intent->channel),
            answer->seq, place->intent, intent->no);
    if (intent->is_recall)
        model_note_recall(model, intent, answer);
}

static int intent_no_of(const struct message *message)
{
    return atoi(message->bytes);  /* payloads are "17 and some more." */
}

static void model_saw_plain(struct model *model, struct place *place, const struct message *message, msec since)
{
    int no = intent_no_of(message);

    promise(model->world, no >= 0 && (unsigned)no < model->count && !model->intents[no].is_recall,
            "%s %" PRIu64 " was published by nobody", message->channel->text, message->seq);
    if (place_is_unknown(place)) {
        place->kind   = MESSAGE_PLAIN;
        place->intent = no;
    }
    promise(model->world, place->kind == MESSAGE_PLAIN && place->intent == no,
            "one seq, one message: %s %" PRIu64 " is %d and %d", message->channel->text, message->seq, place->intent,
            no);
    promise(model->world, place->recalled_at == 0 || since < place->recalled_at + LATE_MS_MAX + BEAT_MS,
            "recalled stays recalled: %s %" PRIu64 " is given to one who came long after", message->channel->text,
            message->seq);
    promise(model->world, model->intents[no].state != INTENT_REFUSED, "refused is not written: %d was", no);
    model_place_intent(model, &model->intents[no], message->epoch, message->seq);
}

void model_saw(struct model *model, unsigned channel, const struct message *message, msec since)
{
    struct place *place = model_place(model, channel, message->epoch, message->seq);

    if (place_is_unknown(place) && message->kind == MESSAGE_RECALL) {
        place->kind   = MESSAGE_RECALL;
        place->target = message->target;
    }
    switch ((enum message_kind)message->kind) {
    case MESSAGE_PLAIN:
        model_saw_plain(model, place, message, since);
        break;
    case MESSAGE_RECALL:
        promise(model->world, place->kind == MESSAGE_RECALL && place->target == message->target,
                "one seq, one message: %s %" PRIu64 " is a recall", message->channel->text, message->seq);
        break;
    case MESSAGE_RECALLED:
        promise(model->world, message->payload_len == 0 && message->target > message->seq,
                "what remains of %s %" PRIu64 " names its recall and has no payload", message->channel->text,
                message->seq);
        promise(model->world, place->kind != MESSAGE_RECALL, "%s %" PRIu64 " is a recall taken back",
                message->channel->text, message->seq);
        break;
    }
}

bool model_is_expired(struct model *model, unsigned channel, uint64_t epoch, const struct gap *gap, msec wall)
{
    for (uint64_t seq = gap->from; seq <= gap->to; seq++) {
        const struct place *place = model_place(model, channel, epoch, seq);
        if (place->intent == NO_INTENT)
            continue;
        const struct intent *intent = &model->intents[place->intent];
        if (intent->expires_at == 0 || intent->expires_at > wall)
            return false;
    }
    return true;
}

/* --- at the end --- */

static void model_check_kept(struct model *model, const struct intent *intent)
{
    struct log_now        log     = world_log(model->world, intent->channel);
    const struct message *message = store_sim_at(model->world->disk, intent->channel, intent->seq);

    if (intent->epoch != log.epoch) {
        promise(model->world, model->world->faults.wipe, "the epoch changed without a loss");
        return;
    }
    if (intent->seq < log.first)
        return;
    promise(model->world, message != NULL, "acknowledged is kept: %s %" PRIu64 " is lost",
            name_of(model, intent->channel), intent->seq);
    if (message->kind == MESSAGE_RECALLED)
        promise(model->world, intent->is_recall_asked, "%s %" PRIu64 " was taken back by nobody",
                name_of(model, intent->channel), intent->seq);
    else
        promise(model->world,
                intent->is_recall ? message->kind == MESSAGE_RECALL : intent_no_of(message) == (int)intent->no,
                "acknowledged is kept: %s %" PRIu64 " is another one now", name_of(model, intent->channel),
                intent->seq);
}

static void model_check_dense(struct model *model, unsigned channel)
{
    struct log_now log = world_log(model->world, channel);

    for (uint64_t seq = log.first; seq <= log.head; seq++) {
        const struct message *message = store_sim_at(model->world->disk, channel, seq);
        promise(model->world, message != NULL && message->seq == seq, "seqs are dense: %s has no %" PRIu64,
                name_of(model, channel), seq);
    }
}

void model_check_end(struct model *model)
{
    for (unsigned i = 0; i < model->count; i++) {
        const struct intent *intent = &model->intents[i];
        promise(model->world, intent->state != INTENT_OPEN, "every publish is answered: %u is not", i);
        if (intent->state == INTENT_ACKED && channel_is_durable(model->world->channels[intent->channel]))
            model_check_kept(model, intent);
    }
    for (unsigned i = 0; i < model->world->channel_count; i++)
        if (channel_is_durable(model->world->channels[i]))
            model_check_dense(model, i);
}
