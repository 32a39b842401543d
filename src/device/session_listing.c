#include "device/session_listing.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device/device_look.h"
#include "device/group_spans.h"

enum { SESSION_PAGE_BYTES_MAX = 256 * 1024 };

struct session_listing_work {
    struct session_listing *listing;
    struct device_read      read;
    char                    after[LEDGER_KEY_BYTES_MAX];
};

static struct session_listing *listing_of(struct command *command)
{
    return container_of(command, struct session_listing, command);
}

static void session_listing_work_free(struct session_listing *listing)
{
    if (listing->work != NULL)
        ledger_read_fini(&listing->work->read.read);
    free(listing->work);
    listing->work = NULL;
}

static void session_listing_free(struct command *command)
{
    struct session_listing *listing = listing_of(command);

    session_listing_work_free(listing);
    free(listing->at);
    free(listing);
}

static void session_listing_answer(struct session_listing *listing, enum session_listing_outcome outcome)
{
    struct writer *writer = listing->devices->writer;

    if (listing->work != NULL)
        listing->devices->looks.listing_count--;
    session_listing_work_free(listing);
    listing->outcome = outcome;
    writer->port->send(writer->ctx, listing->command.loop, &listing->command);
}

/* Of the key of a row: U \0 D. */
static void place_of_key(struct session_listing *listing, struct span key)
{
    struct span device = row_key_last(key), user = span_head(key, key.len - device.len - 1);

    if (user.len <= USER_NAME_BYTES_MAX && device.len <= DEVICE_NAME_BYTES_MAX)
        snprintf(listing->place, sizeof listing->place, "%.*s/%.*s", SPAN_ARG(user), SPAN_ARG(device));
}

static void session_listing_take(struct session_listing *listing, const struct ledger_row *row)
{
    struct device_facts *facts  = &listing->at[listing->count];
    struct span          device = row_key_last(row->key), user = span_head(row->key, row->key.len - device.len - 1);

    if (user.len > USER_NAME_BYTES_MAX || !device_session_of(listing->devices, user, row, facts))
        return;
    device_facts_remember(listing->devices, facts);
    listing->count += facts->is_online || listing->takes_all || !listing->is_of_online;
}

static void session_listing_came(struct device_read *asked)
{
    struct session_listing *listing = container_of(asked, struct session_listing_work, read)->listing;
    struct ledger_read     *read    = &asked->read;

    if (read->rc != RC_OK && read->rc != RC_CORRUPT) {
        session_listing_answer(listing, LISTING_AWAY);
        return;
    }
    listing->at = calloc(read->row_count + 1, sizeof listing->at[0]);
    must(listing->at != NULL);
    for (size_t i = 0; i < read->row_count; i++)
        session_listing_take(listing, &read->rows[i]);
    listing->place[0] = '\0';
    if (read->next.len > 0)
        place_of_key(listing, read->next);
    session_listing_answer(listing, LISTING_DONE);
}

static void session_listing_at_writer(struct command *command, struct writer *writer)
{
    struct session_listing *listing = listing_of(command);
    struct span             device = span_str(listing->place), user = SPAN(""), after = SPAN("");

    (void)writer;
    if (listing->devices->looks.listing_count == SESSION_LISTINGS_AWAY_MAX) {
        session_listing_answer(listing, LISTING_BUSY);
        return;
    }
    listing->devices->looks.listing_count++;
    listing->work = calloc(1, sizeof *listing->work);
    must(listing->work != NULL);
    listing->work->listing = listing;
    if (span_cut(&device, '/', &user))
        after = group_key(user, device, listing->work->after);
    listing->work->read.came = session_listing_came;
    listing->work->read.read = (struct ledger_read){ .way = LEDGER_SCAN, .kind = ROW_SESSION, .after = after,
                                                     .limit = listing->limit, .bytes_max = SESSION_PAGE_BYTES_MAX };
    device_read_send(listing->devices, &listing->work->read);
}

static void session_listing_at_loop(struct command *command, struct shard *shard)
{
    struct session_listing *listing = listing_of(command);

    shard_end_question(shard);
    listing->answered(listing);
}

static const struct command_kind session_listing_kind = {
    .name = "session_listing", .free = session_listing_free, .at_loop = session_listing_at_loop,
    .at_writer = session_listing_at_writer,
};

struct session_listing *session_listing_new(struct devices *devices)
{
    struct session_listing *listing = calloc(1, sizeof *listing);

    must(listing != NULL);
    listing->command.kind = &session_listing_kind;
    listing->devices      = devices;
    return listing;
}

bool session_listing_set_place(struct session_listing *listing, struct span place)
{
    struct span device = place, user = SPAN("");

    if (!span_cut(&device, '/', &user) || !user_name_is_valid(user) || !device_name_is_valid(device))
        return false;
    memcpy(listing->place, place.at, place.len);
    listing->place[place.len] = '\0';
    return true;
}

void shard_list_sessions(struct shard *shard, struct session_listing *listing)
{
    must(listing->limit >= 1 && listing->limit <= SESSION_LISTING_MAX);
    shard_ask_question(shard, &listing->command);
}
