/* redis_read.c - pages, heads and listings. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "store/page.h"
#include "store/redis_priv.h"

enum { READ_ARGS = 6, LIST_ARGS = 4, READ_ELEMENTS = 8, LISTED_FIELDS = 5 };

struct read_task {
    struct redis_store *store;
    struct store_read  *read;      /* or … */
    struct store_heads *question;
    size_t              unanswered;
};

/* --- pages ------------------------------------------------------------------------------------------------------------ */

static uint64_t reply_number(const redisReply *array, size_t at)
{
    return at < array->elements && array->element[at]->type == REDIS_REPLY_INTEGER ? (uint64_t)array->element[at]->integer : 0;
}

/* False once the page takes no more. */
static bool page_put_record(struct page *page, const redisReply *item, uint64_t seq)
{
    struct store_read *read    = page->read;
    struct message    *message = redis_record_get(redis_text(item), read->channel, read->epoch, seq);
    bool               goes_on = false;

    if (message == NULL)
        return page_put_gap(page, (struct gap){ seq, seq, GAP_CORRUPT });
    if (message_is_expired(message, read->wall)) {
        goes_on = page_put_gap(page, (struct gap){ seq, seq, GAP_EXPIRED });
    } else if (!page_is_full(page)) {
        page_put_message(page, &message);
        return true;
    }
    message_unref(message);
    return goes_on;
}

static void fill_up(struct page *page, const redisReply *items, uint64_t low, uint64_t high)
{
    uint64_t first = page->read->first;

    if (low < first) {
        uint64_t to = high < first ? high : first - 1;
        if (!page_put_gap(page, (struct gap){ low, to, GAP_TRIMMED }))
            return;
        low = first;
    }
    for (size_t i = 0; i < items->elements && low <= high; i++, low++)
        if (!page_put_record(page, items->element[i], low))
            return;
}

static void fill_down(struct page *page, const redisReply *items, uint64_t low, uint64_t high)
{
    uint64_t first = page->read->first;

    for (size_t i = 0; i < items->elements && high >= first && high >= low; i++, high--)
        if (!page_put_record(page, items->element[i], high))
            return;
    if (high >= low && high < first)
        page_put_gap(page, (struct gap){ low, high, GAP_TRIMMED });
}

static void redis_read_take(struct store_read *read, const redisReply *answer)
{
    const redisReply *items = answer->element[7];
    struct page       page;
    uint64_t          low, high;

    read->rc    = RC_OK;
    read->epoch = redis_epoch(answer, (long long)reply_number(answer, 1));
    read->first = reply_number(answer, 2);
    read->head  = reply_number(answer, 3);
    read->bytes = reply_number(answer, 4);
    if (read->since != 0)
        read->bound = reply_number(answer, 5);
    if (read->until != 0)
        read->end = reply_number(answer, 6);
    page_init(&page, read);
    if (!page_range(read, &low, &high))
        return;
    if (read->way == READ_AFTER)
        fill_up(&page, items, low, high);
    else
        fill_down(&page, items, low, high);
    page_finish(&page);
}

static void on_read(void *ctx, const redisReply *reply)
{
    struct read_task   *task  = ctx;
    struct redis_store *store = task->store;
    struct store_read  *read  = task->read;

    free(task);
    read->rc = RC_IO;
    if (redis_is_answer(store, reply, READ_ELEMENTS) && reply->element[7]->type == REDIS_REPLY_ARRAY)
        redis_read_take(read, reply);
    redis_read_over(store);
    read->done(read);
}

void redis_read_start(struct redis_store *store, struct store_read *read)
{
    struct redis_line *line = redis_line_of_channel(store, read->channel);
    struct read_task  *task = malloc(sizeof *task);
    struct buf         name;

    must(task != NULL);
    *task = (struct read_task){ .store = store, .read = read };
    if (line->state != REDIS_UP) {
        on_read(task, NULL);
        return;
    }
    redis_call_begin(store, line, "read", read->wall, 1 + READ_ARGS, on_read, task);
    buf_init(&name, CHANNELS_BYTES);
    redis_channel_put(&name, read->channel);
    redis_line_put(line, buf_span(&name));
    buf_fini(&name);
    redis_line_put(line, read->way == READ_AFTER ? SPAN("a") : SPAN("b"));
    redis_put_number(line, read->bound);
    redis_put_number(line, read->limit);
    redis_put_number(line, read->bytes_max);
    redis_put_number(line, (uint64_t)read->since);
    redis_put_number(line, (uint64_t)read->until);
}

