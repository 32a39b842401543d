#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "message/control_message.h"
#include "store_sim.h"
#include "uplink/requests_priv.h"
#include "uplink_world.h"

enum { NEW_ONE_IN = 3, AGAIN_MS_MAX = 150, CUT_ONE_IN = 25, CURIOUS_ONE_IN = 40, CANCEL_ONE_IN = 60, LIE_ONE_IN = 80, WAIT_ONE_IN = 4,
       WAIT_MS_MAX = 2000 };

static bool node_is_open(const struct uplink_world *all, unsigned node)
{
    return !all->nodes[node]->is_stopping;
}

/* --- what is told --------------------------------------------------------------------------------------------- */

/* The answer that is told again is that of the log. */
static void check_replay(struct uplink_world *all, const struct ask *ask, const struct request_command *command)
{
    const struct message *written;

    responses_scan(all);
    promise(&all->world, ask->seq != 0 && command->answer->seq == ask->seq, "request %u is replayed as %" PRIu64 ", and was answered as %" PRIu64,
            ask->no, command->answer->seq, ask->seq);
    written = store_sim_at(all->world.disk, ask->device, ask->seq);
    promise(&all->world, written != NULL && span_eq(message_payload(written), message_payload(command->answer)),
            "request %u is replayed with another answer", ask->no);
}

/* Is there trouble in this world for which a node may refuse a request? */
static bool may_be_away(const struct uplink_world *all)
{
    const struct faults *faults = &all->world.faults;

    return faults->broken || faults->away || faults->stuck || faults->read_io || faults->tight || faults->unknown || faults->stalls ||
           faults->refused || all->has_stops;
}

static void ask_told(struct uplink_world *all, struct ask *ask, const struct request_command *command)
{
    const struct faults     *faults = &all->world.faults;
    static const char *const texts[REQUEST_OUTCOME_COUNT] = {
        [REQUEST_ACCEPTED] = "accepted", [REQUEST_ANSWERED] = "answered", [REQUEST_REPLAYED] = "replayed", [REQUEST_CONFLICT] = "a conflict",
        [REQUEST_GONE] = "gone", [REQUEST_NO_SPACE] = "refused: no space", [REQUEST_BUSY] = "refused: busy", [REQUEST_AWAY] = "refused: away",
        [REQUEST_TOO_OFTEN] = "refused: too often", [REQUEST_DROPPED] = "not there to be cancelled",
    };

    tell(&all->world, "request %u of d%u is %s", ask->no, ask->device, texts[command->outcome]);
    switch (command->outcome) {
    case REQUEST_ACCEPTED:
    case REQUEST_ANSWERED:
    case REQUEST_REPLAYED:
        promise(&all->world, !ask->shows_other, "request %u is %s, and it is another one", ask->no, texts[command->outcome]);
        ask->is_accepted = true;
        if (command->outcome != REQUEST_ACCEPTED)
            check_replay(all, ask, command);
        return;
    case REQUEST_CONFLICT:
        promise(&all->world, ask->shows_other, "request %u is told to be another one", ask->no);
        return;
    case REQUEST_NO_SPACE:
        promise(&all->world, faults->full, "request %u is %s, and the disk is never full", ask->no, texts[command->outcome]);
        return;
    case REQUEST_BUSY:
        promise(&all->world, faults->tight, "request %u is %s, for no reason", ask->no, texts[command->outcome]);
        return;
    case REQUEST_AWAY:
        promise(&all->world, may_be_away(all), "request %u is %s, for no reason", ask->no, texts[command->outcome]);
        return;
    case REQUEST_GONE:
    case REQUEST_TOO_OFTEN:  /* nothing bounds them here */
    case REQUEST_DROPPED:
    case REQUEST_OUTCOME_COUNT:
        break;
    }
    promise_broken(&all->world, "request %u is %s", ask->no, texts[command->outcome]);
}

struct told_ask {
    struct uplink_world *all;
    struct ask          *ask;
};

static struct told_ask tellers[ASKS_MAX];

static void on_told(struct request_command *command)
{
    struct told_ask *told = command->owner;

    if (told != NULL && told->ask->command == command) {
        told->ask->command = NULL;
        ask_told(told->all, told->ask, command);
        told->ask->at = told->all->world.now + 1 + (msec)uplink_draw(told->all, AGAIN_MS_MAX);
    }
    command_free(&command->command);
}

static void on_cancel_told(struct request_command *command)
{
    command_free(&command->command);
}

/* --- what is asked -------------------------------------------------------------------------------------------- */

