#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "forward_world.h"
#include "store_sim.h"
#include "uplink/forwarder_priv.h"

enum { ANSWER_MS_MAX = 80, SLOW_MS_MAX = 1500, SLOW_ONE_IN = 8, FAILS_ONE_IN = 8, REFUSES_ONE_IN = 40, BACK_MS_MAX = 30,
       EBB_MS = 3000 /* after a failure: what was under way then has come back */ };

/* --- what it is sent --------------------------------------------------------------------------------------------- */

static unsigned forwarder_no(const struct forwarder_batch *batch)
{
    const char *name = batch->channel->part->forwarder->name;

    for (unsigned i = 0; i < FORWARDERS_SIM; i++)
        if (strcmp(forwarder_sim_names[i], name) == 0)
            return i;
    must(!"a forwarder of this world");
    return 0;
}

/* A back end that was away is not flooded. */
static void check_fare(struct forward_node *node, const struct carried_call *got)
{
    struct world              *world = &node->all->world;
    const struct carried_fare *fare  = &node->fares[got->forwarder];
    bool is_away = fare->down_at >= 0 && world->now >= fare->down_at + EBB_MS;
    bool was_away = fare->has_failed && world->now >= fare->failed_at + EBB_MS;

    promise(world, !(is_away || was_away) || fare->under_way <= 1 + fare->taken,
            "node %u sends %u batches to a back end that has taken %u since it was away", node->sim_node->no, fare->under_way,
            fare->taken);
}

/* Before it is sent, its bounds are on the disk, or were, if the sender stood meanwhile. */
static void check_fixed(struct forward_world *all, const struct carried_call *got)
{
    const struct carried_channel *channel = &all->channels[got->channel];

    promise(&all->world, got->first <= got->last && got->last <= channel->head, "%s: batch %" PRIu64 "-%" PRIu64 " is none",
            all->world.channels[got->channel]->text, got->first, got->last);
    promise(&all->world, carried_was_fixed(channel, got->first, got->last),
            "%s: batch %" PRIu64 "-%" PRIu64 " is sent, and its bounds are not on the disk", all->world.channels[got->channel]->text,
            got->first, got->last);
}

static void draw_failure(struct forward_world *all, struct carried_call *got)
{
    static const struct { enum backend_outcome outcome; unsigned status; bool may_be_read; const char *after; } rows[] = {
        { BACKEND_TIMEOUT, 0, true, NULL },      { BACKEND_GARBAGE, 0, true, NULL },    { BACKEND_UNREACHABLE, 0, false, NULL },
        { BACKEND_CIRCUIT, 0, false, NULL },     { BACKEND_FULL, 0, false, NULL },      { BACKEND_ANSWERED, 500, true, NULL },
        { BACKEND_ANSWERED, 302, true, NULL },   { BACKEND_ANSWERED, 408, true, NULL }, { BACKEND_ANSWERED, 429, false, "2" },
        { BACKEND_ANSWERED, 503, false, NULL },
    };
    size_t row = forward_draw(all, sizeof rows / sizeof rows[0]);

    got->outcome = rows[row].outcome;
    got->status  = rows[row].status;
    got->after   = rows[row].after;
    got->is_read = rows[row].may_be_read && forward_one_in(all, 2);
}

static void draw_answer(struct forward_world *all, struct carried_call *got)
{
    static const enum backend_outcome absent[] = { BACKEND_UNREACHABLE, BACKEND_TIMEOUT, BACKEND_CIRCUIT };
    struct world *world = &all->world;
    bool          slow  = !world->is_healing && forward_one_in(all, SLOW_ONE_IN);

    got->look_at = world->now + (msec)forward_draw(all, slow ? SLOW_MS_MAX : ANSWER_MS_MAX);
    got->due     = got->look_at + (msec)forward_draw(all, BACK_MS_MAX);
    got->outcome = BACKEND_ANSWERED;
    got->status  = 200;
    got->is_read = true;
    if (world->now < all->down_until) {
        got->is_read = false;
        got->outcome = forward_one_in(all, 4) ? BACKEND_ANSWERED : absent[forward_draw(all, sizeof absent / sizeof absent[0])];
        got->status  = 503;
    } else if (!world->is_healing && forward_one_in(all, FAILS_ONE_IN)) {
        draw_failure(all, got);
    } else if (!world->is_healing && all->has_refusals && forward_one_in(all, REFUSES_ONE_IN)) {
        got->is_read = false;
        got->status  = 404;
    }
}

