/* user.c - GET /v1/users/{user}: the devices of a user that have a session, and those that follow a channel with presence
 * without one. */
#include "api/call.h"
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
        json_put_string(buf, span_str(node));
    else
        buf_put_lit(buf, "null");
    buf_putf(buf, ",\"since\":%lld,\"seen\":%lld}", (long long)device->since, (long long)device->seen);
    buf_fini(&name);
}

static void put_devices_of(struct buf *buf, const struct device_listing *listing, const char *node)
{
    buf_put_lit(buf, "{\"user\":");
    json_put_string(buf, listing->user);
    buf_put_lit(buf, ",\"devices\":[");
    for (size_t i = 0; i < listing->count; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        put_device(buf, listing->user, &listing->at[i], node);
    }
    buf_put_lit(buf, "]}");
}

static void user_answered(struct device_listing *listing)
{
    struct http_exchange *exchange = listing->owner;
    struct api           *api      = exchange->owner;

    if (listing->is_away) {
        http_problem(api->server, exchange, 503, NULL,
                     shard_engine_text(api->shard, NULL, "sessions can't be read just now; come again later"),
                     retry_after(503));
    } else {
        buf_clear(&api->scratch);
        put_devices_of(&api->scratch, listing, api->node);
        http_answer(api->server, exchange, &(struct http_answer){
            .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
        });
    }
    command_free(&listing->command);
}

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
