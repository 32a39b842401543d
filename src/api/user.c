/* user.c - GET /v1/users/{user}: the devices of a user that have a session, and those that follow a channel with presence
 * without one. The ledger knows the sessions; each node knows which devices are there by way of it. */
#include <stdlib.h>

#include "api/peers.h"
#include "base/must.h"
#include "device/device_command.h"
#include "device/group_spans.h"
#include "message/user_name.h"

static void put_device(struct buf *buf, struct span user, const struct listed_device *device, const char *node)
{
    struct buf name;

    buf_init(&name, USER_NAME_BYTES_MAX + 1 + DEVICE_NAME_BYTES_MAX);
    buf_put(&name, user);
    buf_putc(&name, '/');
    buf_put(&name, span_str(device->device));
    buf_put_lit(buf, "{\"device\":");
    json_put_string(buf, span_str(device->device));
    buf_put_lit(buf, ",\"session\":");
    if (device->generation != 0) {
        json_put_string(buf, buf_span(&name));
        buf_putf(buf, ",\"generation\":%llu", (unsigned long long)device->generation);
    } else {
        buf_put_lit(buf, "null,\"generation\":null");
    }
    buf_putf(buf, ",\"online\":%s,\"transport\":", device->is_online ? "true" : "false");
    if (device->is_online && device->transport != NULL)
        json_put_string(buf, span_str(device->transport));
    else
        buf_put_lit(buf, "null");
    buf_put_lit(buf, ",\"node\":");
    if (device->is_online)
        json_put_string(buf, span_str(device->node != NULL ? device->node : node));
    else
        buf_put_lit(buf, "null");
    buf_putf(buf, ",\"since\":%lld,\"seen\":%lld}", (long long)device->since, (long long)device->seen);
    buf_fini(&name);
}

static void put_devices_of(struct buf *buf, const struct device_listing *listing, const char *node, bool is_incomplete)
{
    buf_put_lit(buf, "{\"user\":");
    json_put_string(buf, listing->user);
    buf_put_lit(buf, ",\"devices\":[");
    for (size_t i = 0; i < listing->count; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        put_device(buf, listing->user, &listing->at[i], node);
    }
    buf_putc(buf, ']');
    put_incomplete(buf, is_incomplete);
    buf_putc(buf, '}');
}

static void user_finish(struct device_listing *listing, bool is_incomplete)
{
    struct http_exchange *exchange = listing->owner;
    struct api           *api      = exchange->owner;

    if (listing->is_away) {
        http_problem(api->server, exchange, 503, NULL,
                     shard_engine_text(api->shard, NULL, "sessions can't be read just now; come again later"),
                     retry_after(503));
    } else {
        buf_clear(&api->scratch);
        put_devices_of(&api->scratch, listing, api->node, is_incomplete);
        http_answer(api->server, exchange, &(struct http_answer){
            .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
        });
    }
    command_free(&listing->command);
}

/* --- other nodes ------------------------------------------------------------------------------------------------------- */

static bool read_far_device(struct span *body, struct listed_device *ret)
{
    struct span device, transport;
    uint64_t    since, seen;

    *ret = (struct listed_device){ .is_online = true };
    if (!bus_get_text(body, DEVICE_TEXT_MAX, &device) || !bus_get_number(body, &ret->generation) ||
        !bus_get_number(body, &ret->key) || !bus_get_number(body, &since) || !bus_get_number(body, &seen) ||
        !bus_get_text(body, 64, &transport))
        return false;
    memcpy(ret->device, device.at, device.len);
    ret->since     = (msec)since;
    ret->seen      = (msec)seen;
    ret->transport = peer_transport(transport);
    return true;
}

