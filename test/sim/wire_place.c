#include <stdio.h>

#include "base/must.h"
#include "model.h"
#include "wire_follower_priv.h"
#include "wire_plant.h"

static void check_next(struct follower *follower, unsigned channel, uint64_t epoch, uint64_t seq)
{
    const struct kept_place *place = &follower->at_place[channel];
    struct world              *world = &follower->wire->world;

    if (!place->is_known)
        return;
    promise(world, seq == place->seq + 1,
            "no hole, nothing twice: follower %u of %s by %s has %" PRIu64 ", gets %" PRIu64, follower->no,
            follower_channel_text(follower, channel), follower_way_text(follower->way), place->seq, seq);
    promise(world, !place->is_epoch_known || epoch == place->epoch,
            "follower %u of %s is in epoch %" PRIu64 ", gets %" PRIu64 " of epoch %" PRIu64, follower->no,
            follower_channel_text(follower, channel), place->epoch, seq, epoch);
}

void follower_take_place(struct follower *follower, unsigned channel, uint64_t epoch, uint64_t seq)
{
    follower->at_place[channel] = (struct kept_place){ epoch, seq, true, true };
}

static void take_gap_of_epoch(struct follower *follower, unsigned channel, uint64_t epoch, const struct gap *gap)
{
    const struct kept_place *place = &follower->at_place[channel];
    struct world              *world = &follower->wire->world;

    promise(world, gap->from == 1, "a new log begins at 1, not at %" PRIu64, gap->from);
    promise(world, !place->is_known || !place->is_epoch_known || place->epoch < epoch,
            "epochs rise: follower %u had %" PRIu64 ", hears %" PRIu64, follower->no, place->epoch, epoch);
    follower_take_place(follower, channel, epoch, gap->to);
}

/* Only who names a place without its epoch can be ahead of a log. */
static void take_gap_ahead(struct follower *follower, unsigned channel, uint64_t epoch, const struct gap *gap)
{
    const struct kept_place *place = &follower->at_place[channel];

    promise(&follower->wire->world, place->is_known && !place->is_epoch_known && gap->to == place->seq,
            "follower %u of %s has %" PRIu64 " and is told that %" PRIu64 " to %" PRIu64 " was never written",
            follower->no, follower_channel_text(follower, channel), place->seq, gap->from, gap->to);
    promise(&follower->wire->world, place->epoch != epoch,
            "follower %u of %s was given %" PRIu64 " in this life of the log, and is told that it was never written", follower->no,
            follower_channel_text(follower, channel), place->seq);
    follower_take_place(follower, channel, epoch, gap->from - 1);
}

static void tell_heard(const struct follower *follower, const struct heard *heard)
{
    struct world *world = &follower->wire->world;

    if (heard->message != NULL)
        tell(world, "follower %u gets %s %" PRIu64, follower->no, follower_channel_text(follower, heard->channel),
             heard->message->seq);
    else
        tell(world, "follower %u is told of a gap in %s: %" PRIu64 " to %" PRIu64 ", %s", follower->no,
             follower_channel_text(follower, heard->channel), heard->gap.from, heard->gap.to,
             gap_why_text(heard->gap.why));
}

void follower_take(struct follower *follower, struct heard *heard)
{
    struct world *world   = &follower->wire->world;
    unsigned      channel = heard->channel;

    tell_heard(follower, heard);
    promise(world, follower->follows[channel], "follower %u does not follow %s", follower->no,
            follower_channel_text(follower, channel));
    if (heard->message == NULL && heard->gap.why == GAP_EPOCH) {
        take_gap_of_epoch(follower, channel, heard->epoch, &heard->gap);
    } else if (heard->message == NULL && heard->gap.why == GAP_AHEAD) {
        take_gap_ahead(follower, channel, heard->epoch, &heard->gap);
    } else {
        uint64_t first = heard->message != NULL ? heard->message->seq : heard->gap.from;
        uint64_t last  = heard->message != NULL ? heard->message->seq : heard->gap.to;
        check_next(follower, channel, heard->epoch, first);
        heard_check(world, heard, follower->came_at);
        follower_take_place(follower, channel, heard->epoch, last);
    }
}

void follower_take_object(struct follower *follower, const struct json_token *object)
{
    struct heard heard = object_heard(&follower->all->objects, object);
    follower_take(follower, &heard);
}

/* Who named a seq without its epoch may be ahead of the log. Until it is told, its place is the head: were it what was
 * claimed, messages written in the meantime would be passed over by whoever resumes there. */
static bool is_not_told_ahead(const struct kept_place *had, const struct kept_place *named)
{
    return had->is_known && !had->is_epoch_known && named->seq < had->seq;
}

static void take_token_place(struct follower *follower, unsigned channel, const struct kept_place *named)
{
    struct kept_place *had = &follower->at_place[channel];

    promise(&follower->wire->world, named->is_known, "a token without %s", follower_channel_text(follower, channel));
    follower->token_place[channel] = *named;
    if (is_not_told_ahead(had, named) || (!had->is_known && follower->beginning != BEGIN_NOW))
        return;  /* nor has it lost anything if retention moves on before it is given the first message */
    promise(&follower->wire->world,
            !had->is_known || (named->seq == had->seq && (!had->is_epoch_known || named->epoch == had->epoch)),
            "follower %u of %s by %s has %" PRIu64 " of epoch %" PRIu64 ", its token names %" PRIu64 " of %" PRIu64,
            follower->no, follower_channel_text(follower, channel), follower_way_text(follower->way), had->seq, had->epoch,
            named->seq, named->epoch);
    *had = *named;
}

void follower_take_token(struct follower *follower, struct span token)
{
    struct world       *world = &follower->wire->world;
    struct kept_place named[CHANNELS_MAX] = { 0 };

    must(token.len <= TOKEN_TEXT_MAX);
    tell(world, "follower %u is given a token", follower->no);
    token_read(world, token, named);
    for (unsigned i = 0; i < world->channel_count; i++)
        if (follower->follows[i])
            take_token_place(follower, i, &named[i]);
    snprintf(follower->token, sizeof follower->token, "%.*s", SPAN_ARG(token));
    wire_plant_token(follower->wire, follower->token_place, follower->token, sizeof follower->token);
    follower->has_token = true;
}

const struct json_token *follower_read(struct follower *follower, struct span text)
{
    return object_read(&follower->all->objects, text);
}

void follower_go_back_to_token(struct follower *follower)
{
    memcpy(follower->at_place, follower->token_place, sizeof follower->at_place);
}
