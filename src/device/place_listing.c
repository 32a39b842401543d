#include "device/place_listing.h"

#include <stdlib.h>

#include "base/must.h"
#include "device/devices_priv.h"

enum { PLACE_PAGE_BYTES = 256 * 1024 };

struct place_listing_work {
    struct device_read    read;
    struct device_heads   heads;
    struct place_listing *listing;
    struct buf            prefix, after;
    bool                  is_memory;     /* the heads under way are of the memory store */
    size_t                asked_count;
    struct channel_name  *names[PLACE_LISTING_MAX];  /* borrowed from the listing */
    size_t                asked[PLACE_LISTING_MAX];  /* whose they are */
    struct store_head     found[PLACE_LISTING_MAX];
    size_t                group_count, group_at;     /* places in groups; of them, those whose rows were read */
    size_t                groups[PLACE_LISTING_MAX]; /* in `at` of the listing */
    struct ledger_key     keys[PLACE_LISTING_MAX];
    struct buf            key_bytes;
};

static void place_listing_work_free(struct place_listing *listing)
{
    if (listing->work == NULL)
        return;
    buf_fini(&listing->work->prefix);
    buf_fini(&listing->work->after);
    buf_fini(&listing->work->key_bytes);
    free(listing->work);
    listing->work = NULL;
}

static void place_listing_end(struct place_listing *listing)
{
    struct writer *writer = listing->devices->writer;

    place_listing_work_free(listing);
    writer->port->send(writer->ctx, listing->command.loop, &listing->command);
}

/* --- heads ------------------------------------------------------------------------------------------------------ */

static void place_listing_ask_heads(struct place_listing_work *work);

/* The durable store is asked first, then that in memory. */
static void place_listing_heads_came(struct device_heads *heads)
{
    struct place_listing_work *work    = container_of(heads, struct place_listing_work, heads);
    struct place_listing      *listing = work->listing;

    for (size_t i = 0; i < work->asked_count; i++) {
        if (work->found[i].rc != RC_OK)
            continue;
        listing->at[work->asked[i]].head_epoch = work->found[i].epoch;
        listing->at[work->asked[i]].head       = work->found[i].head;
    }
    if (work->is_memory) {
        place_listing_end(listing);
        return;
    }
    work->is_memory = true;
    place_listing_ask_heads(work);
}

static void place_listing_ask_heads(struct place_listing_work *work)
{
    struct place_listing *listing = work->listing;
    const struct writer  *writer  = listing->devices->writer;

    work->asked_count = 0;
    for (size_t i = 0; i < listing->count; i++) {
        if ((listing->at[i].name->space->durability != DURABLE) != work->is_memory)
            continue;
        work->names[work->asked_count]   = listing->at[i].name;
        work->asked[work->asked_count++] = i;
    }
    if (work->asked_count == 0) {
        place_listing_heads_came(&work->heads);
        return;
    }
    work->heads.came  = place_listing_heads_came;
    work->heads.heads = (struct store_heads){ .names = work->names, .heads = work->found, .count = work->asked_count };
    device_heads_send(listing->devices, work->is_memory ? writer->memory.store : writer->durable.store, &work->heads);
}

/* --- groups that the user has left -------------------------------------------------------------------------------
 *
 * Their places stay, for devices that have yet to read what is theirs of the group. What came later is no lag. */

static void place_listing_ask_groups(struct place_listing_work *work);

static void take_membership(struct listed_place *place, const struct ledger_row *row)
{
    struct group_spans spans = { .count = 0 };

    if (row->generation != 0 && (!group_spans_get(row->value, &spans) || group_spans_is_member(&spans)))
        return;
    const struct group_span *end = spans.count == 0 ? NULL : &spans.spans[spans.count - 1];
    place->is_left = true;
    place->last    = end != NULL && end->epoch == place->epoch && end->until > place->seq ? end->until : place->seq;
}

/* A row that is damaged is left out. */
static void place_listing_groups_came(struct device_read *read)
{
    struct place_listing_work *work    = container_of(read, struct place_listing_work, read);
    struct place_listing      *listing = work->listing;

    listing->is_away = read->read.rc != RC_OK && read->read.rc != RC_CORRUPT;
    for (size_t i = 0; read->read.rc == RC_OK && i < read->read.row_count; i++)
        take_membership(&listing->at[work->groups[work->group_at + i]], &read->read.rows[i]);
    work->group_at += read->read.rc == RC_OK && read->read.row_count > 0 ? read->read.row_count : 1;
    ledger_read_fini(&read->read);
    if (listing->is_away)
        place_listing_end(listing);
    else
        place_listing_ask_groups(work);
}

static void place_listing_ask_groups(struct place_listing_work *work)
{
    if (work->group_at >= work->group_count) {
        place_listing_ask_heads(work);
        return;
    }
    work->read.came = place_listing_groups_came;
    work->read.read = (struct ledger_read){
        .way = LEDGER_GET, .keys = work->keys + work->group_at, .key_count = work->group_count - work->group_at,
        .bytes_max = PLACE_PAGE_BYTES,
    };
    device_read_send(work->listing->devices, &work->read);
}