/* --- heads ------------------------------------------------------------------------------------------------------------- */

/* The names of one call of the script. */
struct heads_call {
    struct read_task *task;
    size_t            count;
    size_t            at[HEADS_A_CALL];
};

static void heads_over(struct read_task *task)
{
    struct redis_store *store    = task->store;
    struct store_heads *question = task->question;

    if (--task->unanswered > 0)
        return;
    free(task);
    redis_read_over(store);
    question->done(question);
}

static void on_heads(void *ctx, const redisReply *reply)
{
    struct heads_call *call     = ctx;
    struct read_task  *task     = call->task;
    const bool         is_there = redis_is_answer(task->store, reply, call->count + 1);

    for (size_t i = 0; i < call->count; i++) {
        struct store_head *head = &task->question->heads[call->at[i]];
        *head                   = (struct store_head){ .rc = RC_IO };
        if (!is_there || reply->element[i + 1]->type != REDIS_REPLY_ARRAY)
            continue;
        const redisReply *said = reply->element[i + 1];
        *head = (struct store_head){ RC_OK, redis_epoch(reply, (long long)reply_number(said, 0)), reply_number(said, 1), reply_number(said, 2) };
    }
    free(call);
    heads_over(task);
}

static void heads_send(struct redis_line *line, struct heads_call *call)
{
    struct read_task *task = call->task;
    struct buf        names;

    task->unanswered++;
    if (line->state != REDIS_UP) {
        on_heads(call, NULL);
        return;
    }
    redis_call_begin(task->store, line, "heads", task->question->wall, 1, on_heads, call);
    buf_init(&names, CHANNELS_BYTES);
    for (size_t i = 0; i < call->count; i++)
        redis_channel_put(&names, task->question->names[call->at[i]]);
    redis_line_put(line, buf_span(&names));
    buf_fini(&names);
}

void redis_heads_start(struct redis_store *store, struct store_heads *question)
{
    struct heads_call *open[REDIS_INSTANCES] = { NULL };
    struct read_task  *task = malloc(sizeof *task);

    must(task != NULL);
    *task = (struct read_task){ .store = store, .question = question, .unanswered = 1 };
    for (size_t i = 0; i < question->count; i++) {
        struct redis_line  *line = redis_line_of_channel(store, question->names[i]);
        struct heads_call **call = &open[line->number];
        if (*call == NULL) {
            *call = malloc(sizeof **call);
            must(*call != NULL);
            **call = (struct heads_call){ .task = task };
        }
        (*call)->at[(*call)->count++] = i;
        if ((*call)->count == HEADS_A_CALL) {
            heads_send(line, *call);
            *call = NULL;
        }
    }
    for (size_t i = 0; i < store->shard_count; i++)
        if (open[i] != NULL)
            heads_send(&store->thread.lines[i], open[i]);
    heads_over(task);
}

/* --- listings ---------------------------------------------------------------------------------------------------------- */

/* The page of one instance. */
struct list_call {
    struct list_task *task;
};

/* A channel as an instance listed it. */
struct listed_row {
    struct buf name;
    uint64_t   epoch, first, head, bytes;
};

struct list_task {
    struct redis_store   *store;
    struct store_listing *listing;
    size_t                unanswered;
    bool                  has_failed;
    struct buf            reached;  /* the first end of a page that is not the last one of its instance; empty: there is none */
    struct listed_row    *rows;
    size_t                count, cap;
    struct list_call      calls[REDIS_INSTANCES];
};

static int row_order(const void *a, const void *b)
{
    return span_order(buf_span(&((const struct listed_row *)a)->name), buf_span(&((const struct listed_row *)b)->name));
}

static void list_put(struct list_task *task, const struct listed_row *row)
{
    struct redis_store  *store = task->store;
    struct channel_name *name  = NULL;

    if (channel_name_new(store->options.spaces, &store->options.hash_key, buf_span(&row->name), &name) != CHANNEL_NAME_OK)
        return;  /* of a namespace that this node does not have */
    struct listed_channel *listed = store_listing_add(task->listing, &name);
    listed->rc    = RC_OK;
    listed->epoch = row->epoch;
    listed->first = row->first;
    listed->head  = row->head;
    listed->bytes = row->bytes;
}

