#include "device/presence.h"

#include <stdlib.h>

#include "base/must.h"
#include "device/presence_move.h"
#include "device/presence_priv.h"

/* A device that another process has told of stays so long at least, until its link has been heard of here. */
enum { MOVED_STAY_MS = 10000 };

void presence_init(struct presence *presence, const struct writer_port *port, void *ctx, unsigned loop_count,
                   const struct hash_key *hash_key, const struct presence_limits *limits)
{
    *presence = (struct presence){ .port = port, .ctx = ctx, .loop_count = loop_count, .hash_key = hash_key,
                                   .limits = *limits };
    presence->homes = calloc(loop_count, sizeof presence->homes[0]);
    must(presence->homes != NULL);
    map_init(&presence->channels);
    map_init(&presence->devices);
    list_init(&presence->all);
    list_init(&presence->news);
    list_init(&presence->cut);
    list_init(&presence->polled);
    list_init(&presence->saying);
    list_init(&presence->watched);
    list_init(&presence->asking);
}

void presence_join(struct presence *presence, struct writer *writer, uint64_t incarnation)
{
    presence->writer      = writer;
    presence->incarnation = incarnation;
}

/* --- channels --------------------------------------------------------------------------------------------------- */

static bool presence_channel_is(const struct map_node *node, const void *key)
{
    return channel_name_eq(container_of(node, struct presence_channel, node)->name, key);
}

struct presence_channel *presence_channel_find(const struct presence *presence, const struct channel_name *name)
{
    struct map_node *node = map_find(&presence->channels, name->hash, presence_channel_is, name);

    return node == NULL ? NULL : container_of(node, struct presence_channel, node);
}

struct presence_channel *presence_channel_get(struct presence *presence, struct channel_name *name)
{
    struct presence_channel *channel = presence_channel_find(presence, name);

    if (channel != NULL)
        return channel;
    channel = calloc(1, sizeof *channel);
    must(channel != NULL);
    channel->name      = channel_name_ref(name);
    channel->credit    = (int64_t)presence->limits.frames_per_s * 1000;
    channel->credit_at = presence->now;
    list_init(&channel->changed);
    list_init(&channel->in_saying);
    list_init(&channel->in_watched);
    buf_init(&channel->said, PRESENCE_SAID_BYTES_MAX);
    map_add(&presence->channels, &channel->node, name->hash);
    list_push(&presence->all, &channel->in_all);
    counter_add(&presence->counters.channels, 1);
    return channel;
}

static void presence_channel_free(struct presence *presence, struct presence_channel *channel)
{
    map_take(&presence->channels, &channel->node);
    list_take(&channel->in_all);
    list_take(&channel->in_news);
    list_take(&channel->in_saying);
    list_take(&channel->in_watched);
    buf_fini(&channel->said);
    must(channel->peers == NULL);
    channel_name_unref(channel->name);
    free(channel->slots);
    free(channel->watches);
    free(channel);
    counter_sub(&presence->counters.channels, 1);
}

void presence_channel_settle(struct presence *presence, struct presence_channel *channel)
{
    if (channel->count == 0 && channel->watch_count == 0 && list_is_empty(&channel->changed) &&
        !list_is_linked(&channel->in_saying) && channel->peers == NULL)
        presence_channel_free(presence, channel);
}

/* --- slots --- */