static void place_listing_find_groups(struct place_listing_work *work)
{
    struct place_listing *listing = work->listing;
    char                  space[LEDGER_KEY_BYTES_MAX];

    /* It never moves: keys point into it. */
    must(buf_extend(&work->key_bytes, listing->count * LEDGER_KEY_BYTES_MAX + 1) != NULL);
    work->key_bytes.len = 0;
    for (size_t i = 0; i < listing->count; i++) {
        if (!span_starts(channel_name_span(listing->at[i].name), SPAN("group:")))
            continue;
        const struct span key  = group_key(listing->user, channel_own_name(listing->at[i].name), space);
        const size_t      from = work->key_bytes.len;
        buf_put(&work->key_bytes, key);
        work->keys[work->group_count]     = (struct ledger_key){ ROW_GROUP, span_of(work->key_bytes.at + from, key.len) };
        work->groups[work->group_count++] = i;
    }
    place_listing_ask_groups(work);
}

/* --- rows ------------------------------------------------------------------------------------------------------- */

/* device · channel, or channel. A row that can't be read, or of a namespace that is gone, is passed over. */
static void place_listing_take_row(struct place_listing *listing, const struct ledger_row *row)
{
    struct listed_place *place   = &listing->at[listing->count];
    struct span          tail    = span_skip(row->key, listing->user.len + 1), device = SPAN("");
    struct span          channel = row_key_last(row->key);
    struct place_row     value;

    if (!listing->is_of_marks && tail.len > channel.len)
        device = span_head(tail, tail.len - channel.len - 1);
    *place = (struct listed_place){ 0 };
    if (device.len > DEVICE_TEXT_MAX || !place_row_get(row->value, &value) ||
        channel_name_new(listing->devices->namespaces, listing->devices->hash_key, channel, &place->name) != CHANNEL_NAME_OK)
        return;
    if (device.len > 0)
        memcpy(place->device, device.at, device.len);
    place->epoch   = value.epoch;
    place->seq     = listing->is_of_marks ? row->generation : row->generation - 1;
    place->wall    = value.wall;
    place->is_kept = value.is_kept;
    listing->count++;
}

static void place_listing_rows_came(struct device_read *read)
{
    struct place_listing_work *work    = container_of(read, struct place_listing_work, read);
    struct place_listing      *listing = work->listing;
    struct span                next    = read->read.next;

    listing->is_away = read->read.rc != RC_OK && read->read.rc != RC_CORRUPT;
    listing->at      = calloc(read->read.row_count + 1, sizeof listing->at[0]);
    must(listing->at != NULL);
    for (size_t i = 0; !listing->is_away && i < read->read.row_count; i++)
        place_listing_take_row(listing, &read->read.rows[i]);
    if (next.len > listing->user.len + 1) {
        next = span_skip(next, listing->user.len + 1);
        memcpy(listing->more, next.at, next.len);
        listing->next = span_of(listing->more, next.len);
    }
    ledger_read_fini(&read->read);
    if (listing->is_away)
        place_listing_end(listing);
    else
        place_listing_find_groups(work);
}

static void place_listing_take(struct command *command, struct writer *writer)
{
    struct place_listing      *listing = container_of(command, struct place_listing, command);
    struct place_listing_work *work    = calloc(1, sizeof *work);

    (void)writer;
    must(work != NULL);
    listing->work = work;
    work->listing = listing;
    buf_init(&work->prefix, LEDGER_KEY_BYTES_MAX);
    buf_init(&work->after, 2 * LEDGER_KEY_BYTES_MAX);
    buf_init(&work->key_bytes, SIZE_MAX / 2);
    row_key_put(&work->prefix, listing->user, SPAN(""));
    if (listing->after.len > 0) {
        buf_put(&work->after, buf_span(&work->prefix));
        buf_put(&work->after, listing->after);
    }
    work->read.came = place_listing_rows_came;
    work->read.read = (struct ledger_read){
        .way = LEDGER_SCAN, .kind = listing->is_of_marks ? ROW_READ_MARK : ROW_PLACE, .prefix = buf_span(&work->prefix),
        .after = buf_span(&work->after), .limit = listing->limit, .bytes_max = PLACE_PAGE_BYTES,
    };
    device_read_send(listing->devices, &work->read);
}

/* --- the command ------------------------------------------------------------------------------------------------ */

static void place_listing_free(struct command *command)
{
    struct place_listing *listing = container_of(command, struct place_listing, command);

    place_listing_work_free(listing);
    for (size_t i = 0; i < listing->count; i++)
        channel_name_unref(listing->at[i].name);
    free(listing->at);
    free(listing);
}

static void place_listing_home(struct command *command, struct shard *shard)
{
    struct place_listing *listing = container_of(command, struct place_listing, command);

    (void)shard;
    listing->answered(listing);
}

static const struct command_kind place_listing_kind = {
    .name = "place_listing", .free = place_listing_free, .at_loop = place_listing_home, .at_writer = place_listing_take,
};

struct place_listing *place_listing_new(struct devices *devices, struct span user, bool is_of_marks, struct span after,
                                        uint32_t limit)
{
    struct place_listing *listing = calloc(1, sizeof *listing + user.len + after.len);

    must(listing != NULL && limit > 0 && limit <= PLACE_LISTING_MAX && after.len <= LEDGER_KEY_BYTES_MAX / 2);
    listing->command.kind = &place_listing_kind;
    listing->devices      = devices;
    listing->is_of_marks  = is_of_marks;
    listing->limit        = limit;
    memcpy(listing->words, user.at, user.len);
    listing->user = span_of(listing->words, user.len);
    if (after.len > 0)
        memcpy(listing->words + user.len, after.at, after.len);
    listing->after = span_of(listing->words + user.len, after.len);
    return listing;
}