static struct request_command *ask_command(const struct uplink_world *all, const struct ask *ask, bool shows_other)
{
    char device[16], id[16];
    int  device_len = snprintf(device, sizeof device, "d%u", ask->device), id_len = snprintf(id, sizeof id, "r%u", ask->no);
    struct request_command *command = request_command_new(REQUEST_SEND, 0, (size_t)device_len + (size_t)id_len);

    memcpy(command->words, device, (size_t)device_len);
    memcpy(command->words + device_len, id, (size_t)id_len);
    command->user             = SPAN("u");
    command->device           = span_of(command->words, (size_t)device_len);
    command->id               = span_of(command->words + device_len, (size_t)id_len);
    command->backend          = SPAN("app");
    command->method           = SPAN("POST");
    command->target           = SPAN("/work");
    command->body             = SPAN("what is to be done");
    command->is_at_least_once = ask->is_at_least_once;
    command->channel          = channel_name_ref(all->world.channels[ask->device]);
    command->hash[0]          = shows_other ? 2 : 1;
    return command;
}

static unsigned draw_node(struct uplink_world *all)
{
    unsigned node = (unsigned)uplink_draw(all, all->world.node_count);

    for (unsigned i = 0; i < all->world.node_count && !node_is_open(all, node); i++)
        node = (node + 1) % all->world.node_count;
    return node;
}

static void ask_send(struct uplink_world *all, struct ask *ask, bool shows_other)
{
    ask->node = draw_node(all);
    if (!node_is_open(all, ask->node)) {
        ask->at = all->world.now + 1 + (msec)uplink_draw(all, AGAIN_MS_MAX);
        return;
    }
    ask->command           = ask_command(all, ask, shows_other);
    ask->shows_other       = shows_other;
    ask->nodes            |= 1u << ask->node;
    tellers[ask->no]       = (struct told_ask){ all, ask };
    ask->command->owner    = &tellers[ask->no];
    ask->command->answered = on_told;
    ask->command->wait_ms  = uplink_one_in(all, WAIT_ONE_IN) ? 1 + (msec)uplink_draw(all, WAIT_MS_MAX) : 0;
    tell(&all->world, "d%u sends request %u to node %u%s", ask->device, ask->no, ask->node, shows_other ? ", and it is another one" : "");
    shard_request(world_shard(&all->world, ask->node * all->world.loops_a_node), ask->command);
}

static void ask_cancel(struct uplink_world *all, struct ask *ask)
{
    char     device[16], id[16];
    unsigned node = draw_node(all);

    if (!node_is_open(all, node))
        return;
    snprintf(device, sizeof device, "d%u", ask->device);
    snprintf(id, sizeof id, "r%u", ask->no);
    ask->is_cancelled = true;
    tell(&all->world, "d%u cancels request %u at node %u", ask->device, ask->no, node);
    struct request_command *command = request_cancel_new(all->world.channels[ask->device], SPAN("u"), span_str(device), 0, span_str(id));
    command->answered               = on_cancel_told;
    shard_request(world_shard(&all->world, node * all->world.loops_a_node), command);
}

static void ask_begin(struct uplink_world *all)
{
    struct ask *ask = &all->asks[all->ask_count];

    *ask = (struct ask){ .no = all->ask_count, .device = (unsigned)uplink_draw(all, all->device_count),
                         .is_at_least_once = uplink_one_in(all, 2) };
    all->ask_count++;
    ask_send(all, ask, false);
}

static void ask_turn(struct uplink_world *all, struct ask *ask)
{
    struct world *world = &all->world;

    if (ask->command != NULL && !world->is_healing && uplink_one_in(all, CUT_ONE_IN)) {
        tell(world, "d%u loses its link while request %u is under way", ask->device, ask->no);
        ask->command->owner = NULL;
        ask->command        = NULL;
        ask->at             = world->now + 1 + (msec)uplink_draw(all, AGAIN_MS_MAX);
    }
    if (ask->command != NULL || ask->at > world->now)
        return;
    if (!ask->is_accepted)
        ask_send(all, ask, false);
    else if (!world->is_healing && uplink_one_in(all, CURIOUS_ONE_IN))
        ask_send(all, ask, uplink_one_in(all, 3));
    else if (!world->is_healing && ask->seq == 0 && uplink_one_in(all, CANCEL_ONE_IN))
        ask_cancel(all, ask);
}

void clients_turn(struct uplink_world *all)
{
    if (!all->world.is_healing && all->ask_count < ASKS_MAX && uplink_one_in(all, NEW_ONE_IN))
        ask_begin(all);
    for (unsigned i = 0; i < all->ask_count; i++)
        ask_turn(all, &all->asks[i]);
}

