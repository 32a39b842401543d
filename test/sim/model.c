#include "model.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "sim_node.h"
#include "store_sim.h"

enum { NO_INTENT = -1 };

/* What is known of one seq. */
struct place {
    uint64_t     epoch, seq;
    unsigned     channel;
    uint8_t      kind;     /* PLAIN or RECALL; RECALLED: not known, its remains or less were seen */
    int          intent;
    uint64_t     target;   /* of a RECALL */
    msec         time;         /* wall clock; 0: not known */
    bool         is_recall_asked;
    uint64_t     recall_seq;   /* what took it back, or 0 */
    msec         recalled_at;  /* when that was acknowledged, or 0 */
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
    *intent               = (struct intent){ .no = model->count, .channel = channel, .key_no = model->count };
    model->count++;
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

/* Backwards, for what is asked for is mostly recent. NULL: nobody has seen it. */
static struct place *model_find(const struct model *model, unsigned channel, uint64_t epoch, uint64_t seq)
{
    for (size_t i = model->place_count; i-- > 0;) {
        struct place *place = &model->places[i];
        if (place->seq == seq && place->channel == channel && place->epoch == epoch)
            return place;
    }
    return NULL;
}

/* The place, found or new. A new one moves all others in memory. */
static struct place *model_place(struct model *model, unsigned channel, uint64_t epoch, uint64_t seq)
{
    struct place *known = model_find(model, channel, epoch, seq);

    if (known != NULL)
        return known;
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

/* Shared memory forgets keys with its life, and may keep the message. */
static bool may_be_twice(const struct model *model, const struct intent *intent, uint64_t epoch)
{
    return !channel_is_durable(model->world->channels[intent->channel]) && intent->asked_epoch != epoch;
}

/* One message has one seq in one life of a log. */
static void model_place_intent(struct model *model, struct intent *intent, uint64_t epoch, uint64_t seq)
{
    promise(model->world,
            intent->seq == 0 || intent->epoch != epoch || intent->seq == seq || may_be_twice(model, intent, epoch),
            "one publish, one message: %u is in %s twice, as %" PRIu64 " and %" PRIu64, intent->no,
            name_of(model, intent->channel), intent->seq, seq);
    intent->epoch = epoch;
    intent->seq   = seq;
}

uint64_t model_acked_head(struct model *model, unsigned channel, uint64_t epoch)
{
    uint64_t head = 0;

    for (unsigned i = 0; i < model->count; i++) {
        const struct intent *intent = &model->intents[i];
        if (intent->channel == channel && intent->state == INTENT_ACKED && intent->epoch == epoch && intent->seq > head)
            head = intent->seq;
    }
    return head;
}

void model_recall_asked(struct model *model, unsigned channel, uint64_t epoch, uint64_t seq)
{
    model_place(model, channel, epoch, seq)->is_recall_asked = true;
}

/* A message is taken back by one recall, whoever asks how often. */
static void model_note_recall(struct model *model, unsigned channel, uint64_t epoch, uint64_t target, uint64_t seq)
{
    struct place *place = model_place(model, channel, epoch, target);

    promise(model->world, place->kind != MESSAGE_RECALL, "%s %" PRIu64 " takes a recall back", name_of(model, channel),
            seq);
    promise(model->world, place->recall_seq == 0 || place->recall_seq == seq,
            "%s %" PRIu64 " is taken back by %" PRIu64 " and by %" PRIu64, name_of(model, channel), target,
            place->recall_seq, seq);
    place->recall_seq = seq;
}

static bool place_is_expired(const struct model *model, const struct place *place)
{
    const struct intent *intent = place->intent == NO_INTENT ? NULL : &model->intents[place->intent];

    return intent == NULL || (intent->expires_at != 0 && intent->expires_at <= model->world->wall_latest);
}

static bool place_is_aged(const struct model *model, const struct place *place)
{
    msec keep_ms = model->world->channels[place->channel]->space->keep_ms;

    return keep_ms != 0 && (place->time == 0 || place->time + keep_ms <= model->world->wall_latest);
}

void model_check_no_target(struct model *model, const struct intent *intent)
{
    struct log_now      log   = world_log(model->world, intent->channel);
    const struct place *place = model_place(model, intent->channel, intent->asked_epoch, intent->target);

    promise(model->world,
            log.epoch != intent->asked_epoch || intent->target == 0 || intent->target > intent->asked_head ||
                intent->target < log.first || place->kind != MESSAGE_PLAIN || place_is_expired(model, place) ||
                place_is_aged(model, place),
            "%s %" PRIu64 " is there, and %u can't take it back", name_of(model, intent->channel), intent->target,
            intent->no);
}

void model_acked(struct model *model, struct intent *intent, const struct append_answer *answer)
{
    promise(model->world, answer->seq != 0 && answer->epoch != 0, "%u is acknowledged without a number", intent->no);
    if (world_is_stored(model->world, intent->channel))
        promise(model->world, store_sim_is_durable(world_store_of(model->world, intent->channel), answer, intent->channel),
                "acknowledged is durable: %s %" PRIu64 " is not on the disk", name_of(model, intent->channel),
                answer->seq);
    model_place_intent(model, intent, answer->epoch, answer->seq);
    intent->state    = INTENT_ACKED;
    intent->acked_at = model->world->now;

    struct place *place = model_place(model, intent->channel, answer->epoch, answer->seq);
    place->time         = answer->time;
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
    if (!intent->is_recall)
        return;
    model_note_recall(model, intent->channel, answer->epoch, intent->target, answer->seq);
    struct place *target = model_place(model, intent->channel, answer->epoch, intent->target);
    if (target->recalled_at == 0)
        target->recalled_at = model->world->now;
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
    promise(model->world, place->recalled_at == 0 || since < place->recalled_at + model->world->late_ms,
            "recalled stays recalled: %s %" PRIu64 " is given to one who came long after", message->channel->text,
            message->seq);
    promise(model->world, model->intents[no].state != INTENT_REFUSED, "refused is not written: %d was", no);
    model_place_intent(model, &model->intents[no], message->epoch, message->seq);
}

void model_saw(struct model *model, unsigned channel, const struct message *message, msec since)
{
    struct place *place = model_place(model, channel, message->epoch, message->seq);

    place->time = message->time;
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
        model_note_recall(model, channel, message->epoch, message->target, message->seq);
        break;
    case MESSAGE_RECALLED:
        promise(model->world, message->payload_len == 0 && message->target > message->seq,
                "what remains of %s %" PRIu64 " names its recall and has no payload", message->channel->text,
                message->seq);
        promise(model->world, place->kind != MESSAGE_RECALL, "%s %" PRIu64 " is a recall taken back",
                message->channel->text, message->seq);
        model_note_recall(model, channel, message->epoch, message->seq, message->target);
        break;
    }
}

uint64_t model_first_kept(struct model *model, unsigned channel, const struct log_now *log, uint64_t from)
{
    uint64_t seq = from < log->first ? log->first : from;

    while (seq <= log->head && place_is_aged(model, model_place(model, channel, log->epoch, seq)))
        seq++;
    return seq;
}

struct span intent_collapse_key(const struct intent *intent)
{
    static const struct span keys[] = { SPAN("one key"), SPAN("another key") };

