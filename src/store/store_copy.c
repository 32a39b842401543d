#include "store/store_copy.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "store/rocks_commit.h"
#include "store/shards.h"
#include "store/store_copy_priv.h"

enum { PAGE_ENTRIES = 500, PAGE_BYTES = 4 << 20, LISTED = 200, WHY_BYTES = 600, DAY_MS = 24 * 3600 * 1000 };

/* --- the source, one request at a time -------------------------------------------------------------------------------------- */

static pthread_mutex_t wait_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t  wait_news = PTHREAD_COND_INITIALIZER;

struct copy_page {
    struct store_read    read;
    struct store_listing listing;
    struct ledger_read   rows;
    bool                 is_done;
};

static void page_done(struct copy_page *page)
{
    pthread_mutex_lock(&wait_lock);
    page->is_done = true;
    pthread_cond_broadcast(&wait_news);
    pthread_mutex_unlock(&wait_lock);
}

static void page_wait(struct copy_page *page)
{
    pthread_mutex_lock(&wait_lock);
    while (!page->is_done)
        pthread_cond_wait(&wait_news, &wait_lock);
    pthread_mutex_unlock(&wait_lock);
}

static void on_copy_read(struct store_read *read)
{
    page_done(container_of(read, struct copy_page, read));
}

static void on_copy_listing(struct store_listing *listing)
{
    page_done(container_of(listing, struct copy_page, listing));
}

static void on_copy_rows(struct ledger_read *rows)
{
    page_done(container_of(rows, struct copy_page, rows));
}

/* --- messages -------------------------------------------------------------------------------------------------------------- */

static int32_t copy_day(const struct message *message)
{
    msec keep_ms = message->channel->space->keep_ms;

    return keep_ms == 0 ? INT32_MAX : (int32_t)((message->time + keep_ms) / DAY_MS);
}

static enum rc days_make(struct copy *copy, const struct store_read *read)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; i < read->entry_count && rc == RC_OK; i++) {
        const struct message *message = read->entries[i].message;
        if (message == NULL || copy_day(message) == copy->day)
            continue;
        copy->day = copy_day(message);
        pg_args_clear(&copy->args);
        pg_args_i64(&copy->args, copy->day);
        rc = target_send(copy, COPY_DAY, NULL);
    }
    return rc;
}

static void message_push(struct copy *copy, const struct message *message)
{
    const int64_t     numbers[] = { (int64_t)message->seq, copy_day(message), (int64_t)message->id, message->kind, message->time,
                                    message->expires_at, (int64_t)message->target };
    const struct span texts[]   = { message_payload(message), message_media(message), message_from(message), message_event(message),
                                    message_collapse_key(message) };

    for (size_t i = 0; i < 7; i++)
        pg_push_i64(&copy->args, 1 + i, numbers[i]);
    for (size_t i = 0; i < 5; i++)
        pg_push_bytes(&copy->args, 8 + i, texts[i]);
    if (message->id > copy->last_id)
        copy->last_id = message->id;
}

static enum rc messages_put(struct copy *copy, const struct store_read *read)
{
    size_t count = 0;

    pg_args_clear(&copy->args);
    pg_args_bytes(&copy->args, channel_name_span(read->channel));
    pg_args_arrays(&copy->args, "iiiiiiibbbbb");
    for (size_t i = 0; i < read->entry_count; i++)
        if (read->entries[i].message != NULL) {
            message_push(copy, read->entries[i].message);
            count++;
        }
    copy->copied.messages += count;
    return count == 0 ? RC_OK : target_send(copy, COPY_MESSAGES, NULL);
}

/* One page of the log behind copy->seq, and how far it reaches. */
static enum rc page_copy(struct copy *copy, const struct listed_channel *channel)
{
    struct copy_page page = { .read = { .channel = channel->name, .way = READ_AFTER, .bound = copy->seq, .limit = PAGE_ENTRIES,
                                        .bytes_max = PAGE_BYTES, .wall = copy->options->wall, .done = on_copy_read } };

    copy->from->ops->read(copy->from, &page.read);
    page_wait(&page);
    enum rc rc = page.read.rc;
    if (rc != RC_OK)
        copy_say(copy, rc, "a log of the source can't be read");
    if (rc == RC_OK)
        rc = days_make(copy, &page.read);
    if (rc == RC_OK)
        rc = target_plain(copy, COPY_BEGIN);
    if (rc == RC_OK)
        rc = messages_put(copy, &page.read);
    copy->seq = page.read.entry_count == 0 ? channel->head : entry_last(&page.read.entries[page.read.entry_count - 1]);
    if (rc == RC_OK)
        rc = copy_commit(copy);
    store_read_fini(&page.read);
    return rc;
}

