/* The readers: a few threads that turn rows into pages. */
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "store/ledger_page.h"
#include "store/page.h"
#include "store/retention.h"
#include "store/rocks_priv.h"
#include "store/seq_by_time.h"

/* Whether the floor is known without asking the disk. */
static bool state_floor_is_known(const struct channel_state *state, const struct namespace *space, msec wall)
{
    if (space->keep_ms == 0 || state->floor > state->head)
        return true;
    if (space->keep_count != 0 && state->head + 1 - state->floor > space->keep_count)
        return false;
    return state->floor_time != FLOOR_TIME_UNKNOWN && !retention_is_over(space, state->floor_time, wall);
}

static enum rc read_get_state(struct rocks *rocks, struct store_read *read, const rocksdb_readoptions_t *how,
                              struct channel_state *ret)
{
    const struct namespace *space = read->channel->space;

    enum rc rc = channel_state_get(rocks, read->channel, how, ret);
    if (rc != RC_OK)
        return rc;
    if (how == rocks->db.get_cached && !state_floor_is_known(ret, space, read->wall))
        return RC_BUSY;
    struct channel_state was = *ret;
    rc                       = state_apply_age(rocks, space, read->wall, ret);
    if (rc == RC_OK && (ret->floor != was.floor || ret->floor_time != was.floor_time))
        channel_raise_floor(rocks, read->channel, &was, ret);
    return rc;
}

/* The rows of one channel, asked for their times. */
struct channel_rows {
    struct rocks *rocks;
    uint64_t      number;
};

static enum rc rows_time_at(void *ctx, uint64_t seq, msec *ret)
{
    const struct channel_rows *rows = ctx;

    return row_time(rows->rocks, rows->number, seq, ret);
}

static enum rc read_set_ends(struct rocks *rocks, struct store_read *read, const struct channel_state *state)
{
    struct channel_rows rows = { rocks, state->number };

    read->epoch = rocks->epoch;
    read->head  = state->head;
    read->first = state->floor;
    read->bytes = state->bytes;
    return read_set_times(read, &(struct time_source){ rows_time_at, &rows });
}

static bool page_has_damage(const struct store_read *read)
{
    for (size_t i = 0; i < read->entry_count; i++)
        if (read->entries[i].message == NULL && read->entries[i].gap.why == GAP_CORRUPT)
            return true;
    return false;
}

/* A page whose gaps are certain: what it lacks was lost. */
static void page_note_damage(struct rocks *rocks, const struct store_read *read, uint64_t number)
{
    char place[STORE_DAMAGE_BYTES];

    if (!page_has_damage(read))
        return;
    snprintf(place, sizeof place, "messages of channel number %llu are lost or can't be read",
             (unsigned long long)number);
    damage_notes_add(&rocks->damage, place);
}

enum rc read_serve(struct rocks *rocks, struct store_read *read, const rocksdb_readoptions_t *how)
{
    struct channel_state state = { 0 };
    struct page          page;
    uint64_t             floor;
    bool                 is_settled;
    enum rc              rc;

    /* If rows are missing, compaction may have dropped them because the floor rose after we read it: then the page is
     * made again. The floor only rises, so this ends. */
    do {
        floor = state.floor;
        rc    = read_get_state(rocks, read, how, &state);
        if (rc != RC_OK)
            return rc;
        is_settled = state.floor == floor;
        store_read_fini(read);
        page_init(&page, read);
        rc = read_set_ends(rocks, read, &state);
        if (rc == RC_OK)
            rc = page_fill_rows(rocks, &page, &state);
    } while (rc == RC_OK && !is_settled && page_has_damage(read));
    if (rc != RC_OK)
        store_read_fini(read);
    else
        page_note_damage(rocks, read, state.number);
    return rc;
}

/* Answers from memory, if the head is known there: each subscribe asks for a head. */
static bool read_at_once(struct rocks *rocks, struct store_read *read)
{
    if (read->limit != 0 || pthread_rwlock_tryrdlock(&rocks->db_lock) != 0)
        return false;
    read->rc = rocks->db.db == NULL ? RC_BUSY : read_serve(rocks, read, rocks->db.get_cached);
    pthread_rwlock_unlock(&rocks->db_lock);
    return read->rc != RC_BUSY;
}

/* False: too many requests wait already. */
static bool read_queue_up(struct rocks *rocks, enum read_job job, struct list *link)
{
    struct read_queue *queue = &rocks->reads;

    pthread_mutex_lock(&queue->lock);
    bool has_room = queue->count < rocks->options.read_count_max;
    if (has_room) {
        list_push(&queue->jobs[job], link);
        queue->count++;
        pthread_cond_signal(&queue->more);
    }
    pthread_mutex_unlock(&queue->lock);
    return has_room;
}

void rocks_read(struct store *store, struct store_read *read)
{
    struct rocks *rocks = rocks_of(store);

    store_read_check(read);
    read->entries     = NULL;
    read->entry_count = 0;
    if (!read_at_once(rocks, read)) {
        if (read_queue_up(rocks, READ_JOB_PAGE, &read->link))
            return;
        read->rc = RC_FULL;
    }
    read->done(read);
}

