/* Readers: a few threads that turn rows into pages. */
#include <stdlib.h>

#include "base/must.h"
#include "store/ledger_page.h"
#include "store/page.h"
#include "store/retention.h"
#include "store/rocks_priv.h"

enum { SCAN_ROWS_MAX = 10000 };  /* rows looked at for one page: many expired ones make a short page, not a long wait */

/* A walk over the seqs of a page, away from its bound: `at` counts steps from `start`, up or down. */
struct scan {
    struct rocks                *rocks;
    const struct store_read     *read;
    struct page                 *page;
    rocksdb_iterator_t          *iterator;
    uint64_t                     number, start, step_count, at;
};

static uint64_t scan_seq(const struct scan *scan, uint64_t step)
{
    return scan->read->way == READ_AFTER ? scan->start + step : scan->start - step;
}

static uint64_t scan_step(const struct scan *scan, uint64_t seq)
{
    return scan->read->way == READ_AFTER ? seq - scan->start : scan->start - seq;
}

/* Steps [from, to) are a gap. */
static bool scan_gap(struct scan *scan, uint64_t from, uint64_t to, enum gap_why why)
{
    uint64_t one = scan_seq(scan, from), other = scan_seq(scan, to - 1);

    return page_put_gap(scan->page, one < other ? (struct gap){ one, other, why } : (struct gap){ other, one, why });
}

/* RC_OK: it stands at the first row from that step on, or behind the last; RC_CORRUPT, RC_IO: it can't be read. */
static enum rc scan_seek(struct scan *scan, uint64_t step)
{
    struct row_key key = row_key(scan->number, scan_seq(scan, step));

    if (scan->read->way == READ_AFTER)
        rocksdb_iter_seek(scan->iterator, key.bytes, sizeof key.bytes);
    else
        rocksdb_iter_seek_for_prev(scan->iterator, key.bytes, sizeof key.bytes);
    return rocks_iterator_rc(scan->iterator);
}

static void scan_next(struct scan *scan)
{
    if (scan->read->way == READ_AFTER)
        rocksdb_iter_next(scan->iterator);
    else
        rocksdb_iter_prev(scan->iterator);
}

/* A block can't be read. Finds the first step behind it from which reading works again, by doubling steps and then by
 * halving, and owns up to all before it. */
static enum rc scan_leap(struct scan *scan)
{
    uint64_t bad = scan->at, good = scan->step_count;
    enum rc  rc  = RC_CORRUPT;

    for (uint64_t step = 1; rc == RC_CORRUPT && step < good - bad; step *= 2) {
        rc = scan_seek(scan, bad + step);
        if (rc == RC_CORRUPT)
            bad += step;
        else
            good = bad + step;
    }
    while ((rc == RC_OK || rc == RC_CORRUPT) && good - bad > 1) {
        uint64_t middle = bad + (good - bad) / 2;
        rc              = scan_seek(scan, middle);
        if (rc == RC_CORRUPT)
            bad = middle;
        else
            good = middle;
    }
    if (rc != RC_OK && rc != RC_CORRUPT)
        return rc;
    uint64_t from = scan->at;
    scan->at      = scan_gap(scan, from, good, GAP_CORRUPT) ? good : scan->step_count;
    return scan->at < scan->step_count ? scan_seek(scan, scan->at) : RC_OK;
}

/* False once the page takes no more. */
static bool scan_put_row(struct scan *scan, uint64_t seq)
{
    struct span value;
    struct row  row;

    value.at = rocksdb_iter_value(scan->iterator, &value.len);
    if (!row_get(value, scan->number, seq, &row))
        return scan_gap(scan, scan->at, scan->at + 1, GAP_CORRUPT);
    if (row.kind == ROW_EXPIRED || (row.expires_at != 0 && row.expires_at <= scan->read->wall))
        return scan_gap(scan, scan->at, scan->at + 1, GAP_EXPIRED);
    if (page_is_full(scan->page))
        return false;
    struct message *message = row_message(&row, scan->read->channel, scan->read->epoch, seq);
    page_put_message(scan->page, &message);
    return true;
}