static enum rc channel_put(struct copy *copy, const struct listed_channel *channel)
{
    pg_args_clear(&copy->args);
    pg_args_bytes(&copy->args, channel_name_span(channel->name));
    pg_args_i64(&copy->args, (int64_t)channel->head);
    pg_args_i64(&copy->args, (int64_t)channel->first);
    pg_args_i64(&copy->args, (int64_t)channel->bytes);
    return target_send(copy, COPY_CHANNEL, NULL);
}

/* --- idempotency keys --------------------------------------------------------------------------------------------------------- */

/* Is the row of FAMILY_KEYS one of this channel's? */
static bool key_is_of(struct span place, uint64_t number, uint64_t *ret_publisher_len)
{
    uint64_t of_number = 0;

    return place.len >= ROW_KEY_BYTES && row_key_get(span_head(place, ROW_KEY_BYTES), &of_number, ret_publisher_len) &&
           of_number == number;
}

/* A damaged row is left out: the source could not answer by it either. */
static void key_push(struct copy *copy, struct span place, struct span value, uint64_t publisher_len)
{
    struct span words = span_skip(place, ROW_KEY_BYTES);
    uint64_t    seen[KEY_COUNT];

    if (publisher_len > words.len || !record_get(value, place, seen, KEY_COUNT))
        return;
    pg_push_bytes(&copy->args, 1, span_head(words, publisher_len));
    pg_push_bytes(&copy->args, 2, span_skip(words, publisher_len));
    const uint64_t numbers[] = { seen[KEY_DIGEST], seen[KEY_EPOCH], seen[KEY_SEQ], seen[KEY_ID], seen[KEY_TIME], seen[KEY_FORGET_AT] };
    for (size_t i = 0; i < 6; i++)
        pg_push_i64(&copy->args, 3 + i, (int64_t)numbers[i]);
    if (seen[KEY_ID] > copy->last_id)
        copy->last_id = seen[KEY_ID];
    copy->copied.keys++;
}

static enum rc keys_send(struct copy *copy, const struct channel_name *name, rocksdb_iterator_t *at, uint64_t number)
{
    size_t   len, count = 0;
    uint64_t publisher_len = 0;

    pg_args_clear(&copy->args);
    pg_args_bytes(&copy->args, channel_name_span(name));
    pg_args_arrays(&copy->args, "bbiiiiii");
    for (; rocksdb_iter_valid(at) && count < PAGE_ENTRIES; count++, rocksdb_iter_next(at)) {
        struct span place = { rocksdb_iter_key(at, &len), 0 };
        place.len         = len;
        if (!key_is_of(place, number, &publisher_len))
            break;
        struct span value = { rocksdb_iter_value(at, &len), 0 };
        value.len         = len;
        key_push(copy, place, value, publisher_len);
    }
    return count == 0 ? RC_GONE : target_send(copy, COPY_KEYS, NULL);
}

/* Within one transaction: a channel's keys are those of one window. */
static enum rc keys_copy(struct copy *copy, struct channel_name *name)
{
    struct rocks        *rocks = rocks_of(copy->from);
    struct channel_state state;
    enum rc              rc = channel_state_get(rocks, name, rocks->db.get, &state);

    if (rc != RC_OK || state.number == 0)
        return rc == RC_OK ? RC_OK : copy_say(copy, rc, "a channel of the source can't be read");
    const struct row_key first = row_key(state.number, 0);
    rocksdb_iterator_t  *at    = rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[FAMILY_KEYS]);
    rocksdb_iter_seek(at, first.bytes, ROW_KEY_BYTES);
    while (rc == RC_OK)
        rc = keys_send(copy, name, at, state.number);
    if (rc == RC_GONE)
        rc = rocks_iterator_rc(&rocks->db, at);
    rocksdb_iter_destroy(at);
    return rc;
}

/* --- channels ------------------------------------------------------------------------------------------------------------------ */

static bool has_slot(const struct copy *copy, unsigned slot)
{
    return slot >= copy->place.first_slot && slot <= copy->place.last_slot;
}

/* The channel is over: the next one begins at its first message. */
static enum rc channel_end(struct copy *copy, struct channel_name *name)
{
    enum rc rc = target_plain(copy, COPY_BEGIN);

    if (rc == RC_OK)
        rc = keys_copy(copy, name);
    buf_clear(&copy->done);
    buf_put(&copy->done, channel_name_span(name));
    copy->seq = 0;
    copy->copied.channels++;
    return rc == RC_OK ? copy_commit(copy) : rc;
}