void rocks_ledger_read(struct ledger *ledger, struct ledger_read *read)
{
    struct rocks *rocks = rocks_of_ledger(ledger);

    ledger_read_check(read);
    if (read_queue_up(rocks, READ_JOB_LEDGER, &read->link))
        return;
    ledger_read_refuse(read, RC_FULL);
    read->done(read);
}

void rocks_list(struct store *store, struct store_listing *listing)
{
    store_listing_begin(listing);
    if (read_queue_up(rocks_of(store), READ_JOB_LISTING, &listing->link))
        return;
    listing->rc = RC_FULL;
    listing->done(listing);
}

/* --- heads, many in one question ---------------------------------------------------------------------------------- */

/* db_lock is held for reading. RC_BUSY: some heads are not known in memory. */
static enum rc heads_serve(struct rocks *rocks, struct store_heads *question, const rocksdb_readoptions_t *how)
{
    for (size_t i = 0; i < question->count; i++) {
        struct store_read  read = { .channel = question->names[i], .wall = question->wall };
        struct store_head *head = &question->heads[i];
        head->rc                = rocks->db.db == NULL ? RC_IO : read_serve(rocks, &read, how);
        if (head->rc == RC_BUSY)
            return RC_BUSY;
        head->epoch = read.epoch;
        head->first = read.first;
        head->head  = read.head;
    }
    return RC_OK;
}

static bool heads_at_once(struct rocks *rocks, struct store_heads *question)
{
    if (pthread_rwlock_tryrdlock(&rocks->db_lock) != 0)
        return false;
    enum rc rc = rocks->db.db == NULL ? RC_BUSY : heads_serve(rocks, question, rocks->db.get_cached);
    pthread_rwlock_unlock(&rocks->db_lock);
    return rc == RC_OK;
}

void rocks_heads(struct store *store, struct store_heads *question)
{
    struct rocks *rocks = rocks_of(store);

    must(question->count >= 1 && question->count <= STORE_HEADS_MAX);
    if (!heads_at_once(rocks, question)) {
        if (read_queue_up(rocks, READ_JOB_HEADS, &question->link))
            return;
        for (size_t i = 0; i < question->count; i++)
            question->heads[i].rc = RC_FULL;
    }
    question->done(question);
}

/* --- the readers' threads ----------------------------------------------------------------------------------------- */

/* The next request, from the kinds in turn. NULL: none waits. */
static struct list *queue_pop(struct read_queue *queue, enum read_job *ret_job)
{
    for (unsigned i = 0; i < READ_JOB_COUNT; i++) {
        unsigned job = queue->turn++ % READ_JOB_COUNT;
        if (list_is_empty(&queue->jobs[job]))
            continue;
        *ret_job = (enum read_job)job;
        return list_pop(&queue->jobs[job]);
    }
    return NULL;
}

/* Waits for a request. NULL: all are served and the store closes. */
static struct list *read_take(struct read_queue *queue, enum read_job *ret_job)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->count == 0 && !queue->is_closing)
        pthread_cond_wait(&queue->more, &queue->lock);
    struct list *link = queue_pop(queue, ret_job);
    must((link == NULL) == (queue->count == 0));
    if (link != NULL)
        queue->count--;
    pthread_mutex_unlock(&queue->lock);
    return link;
}

static void read_do_page(struct rocks *rocks, struct store_read *read)
{
    pthread_rwlock_rdlock(&rocks->db_lock);
    read->rc = rocks->db.db == NULL ? RC_IO : read_serve(rocks, read, rocks->db.get);
    pthread_rwlock_unlock(&rocks->db_lock);
    read->done(read);
}

static void read_do_heads(struct rocks *rocks, struct store_heads *question)
{
    pthread_rwlock_rdlock(&rocks->db_lock);
    heads_serve(rocks, question, rocks->db.get);
    pthread_rwlock_unlock(&rocks->db_lock);
    question->done(question);
}

static void read_do_listing(struct rocks *rocks, struct store_listing *listing)
{
    pthread_rwlock_rdlock(&rocks->db_lock);
    listing->rc = rocks->db.db == NULL ? RC_IO : listing_serve(rocks, listing);
    pthread_rwlock_unlock(&rocks->db_lock);
    listing->done(listing);
}

static void read_do_ledger(struct rocks *rocks, struct ledger_read *read)
{
    pthread_rwlock_rdlock(&rocks->db_lock);
    ledger_read_serve(rocks, read);
    pthread_rwlock_unlock(&rocks->db_lock);
    read->done(read);
}

void *rocks_reader(void *context)
{
    struct rocks *rocks = context;
    enum read_job job   = READ_JOB_PAGE;

    rocks_thread = ROCKS_READER;
    rocks_db_count_nothing();
    for (struct list *link; (link = read_take(&rocks->reads, &job)) != NULL;) {
        switch (job) {
        case READ_JOB_PAGE: read_do_page(rocks, container_of(link, struct store_read, link)); break;
        case READ_JOB_HEADS: read_do_heads(rocks, container_of(link, struct store_heads, link)); break;
        case READ_JOB_LISTING: read_do_listing(rocks, container_of(link, struct store_listing, link)); break;
        case READ_JOB_LEDGER: read_do_ledger(rocks, container_of(link, struct ledger_read, link)); break;
        case READ_JOB_COUNT: must(!"a job"); break;
        }
    }
    return NULL;
}
