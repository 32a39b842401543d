/* presence_list.c - the set of a channel, page by page, and the devices of a user that are there. */
#include <stdlib.h>

#include "base/must.h"
#include "device/devices_priv.h"
#include "device/presence_priv.h"

static void copy_listed(char *into, struct span name)
{
    memcpy(into, name.at, name.len);
    into[name.len] = '\0';
}

static void presence_listing_add(struct presence_listing *listing, const struct presence_member *member)
{
    struct listed_subscriber *listed = &listing->at[listing->at_count++];

    copy_listed(listed->user, presence_device_user(member->device));
    copy_listed(listed->device, presence_device_name(member->device));
    listed->transport = member->transport;
    listed->since     = member->since;
}

void presence_list(const struct presence *presence, struct presence_listing *listing)
{
    const struct presence_channel *channel = presence_channel_find(presence, listing->name);
    size_t                         at      = channel == NULL ? 0 : presence_slot_behind(channel, listing->after);

    listing->at = calloc(listing->limit, sizeof listing->at[0]);
    must(listing->at != NULL);
    if (channel == NULL)
        return;
    listing->count = channel->local.count;
    for (; at < channel->slot_count; at++) {
        if (channel->slots[at].member == NULL || !presence_member_is_local(channel->slots[at].member))
            continue;
        if (listing->at_count == listing->limit) {
            listing->next = listing->after;
            return;
        }
        presence_listing_add(listing, channel->slots[at].member);
        listing->after = channel->slots[at].number;
        listing->at[listing->at_count - 1].number = listing->after;
    }
}

void presence_listing_take(struct command *command, struct writer *writer)
{
    struct presence_listing *listing = container_of(command, struct presence_listing, command);

    (void)writer;
    presence_list(listing->presence, listing);
    listing->presence->port->send(listing->presence->ctx, command->loop, command);
}

/* --- users ------------------------------------------------------------------------------------------------------ */

struct presence_census {
    uint32_t count;
    void   (*visit)(void *ctx, const struct presence_who *who, msec since);
    void    *ctx;
};

static void presence_count_device(const struct presence_device *device, void *ctx)
{
    struct presence_census       *census = ctx;
    const struct presence_member *first  = NULL;

    for (const struct list *at = device->members.next; at != &device->members; at = at->next) {
        const struct presence_member *member = container_of(at, struct presence_member, of_device);
        bool                          is_cut = list_is_linked(&member->in_lease) && member->is_cut;
        if (member->number != 0 && !is_cut && presence_member_is_local(member) && (first == NULL || member->since < first->since))
            first = member;
    }
    if (first == NULL)
        return;
    census->count++;
    if (census->visit != NULL)
        census->visit(census->ctx, &(struct presence_who){ presence_device_user(device), presence_device_name(device),
                                                           first->links == NULL ? 0 : first->links->key,
                                                           first->transport }, first->since);
}

uint32_t presence_user(const struct presence *presence, struct span user,
                       void (*visit)(void *ctx, const struct presence_who *who, msec since), void *ctx)
{
    struct presence_census census = { .visit = visit, .ctx = ctx };

    presence_walk(presence, user, presence_count_device, &census);
    return census.count;
}

/* --- many users ------------------------------------------------------------------------------------------------- */

/* Devices of a user that are there: sessions first, then the devices in channels that have no session online. */
struct online_census {
    struct presence_question *question;
    const struct devices     *devices;
    uint32_t                  count;
};

/* The same on all nodes. */
static uint64_t mark_of_device(struct span device)
{
    static const struct hash_key key = { 0, 0 };

    return hash_bytes(&key, device);
}

static void census_count(struct online_census *census, struct span device)
{
    struct presence_question *question = census->question;

    census->count++;
    if (!question->wants_marks)
        return;
    if (question->mark_count == question->mark_cap) {
        question->mark_cap = question->mark_cap == 0 ? 64 : 2 * question->mark_cap;
        question->marks    = reallocarray(question->marks, question->mark_cap, sizeof question->marks[0]);
        must(question->marks != NULL);
    }
    question->marks[question->mark_count++] = mark_of_device(device);
}

static void count_online_session(struct standing *standing, void *ctx)
{
    struct online_census *census = ctx;

    if (standing_is_online(census->devices, standing, census->devices->writer->wall))
        census_count(census, standing_device(standing));
}

static void count_without_session(void *ctx, const struct presence_who *who, msec since)
{
    struct online_census  *census   = ctx;
    const struct standing *standing = standing_find(census->devices, who->user, who->device);

    (void)since;
    if (standing == NULL || !standing_is_online(census->devices, standing, census->devices->writer->wall))
        census_count(census, who->device);
}

void presence_question_take(struct command *command, struct writer *writer)
{
    struct presence_question *question = container_of(command, struct presence_question, command);

    for (size_t i = 0; i < question->count; i++) {
        struct online_census census = { .question = question, .devices = question->devices };
        standings_walk(question->devices, question->at[i].user, count_online_session, &census);
        presence_user(question->presence, question->at[i].user, count_without_session, &census);
        question->at[i].devices = census.count;
    }
    writer->port->send(writer->ctx, command->loop, command);
}