void clients_cut(struct uplink_world *all, unsigned node)
{
    for (unsigned i = 0; i < all->ask_count; i++)
        if (all->asks[i].command != NULL && all->asks[i].node == node)
            all->asks[i].command = NULL;  /* it ends with the node */
}

void clients_left(struct uplink_world *all, unsigned node)
{
    for (unsigned i = 0; i < all->ask_count; i++)
        all->asks[i].was_left |= (all->asks[i].nodes >> node & 1) != 0;
}

void clients_leave(struct requests *requests)
{
    while (requests->waiters.next != NULL && !list_is_empty(&requests->waiters)) {
        struct request_command *command = container_of(list_pop(&requests->waiters), struct request_command, link);
        ((struct request_work *)command->work)->waiter_count--;
        command_free(&command->command);
    }
}

/* --- responses ------------------------------------------------------------------------------------------------ */

static bool payload_has(const struct message *message, const char *text)
{
    struct span payload = message_payload(message);

    return memmem(payload.at, payload.len, text, strlen(text)) != NULL;
}

static struct ask *ask_answered(struct uplink_world *all, unsigned device, const struct message *message)
{
    for (unsigned i = 0; i < all->ask_count; i++) {
        char text[40];
        snprintf(text, sizeof text, "\"request\":\"r%u\"", i);
        if (all->asks[i].device == device && payload_has(message, text))
            return &all->asks[i];
    }
    promise_broken(&all->world, "%s %" PRIu64 " answers what nobody has asked", message->channel->text, message->seq);
}

/* The answer is one that the back end gave to a call of this request. */
static bool back_end_gave(const struct uplink_world *all, const struct ask *ask, const struct message *message)
{
    for (unsigned i = 0; i < all->call_count; i++) {
        char text[40];
        snprintf(text, sizeof text, "answer %u.", i);
        if (all->calls[i].ask == ask && all->calls[i].is_answered && payload_has(message, text))
            return true;
    }
    return false;
}

static void check_response(struct uplink_world *all, const struct ask *ask, const struct message *message)
{
    struct world *world      = &all->world;
    bool          is_unknown = payload_has(message, "\"unknown\"");

    if (payload_has(message, "\"status\":200")) {
        promise(world, back_end_gave(all, ask, message), "the answer to %u was never given", ask->no);
    } else if (is_unknown) {
        promise(world, payload_has(message, "\"status\":504") && !ask->is_at_least_once, "request %u is answered unknown", ask->no);
        promise(world, ask->was_left, "request %u is answered unknown, and no node that it was sent to has ended since", ask->no);
    } else if (payload_has(message, "\"status\":499")) {
        promise(world, ask->is_cancelled, "request %u is answered as cancelled, and nobody has cancelled it", ask->no);
    } else {
        promise(world, ask->has_failed, "request %u has failed, and the back end has not: %.*s", ask->no, SPAN_ARG(message_payload(message)));
    }
}

void responses_scan(struct uplink_world *all)
{
    struct world *world = &all->world;

    for (; all->scanned < store_sim_record_count(world->disk); all->scanned++) {
        unsigned              channel;
        const struct message *message = store_sim_record_at(world->disk, all->scanned, &channel);
        if (message == NULL || !span_eq(control_message_type(message), SPAN("response")))
            continue;
        struct ask *ask = ask_answered(all, channel, message);
        tell(world, "request %u is answered as %" PRIu64 " of %s: %.*s", ask->no, message->seq, message->channel->text,
             SPAN_ARG(span_head(message_payload(message), 70)));
        promise(world, ask->seq == 0, "request %u is answered twice, as %" PRIu64 " and as %" PRIu64, ask->no, ask->seq, message->seq);
        ask->seq = message->seq;
        check_response(all, ask, message);
    }
}

bool clients_are_done(const struct uplink_world *all)
{
    for (unsigned i = 0; i < all->ask_count; i++)
        if (!all->asks[i].is_accepted || all->asks[i].seq == 0 || all->asks[i].command != NULL)
            return false;
    return true;
}

void clients_check_end(const struct uplink_world *all)
{
    struct world *world = (struct world *)&all->world;

    for (unsigned i = 0; i < all->ask_count; i++) {
        const struct ask *ask = &all->asks[i];
        promise(world, ask->is_accepted, "request %u is accepted", ask->no);
        promise(world, ask->seq != 0, "request %u is answered", ask->no);
        promise(world, !ask->is_at_least_once || ask->calls > 0 || ask->is_cancelled, "request %u was to be called at least once", ask->no);
    }
}