static void on_send(void *ctx, struct span backend, struct backend_call *call)
{
    struct forward_node          *node  = ctx;
    struct forward_world         *all   = node->all;
    const struct forwarder_batch *batch = container_of(call, struct forwarder_batch, call);

    must(span_eq(backend, SPAN("app")) && all->call_count < CARRIED_CALLS_MAX && !node->sim_node->is_dying);
    struct carried_call *got = &all->calls[all->call_count++];
    *got = (struct carried_call){ .caller = node, .call = call, .channel = world_channel_of(&all->world, batch->channel->name),
                                  .forwarder = forwarder_no(batch), .first = batch->channel->cursor.seq + 1,
                                  .last = batch->channel->cursor.last, .body_len = call->fetch->body.len };
    got->body = malloc(got->body_len + 1);
    must(got->body != NULL);
    memcpy(got->body, call->fetch->body.at, got->body_len);
    node->fares[got->forwarder].under_way++;
    tell(&all->world, "node %u sends %s %" PRIu64 "-%" PRIu64 ", call %u", node->sim_node->no, batch->channel->name->text, got->first,
         got->last, all->call_count - 1);
    check_fixed(all, got);
    check_fare(node, got);
    for (uint64_t seq = got->first; seq <= got->last; seq++)
        all->channels[got->channel].places[seq].is_sent = true;
    draw_answer(all, got);
}

static const struct registry *on_registry(void *ctx)
{
    struct forward_node *node = ctx;

    return node->all->world.node_count > 1 ? &node->registry : NULL;
}

/* --- it looks at a batch ------------------------------------------------------------------------------------------ */

static bool body_has(const struct carried_call *got, unsigned number)
{
    char text[24];
    int  len = snprintf(text, sizeof text, "#%u#", number);

    return memmem(got->body, got->body_len, text, (size_t)len) != NULL;
}

/* A gap of the body that this place is in. */
static bool body_tells_gap(const struct carried_call *got, uint64_t seq)
{
    static const char mark[] = "\"from\":";
    struct span       rest   = span_of(got->body, got->body_len);
    const char       *at;

    while ((at = memmem(rest.at, rest.len, mark, sizeof mark - 1)) != NULL) {
        unsigned long long from, to;
        rest = span_skip(rest, (size_t)(at - rest.at) + sizeof mark - 1);
        if (sscanf(rest.at, "%llu,\"to\":%llu", &from, &to) == 2 && from <= seq && seq <= to)
            return true;
    }
    return false;
}

static bool body_is_poison(const struct forward_world *all, const struct carried_call *got)
{
    for (uint64_t seq = got->first; seq <= got->last; seq++) {
        const struct carried_place *place = &all->channels[got->channel].places[seq];
        if (place->is_poison && body_has(got, place->number))
            return true;
    }
    return false;
}

static void take_place(struct forward_world *all, const struct carried_call *got, uint64_t seq)
{
    struct carried_place *place = &all->channels[got->channel].places[seq];
    struct world         *world = &all->world;

    if (body_has(got, place->number)) {
        place->is_taken = true;
    } else if (body_tells_gap(got, seq)) {
        promise(world, carried_is_gone(all, got->channel, seq), "%s %" PRIu64 " is told as a gap, and is there",
                world->channels[got->channel]->text, seq);
        place->is_told = true;
    } else {
        promise(world, !place->is_wanted, "%s: batch %" PRIu64 "-%" PRIu64 " says nothing of %" PRIu64,
                world->channels[got->channel]->text, got->first, got->last, seq);
    }
}

static void take_batch(struct forward_world *all, const struct carried_call *got)
{
    struct world *world = &all->world;

    for (uint64_t seq = 1; seq < got->first; seq++)
        promise(world, carried_is_done_with(all, got->channel, seq), "%s: %" PRIu64 " is taken before %" PRIu64,
                world->channels[got->channel]->text, got->first, seq);
    for (uint64_t seq = got->first; seq <= got->last; seq++)
        take_place(all, got, seq);
}

/* A place that is alone in its batch, or the places of a gap that is. */
static bool is_one_entry(const struct carried_call *got)
{
    return memchr(got->body, '\n', got->body_len) == got->body + got->body_len - 1;
}