static enum rc channel_copy(struct copy *copy, const struct listed_channel *channel)
{
    enum rc rc = channel->rc == RC_OK ? channel_put(copy, channel) : copy_say(copy, channel->rc, "a channel of the source is damaged");

    if (copy->seq + 1 < channel->first)
        copy->seq = channel->first - 1;
    while (rc == RC_OK && copy->seq < channel->head)
        rc = page_copy(copy, channel);
    return rc == RC_OK ? channel_end(copy, channel->name) : rc;
}

static enum rc channels_copy(struct copy *copy)
{
    bool    is_last = false;
    enum rc rc      = RC_OK;

    while (rc == RC_OK && !is_last) {
        struct buf       after;
        struct copy_page page = { .listing = { .limit = LISTED, .wall = copy->options->wall, .done = on_copy_listing } };
        buf_init(&after, LISTING_TEXT_MAX);
        buf_put(&after, buf_span(&copy->done));
        page.listing.after = buf_span(&after);
        copy->from->ops->list(copy->from, &page.listing);
        page_wait(&page);
        rc = page.listing.rc == RC_OK ? RC_OK : copy_say(copy, page.listing.rc, "the channels of the source can't be listed");
        for (size_t i = 0; i < page.listing.count && rc == RC_OK; i++)
            if (has_slot(copy, slot_of_channel(channel_name_span(page.listing.channels[i].name))))
                rc = channel_copy(copy, &page.listing.channels[i]);
        is_last = page.listing.reached.len == 0;
        if (!is_last && rc == RC_OK) {
            buf_clear(&copy->done);
            buf_put(&copy->done, buf_span(&page.listing.reached));
        }
        store_listing_fini(&page.listing);
        buf_fini(&after);
    }
    return rc;
}

/* --- rows ----------------------------------------------------------------------------------------------------------------------- */

static enum rc rows_put(struct copy *copy, const struct ledger_read *rows)
{
    enum rc rc    = target_plain(copy, COPY_BEGIN);
    size_t  count = 0;

    pg_args_clear(&copy->args);
    pg_args_i64(&copy->args, copy->kind);
    pg_args_arrays(&copy->args, "biib");
    for (size_t i = 0; i < rows->row_count; i++) {
        if (!has_slot(copy, copy->options->slot_of(&(struct ledger_key){ (uint8_t)copy->kind, rows->rows[i].key })))
            continue;
        count++;
        pg_push_bytes(&copy->args, 1, rows->rows[i].key);
        pg_push_i64(&copy->args, 2, (int64_t)rows->rows[i].generation);
        pg_push_i64(&copy->args, 3, rows->rows[i].expires_at);
        pg_push_bytes(&copy->args, 4, rows->rows[i].value);
    }
    if (rc == RC_OK && count > 0)
        rc = target_send(copy, COPY_ROWS, NULL);
    copy->copied.rows += count;
    buf_clear(&copy->done);
    buf_put(&copy->done, rows->next);
    copy->kind += rows->next.len == 0;
    return rc == RC_OK ? copy_commit(copy) : rc;
}

static enum rc rows_copy(struct copy *copy)
{
    enum rc rc = RC_OK;

    while (rc == RC_OK && copy->kind <= UINT8_MAX) {
        struct buf       after;
        struct copy_page page = { .rows = { .way = LEDGER_SCAN, .kind = (uint8_t)copy->kind, .limit = PAGE_ENTRIES,
                                            .bytes_max = PAGE_BYTES, .wall = copy->options->wall, .done = on_copy_rows } };
        buf_init(&after, LEDGER_KEY_BYTES_MAX);
        buf_put(&after, buf_span(&copy->done));
        page.rows.after = buf_span(&after);
        copy->from->ledger->ops->read(copy->from->ledger, &page.rows);
        page_wait(&page);
        rc = page.rows.rc == RC_OK ? rows_put(copy, &page.rows) : copy_say(copy, page.rows.rc, "rows of the source can't be read");
        ledger_read_fini(&page.rows);
        buf_fini(&after);
    }
    return rc;
}

/* --- beginning and end --------------------------------------------------------------------------------------------------------------- */

static enum rc copy_fill(struct copy *copy)
{
    enum rc rc = copy->kind == 0 ? channels_copy(copy) : RC_OK;

    if (rc == RC_OK && copy->kind == 0) {
        copy->kind = 1;
        buf_clear(&copy->done);
    }
    return rc == RC_OK ? rows_copy(copy) : rc;
}

static enum rc copy_note(struct copy *copy)
{
    enum rc rc = target_plain(copy, COPY_BEGIN);

    return rc == RC_OK ? copy_commit(copy) : rc;
}