/* A link of an older generation is one that its node has yet to let go of. */
static void merge_far_device(struct device_listing *listing, const struct listed_device *far)
{
    for (size_t i = 0; i < listing->count; i++) {
        struct listed_device *own = &listing->at[i];
        if (strcmp(own->device, far->device) != 0)
            continue;
        if (far->generation < own->generation || (own->is_online && far->generation == own->generation))
            return;
        msec since = own->generation != 0 ? own->since : far->since;
        *own       = *far;
        own->since = since;
        return;
    }
    listing->at = reallocarray(listing->at, listing->count + 1, sizeof listing->at[0]);
    must(listing->at != NULL);
    listing->at[listing->count++] = *far;
}

static void merge_far_devices(struct device_listing *listing, const struct peer_answer *answer)
{
    struct listed_device far;
    struct span          body;
    uint64_t             count;

    if (!peer_answer_open(answer, &body) || !bus_get_number(&body, &count))
        return;
    for (; count > 0 && read_far_device(&body, &far); count--) {
        far.node = answer->node;
        merge_far_device(listing, &far);
    }
}

static void user_told(struct peer_question *asked)
{
    struct device_listing *listing = asked->owner;

    for (const struct peer_answer *answer = asked->answers; answer != NULL; answer = answer->next)
        merge_far_devices(listing, answer);
    user_finish(listing, peers_are_incomplete(asked));
    command_free(&asked->command);
}

static void user_answered(struct device_listing *listing)
{
    struct http_exchange *exchange = listing->owner;
    struct api           *api      = exchange->owner;

    if (listing->is_away || !api_has_peers(api)) {
        user_finish(listing, false);
        return;
    }
    struct peer_question *asked = peers_question_new(PEER_USERS, listing, user_told);
    bus_put_number(&asked->body, PEER_USER_DEVICES);
    bus_put_text(&asked->body, listing->user);
    shard_ask_peers(api->shard, asked);
}

static void put_far_device(struct buf *buf, const struct listed_device *device)
{
    bus_put_text(buf, span_str(device->device));
    bus_put_number(buf, device->generation);
    bus_put_number(buf, device->key);
    bus_put_number(buf, (uint64_t)device->since);
    bus_put_number(buf, (uint64_t)device->seen);
    bus_put_text(buf, span_str(device->transport));
}

static void peer_user_listed(struct device_listing *listing)
{
    struct peer_call *call = listing->owner;

    bus_put_number(&call->answer, listing->count);
    for (size_t i = 0; i < listing->count; i++)
        put_far_device(&call->answer, &listing->at[i]);
    command_free(&listing->command);
    peer_call_done(call);
}

static void serve_peer_user(struct api *api, struct peer_call *call, struct span body)
{
    struct span user;

    if (!bus_get_text(&body, USER_NAME_BYTES_MAX, &user)) {
        peer_call_unreadable(call);
        return;
    }
    struct device_listing *listing = device_listing_new(api->devices, user);
    listing->is_of_node            = true;
    listing->owner                 = call;
    listing->answered              = peer_user_listed;
    shard_send_own(api->shard, &listing->command);
}

void serve_peer_users(struct api *api, struct peer_call *call, struct span body)
{
    uint64_t what;

    if (!bus_get_number(&body, &what))
        peer_call_unreadable(call);
    else if (what == PEER_USER_DEVICES)
        serve_peer_user(api, call, body);
    else if (what == PEER_USERS_PRESENT)
        serve_peer_presence(api, call, body);
    else
        peer_call_unreadable(call);
}

/* --- the call ---------------------------------------------------------------------------------------------------------- */

void serve_user(struct call *call)
{
    struct channel_name *user = call_user(call, 2);

    if (user == NULL)
        return;
    if (call_passes(call, may(call->identity, user, ACTION_USER)) && call_knows_query(call, KNOWN_NO_WORDS)) {
        struct device_listing *listing = device_listing_new(call->api->devices, channel_own_name(user));
        listing->owner                 = call->exchange;
        listing->answered              = user_answered;
        shard_send_own(call->api->shard, &listing->command);
    }
    channel_name_unref(user);
}