size_t presence_slot_behind(const struct presence_channel *channel, uint64_t number)
{
    size_t low = 0, high = channel->slot_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (channel->slots[middle].number <= number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Numbers rise, so the new one is the last. */
static void presence_slot_add(struct presence_channel *channel, struct presence_member *member)
{
    if (channel->slot_count == channel->slot_cap) {
        channel->slot_cap = channel->slot_cap == 0 ? 2 : channel->slot_cap * 2;
        channel->slots    = reallocarray(channel->slots, channel->slot_cap, sizeof channel->slots[0]);
        must(channel->slots != NULL);
    }
    channel->slots[channel->slot_count++] = (struct presence_slot){ member->number, member };
    channel->count++;
}

enum { HOLES_KEPT = 16 };

static void presence_slot_take(struct presence_channel *channel, uint64_t number)
{
    struct presence_slot *slot = &channel->slots[presence_slot_behind(channel, number) - 1];
    size_t                kept = 0;

    must(slot->number == number && slot->member != NULL);
    slot->member = NULL;
    channel->count--;
    if (channel->slot_count - channel->count <= channel->count + HOLES_KEPT)
        return;
    for (size_t i = 0; i < channel->slot_count; i++)
        if (channel->slots[i].member != NULL)
            channel->slots[kept++] = channel->slots[i];
    channel->slot_count = kept;
}

/* --- devices ---------------------------------------------------------------------------------------------------- */

/* What map_find() compares: a device of a user, or all of them, by being told of each. */
struct presence_query {
    struct span user, device;
    void      (*visit)(const struct presence_device *device, void *ctx);
    void       *ctx;
};

static bool presence_device_is(const struct map_node *node, const void *key)
{
    const struct presence_device *device = container_of(node, struct presence_device, node);
    const struct presence_query  *query  = key;

    return span_eq(presence_device_user(device), query->user) && span_eq(presence_device_name(device), query->device);
}

/* All nodes of one hash are shown to map_find()'s comparison. */
static bool presence_device_visit(const struct map_node *node, const void *key)
{
    const struct presence_device *device = container_of(node, struct presence_device, node);
    const struct presence_query  *query  = key;

    if (span_eq(presence_device_user(device), query->user))
        query->visit(device, query->ctx);
    return false;
}

void presence_walk(const struct presence *presence, struct span user,
                   void (*visit)(const struct presence_device *device, void *ctx), void *ctx)
{
    const struct presence_query query = { .user = user, .visit = visit, .ctx = ctx };

    map_find(&presence->devices, hash_bytes(presence->hash_key, user), presence_device_visit, &query);
}

static struct presence_device *presence_device_find(const struct presence *presence, const struct presence_who *who)
{
    const struct presence_query query = { .user = who->user, .device = who->device };
    struct map_node            *node  = map_find(&presence->devices, hash_bytes(presence->hash_key, who->user),
                                                 presence_device_is, &query);

    return node == NULL ? NULL : container_of(node, struct presence_device, node);
}

static struct presence_device *presence_device_get(struct presence *presence, const struct presence_who *who)
{
    struct presence_device *device = presence_device_find(presence, who);

    if (device != NULL)
        return device;
    device = calloc(1, sizeof *device + who->user.len + who->device.len);
    must(device != NULL && who->user.len <= USER_NAME_BYTES_MAX && who->device.len <= DEVICE_NAME_BYTES_MAX);
    device->user_len   = (uint8_t)who->user.len;
    device->device_len = (uint8_t)who->device.len;
    memcpy(device->names, who->user.at, who->user.len);
    memcpy(device->names + who->user.len, who->device.at, who->device.len);
    list_init(&device->members);
    map_add(&presence->devices, &device->node, hash_bytes(presence->hash_key, who->user));
    return device;
}

static void presence_device_settle(struct presence *presence, struct presence_device *device)
{
    if (!list_is_empty(&device->members))
        return;
    map_take(&presence->devices, &device->node);
    free(device);
}

/* --- members ---------------------------------------------------------------------------------------------------- */

static struct presence_member *presence_member_find(const struct presence_device *device,
                                                    const struct presence_channel *channel)
{
    for (const struct list *at = device->members.next; at != &device->members; at = at->next)
        if (container_of(at, struct presence_member, of_device)->channel == channel)
            return container_of(at, struct presence_member, of_device);
    return NULL;
}

static struct presence_member *presence_member_new(struct presence *presence, struct presence_channel *channel,
                                                   const struct presence_who *who)
{
    struct presence_member *member = calloc(1, sizeof *member);

    must(member != NULL);
    member->channel = channel;
    member->device  = presence_device_get(presence, who);
    list_push(&member->device->members, &member->of_device);
    counter_add(&presence->counters.members, 1);
    return member;
}

void presence_member_free(struct presence *presence, struct presence_member *member)
{
    struct presence_device *device = member->device;

    for (struct presence_link *link = member->links, *next; link != NULL; link = next) {
        next = link->next;
        free(link);
    }
    list_take(&member->of_device);
    list_take(&member->in_changed);
    list_take(&member->in_lease);
    free(member);
    counter_sub(&presence->counters.members, 1);
    presence_device_settle(presence, device);
}

static void presence_member_enter(struct presence *presence, struct presence_member *member)
{
    member->number = ++presence->number;
    member->since  = presence->wall;
    presence_slot_add(member->channel, member);
    counter_add(&presence->counters.joins, 1);
    presence_note_change(presence, member);
}

static void presence_member_leave(struct presence *presence, struct presence_member *member)
{
    struct presence_channel *channel = member->channel;

    list_take(&member->in_lease);
    presence_slot_take(channel, member->number);
    member->number = 0;
    counter_add(&presence->counters.leaves, 1);
    presence_note_change(presence, member);
    presence_channel_settle(presence, channel);
}

static struct presence_link **presence_link_find(struct presence_member *member, uint64_t key, bool is_remote)
{
    struct presence_link **at = &member->links;

    while (*at != NULL && ((*at)->key != key || (*at)->is_remote != is_remote))
        at = &(*at)->next;
    return at;
}

static void presence_link_add(struct presence_member *member, const struct presence_who *who, bool is_remote)
{
    struct presence_link *link = malloc(sizeof *link);

    must(link != NULL);
    *link             = (struct presence_link){ member->links, who->key, who->transport, is_remote, 0 };
    member->links     = link;
    member->transport = who->transport;
}

/* NULL: there is no room for it. */
static struct presence_member *presence_member_get(struct presence *presence, struct presence_channel *channel,
                                                   const struct presence_who *who)
{
    struct presence_device *device = presence_device_find(presence, who);
    struct presence_member *member = device == NULL ? NULL : presence_member_find(device, channel);

    if (member != NULL)
        return member;
    if (counter_get(&presence->counters.members) >= presence->limits.members_max) {
        counter_add(&presence->counters.refused, 1);
        return NULL;
    }
    return presence_member_new(presence, channel, who);
}

void presence_come(struct presence *presence, struct channel_name *name, const struct presence_who *who)
{
    struct presence_channel *channel = presence_channel_get(presence, name);
    struct presence_member  *member  = presence_member_get(presence, channel, who);

    if (member == NULL) {
        presence_channel_settle(presence, channel);
        return;
    }
    bool was_local = presence_member_is_local(member);
    if (*presence_link_find(member, who->key, false) == NULL)
        presence_link_add(member, who, false);
    if (list_is_linked(&member->in_lease))
        counter_add(&presence->counters.returns, member->is_cut);
    list_take(&member->in_lease);
    if (!was_local)
        presence_say(presence, member, true);
    if (member->number == 0)
        presence_member_enter(presence, member);
}

/* Its last link is gone, but it is expected back. */
static void presence_member_hold(struct presence *presence, struct presence_member *member, enum presence_end end)
{
    const struct presence_limits *limits = &presence->limits;

    member->is_cut = end == PRESENCE_END_CUT;
    member->until  = presence->now + (member->is_cut ? limits->return_ms : limits->poll_lease_ms);
    list_push(member->is_cut ? &presence->cut : &presence->polled, &member->in_lease);
}

static void presence_link_drop(struct presence_member *member, struct presence_link **at)
{
    struct presence_link *link = *at;

    *at = link->next;
    free(link);
    if (member->links != NULL)
        member->transport = member->links->transport;
}

/* It was the last link of this node. */
static void presence_member_go(struct presence *presence, struct presence_member *member, enum presence_end end)
{
    bool is_now = end == PRESENCE_END_NOW || (end == PRESENCE_END_CUT && presence->limits.return_ms == 0);

    if (!is_now && member->links == NULL) {
        presence_member_hold(presence, member, end);
        return;
    }
    presence_say(presence, member, false);
    if (member->links == NULL)
        presence_member_leave(presence, member);
}

void presence_go(struct presence *presence, struct channel_name *name, const struct presence_who *who,
                 enum presence_end end)
{
    struct presence_channel *channel = presence_channel_find(presence, name);
    struct presence_device  *device  = presence_device_find(presence, who);
    struct presence_member  *member  = channel == NULL || device == NULL ? NULL : presence_member_find(device, channel);
    struct presence_link   **at      = member == NULL ? NULL : presence_link_find(member, who->key, false);

    if (at == NULL || *at == NULL)
        return;
    presence_link_drop(member, at);
    if (!presence_member_is_local(member))
        presence_member_go(presence, member, end);
}

/* --- devices of other nodes ------------------------------------------------------------------------------------- */

void presence_set_toggle(struct presence_set *set, const struct presence_device *device, bool is_there)
{
    static const struct hash_key same_on_all_nodes = { 0x6c6f6e6777697265, 0x70726573656e6365 };
    const uint64_t parts[2] = { hash_bytes(&same_on_all_nodes, presence_device_user(device)),
                                hash_bytes(&same_on_all_nodes, presence_device_name(device)) };

    set->digest ^= hash_bytes(&same_on_all_nodes, span_of(parts, sizeof parts));
    set->count  += is_there ? 1 : UINT64_MAX;
}

void presence_remote_come(struct presence *presence, struct presence_channel *channel, struct presence_peer *peer,
                          const struct presence_who *who, msec since, uint32_t set)
{
    struct presence_member *member = presence_member_get(presence, channel, who);

    if (member == NULL)
        return;
    struct presence_link *link = *presence_link_find(member, peer->incarnation, true);
    if (link == NULL) {
        presence_link_add(member, &(struct presence_who){ .key = peer->incarnation, .transport = who->transport }, true);
        link = member->links;
        presence_set_toggle(&peer->set, member->device, true);
    }
    link->set = set != 0 ? set : link->set;
    if (member->number != 0)
        return;
    presence_member_enter(presence, member);
    member->since = since;
}

/* The member may be freed. */
static void presence_remote_take(struct presence *presence, struct presence_peer *peer, struct presence_member *member,
                                 struct presence_link **at)
{
    presence_set_toggle(&peer->set, member->device, false);
    presence_link_drop(member, at);
    if (member->links == NULL && !list_is_linked(&member->in_lease))
        presence_member_leave(presence, member);
}

void presence_remote_go(struct presence *presence, struct presence_channel *channel, struct presence_peer *peer,
                        const struct presence_who *who)
{
    struct presence_device *device = presence_device_find(presence, who);
    struct presence_member *member = device == NULL ? NULL : presence_member_find(device, channel);
    struct presence_link  **at     = member == NULL ? NULL : presence_link_find(member, peer->incarnation, true);

    if (at != NULL && *at != NULL)
        presence_remote_take(presence, peer, member, at);
}

/* Slots move while members leave, so they are found by their numbers. */
void presence_remote_drop(struct presence *presence, struct presence_channel *channel, struct presence_peer *peer, uint32_t but)
{
    uint64_t number = 0;

    for (size_t at; (at = presence_slot_behind(channel, number)) < channel->slot_count;) {
        struct presence_member *member = channel->slots[at].member;
        number                         = channel->slots[at].number;
        struct presence_link **link    = member == NULL ? NULL : presence_link_find(member, peer->incarnation, true);
        if (link != NULL && *link != NULL && (but == 0 || (*link)->set != but))
            presence_remote_take(presence, peer, member, link);
    }
}

/* --- turns ------------------------------------------------------------------------------------------------------ */

static void presence_end_leases(struct presence *presence, struct list *leases)
{
    while (!list_is_empty(leases)) {
        struct presence_member *member = container_of(leases->next, struct presence_member, in_lease);
        if (member->until > presence->now)
            return;
        list_take(&member->in_lease);
        presence_say(presence, member, false);
        if (member->links == NULL)
            presence_member_leave(presence, member);
    }
}

static void presence_settle_taken(struct presence *presence)
{
    presence->settle_at = 0;
    for (struct list *at = presence->all.next, *next; at != &presence->all; at = next) {
        next = at->next;
        presence_channel_settle(presence, container_of(at, struct presence_channel, in_all));
    }
}

void presence_tick(struct presence *presence, msec now, msec wall)
{
    must(now >= presence->now);
    presence->now  = now;
    presence->wall = wall;
    presence_end_leases(presence, &presence->cut);
    presence_end_leases(presence, &presence->polled);
    presence_peers_tick(presence);
    if (presence->settle_at != 0 && now >= presence->settle_at)
        presence_settle_taken(presence);
}

void presence_turn_end(struct presence *presence)
{
    if (!presence->is_holding)
        presence_tell(presence);
}

/* --- another process -------------------------------------------------------------------------------------------- */

static bool is_not_told(const struct presence_channel *channel)
{
    return channel->watch_count > 0 && (channel->is_over || channel->is_syncing || !list_is_empty(&channel->changed));
}

void presence_visit_all(const struct presence *presence, const struct presence_visitor *visitor, void *ctx)
{
    for (const struct list *at = presence->all.next; at != &presence->all; at = at->next) {
        const struct presence_channel *channel = container_of(at, struct presence_channel, in_all);
        visitor->channel(ctx, channel->name, is_not_told(channel));
        for (size_t i = 0; i < channel->slot_count; i++) {
            const struct presence_member *member = channel->slots[i].member;
            if (member != NULL && presence_member_is_local(member))
                visitor->member(ctx, &(struct presence_who){ presence_device_user(member->device),
                                                             presence_device_name(member->device), 0, member->transport },
                                member->since);
        }
    }
}

void presence_take_channel(struct presence *presence, struct channel_name *name, bool is_not_told)
{
    presence_channel_get(presence, name)->is_over |= is_not_told;
    presence->settle_at = presence->now + MOVED_STAY_MS;
}

bool presence_take_member(struct presence *presence, struct channel_name *name, const struct presence_who *who, msec since)
{
    struct presence_channel *channel = presence_channel_get(presence, name);
    struct presence_member  *member  = presence_member_get(presence, channel, who);

    if (member == NULL || member->number != 0)
        return false;
    member->transport = who->transport;
    presence_say(presence, member, true);
    presence_member_enter(presence, member);
    member->since = since;
    member->until = presence->now + (presence->limits.return_ms > MOVED_STAY_MS ? presence->limits.return_ms : MOVED_STAY_MS);
    list_push(&presence->cut, &member->in_lease);
    return true;
}

/* A member is found by its channel while it is in the set, and by what is to be told of the channel after that. */
static void presence_channel_empty(struct presence *presence, struct presence_channel *channel)
{
    struct list *at;

    while ((at = list_pop(&channel->changed)) != NULL) {
        struct presence_member *member = container_of(at, struct presence_member, in_changed);
        if (member->number == 0)
            presence_member_free(presence, member);
    }
    for (size_t i = 0; i < channel->slot_count; i++)
        if (channel->slots[i].member != NULL)
            presence_member_free(presence, channel->slots[i].member);
    presence_peers_forget(channel);
    presence_channel_free(presence, channel);
}

void presence_fini(struct presence *presence)
{
    presence_peers_fini(presence);
    while (!list_is_empty(&presence->all))
        presence_channel_empty(presence, container_of(presence->all.next, struct presence_channel, in_all));
    map_fini(&presence->channels);
    map_fini(&presence->devices);
    free(presence->homes);
}
