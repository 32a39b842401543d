/* Pages and listings of the logs. A page takes two questions: where the log begins and ends, then its rows; and
 * more if many of the rows have expired. Where the id of the channel is known, both go in one trip. */
#include <stdlib.h>

#include "base/must.h"
#include "store/pg_priv.h"
#include "store/retention.h"

enum { PHASE_PLACE, PHASE_ROWS, PHASE_NAMES, PHASE_PLACES };

/* Numbers beyond what a seq or a size of ours can be ask for the same as the largest. */
static int64_t i64_most(uint64_t value)
{
    return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

/* --- a page ------------------------------------------------------------------------------------------------------- */

static struct store_read *pg_read_of(const struct pg_lane *lane)
{
    return container_of(lane->request, struct store_read, link);
}

static void send_page_rows(struct pg_lane *lane)
{
    struct store_read  *read     = pg_read_of(lane);
    struct pg_progress *progress = &lane->progress;

    pg_args_clear(&lane->args);
    pg_args_i64(&lane->args, progress->channel);
    pg_args_i64(&lane->args, (int64_t)progress->low);
    pg_args_i64(&lane->args, (int64_t)progress->high);
    pg_args_i64(&lane->args, progress->rows);
    pg_args_i64(&lane->args, i64_most(read->bytes_max));
    pg_args_i64(&lane->args, read->wall);
    lane_send(lane, read->way == READ_AFTER ? SQL_READ_UP : SQL_READ_DOWN);
}

/* A page upwards begins behind its bound, if nothing there was trimmed; so its rows can be asked for before the place is known. The
 * database answers in this order: so all rows up to the head that it tells are there, or gone. */
static void guess_page_rows(struct pg_lane *lane)
{
    const struct store_read *read     = pg_read_of(lane);
    struct pg_progress      *progress = &lane->progress;
    bool                     may      = read->way == READ_AFTER && read->limit > 0 && read->since == 0 && read->until == 0 &&
               read->bound < INT64_MAX;

    progress->guessed = may ? known_find(lane->pg, read->channel) : 0;
    if (progress->guessed == 0)
        return;
    progress->channel = progress->guessed;
    progress->low = read->bound + 1, progress->high = INT64_MAX, progress->rows = read->limit + 1;
    send_page_rows(lane);
}

static void page_read_start(struct pg_lane *lane)
{
    struct store_read      *read  = pg_read_of(lane);
    const struct namespace *space = read->channel->space;

    store_read_fini(read);  /* of an attempt on a connection that was lost */
    lane->phase = PHASE_PLACE;
    pg_args_clear(&lane->args);
    pg_args_bytes(&lane->args, channel_name_span(read->channel));
    pg_args_i64(&lane->args, pg_keep_count(space));
    pg_args_i64(&lane->args, pg_oldest_kept(space, read->wall));
    pg_args_i64(&lane->args, read->since);
    pg_args_i64(&lane->args, read->until);
    lane_send(lane, SQL_PLACE);
    guess_page_rows(lane);
    lane_sync(lane);
}

static void read_answer(struct pg_lane *lane, enum rc rc)
{
    struct store_read *read = pg_read_of(lane);

    if (rc != RC_OK)
        store_read_fini(read);
    read->rc      = rc;
    lane->request = NULL;
    lane_release(lane);
    read->done(read);
}

static void page_read_refuse(struct pg_lane *lane)
{
    read_answer(lane, RC_IO);
}

static void read_take_place(struct pg_lane *lane)
{
    struct store_read *read    = pg_read_of(lane);
    const PGresult    *place   = lane->results[0];
    bool               is_used = !PQgetisnull(place, 0, 1);

    read->epoch             = (uint64_t)pg_i64(place, 0, 0);
    lane->progress.channel  = pg_i64(place, 0, 1);
    read->head              = (uint64_t)pg_i64(place, 0, 2);
    read->first             = is_used ? (uint64_t)pg_i64(place, 0, 3) : 1;
    read->bytes             = read->first > read->head ? 0 : (uint64_t)pg_i64(place, 0, 4);
    if (is_used)
        known_put(lane->pg, read->channel, lane->progress.channel);
    if (read->since != 0)
        read->bound = (is_used ? (uint64_t)pg_i64(place, 0, 6) : 1) - 1;
    if (read->until != 0)
        read->end = is_used ? (uint64_t)pg_i64(place, 0, 7) : 1;
}

static void ask_page_rows(struct pg_lane *lane)
{
    lane->phase = PHASE_ROWS;
    send_page_rows(lane);
    lane_sync(lane);
}

/* The part of the range that retention has removed, at the end of a page downwards or at the start of one upwards. */
static bool page_put_trimmed(struct pg_lane *lane, uint64_t low, uint64_t high)
{
    return low > high || page_put_gap(&lane->progress.page, (struct gap){ low, high, GAP_TRIMMED });
}

static void page_end(struct pg_lane *lane)
{
    page_finish(&lane->progress.page);
    read_answer(lane, RC_OK);
}

/* The rows of the range are all looked at: below them lies what was trimmed. */
static void page_end_down(struct pg_lane *lane, uint64_t low)
{
    struct store_read *read = pg_read_of(lane);
    uint64_t           to   = lane->progress.high;

    if (read->way == READ_BEFORE && low < read->first)
        page_put_trimmed(lane, low, to < read->first ? to : read->first - 1);
    page_end(lane);
}

static void read_take_rows(struct pg_lane *lane, const PGresult *rows);

static void read_begin_rows(struct pg_lane *lane)
{
    struct store_read  *read     = pg_read_of(lane);
    struct pg_progress *progress = &lane->progress;
    uint64_t            low, high;

    page_init(&progress->page, read);
    if (!page_range(read, &low, &high)) {
        page_end(lane);
        return;
    }
    progress->low = low, progress->high = high, progress->rows = read->limit + 1;
    if (read->way == READ_AFTER && low < read->first) {
        uint64_t to = high < read->first ? high : read->first - 1;
        page_put_trimmed(lane, low, to);
        progress->low = to + 1;
    }
    if (progress->low < read->first)
        progress->low = read->first;
    if (progress->low > progress->high)
        page_end_down(lane, low);
    else if (progress->guessed != 0 && progress->guessed == progress->channel && progress->low == read->bound + 1)
        read_take_rows(lane, lane->results[1]);
    else
        ask_page_rows(lane);
}

static struct message *message_at(const PGresult *rows, int i, const struct store_read *read)
{
    struct message_tags tags    = { .event = pg_bytes(rows, i, 9), .collapse_key = pg_bytes(rows, i, 10) };
    struct span         payload = pg_bytes(rows, i, 6);
    struct message     *message = message_new_tagged(read->channel, (enum message_kind)pg_i64(rows, i, 2), payload.at,
                                                     (uint32_t)payload.len, pg_bytes(rows, i, 7), pg_bytes(rows, i, 8),
                                                     &tags);

    message->epoch      = read->epoch;
    message->seq        = (uint64_t)pg_i64(rows, i, 0);
    message->id         = (uint64_t)pg_i64(rows, i, 1);
    message->time       = pg_i64(rows, i, 3);
    message->expires_at = pg_i64(rows, i, 4);
    message->target     = (uint64_t)pg_i64(rows, i, 5);
    return message;
}

/* False: the page takes no more. */
static bool page_put_found(struct pg_lane *lane, const PGresult *rows, int i)
{
    struct store_read *read    = pg_read_of(lane);
    struct page       *page    = &lane->progress.page;
    uint64_t           seq     = (uint64_t)pg_i64(rows, i, 0);
    msec               expires = pg_i64(rows, i, 4);

    if (retention_is_over(read->channel->space, pg_i64(rows, i, 3), read->wall))
        return page_put_gap(page, (struct gap){ seq, seq, GAP_TRIMMED });
    if (expires != 0 && expires <= read->wall)
        return page_put_gap(page, (struct gap){ seq, seq, GAP_EXPIRED });
    if (page_is_full(page))
        return false;
    struct message *message = message_at(rows, i, read);
    page_put_message(page, &message);
    return true;
}

/* Puts a row, and what is missing between it and the one before: a partition was dropped. */
static bool page_put_next(struct pg_lane *lane, const PGresult *rows, int i)
{
    struct pg_progress *progress = &lane->progress;
    uint64_t            seq      = (uint64_t)pg_i64(rows, i, 0);
    bool                is_up    = pg_read_of(lane)->way == READ_AFTER;

    if (!(is_up ? page_put_trimmed(lane, progress->low, seq - 1) : page_put_trimmed(lane, seq + 1, progress->high)) ||
        !page_put_found(lane, rows, i))
        return false;
    if (is_up)
        progress->low = seq + 1;
    else
        progress->high = seq - 1;
    return true;
}

static bool page_is_over(const struct pg_lane *lane)
{
    const struct store_read *read = pg_read_of(lane);

    return page_is_full(&lane->progress.page) && read->entries[read->entry_count - 1].message != NULL;
}

/* Without those that came after the head was told. */
static int rows_count(const PGresult *rows, const struct store_read *read)
{
    int count = PQntuples(rows);

    while (count > 0 && (uint64_t)pg_i64(rows, count - 1, 0) > read->head)
        count--;
    return count;
}

static void read_take_rows(struct pg_lane *lane, const PGresult *rows)
{
    struct store_read  *read     = pg_read_of(lane);
    struct pg_progress *progress = &lane->progress;
    int                 count    = rows_count(rows, read);
    uint64_t            low = 1, high = 0;

    for (int i = 0; i < count; i++)
        if (!page_put_next(lane, rows, i)) {
            page_end(lane);
            return;
        }
    if (page_is_over(lane)) {
        page_end(lane);
        return;
    }
    if (count == 0 && progress->low <= progress->high) {
        page_put_trimmed(lane, progress->low, progress->high);
        if (read->way == READ_AFTER)
            progress->low = progress->high + 1;
        else
            progress->high = progress->low - 1;
    }
    if (progress->low > progress->high) {
        page_range(read, &low, &high);
        page_end_down(lane, low);
        return;
    }
    progress->rows = progress->rows * 2 < READ_ENTRIES_MAX ? progress->rows * 2 : READ_ENTRIES_MAX;
    ask_page_rows(lane);
}

static void page_read_step(struct pg_lane *lane)
{
    if (lane->has_failed) {
        read_answer(lane, RC_IO);
    } else if (lane->phase == PHASE_PLACE) {
        read_take_place(lane);
        read_begin_rows(lane);
    } else {
        read_take_rows(lane, lane->results[0]);
    }
}

const struct pg_work pg_read_work = { page_read_start, page_read_step, page_read_refuse };

/* --- which channels there are ------------------------------------------------------------------------------------- */

void pg_push_place(struct pg_args *args, const struct channel_name *name, msec wall, int64_t at)
{
    pg_push_bytes(args, 0, channel_name_span(name));
    pg_push_i64(args, 1, pg_keep_count(name->space));
    pg_push_i64(args, 2, pg_oldest_kept(name->space, wall));
    pg_push_i64(args, 3, at);
}

static struct store_listing *pg_listing_of(const struct pg_lane *lane)
{
    return container_of(lane->request, struct store_listing, link);
}

static void pg_listing_start(struct pg_lane *lane)
{
    struct store_listing *listing = pg_listing_of(lane);
    struct span           from;
    bool                  is_behind;

    store_listing_fini(listing);  /* of an attempt on a connection that was lost */
    store_listing_begin(listing);
    lane->phase = PHASE_NAMES;
    store_listing_from(listing, &from, &is_behind);
    pg_args_clear(&lane->args);
    pg_args_bytes(&lane->args, from);
    pg_args_i64(&lane->args, is_behind);
    pg_args_i64(&lane->args, (int64_t)listing->limit + 1);
    lane_send(lane, SQL_LIST);
    lane_sync(lane);
}

static void pg_listing_answer(struct pg_lane *lane, enum rc rc)
{
    struct store_listing *listing = pg_listing_of(lane);

    listing->rc = rc;
    if (rc != RC_OK) {
        store_listing_fini(listing);
        store_listing_begin(listing);
    }
    lane->request = NULL;
    lane_release(lane);
    listing->done(listing);
}

static void pg_listing_refuse(struct pg_lane *lane)
{
    pg_listing_answer(lane, RC_IO);
}

/* Channels of a namespace that is no longer configured are left out. */
static void pg_listing_take_names(struct pg_lane *lane)
{
    struct store_listing *listing = pg_listing_of(lane);
    const PGresult       *names   = lane->results[0];
    struct channel_name  *name    = NULL;

    for (int i = 0; i < PQntuples(names); i++) {
        struct span text = pg_bytes(names, i, 0);
        if (!span_starts(text, listing->prefix))
            break;
        if ((uint32_t)i == listing->limit) {
            store_listing_end_at(listing, pg_bytes(names, i - 1, 0));
            break;
        }
        if (channel_name_new(lane->pg->options.spaces, &lane->pg->options.hash_key, text, &name) == CHANNEL_NAME_OK)
            store_listing_add(listing, &name);
    }
    if (listing->count == 0) {
        pg_listing_answer(lane, RC_OK);
        return;
    }
    lane->phase = PHASE_PLACES;
    pg_args_clear(&lane->args);
    pg_args_arrays(&lane->args, "biii");
    for (size_t i = 0; i < listing->count; i++)
        pg_push_place(&lane->args, listing->channels[i].name, listing->wall, (int64_t)i);
    lane_send(lane, SQL_PLACES);
    lane_sync(lane);
}

static void pg_listing_take_places(struct pg_lane *lane)
{
    struct store_listing *listing = pg_listing_of(lane);
    const PGresult       *places  = lane->results[0];

    for (int i = 0; i < PQntuples(places); i++) {
        struct listed_channel *channel = &listing->channels[pg_i64(places, i, 0)];
        channel->epoch                 = (uint64_t)pg_i64(places, i, 1);
        channel->head                  = (uint64_t)pg_i64(places, i, 2);
        channel->first                 = (uint64_t)pg_i64(places, i, 3);
        channel->bytes                 = channel->first > channel->head ? 0 : (uint64_t)pg_i64(places, i, 4);
    }
    pg_listing_answer(lane, RC_OK);
}

static void pg_listing_step(struct pg_lane *lane)
{
    if (lane->has_failed)
        pg_listing_answer(lane, RC_IO);
    else if (lane->phase == PHASE_NAMES)
        pg_listing_take_names(lane);
    else
        pg_listing_take_places(lane);
}

const struct pg_work pg_listing_work = { pg_listing_start, pg_listing_step, pg_listing_refuse };
