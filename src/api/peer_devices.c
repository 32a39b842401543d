/* peer_devices.c - which devices are there by way of other nodes, and how far their links are in a channel. */
#include <stdio.h>
#include <stdlib.h>

#include "api/peers.h"
#include "base/must.h"
#include "device/device_view.h"

enum { LINK_IS_THERE = 1, LINK_IS_OWN = 2, LINK_IS_PLACED = 4, LINK_IS_SILENT = 8, LINK_IS_TOLD = 16 };

void far_devices_free(struct far_devices *far)
{
    free(far->facts);
    free(far->nodes);
    free(far);
}

/* --- asking --------------------------------------------------------------------------------------------------------------- */

static void put_device_names(struct buf *buf, const struct device_facts *facts)
{
    bus_put_text(buf, span_str(facts->user));
    bus_put_text(buf, span_str(facts->device));
}

static bool read_far_facts(struct span *body, uint64_t *ret_index, struct device_facts *ret)
{
    struct span transport;
    uint64_t    seen, flags;

    *ret = (struct device_facts){ .is_online = true };
    if (!bus_get_number(body, ret_index) || !bus_get_number(body, &ret->generation) ||
        !bus_get_text(body, 64, &transport) || !bus_get_number(body, &ret->key) || !bus_get_number(body, &seen) ||
        !bus_get_number(body, &flags) || !bus_get_number(body, &ret->link.epoch) ||
        !bus_get_number(body, &ret->link.seen))
        return false;
    ret->transport      = peer_transport(transport);
    ret->seen           = (msec)seen;
    ret->is_link_told   = flags & LINK_IS_TOLD;
    ret->link.is_there  = flags & LINK_IS_THERE;
    ret->link.is_own    = flags & LINK_IS_OWN;
    ret->link.is_placed = flags & LINK_IS_PLACED;
    ret->link.is_silent = flags & LINK_IS_SILENT;
    return true;
}

/* A link of an older generation than the ledger knows is one that its node has yet to let go of. */
static void merge_far_facts(struct device_facts *facts, const struct device_facts *far, char node[65], const char *from)
{
    if (far->generation < facts->generation || (node[0] != '\0' && far->generation == facts->generation))
        return;
    facts->is_online    = true;
    facts->transport    = far->transport;
    facts->key          = far->key;
    facts->seen         = far->seen > facts->seen ? far->seen : facts->seen;
    facts->is_link_told = far->is_link_told;
    facts->link         = far->link;
    snprintf(node, 65, "%s", from);
}

static void take_far_answer(struct far_devices *far, const struct peer_answer *answer)
{
    struct device_facts facts;
    struct span         body;
    uint64_t            count, index;

    if (!peer_answer_open(answer, &body) || !bus_get_number(&body, &count))
        return;
    for (; count > 0 && read_far_facts(&body, &index, &facts); count--)
        if (index < far->count)
            merge_far_facts(far->facts[index], &facts, far->nodes[index], answer->node);
}

static void far_devices_told(struct peer_question *asked)
{
    struct far_devices *far = asked->owner;

    for (const struct peer_answer *answer = asked->answers; answer != NULL; answer = answer->next)
        take_far_answer(far, answer);
    far->is_incomplete = peers_are_incomplete(asked);
    command_free(&asked->command);
    far->told(far);
}

static struct far_devices *far_devices_new(struct device_facts **facts, size_t count, void *owner,
                                           void (*told)(struct far_devices *far))
{
    struct far_devices *far = calloc(1, sizeof *far);

    must(far != NULL && count <= DEVICE_VIEW_MAX);
    far->facts = calloc(count + 1, sizeof far->facts[0]);
    far->nodes = calloc(count + 1, sizeof far->nodes[0]);
    must(far->facts != NULL && far->nodes != NULL);
    far->owner = owner;
    far->told  = told;
    for (size_t i = 0; i < count; i++)
        if (!facts[i]->is_online)
            far->facts[far->count++] = facts[i];
    return far;
}

void api_ask_devices(struct api *api, struct channel_name *channel, struct device_facts **facts, size_t count, void *owner,
                     void (*told)(struct far_devices *far))
{
    struct far_devices *far = far_devices_new(facts, count, owner, told);

    if (far->count == 0 || !api_has_peers(api)) {
        told(far);
        return;
    }
    struct peer_question *asked = peers_question_new(PEER_DEVICES, far, far_devices_told);
    bus_put_text(&asked->body, channel == NULL ? SPAN("") : channel_name_span(channel));
    bus_put_number(&asked->body, far->count);
    for (size_t i = 0; i < far->count; i++)
        put_device_names(&asked->body, far->facts[i]);
    shard_ask_peers(api->shard, asked);
}

/* --- being asked ---------------------------------------------------------------------------------------------------------- */

static void put_facts(struct buf *buf, size_t index, const struct device_facts *facts)
{
    const struct link_view *link = &facts->link;

    bus_put_number(buf, index);
    bus_put_number(buf, facts->generation);
    bus_put_text(buf, span_str(facts->transport));
    bus_put_number(buf, facts->key);
    bus_put_number(buf, (uint64_t)facts->seen);
    bus_put_number(buf, (link->is_there ? LINK_IS_THERE : 0) | (link->is_own ? LINK_IS_OWN : 0) |
                            (link->is_placed ? LINK_IS_PLACED : 0) | (link->is_silent ? LINK_IS_SILENT : 0) |
                            (facts->is_link_told ? LINK_IS_TOLD : 0));
    bus_put_number(buf, link->epoch);
    bus_put_number(buf, link->seen);
}

static void peer_devices_viewed(struct device_view *view)
{
    struct peer_call *call  = view->owner;
    size_t            count = 0;

    for (size_t i = 0; i < view->count; i++)
        count += view->at[i].is_online;
    bus_put_number(&call->answer, count);
    for (size_t i = 0; i < view->count; i++)
        if (view->at[i].is_online)
            put_facts(&call->answer, i, &view->at[i]);
    command_free(&view->command);
    peer_call_done(call);
}

static bool read_device_names(struct span *body, struct device_facts *ret)
{
    struct span user, device;

    if (!bus_get_text(body, USER_NAME_BYTES_MAX, &user) || !bus_get_text(body, DEVICE_NAME_BYTES_MAX, &device))
        return false;
    memcpy(ret->user, user.at, user.len);
    memcpy(ret->device, device.at, device.len);
    return true;
}

/* NULL: the body can't be read. */
static struct device_view *read_view(const struct api *api, struct span body)
{
    struct channel_name *channel = NULL;
    struct device_view  *view;
    struct span          name;
    uint64_t             count;
    size_t               i = 0;

    if (!bus_get_text(&body, LISTING_TEXT_MAX, &name) || !bus_get_number(&body, &count) || count > DEVICE_VIEW_MAX ||
        (name.len > 0 && channel_name_new(api->namespaces, api->hash_key, name, &channel) != CHANNEL_NAME_OK))
        return NULL;
    view = device_view_new(api->devices, channel, count);
    channel_name_unref(channel);
    while (i < count && read_device_names(&body, &view->at[i]))
        i++;
    if (i == count)
        return view;
    command_free(&view->command);
    return NULL;
}

void serve_peer_devices(struct api *api, struct peer_call *call, struct span body)
{
    struct device_view *view = read_view(api, body);

    if (view == NULL) {
        peer_call_unreadable(call);
        return;
    }
    view->owner    = call;
    view->answered = peer_devices_viewed;
    shard_ask_view(api->shard, view);
}