static void refuse_batch(struct forward_world *all, const struct carried_call *got)
{
    struct carried_channel *channel = &all->channels[got->channel];

    if (channel->places[got->first].refused_end < got->last)
        channel->places[got->first].refused_end = got->last;
    for (uint64_t seq = got->first; seq <= got->last && is_one_entry(got); seq++)
        channel->places[seq].refused++;
}

static void look_at(struct forward_world *all, struct carried_call *got)
{
    if (got->is_read && body_is_poison(all, got)) {
        got->outcome = BACKEND_ANSWERED;
        got->status  = 422;
    } else if (got->is_read) {
        take_batch(all, got);
    }
    if (got->outcome == BACKEND_ANSWERED && (got->status == 422 || got->status == 404))
        refuse_batch(all, got);
    tell(&all->world, "the back end %s call %u", got->status == 422 ? "refuses" : got->is_read ? "takes" : "does not take",
         (unsigned)(got - all->calls));
    free(got->body);
    got->body = NULL;
}

void carried_look(struct forward_world *all)
{
    for (unsigned i = all->looked_count; i < all->call_count; i++)
        if (all->calls[i].body != NULL && all->calls[i].look_at <= all->world.now)
            look_at(all, &all->calls[i]);
    while (all->looked_count < all->call_count && all->calls[all->looked_count].body == NULL &&
           all->calls[all->looked_count].call == NULL)
        all->looked_count++;
}

/* --- it answers ---------------------------------------------------------------------------------------------------- */

static void note_fare(struct forward_node *node, const struct carried_call *got)
{
    struct carried_fare *fare    = &node->fares[got->forwarder];
    msec                 now     = node->all->world.now;
    bool                 is_down = got->outcome != BACKEND_ANSWERED || got->status == 429 || got->status == 503;
    const struct forwarder_channel *channel = container_of(got->call, struct forwarder_batch, call)->channel;

    fare->under_way--;
    if (got->outcome == BACKEND_ANSWERED && got->status == 200) {
        fare->taken++;
        fare->down_at = -1;
    }
    /* Of a channel that it carries no more nothing is learnt; and while it is paused already, perhaps for the store, a failure is no news. */
    if (!is_down || channel->is_gone || channel->part->forwarder->paused_until > now)
        return;
    if (fare->down_at < 0)
        fare->down_at = now;
    if (fare->has_failed && now < fare->failed_at + EBB_MS)
        return;  /* what was under way together fails once */
    fare->failed_at  = now;
    fare->has_failed = true;
    fare->taken      = 0;
}

static void give_back(struct forward_node *node, struct carried_call *got)
{
    struct backend_call *call = got->call;

    forward_plant_answer(node->all, got);
    call->outcome = got->outcome;
    if (got->outcome == BACKEND_ANSWERED) {
        call->fetch->status = got->status;
        if (got->after != NULL)
            buf_put(&call->fetch->wanted[0].value, span_str(got->after));
    }
    note_fare(node, got);
    got->call = NULL;
    tell(&node->all->world, "call %u comes back: %s %u", (unsigned)(got - node->all->calls), backend_outcome_text(got->outcome), got->status);
    call->done(call);
}

/* The back end may take it all the same. */
static void on_cancel(void *ctx, struct backend_call *call)
{
    struct forward_node  *node = ctx;
    struct forward_world *all  = node->all;

    for (unsigned i = all->looked_count; i < all->call_count; i++) {
        struct carried_call *got = &all->calls[i];
        if (got->call != call)
            continue;
        got->outcome = BACKEND_CANCELLED;
        got->due     = all->world.now;
        if (node->sim_node->is_dying)
            give_back(node, got);
        return;
    }
}

const struct forwarder_port forward_sim_port = { .send = on_send, .cancel = on_cancel, .registry = on_registry };

void carried_turn(struct forward_node *node)
{
    struct forward_world *all = node->all;

    for (unsigned i = all->looked_count; i < all->call_count; i++) {
        struct carried_call *got = &all->calls[i];
        bool is_there = got->body == NULL || got->outcome == BACKEND_CANCELLED;
        if (got->call != NULL && got->caller == node && got->due <= all->world.now && is_there)
            give_back(node, got);
    }
}