/* --- all databases of the target --------------------------------------------------------------------------------------------------- */

enum { NO_DATABASE = SHARDS_MAX };

struct copies {
    const struct store_copy_options *options;
    struct store                    *from;
    struct copy                      at[SHARDS_MAX];
    size_t                           failed;  /* the database that the reason is about; NO_DATABASE: none of them */
    char                            *why;
    size_t                           why_size;
};

/* The epoch of the source names it. */
static enum rc epoch_ask(struct copies *copies, uint64_t *ret_epoch)
{
    const struct rocks_store_options *from = &copies->options->from;
    struct channel_name              *name = NULL;

    must(channel_name_new(from->spaces, &from->hash_key, SPAN("topic:x"), &name) == CHANNEL_NAME_OK);
    struct copy_page page = { .read = { .channel = name, .wall = copies->options->wall, .done = on_copy_read } };
    copies->from->ops->read(copies->from, &page.read);
    page_wait(&page);
    enum rc rc = page.read.rc;
    *ret_epoch = page.read.epoch;
    if (rc != RC_OK)
        snprintf(copies->why, copies->why_size, "the source can't be read");
    store_read_fini(&page.read);
    channel_name_unref(name);
    return rc;
}

/* A namespace without a policy is one that nobody reads: its channels are not listed, so they would be missing without a word. The
 * rows stand in the order of their names; `;` is the byte behind the colon. */
static enum rc copies_check_namespaces(struct copies *copies)
{
    struct rocks       *rocks = rocks_of(copies->from);
    rocksdb_iterator_t *at    = rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[FAMILY_CHANNELS]);
    struct buf          behind;
    enum rc             rc = RC_OK;

    buf_init(&behind, LISTING_TEXT_MAX);
    rocksdb_iter_seek_to_first(at);
    while (rc == RC_OK && rocksdb_iter_valid(at)) {
        struct span text, name = SPAN("");
        text.at = rocksdb_iter_key(at, &text.len);
        span_cut(&text, ':', &name);
        if (namespaces_find(copies->options->from.spaces, name) == NULL) {
            snprintf(copies->why, copies->why_size, "the source has channels of the namespace \"%.*s\", which the configuration does not have: "
                     "say in LONGWIRE_CONFIG which file the server has", SPAN_ARG(name));
            rc = RC_BAD;
        }
        buf_clear(&behind);
        buf_put(&behind, name);
        buf_putc(&behind, ';');
        rocksdb_iter_seek(at, behind.at, behind.len);
    }
    if (rc == RC_OK)
        rc = rocks_iterator_rc(&rocks->db, at);
    rocksdb_iter_destroy(at);
    buf_fini(&behind);
    return rc;
}

static void copies_init(struct copies *copies, uint64_t epoch)
{
    for (size_t i = 0; i < copies->options->to_count; i++) {
        struct copy *copy = &copies->at[i];
        *copy = (struct copy){ .options = copies->options, .from = copies->from, .epoch = epoch, .why = copies->why,
                               .why_size = copies->why_size };
        pg_args_init(&copy->args);
        buf_init(&copy->done, LEDGER_KEY_BYTES_MAX + LISTING_TEXT_MAX);
    }
}

static void copies_fini(struct copies *copies)
{
    for (size_t i = 0; i < copies->options->to_count && copies->at[i].options != NULL; i++) {
        PQfinish(copies->at[i].to);
        pg_args_fini(&copies->at[i].args);
        buf_fini(&copies->at[i].done);
    }
    if (copies->from != NULL)
        copies->from->ops->close(copies->from);
}

typedef enum rc copy_step(struct copy *copy);

/* Those that an earlier run has finished are left out. */
static enum rc each_unfinished(struct copies *copies, copy_step *step)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; i < copies->options->to_count && rc == RC_OK; i++) {
        copies->failed = i;
        if (copies->at[i].state != TARGET_FULL)
            rc = step(&copies->at[i]);
    }
    return rc;
}

static enum rc copies_open(struct copies *copies)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; i < copies->options->to_count && rc == RC_OK; i++) {
        copies->failed = i;
        rc             = target_open(&copies->at[i], copies->options->to[i]);
    }
    return rc;
}

/* A database is released once all are filled. So one that holds something belongs to this copy only if another one is still to be
 * released, and all that is being filled has come to its end. */
static enum rc copies_judge(struct copies *copies)
{
    bool is_ending = false;

    for (size_t i = 0; i < copies->options->to_count; i++)
        is_ending |= copies->at[i].state == TARGET_BEGUN && copies->at[i].kind == COPY_KIND_END;
    for (size_t i = 0; i < copies->options->to_count; i++) {
        copies->failed = i;
        if (copies->at[i].state == TARGET_FULL && !is_ending)
            return target_refuse_full(&copies->at[i]);
    }
    return RC_OK;
}