/* One row, with what is missing before it. */
static bool scan_take_row(struct scan *scan)
{
    struct span key;
    uint64_t    number = 0, seq = 0;

    key.at = rocksdb_iter_key(scan->iterator, &key.len);
    must(row_key_get(key, &number, &seq) && number == scan->number);
    uint64_t step = scan_step(scan, seq);
    /* Every seq between floor and head was written: one that isn't there was lost. */
    if (step > scan->at && !scan_gap(scan, scan->at, step, GAP_CORRUPT))
        return false;
    scan->at = step;
    if (!scan_put_row(scan, seq))
        return false;
    scan->at++;
    return true;
}

/* The iterator has no row: is it behind the last one, or can't it read on? */
static enum rc scan_stuck(struct scan *scan)
{
    enum rc rc = rocks_iterator_rc(scan->iterator);

    if (rc == RC_CORRUPT)
        return scan_leap(scan);
    if (rc == RC_OK) {
        scan_gap(scan, scan->at, scan->step_count, GAP_CORRUPT);
        scan->at = scan->step_count;
    }
    return rc;
}

static enum rc scan_run(struct scan *scan)
{
    enum rc rc = scan_seek(scan, 0);

    if (rc == RC_CORRUPT)
        rc = scan_leap(scan);
    for (size_t i = 0; rc == RC_OK && i < SCAN_ROWS_MAX && scan->at < scan->step_count; i++) {
        if (!rocksdb_iter_valid(scan->iterator)) {
            rc = scan_stuck(scan);
        } else {
            if (!scan_take_row(scan))
                break;
            scan_next(scan);
        }
    }
    return rc;
}

/* The kept part of the page: seqs low … high, none below the floor. */
static enum rc page_scan(struct rocks *rocks, struct page *page, const struct rocks_look *look, uint64_t low,
                         uint64_t high)
{
    struct row_key         from = row_key(look->number, low), to = row_key(look->number, high + 1);
    rocksdb_readoptions_t *how = rocksdb_readoptions_create();
    struct scan            scan = {
        .rocks      = rocks,
        .read       = page->read,
        .page       = page,
        .number     = look->number,
        .start      = page->read->way == READ_AFTER ? low : high,
        .step_count = high - low + 1,
    };

    rocksdb_readoptions_set_iterate_lower_bound(how, from.bytes, sizeof from.bytes);
    rocksdb_readoptions_set_iterate_upper_bound(how, to.bytes, sizeof to.bytes);
    scan.iterator = rocksdb_create_iterator_cf(rocks->db.db, how, rocks->db.families[FAMILY_MESSAGES]);
    enum rc rc    = scan_run(&scan);
    rocksdb_iter_destroy(scan.iterator);
    rocksdb_readoptions_destroy(how);
    return rc == RC_OK && scan.at < scan.step_count ? RC_FULL : rc;
}

static enum rc page_fill(struct rocks *rocks, struct page *page, const struct rocks_look *look)
{
    uint64_t   low, high;
    struct gap gone  = { .why = GAP_TRIMMED };
    enum rc    rc    = RC_OK;

    if (!page_range(page->read, &low, &high))
        return RC_OK;
    if (low < look->floor) {
        gone.from = low;
        gone.to   = high < look->floor ? high : look->floor - 1;
        low       = look->floor;
    }
    if (gone.from != 0 && page->read->way == READ_AFTER && !page_put_gap(page, gone))
        return RC_OK;
    if (low <= high)
        rc = page_scan(rocks, page, look, low, high);
    if (rc == RC_OK && gone.from != 0 && page->read->way == READ_BEFORE)
        page_put_gap(page, gone);
    page_finish(page);
    return rc == RC_FULL ? RC_OK : rc;
}

static void read_tell(struct rocks *rocks, struct store_read *read, const struct rocks_look *look)
{
    read->epoch = rocks->epoch;
    read->head  = look->head;
    read->first = look->floor;
    read->bytes = look->bytes;
}

