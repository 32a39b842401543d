/* device_list.c - who a user's devices are, and which of them are there. */
#include <stdlib.h>

#include "base/must.h"
#include "device/devices_priv.h"
#include "device/presence.h"

enum { LISTING_ROWS_A_PAGE = 500, LISTING_PAGE_BYTES_MAX = 256 * 1024 };

struct listing_work {
    struct device_read     read;
    struct device_listing *listing;
    struct buf             prefix, after;
};

void listing_work_free(struct device_listing *listing)
{
    struct listing_work *work = listing->work;

    if (work == NULL)
        return;
    buf_fini(&work->prefix);
    buf_fini(&work->after);
    free(work);
    listing->work = NULL;
}

/* A device without a session is known while it follows a channel with presence. */
static void device_listing_add_present(void *ctx, const struct presence_who *who, msec since)
{
    struct device_listing *listing = ctx;
    struct listed_device  *listed;

    for (size_t i = 0; i < listing->count; i++)
        if (span_eq(span_str(listing->at[i].device), who->device))
            return;
    listing->at = reallocarray(listing->at, listing->count + 1, sizeof listing->at[0]);
    must(listing->at != NULL);
    listed  = &listing->at[listing->count++];
    *listed = (struct listed_device){ .key = who->key, .since = since, .seen = listing->devices->writer->wall,
                                      .transport = who->transport, .is_online = true };
    memcpy(listed->device, who->device.at, who->device.len);
}

static void device_listing_end(struct device_listing *listing)
{
    struct writer *writer = listing->devices->writer;

    if (!listing->is_away && listing->devices->presence != NULL)
        presence_user(listing->devices->presence, listing->user, device_listing_add_present, listing);
    listing_work_free(listing);
    writer->port->send(writer->ctx, listing->command.loop, &listing->command);
}

static void device_listing_add(struct device_listing *listing, const struct session_row *row, uint64_t generation,
                        struct span device)
{
    const struct devices  *devices  = listing->devices;
    msec                   wall     = devices->writer->wall;
    const struct standing *standing = standing_find(devices, listing->user, device);
    struct listed_device  *listed;

    listing->at = reallocarray(listing->at, listing->count + 1, sizeof listing->at[0]);
    must(listing->at != NULL);
    listed  = &listing->at[listing->count++];
    *listed = (struct listed_device){ .generation = generation, .since = row->since, .seen = row->seen };
    memcpy(listed->device, device.at, device.len);
    if (standing == NULL)
        return;
    listed->is_online = standing_is_online(devices, standing, wall);
    listed->key       = standing->home == NULL ? 0 : standing->key;
    listed->transport = standing_transport(listing->devices, standing);
    if (standing->home != NULL)
        listed->seen = wall;
    else if (standing->seen > listed->seen)
        listed->seen = standing->seen;
}

static void device_listing_take_row(struct device_listing *listing, const struct ledger_row *row)
{
    const struct devices *devices = listing->devices;
    struct session_row    session;
    struct span           device = row_key_last(row->key);

    if (!session_row_get(row->value, &session) || session.is_ended || device.len > DEVICE_TEXT_MAX)
        return;
    const struct standing *standing = standing_find(devices, listing->user, device);
    bool                   is_there = standing != NULL && standing_is_online(devices, standing, devices->writer->wall);
    if (is_there || session.seen + devices->limits.session_ttl_ms > devices->writer->wall)
        device_listing_add(listing, &session, row->generation, device);
}

static void device_listing_ask(struct listing_work *work);

static void device_listing_came(struct device_read *read)
{
    struct listing_work   *work    = container_of(read, struct listing_work, read);
    struct device_listing *listing = work->listing;

    for (size_t i = 0; read->read.rc == RC_OK && i < read->read.row_count; i++)
        device_listing_take_row(listing, &read->read.rows[i]);
    listing->is_away = read->read.rc != RC_OK && read->read.rc != RC_CORRUPT;
    buf_clear(&work->after);
    buf_put(&work->after, read->read.next);
    ledger_read_fini(&read->read);
    if (work->after.len > 0 && !listing->is_away)
        device_listing_ask(work);
    else
        device_listing_end(listing);
}

static void device_listing_ask(struct listing_work *work)
{
    work->read.came = device_listing_came;
    work->read.read = (struct ledger_read){
        .way = LEDGER_SCAN, .kind = ROW_SESSION, .prefix = buf_span(&work->prefix), .after = buf_span(&work->after),
        .limit = LISTING_ROWS_A_PAGE, .bytes_max = LISTING_PAGE_BYTES_MAX,
    };
    device_read_send(work->listing->devices, &work->read);
}

static void device_listing_add_online(struct standing *standing, void *ctx)
{
    struct device_listing *listing = ctx;
    struct session_row     row     = { .since = standing->since, .seen = standing->seen };

    if (standing->generation != 0 && standing_is_online(listing->devices, standing, listing->devices->writer->wall))
        device_listing_add(listing, &row, standing->generation, standing_device(standing));
}

void device_listing_take(struct command *command, struct writer *writer)
{
    struct device_listing *listing = container_of(command, struct device_listing, command);

    (void)writer;
    if (listing->is_of_node) {
        standings_walk(listing->devices, listing->user, device_listing_add_online, listing);
        device_listing_end(listing);
        return;
    }
    listing->work = calloc(1, sizeof *listing->work);
    must(listing->work != NULL);
    listing->work->listing = listing;
    buf_init(&listing->work->prefix, LEDGER_KEY_BYTES_MAX);
    buf_init(&listing->work->after, LEDGER_KEY_BYTES_MAX);
    row_key_put(&listing->work->prefix, listing->user, SPAN(""));
    device_listing_ask(listing->work);
}