static enum rc copies_compare_places(struct copies *copies)
{
    struct shard_place places[SHARDS_MAX];
    uint8_t            shard_of_slot[SLOT_COUNT];

    for (size_t i = 0; i < copies->options->to_count; i++)
        places[i] = copies->at[i].place;
    copies->failed = NO_DATABASE;
    return shard_table_make(places, copies->options->to_count, shard_of_slot, copies->why, copies->why_size) ? RC_OK : RC_BAD;
}

/* No database gives an id that another one has got from the source. Each notes the largest, because those that are released forget
 * what they have got. */
static enum rc copies_note_last_id(struct copies *copies)
{
    uint64_t last_id = 0;

    for (size_t i = 0; i < copies->options->to_count; i++)
        if (copies->at[i].last_id > last_id)
            last_id = copies->at[i].last_id;
    for (size_t i = 0; i < copies->options->to_count; i++)
        copies->at[i].last_id = last_id;
    return each_unfinished(copies, copy_note);
}

/* They are numbered by their slots, whatever the order of the list. */
static size_t part_of(const struct copies *copies, const struct copy *copy)
{
    size_t part = 0;

    for (size_t i = 0; i < copies->options->to_count; i++)
        part += copies->at[i].place.first_slot < copy->place.first_slot;
    return part;
}

static enum rc copies_finish(struct copies *copies)
{
    enum rc rc = copies_note_last_id(copies);

    for (size_t i = 0; i < copies->options->to_count && rc == RC_OK; i++) {
        copies->failed = i;
        if (copies->at[i].state == TARGET_BEGUN)
            rc = target_finish(&copies->at[i], part_of(copies, &copies->at[i]), copies->options->to_count);
    }
    return rc;
}

static void copied_add(struct store_copied *sum, const struct store_copied *more)
{
    sum->channels += more->channels;
    sum->messages += more->messages;
    sum->keys += more->keys;
    sum->rows += more->rows;
}

static enum rc copies_fill(struct copies *copies, struct store_copied *ret)
{
    struct store_copied sum = { 0 };
    enum rc             rc  = RC_OK;

    for (size_t i = 0; i < copies->options->to_count && rc == RC_OK; i++) {
        struct copy *copy = &copies->at[i];
        copies->failed    = i;
        copy->before      = sum;
        rc                = copy->state == TARGET_FULL ? target_count(copy, &copy->copied) : copy_fill(copy);
        copied_add(&sum, &copy->copied);
    }
    *ret = sum;
    return rc;
}

static enum rc copies_run(struct copies *copies, struct store_copied *ret)
{
    uint64_t epoch = 0;
    enum rc  rc    = rocks_store_open(&copies->options->from, &copies->from, copies->why, copies->why_size);

    if (rc == RC_OK)
        rc = epoch_ask(copies, &epoch);
    if (rc == RC_OK)
        rc = copies_check_namespaces(copies);
    if (rc != RC_OK)
        return rc;
    copies_init(copies, epoch);
    rc = copies_open(copies);
    if (rc == RC_OK)
        rc = copies_compare_places(copies);
    if (rc == RC_OK)
        rc = copies_judge(copies);
    if (rc == RC_OK)
        rc = each_unfinished(copies, target_go_on);
    if (rc == RC_OK)
        rc = copies_fill(copies, ret);
    return rc == RC_OK ? copies_finish(copies) : rc;
}

/* "database 2 of the list: …", where there are several. */
static void copies_name_failed(const struct copies *copies, const char *what)
{
    if (copies->options->to_count > 1 && copies->failed != NO_DATABASE)
        snprintf(copies->why, copies->why_size, "database %zu of the list: %s", copies->failed + 1, what);
    else
        snprintf(copies->why, copies->why_size, "%s", what);
}

enum rc store_copy(const struct store_copy_options *options, struct store_copied *ret, char *ret_why, size_t why_size)
{
    char           what[WHY_BYTES] = "";
    struct copies *copies          = calloc(1, sizeof *copies);

    must(copies != NULL && options->to_count > 0 && options->to_count <= SHARDS_MAX);
    copies->options  = options;
    copies->failed   = NO_DATABASE;
    copies->why      = what;
    copies->why_size = sizeof what;
    enum rc rc       = copies_run(copies, ret);
    copies_fini(copies);
    copies->why      = ret_why;
    copies->why_size = why_size;
    copies_name_failed(copies, what);
    free(copies);
    return rc;
}