/* Can its floor be told without asking the disk? */
static bool look_is_settled(const struct rocks_look *look, const struct namespace *space, msec wall)
{
    if (space->keep_ms == 0 || look->floor > look->head)
        return true;
    if (space->keep_count != 0 && look->head + 1 - look->floor > space->keep_count)
        return false;
    return look->floor_time != FLOOR_TIME_UNKNOWN && !retention_is_over(space, look->floor_time, wall);
}

static enum rc read_look(struct rocks *rocks, struct store_read *read, const rocksdb_readoptions_t *how,
                         struct rocks_look *ret)
{
    const struct namespace *space = read->channel->space;

    enum rc rc = channel_look(rocks, read->channel, how, ret);
    if (rc != RC_OK)
        return rc;
    if (how == rocks->db.get_cached && !look_is_settled(ret, space, read->wall))
        return RC_BUSY;
    struct rocks_look was = *ret;
    rc                    = look_age(rocks, space, read->wall, ret);
    if (rc == RC_OK && (ret->floor != was.floor || ret->floor_time != was.floor_time))
        channel_raise_floor(rocks, read->channel, &was, ret);
    return rc;
}

static bool page_has_damage(const struct store_read *read)
{
    for (size_t i = 0; i < read->entry_count; i++)
        if (read->entries[i].message == NULL && read->entries[i].gap.why == GAP_CORRUPT)
            return true;
    return false;
}

/* db_lock is held for reading. */
static enum rc read_serve(struct rocks *rocks, struct store_read *read, const rocksdb_readoptions_t *how)
{
    struct rocks_look look = { 0 };
    struct page       page;
    uint64_t          floor;
    bool              is_settled;
    enum rc           rc;

    /* Rows that are missing may have been taken back since we looked for the floor: then look again. It only rises, so
     * this ends. */
    do {
        floor = look.floor;
        rc    = read_look(rocks, read, how, &look);
        if (rc != RC_OK)
            return rc;
        is_settled = look.floor == floor;
        store_read_fini(read);
        read_tell(rocks, read, &look);
        page_init(&page, read);
        rc = page_fill(rocks, &page, &look);
    } while (rc == RC_OK && !is_settled && page_has_damage(read));
    if (rc != RC_OK)
        store_read_fini(read);
    return rc;
}

/* What is known in memory is answered on the spot: each subscribe asks for a head. */
static bool read_at_once(struct rocks *rocks, struct store_read *read)
{
    if (read->limit != 0 || pthread_rwlock_tryrdlock(&rocks->db_lock) != 0)
        return false;
    read->rc = rocks->db.db == NULL ? RC_BUSY : read_serve(rocks, read, rocks->db.get_cached);
    pthread_rwlock_unlock(&rocks->db_lock);
    return read->rc != RC_BUSY;
}

/* False: too many wait already. */
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

/* --- heads, many in one question ---------------------------------------------------------------------------------- */

/* db_lock is held for reading. RC_BUSY: some are not known in memory. */
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

/* The next job, of the kinds in turn. NULL: none waits. */
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

/* Waits for a job. NULL: all is done and the store closes. */
static struct list *read_take(struct read_queue *queue, enum read_job *ret_job)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->count == 0 && !queue->is_closing)
        pthread_cond_wait(&queue->more, &queue->lock);
    struct list *link = queue_pop(queue, ret_job);
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

    for (struct list *link; (link = read_take(&rocks->reads, &job)) != NULL;) {
        switch (job) {
        case READ_JOB_PAGE: read_do_page(rocks, container_of(link, struct store_read, link)); break;
        case READ_JOB_HEADS: read_do_heads(rocks, container_of(link, struct store_heads, link)); break;
        case READ_JOB_LEDGER: read_do_ledger(rocks, container_of(link, struct ledger_read, link)); break;
        case READ_JOB_COUNT: must(!"a job"); break;
        }
    }
    return NULL;
}
