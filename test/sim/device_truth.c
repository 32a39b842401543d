#include "device_truth.h"

#include <stdlib.h>

#include "base/must.h"
#include "device/group_spans.h"
#include "device_roam.h"
#include "sim_node.h"
#include "store_sim.h"
#include "wire_client.h"

/* What one node says of a leave, and another of a message, may come in any order. */
enum { CROSS_MS = 250 };

struct truth *truth_new(struct device_world *all)
{
    struct truth *truth = calloc(1, sizeof *truth);

    must(truth != NULL);
    truth->all     = all;
    truth->objects = calloc(1, sizeof *truth->objects);
    must(truth->objects != NULL);
    object_reader_init(truth->objects, &all->wire.world);
    return truth;
}

void truth_free(struct truth *truth)
{
    object_reader_fini(truth->objects);
    free(truth->objects);
    free(truth);
}

/* --- members --- */

static unsigned group_named(const struct truth *truth, struct span name)
{
    struct device_world *all = truth->all;

    for (unsigned i = 0; i < all->group_count; i++) {
        struct span text = span_str(all->wire.world.channels[channel_of_group(all, i)]->text);
        if (span_eq(span_skip(text, 6), name))
            return i;
    }
    promise_broken(&all->wire.world, "a membership message names the group %.*s", SPAN_ARG(name));
}

static void take_join(struct truth *truth, struct member_truth *member, uint64_t place)
{
    promise(&truth->all->wire.world, member->count == 0 || member->spans[member->count - 1].until != UNTIL_NOW,
            "a member joins again");
    must(member->count < SPANS_MAX);
    member->spans[member->count++] = (struct member_span){ place, UNTIL_NOW, UNTIL_NOW, 0 };
}

static void take_leave(struct truth *truth, struct member_truth *member, uint64_t place, uint64_t head)
{
    struct member_span *last = &member->spans[member->count - 1];

    promise(&truth->all->wire.world, member->count > 0 && last->until == UNTIL_NOW, "who is no member leaves");
    last->until   = place;
    last->seen    = head;
    last->left_at = INT64_MAX;
}

static void take_membership(struct truth *truth, unsigned user, const struct message *message)
{
    struct world            *world   = &truth->all->wire.world;
    struct object_reader    *objects = truth->objects;
    const struct json_token *root    = object_read(objects, message_payload(message));
    unsigned                 group   = group_named(truth, object_text(objects, root, "group"));
    struct member_truth     *member  = &truth->members[user][group];
    uint64_t                 head    = truth->heads[channel_of_group(truth->all, group)];
    const struct json_token *joined  = json_member(&objects->doc, root, SPAN("joined"));
    bool                     is_join = joined != NULL && span_eq(joined->raw, SPAN("true"));
    uint64_t place = object_number(objects, json_member(&objects->doc, root, SPAN("place")), "seq");

    tell(world, "user %u %s group %u at %" PRIu64 ", its head is %" PRIu64, user, is_join ? "joins" : "leaves", group, place,
         head);
    promise(world, member->is_busy, "user %u %s group %u, and nobody asked for it", user, is_join ? "joins" : "leaves", group);
    promise(world, place >= member->low_head && place <= head,
            "user %u %s group %u at %" PRIu64 ", which was at %" PRIu64 " when it was asked for, and is at %" PRIu64, user,
            is_join ? "joins" : "leaves", group, place, member->low_head, head);
    if (is_join)
        take_join(truth, member, place);
    else
        take_leave(truth, member, place, head);
    member->low_head = head;
    member->seq      = message->seq;
}

void truth_answered(struct truth *truth, unsigned user, unsigned group)
{
    struct member_truth *member = &truth->members[user][group];

    member->is_busy = false;
    for (unsigned i = 0; i < member->count; i++)
        if (member->spans[i].left_at == INT64_MAX)
            member->spans[i].left_at = truth->all->wire.world.now;
}

bool truth_is_member(const struct truth *truth, unsigned user, unsigned group)
{
    const struct member_truth *member = &truth->members[user][group];

    return member->count > 0 && member->spans[member->count - 1].until == UNTIL_NOW;
}

/* --- the journal --- */

