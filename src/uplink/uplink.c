#include "uplink/uplink.h"

static void uplink_request(void *ctx, struct request_command *command)
{
    struct uplink *uplink = ctx;
    requests_take(&uplink->requests, command);
}

static void uplink_committed(void *ctx, struct message *message)
{
    (void)ctx;
    (void)message;
}

static void uplink_turn_end(void *ctx)
{
    struct uplink *uplink = ctx;
    requests_turn_end(&uplink->requests);
}

static void uplink_tick(void *ctx)
{
    struct uplink *uplink = ctx;
    requests_tick(&uplink->requests);
}

static bool uplink_is_idle(void *ctx)
{
    struct uplink *uplink = ctx;
    return requests_is_idle(&uplink->requests);
}

const struct uplink_port uplink_port = {
    .request = uplink_request, .committed = uplink_committed, .turn_end = uplink_turn_end, .tick = uplink_tick,
    .is_idle = uplink_is_idle,
};

void uplink_init(struct uplink *uplink, const struct requests_setup *setup, const struct requests_limits *limits)
{
    requests_init(&uplink->requests, setup, limits);
}

void uplink_fini(struct uplink *uplink)
{
    requests_fini(&uplink->requests);
}

void uplink_turn_begin(struct uplink *uplink, msec now)
{
    requests_turn_begin(&uplink->requests, now);
}

void uplink_hurry(struct uplink *uplink)
{
    uplink->requests.is_hurried = true;
}

void uplink_stop(struct uplink *uplink)
{
    requests_stop(&uplink->requests);
}
