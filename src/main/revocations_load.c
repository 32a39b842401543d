#include "main/revocations_load.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/must.h"
#include "device/row.h"
#include "device/row_kind.h"
#include "main/control.h"
#include "node/writer.h"
#include "reactor/log.h"
#include "session/link_revoke.h"

enum { ROWS_A_PAGE = 500, PAGE_BYTES = 256 * 1024 };

static void page_begin(struct ledger_read *read, struct span after, msec wall)
{
    *read = (struct ledger_read){
        .way = LEDGER_SCAN, .kind = ROW_REVOCATION, .after = after, .limit = ROWS_A_PAGE, .bytes_max = PAGE_BYTES,
        .wall = wall,
    };
}

/* The key is the kind's name, a 0 byte and the name; the generation is the second. */
static bool read_row(const struct ledger_row *row, struct revocation *ret)
{
    struct span rest = row->key, kind;

    if (!span_cut(&rest, '\0', &kind) || !revoked_kind_read(kind, &ret->kind) || rest.len == 0 ||
        rest.len > REVOKED_NAME_BYTES_MAX)
        return false;
    ret->name   = rest;
    ret->second = row->generation;
    return true;
}

/* --- at the start -------------------------------------------------------------------------------------------- */

/* Waits for answers of a store that has threads of its own. */
struct load {
    pthread_mutex_t    lock;
    pthread_cond_t     came;
    bool               is_done;
    struct ledger_read read;
    struct store_heads heads;
};

static void load_done(struct load *load)
{
    pthread_mutex_lock(&load->lock);
    load->is_done = true;
    pthread_cond_signal(&load->came);
    pthread_mutex_unlock(&load->lock);
}

static void load_read_done(struct ledger_read *read)
{
    load_done(container_of(read, struct load, read));
}

static void load_heads_done(struct store_heads *heads)
{
    load_done(container_of(heads, struct load, heads));
}

static void load_wait(struct load *load)
{
    pthread_mutex_lock(&load->lock);
    while (!load->is_done)
        pthread_cond_wait(&load->came, &load->lock);
    load->is_done = false;
    pthread_mutex_unlock(&load->lock);
}

/* The head is asked for before the rows: what is revoked in between comes twice, and nothing is missed. */
static enum rc load_head(struct load *load, struct store *store, struct channel_name *control, msec wall,
                         struct start *ret_start)
{
    struct store_head head;

    load->heads = (struct store_heads){ .names = &control, .heads = &head, .count = 1, .wall = wall,
                                        .done = load_heads_done };
    store->ops->heads(store, &load->heads);
    load_wait(load);
    if (head.rc == RC_OK)
        *ret_start = (struct start){ START_AFTER, head.head, head.epoch };
    return head.rc;
}

static void take_page(struct revocations *revocations, const struct ledger_read *read)
{
    struct revocation revocation;

    for (size_t i = 0; i < read->row_count; i++)
        if (read_row(&read->rows[i], &revocation))
            revocations_add(revocations, &revocation);
}

/* A row that is damaged is left out: `next` stands behind it. */
static enum rc load_rows(struct load *load, struct store *store, struct revocations *revocations, msec wall)
{
    enum rc            rc = RC_OK;
    struct ledger_read before;
    struct span        after = SPAN("");
    bool               has_before = false;

    do {
        page_begin(&load->read, after, wall);
        load->read.done = load_read_done;
        store->ledger->ops->read(store->ledger, &load->read);
        load_wait(load);
        if (has_before)
            ledger_read_fini(&before);
        take_page(revocations, &load->read);
        if (load->read.rc != RC_OK)
            rc = load->read.rc;
        before     = load->read;
        has_before = true;
        after      = before.next;
    } while (after.len > 0);
    ledger_read_fini(&before);
    return rc;
}

enum rc revocations_load(struct revocations *revocations, struct store *store, struct channel_name *control, msec wall,
                         struct start *ret_start)
{
    struct load load = { .lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER };

    *ret_start = (struct start){ .kind = START_NOW };
    enum rc rc = load_head(&load, store, control, wall, ret_start);
    if (store->ledger == NULL)
        return rc;
    enum rc rows = load_rows(&load, store, revocations, wall);
    return rc == RC_OK ? rows : rc;
}

/* --- again --------------------------------------------------------------------------------------------------- */

/* A page of rows: from the loop to the writer, which asks the ledger; from there to the writer again, and home. */
struct page_of_rows {
    struct command     command;
    struct control    *control;
    struct writer     *writer;     /* NULL: on its way there for the first time */
    struct ledger_read read;
    struct buf         after;
};

static void page_of_rows_free(struct command *command)
{
    struct page_of_rows *page = container_of(command, struct page_of_rows, command);

    ledger_read_fini(&page->read);
    buf_fini(&page->after);
    free(page);
}

static void page_came(struct ledger_read *read)
{
    struct page_of_rows *page = container_of(read, struct page_of_rows, read);
    page->writer->port->post(page->writer->ctx, &page->command);
}

static void page_at_writer(struct command *command, struct writer *writer)
{
    struct page_of_rows *page   = container_of(command, struct page_of_rows, command);
    struct ledger       *ledger = writer->durable.store->ledger;

    if (page->writer != NULL || ledger == NULL) {
        writer->read_count -= page->writer != NULL;
        writer->port->send(writer->ctx, command->loop, command);
        return;
    }
    page->writer = writer;
    writer->read_count++;
    page_begin(&page->read, buf_span(&page->after), writer->wall);
    page->read.done = page_came;
    ledger->ops->read(ledger, &page->read);
}

static void page_send(struct shard *shard, struct page_of_rows *page)
{
    page->writer = NULL;
    shard_ask_question(shard, &page->command);
}

/* Every row is carried out as if it came now: who was let in meanwhile with a token that is revoked is cut off. */
static void page_carry_out(const struct page_of_rows *page)
{
    struct control   *control = page->control;
    struct revocation revocation;

    for (size_t i = 0; i < page->read.row_count; i++) {
        if (!read_row(&page->read.rows[i], &revocation))
            continue;
        revocations_add(control->revocations, &revocation);
        session_worker_revoke(control->sessions, &revocation);
    }
}

/* What is damaged stays so; all else can be read later. */
static void page_at_loop(struct command *command, struct shard *shard)
{
    struct page_of_rows *page    = container_of(command, struct page_of_rows, command);
    const enum rc        rc      = page->read.rc;
    const bool           has_all = rc == RC_OK || rc == RC_CORRUPT;

    shard_end_question(shard);
    page_carry_out(page);
    if (rc != RC_OK)
        LOG(LOG_ERROR, "revocations_unreadable", log_str("why", rc_text(rc)));
    buf_clear(&page->after);
    buf_put(&page->after, page->read.next);
    ledger_read_fini(&page->read);
    page->read = (struct ledger_read){ 0 };
    if (has_all && page->after.len > 0) {
        page_send(shard, page);
        return;
    }
    control_rows_came(page->control, has_all);
    page_of_rows_free(command);
}

static const struct command_kind page_of_rows_kind = {
    .name = "rows", .free = page_of_rows_free, .at_loop = page_at_loop, .at_writer = page_at_writer,
};

void revocations_read_anew(struct shard *shard, struct control *control)
{
    struct page_of_rows *page = calloc(1, sizeof *page);

    must(page != NULL);
    page->command.kind = &page_of_rows_kind;
    page->control      = control;
    buf_init(&page->after, LEDGER_KEY_BYTES_MAX);
    page_send(shard, page);
}
