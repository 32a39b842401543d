#include "device/device_command.h"

#include <stdlib.h>

#include "base/must.h"
#include "base/span_keep.h"
#include "device/open_work.h"
#include "node/shard.h"

/* --- session_open --- */

void session_places_free(struct session_place *places, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        channel_name_unref(places[i].name);
        free(places[i].spans);
    }
    free(places);
}

static void session_open_free(struct command *command)
{
    struct session_open *open = container_of(command, struct session_open, command);

    open_work_free(open);
    session_places_free(open->named, open->named_count);
    session_places_free(open->places, open->place_count);
    free(open);
}

static void session_open_home(struct command *command, struct shard *shard)
{
    struct session_open *open = container_of(command, struct session_open, command);

    (void)shard;
    open->answered(open);
}

static const struct command_kind session_open_kind = {
    .name = "session_open", .free = session_open_free, .at_loop = session_open_home, .at_writer = device_open_take,
};

struct session_open *session_open_new(struct devices *devices, struct span user, struct span device,
                                      struct span device_class)
{
    struct session_open *open = calloc(1, sizeof *open + user.len + device.len + device_class.len);

    must(open != NULL);
    char *at           = open->words;
    open->command.kind = &session_open_kind;
    open->devices      = devices;
    open->user         = span_keep(user, &at);
    open->device       = span_keep(device, &at);
    open->device_class = span_keep(device_class, &at);
    return open;
}

/* --- session_abandon --- */

static void session_abandon_free(struct command *command)
{
    free(container_of(command, struct session_abandon, command));
}

static const struct command_kind session_abandon_kind = {
    .name = "session_abandon", .free = session_abandon_free, .at_writer = device_abandon_take,
};

struct session_abandon *session_abandon_new(const struct session_open *open)
{
    struct session_abandon *abandon = calloc(1, sizeof *abandon + open->user.len + open->device.len);

    must(abandon != NULL);
    char *at              = abandon->words;
    abandon->command.kind = &session_abandon_kind;
    abandon->devices      = open->devices;
    abandon->home         = open->home;
    abandon->key          = open->key;
    abandon->user         = span_keep(open->user, &at);
    abandon->device       = span_keep(open->device, &at);
    return abandon;
}

/* --- session_close --- */

static void session_close_free(struct command *command)
{
    struct session_close *close = container_of(command, struct session_close, command);

    session_places_free(close->delivered, close->delivered_count);
    free(close);
}

static const struct command_kind session_close_kind = {
    .name = "session_close", .free = session_close_free, .at_writer = device_close_take,
};

struct session_close *session_close_new(struct devices *devices, struct standing *standing, uint64_t key,
                                        uint64_t generation)
{
    struct session_close *close = calloc(1, sizeof *close);

    must(close != NULL);
    close->command.kind = &session_close_kind;
    close->devices      = devices;
    close->standing     = standing;
    close->key          = key;
    close->generation   = generation;
    return close;
}

/* --- session_acks --- */

static void session_acks_free(struct command *command)
{
    struct session_acks *acks = container_of(command, struct session_acks, command);

    for (size_t i = 0; i < acks->count; i++)
        channel_name_unref(acks->acks[i].name);
    free(acks);
}

static const struct command_kind session_acks_kind = {
    .name = "session_acks", .free = session_acks_free, .at_writer = device_acks_take,
};

struct session_acks *session_acks_new(struct devices *devices)
{
    struct session_acks *acks = malloc(sizeof *acks);  /* not zeroed: most of it is often not touched */

    must(acks != NULL);
    acks->command = (struct command){ .kind = &session_acks_kind };
    acks->devices = devices;
    acks->count   = 0;
    return acks;
}

/* --- session_fence --- */

static void session_fence_free(struct command *command)
{
    struct session_fence *fence = container_of(command, struct session_fence, command);

    channel_name_unref(fence->channel);
    free(fence);
}

static void session_fence_at_loop(struct command *command, struct shard *shard)
{
    struct session_fence *fence = container_of(command, struct session_fence, command);

    fence->home->fence(fence->home, fence->key, fence->reason);
    shard_send_own(shard, command);
}

static void session_fence_back(struct command *command, struct writer *writer)
{
    struct session_fence *fence = container_of(command, struct session_fence, command);

    (void)writer;
    if (fence->wait != NULL)
        fence->wait->over(fence->wait);
    device_link_told(fence->devices, fence->channel, fence->key);
    session_fence_free(command);
}

static const struct command_kind session_fence_kind = {
    .name = "session_fence", .free = session_fence_free, .at_loop = session_fence_at_loop,
    .at_writer = session_fence_back,
};

void session_fence_send(struct devices *devices, const struct standing *standing, enum fence_reason reason, struct fence_wait *wait)
{
    struct session_fence *fence = calloc(1, sizeof *fence);

    must(fence != NULL);
    fence->command.kind = &session_fence_kind;
    fence->devices      = devices;
    fence->home         = standing->home;
    fence->channel      = channel_name_ref(standing->channel);
    fence->key          = standing->key;
    fence->reason       = reason;
    fence->wait         = wait;
    devices->writer->port->send(devices->writer->ctx, standing->home->loop, &fence->command);
}

/* --- device_listing --- */

static void device_listing_free(struct command *command)
{
    struct device_listing *listing = container_of(command, struct device_listing, command);

    listing_work_free(listing);
    free(listing->at);
    free(listing);
}

static void device_listing_home(struct command *command, struct shard *shard)
{
    struct device_listing *listing = container_of(command, struct device_listing, command);

    (void)shard;
    listing->answered(listing);
}

static const struct command_kind device_listing_kind = {
    .name = "device_listing", .free = device_listing_free, .at_loop = device_listing_home,
    .at_writer = device_listing_take,
};

struct device_listing *device_listing_new(struct devices *devices, struct span user)
{
    struct device_listing *listing = calloc(1, sizeof *listing + user.len);

    must(listing != NULL);
    char *at              = listing->words;
    listing->command.kind = &device_listing_kind;
    listing->devices      = devices;
    listing->user         = span_keep(user, &at);
    return listing;
}