/* The rows of all instances in one order, up to where the first of them stopped. */
static void list_merge(struct list_task *task)
{
    struct store_listing *listing = task->listing;
    struct span           reached = buf_span(&task->reached);

    if (task->count > 0)
        qsort(task->rows, task->count, sizeof task->rows[0], row_order);
    for (size_t i = 0; i < task->count; i++) {
        struct span name = buf_span(&task->rows[i].name);
        if (reached.len > 0 && span_order(name, reached) > 0)
            break;
        if (listing->count == listing->limit) {
            reached = buf_span(&task->rows[i - 1].name);
            break;
        }
        list_put(task, &task->rows[i]);
    }
    if (reached.len > 0)
        store_listing_end_at(listing, reached);
}

static void list_over(struct list_task *task)
{
    struct redis_store   *store   = task->store;
    struct store_listing *listing = task->listing;

    if (--task->unanswered > 0)
        return;
    listing->rc = task->has_failed ? RC_IO : RC_OK;
    if (!task->has_failed)
        list_merge(task);
    for (size_t i = 0; i < task->count; i++)
        buf_fini(&task->rows[i].name);
    free(task->rows);
    buf_fini(&task->reached);
    free(task);
    redis_read_over(store);
    listing->done(listing);
}

static void row_take(struct list_task *task, const redisReply *answer, const redisReply *said)
{
    if (said->type != REDIS_REPLY_ARRAY || said->elements != LISTED_FIELDS)
        return;
    if (task->count == task->cap) {
        task->cap  = task->cap == 0 ? LISTING_CHANNELS_MAX : task->cap * 2;
        task->rows = reallocarray(task->rows, task->cap, sizeof task->rows[0]);
        must(task->rows != NULL);
    }
    struct listed_row *row = &task->rows[task->count++];
    *row = (struct listed_row){ .epoch = redis_epoch(answer, (long long)reply_number(said, 1)), .first = reply_number(said, 2),
                                .head = reply_number(said, 3), .bytes = reply_number(said, 4) };
    buf_init(&row->name, LISTING_TEXT_MAX);
    buf_put(&row->name, redis_text(said->element[0]));
}

static void on_list(void *ctx, const redisReply *reply)
{
    struct list_task *task = ((struct list_call *)ctx)->task;

    if (!redis_is_answer(task->store, reply, 3) || reply->element[1]->type != REDIS_REPLY_ARRAY) {
        task->has_failed = true;
        list_over(task);
        return;
    }
    struct span reached = redis_text(reply->element[2]);
    for (size_t i = 0; i < reply->element[1]->elements; i++)
        row_take(task, reply, reply->element[1]->element[i]);
    if (reached.len > 0 && (task->reached.len == 0 || span_order(reached, buf_span(&task->reached)) < 0)) {
        buf_clear(&task->reached);
        buf_put(&task->reached, reached);
    }
    list_over(task);
}

void redis_list_start(struct redis_store *store, struct store_listing *listing)
{
    struct list_task *task = calloc(1, sizeof *task);
    struct span       from;
    bool              is_behind;

    must(task != NULL);
    task->store      = store;
    task->listing    = listing;
    task->unanswered = 1;
    buf_init(&task->reached, LISTING_TEXT_MAX);
    store_listing_from(listing, &from, &is_behind);
    for (size_t i = 0; i < store->shard_count; i++) {
        struct redis_line *line = &store->thread.lines[i];
        task->calls[i]          = (struct list_call){ task };
        task->unanswered++;
        if (line->state != REDIS_UP) {
            on_list(&task->calls[i], NULL);
            continue;
        }
        redis_call_begin(store, line, "list", listing->wall, LIST_ARGS, on_list, &task->calls[i]);
        redis_line_put(line, from);
        redis_line_put(line, is_behind ? SPAN("1") : SPAN("0"));
        redis_line_put(line, listing->prefix);
        redis_put_number(line, listing->limit);
    }
    list_over(task);
}