static void take_posted(struct truth *truth, unsigned channel, const struct message *message)
{
    struct device_world *all   = truth->all;
    struct world        *world = &all->wire.world;
    uint64_t             no;

    promise(world, span_u64(message_payload(message), &no) && no < all->posted_count && all->posted[no].channel == channel,
            "nobody has published %" PRIu64 " of %s", message->seq, message->channel->text);
    promise(world, all->posted[no].seq == 0, "the message %" PRIu64 " is in %s twice, as %" PRIu64 " and %" PRIu64, no,
            message->channel->text, all->posted[no].seq, message->seq);
    all->posted[no].seq = message->seq;
}

void truth_scan(struct truth *truth)
{
    struct world *world = &truth->all->wire.world;

    for (; truth->scanned < store_sim_record_count(world->disk); truth->scanned++) {
        unsigned              channel;
        const struct message *message = store_sim_record_at(world->disk, truth->scanned, &channel);
        if (message == NULL)
            continue;
        truth->heads[channel] = message->seq;
        bool is_ours = span_starts(message_media(message), SPAN("application/vnd.longwire."));
        if (truth->all->roles[channel].role == ROLE_CONTROL)
            continue;
        if (is_ours)
            take_membership(truth, truth->all->roles[channel].user, message);
        else
            take_posted(truth, channel, message);
    }
}

/* --- whose is it? --- */

/* Whom a leave is to be told the engine may say late, while it has said it of the group before. */
static msec cross_ms(const struct truth *truth)
{
    const struct roam *roam = truth->all->roam;

    if (roam == NULL)
        return 0;
    return CROSS_MS + (roam->faults.slow_answers ? LATE_MS_MAX : 0);
}

/* A lost hint is healed by the heartbeat, and so is a late one. */
static msec late_ms(const struct truth *truth)
{
    const struct faults *faults = &truth->all->wire.world.faults;
    bool is_late = faults->lost_hints || faults->late_hints || faults->doubled_hints || faults->tight ||
                   faults->broken || faults->stuck;

    return (is_late ? 4 * HEARTBEAT_MS + LATE_MS_MAX : 0) + cross_ms(truth) + roam_late_ms(truth->all);
}

/* When it was sent for the first time. */
static msec begun_at(const struct truth *truth, unsigned channel, uint64_t seq)
{
    const struct message *message = store_sim_at(truth->all->wire.world.disk, channel, seq);
    uint64_t              no      = 0;

    must(message != NULL && span_u64(message_payload(message), &no));
    return truth->all->posted[no].begun_at;
}

static bool span_may(const struct truth *truth, const struct member_span *span, unsigned channel, uint64_t seq)
{
    if (seq <= span->after)
        return false;
    if (seq <= span->until || seq <= span->seen)
        return true;
    return span->left_at == INT64_MAX || begun_at(truth, channel, seq) <= span->left_at + late_ms(truth);
}

bool truth_may(const struct truth *truth, unsigned user, unsigned channel, uint64_t seq)
{
    if (truth->all->roles[channel].role != ROLE_GROUP)
        return true;
    const struct member_truth *member = &truth->members[user][truth->all->roles[channel].no];
    for (unsigned i = 0; i < member->count; i++)
        if (span_may(truth, &member->spans[i], channel, seq))
            return true;
    return false;
}

/* The oldest are forgotten: docs/limits.md. */
static unsigned first_span(const struct member_truth *member)
{
    return member->count > GROUP_SPANS_MAX ? member->count - GROUP_SPANS_MAX : 0;
}

uint64_t truth_next(const struct truth *truth, unsigned user, unsigned channel, uint64_t from)
{
    if (truth->all->roles[channel].role != ROLE_GROUP)
        return from;
    const struct member_truth *member = &truth->members[user][truth->all->roles[channel].no];
    for (unsigned i = first_span(member); i < member->count; i++) {
        uint64_t first = from > member->spans[i].after ? from : member->spans[i].after + 1;
        if (first <= member->spans[i].until)
            return first;
    }
    return UINT64_MAX;
}

uint64_t truth_next_written(const struct truth *truth, unsigned user, unsigned channel, uint64_t from)
{
    uint64_t next = truth_next(truth, user, channel, from);

    return next <= truth->heads[channel] ? next : 0;
}