    return intent->is_recall || intent->no % 8 >= 2 ? SPAN("") : keys[intent->no % 2];
}

/* Nobody knows which message stands there. */
static bool has_no_intent(const struct place *place)
{
    return place == NULL || place->intent < 0;
}

/* The collapse key of what stands there; empty: it has none, or nobody knows. */
static struct span key_at(const struct model *model, const struct place *place)
{
    return has_no_intent(place) ? SPAN("") : intent_collapse_key(&model->intents[place->intent]);
}

/* A later message with the same key replaces it; it need not have been seen by anybody yet. */
static bool place_is_collapsed(const struct model *model, const struct place *place, const struct log_now *log)
{
    struct span key = key_at(model, place);

    for (uint64_t seq = place->seq + 1; seq <= log->head; seq++) {
        const struct place *later = model_find(model, place->channel, place->epoch, seq);
        if (has_no_intent(place) || has_no_intent(later) || span_eq(key_at(model, later), key))
            return has_no_intent(place) || key.len > 0;
    }
    return false;
}

static bool gap_is_true(struct model *model, const struct place *place, enum gap_why why, const struct log_now *log)
{
    switch (why) {
    case GAP_TRIMMED: return place->seq < log->first || place_is_aged(model, place);
    case GAP_EXPIRED: return place_is_expired(model, place);
    case GAP_COLLAPSED: return place_is_collapsed(model, place, log);
    case GAP_CORRUPT:
        return channel_is_durable(model->world->channels[place->channel]) &&
               store_sim_is_corrupt(model->world->disk, place->channel, place->seq);
    case GAP_EPOCH:
    case GAP_AHEAD: return false;  /* told as a place, not as an entry */
    }
    return false;
}

void model_check_gap(struct model *model, unsigned channel, const struct gap *gap, const struct log_now *log)
{
    promise(model->world, gap->from <= gap->to && gap->to <= log->head, "a gap is something: %" PRIu64 " to %" PRIu64,
            gap->from, gap->to);
    for (uint64_t seq = gap->from; seq <= gap->to; seq++)
        promise(model->world, gap_is_true(model, model_place(model, channel, log->epoch, seq), gap->why, log),
                "%s %" PRIu64 " is said to be %s, and is not", name_of(model, channel), seq, gap_why_text(gap->why));
}

/* --- at the end --- */

static void model_check_kept(struct model *model, const struct intent *intent)
{
    struct log_now        log     = world_log(model->world, intent->channel);
    const struct message *message = store_sim_at(world_store_of(model->world, intent->channel), intent->channel, intent->seq);

    if (intent->epoch != log.epoch) {
        promise(model->world, model->world->faults.wipe || model->world->faults.failover, "the epoch changed without a loss");
        if (!model->world->has_shared_store || store_sim_has_lost(world_store_of(model->world, intent->channel), intent->channel, intent->epoch, intent->seq))
            return;
    }
    if (intent->seq < log.first)
        return;
    promise(model->world, message != NULL, "acknowledged is kept: %s %" PRIu64 " is lost",
            name_of(model, intent->channel), intent->seq);
    if (message->kind == MESSAGE_RECALLED)
        promise(model->world, model_place(model, intent->channel, intent->epoch, intent->seq)->is_recall_asked,
                "%s %" PRIu64 " was taken back by nobody", name_of(model, intent->channel), intent->seq);
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
        const struct message *message = store_sim_at(world_store_of(model->world, channel), channel, seq);
        promise(model->world, message != NULL && message->seq == seq, "seqs are dense: %s has no %" PRIu64,
                name_of(model, channel), seq);
    }
}

void model_check_end(struct model *model)
{
    for (unsigned i = 0; i < model->count; i++) {
        const struct intent *intent = &model->intents[i];
        promise(model->world, intent->state != INTENT_OPEN, "every publish is answered: %u is not", i);
        if (intent->state == INTENT_ACKED && world_is_stored(model->world, intent->channel))
            model_check_kept(model, intent);
    }
    for (unsigned i = 0; i < model->world->channel_count; i++)
        if (world_is_stored(model->world, i))
            model_check_dense(model, i);
}
