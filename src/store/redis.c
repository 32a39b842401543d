#include "store/redis.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/must.h"
#include "message/slot.h"
#include "store/redis_priv.h"

__asm__(".section .rodata\n"
        ".global redis_script_text\n"
        "redis_script_text:\n"
        ".incbin \"src/store/redis_script.lua\"\n"
        ".byte 0\n"
        ".previous\n");

extern const char redis_script_text[];

enum { STORE_CONNECT_MS = 2000, STORE_ANSWER_MS = 3000, TICK_EACH_MS = 1000, CHANNEL_SHELVES = 65536, REDIS_BATCHES = 4 };

static const msec  REDIS_KEY_KEEP_MS = 24 * 3600 * INT64_C(1000);
static const double WHOLE_MOST       = 0x1p53;

static struct redis_store *redis_store_of(struct store *store)
{
    return container_of(store, struct redis_store, store);
}

static void store_note(struct redis_store *store, const char *why)
{
    counter_add(&store->failure_count, 1);
    pthread_mutex_lock(&store->thread.lock);
    snprintf(store->failure, sizeof store->failure, "%s", why);
    store->failure[strcspn(store->failure, "\r\n")] = '\0';
    pthread_mutex_unlock(&store->thread.lock);
}

/* --- calls of the script --------------------------------------------------------------------------------------------- */

/* What was forgotten is counted by this number. All nodes must choose the same one, so the key of this hash is fixed. */
static uint64_t shelf_of_name(const struct channel_name *name)
{
    static const struct hash_key fixed = { 0, 0 };

    return hash_bytes(&fixed, channel_name_span(name)) % CHANNEL_SHELVES;
}

struct redis_line *redis_line_of_channel(struct redis_store *store, const struct channel_name *name)
{
    return &store->thread.lines[slot_of_channel(channel_name_span(name)) % store->shard_count];
}

void redis_put_number(struct redis_line *line, uint64_t number)
{
    char text[NUMBER_TEXT_BYTES];

    redis_line_put(line, span_of(text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)number)));
}

void redis_call_begin(struct redis_store *store, struct redis_line *line, const char *operation, msec wall, size_t more,
                      redis_answered *answered, void *ctx)
{
    const struct redis_shard *shard = &store->shards[line->number];
    char                      word[NUMBER_TEXT_BYTES];

    snprintf(word, sizeof word, "%016llx", (unsigned long long)(redis_random() | 1));
    redis_line_begin(line, CALL_ARGS + more, answered, ctx);
    redis_line_put(line, SPAN("EVALSHA"));
    redis_line_put(line, span_str(shard->sha));
    redis_line_put(line, SPAN("0"));
    redis_line_put(line, span_str(operation));
    redis_line_put(line, span_str(shard->run_id));
    redis_line_put(line, span_str(word));
    redis_put_number(line, (uint64_t)wall);
    redis_put_number(line, ((uint64_t)wall << 10) / store->shard_count);
    redis_put_number(line, store->shard_count);
    redis_put_number(line, line->number);
    redis_put_number(line, (uint64_t)store->options.key_keep_ms);
}

static void put_bound(struct buf *buf, uint64_t bound)
{
    buf_putc(buf, ' ');
    buf_put_u64(buf, (double)bound < WHOLE_MOST ? bound : (uint64_t)WHOLE_MOST);
}

void redis_channel_put(struct buf *buf, const struct channel_name *name)
{
    const struct namespace *space = name->space;

    redis_whole_put(buf, (uint64_t)space->id_kind, 1);
    redis_whole_put(buf, shelf_of_name(name), 4);
    buf_putc(buf, 0);
    const size_t rules_at = buf->len;
    buf_putc(buf, space->durability != NONE ? '1' : '0');
    put_bound(buf, space->keep_count);
    put_bound(buf, (uint64_t)space->keep_ms);
    put_bound(buf, space->keep_bytes);
    must(!buf_is_over(buf));
    buf->at[rules_at - 1] = (char)(buf->len - rules_at);
    redis_whole_put(buf, name->len, 2);
    buf_put(buf, channel_name_span(name));
}

uint64_t redis_epoch(const struct redisReply *answer, long long number)
{
    return (strtoull(answer->element[0]->str, NULL, 16) >> 2 | 1) + (uint64_t)number;
}

bool redis_is_answer(struct redis_store *store, const struct redisReply *reply, size_t elements)
{
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements >= elements && reply->elements >= 1 &&
        reply->element[0]->type == REDIS_REPLY_STRING)
        return true;
    if (reply != NULL)
        store_note(store, reply->type == REDIS_REPLY_ERROR ? reply->str : "Redis gave an answer of another kind");
    return false;
}

/* --- lines ------------------------------------------------------------------------------------------------------------ */

static void on_store_info(void *ctx, const redisReply *reply)
{
    struct redis_line  *line  = ctx;
    struct redis_store *store = line->owner;
    const char         *at    = reply == NULL || reply->str == NULL ? NULL : strstr(reply->str, "run_id:");

    if (at == NULL)
        return;
    at += sizeof "run_id:" - 1;
    snprintf(store->shards[line->number].run_id, SCRIPT_RUN_BYTES, "%.*s", (int)strcspn(at, "\r\n"), at);
}

static void on_store_script(void *ctx, const redisReply *reply)
{
    struct redis_line  *line  = ctx;
    struct redis_store *store = line->owner;

    if (reply == NULL)
        return;
    if (reply->type != REDIS_REPLY_STRING || reply->len != SCRIPT_SHA_BYTES) {
        redis_line_fail(line, reply->type == REDIS_REPLY_ERROR ? reply->str : "Redis takes no scripts");
        return;
    }
    memcpy(store->shards[line->number].sha, reply->str, SCRIPT_SHA_BYTES + 1);
    redis_line_greeted(line);
}

static void shard_greet(struct redis_line *line)
{
    redis_line_ask(line, on_store_info, line, SPAN("INFO"), SPAN("server"));
    redis_line_ask(line, on_store_script, line, SPAN("SCRIPT"), SPAN("LOAD"), span_str(redis_script_text));
}

static void store_look_down(struct redis_store *store)
{
    bool is_down = false;

    for (size_t i = 0; i < store->shard_count; i++)
        is_down |= store->thread.lines[i].state != REDIS_UP;
    pthread_mutex_lock(&store->thread.lock);
    store->is_down = is_down;
    pthread_mutex_unlock(&store->thread.lock);
}

static void shard_up(struct redis_line *line)
{
    store_look_down(line->owner);
}

static void shard_lost(struct redis_line *line, const char *why, bool was_up)
{
    (void)was_up;
    store_note(line->owner, why);
    store_look_down(line->owner);
}

static const struct redis_line_events shard_events = { .greet = shard_greet, .up = shard_up, .lost = shard_lost };

/* --- the thread -------------------------------------------------------------------------------------------------------- */

static void on_tick(void *ctx, const redisReply *reply)
{
    struct redis_line  *line  = ctx;
    struct redis_store *store = line->owner;
    uint64_t            sum   = 0;

    if (!redis_is_answer(store, reply, 2))
        return;
    store->channel_counts[line->number] = (uint64_t)reply->element[1]->integer;
    for (size_t i = 0; i < store->shard_count; i++)
        sum += store->channel_counts[i];
    counter_set(&store->channel_count, sum);
}

static void tick_start(struct redis_store *store, msec wall)
{
    for (size_t i = 0; i < store->shard_count; i++)
        if (store->thread.lines[i].state == REDIS_UP)
            redis_call_begin(store, &store->thread.lines[i], "tick", wall, 0, on_tick, &store->thread.lines[i]);
}

static void store_turn(void *owner, msec now)
{
    struct redis_store *store = owner;
    struct list         batches, reads, questions, listings, *link;
    msec                tick_wall;

    (void)now;
    list_init(&batches);
    list_init(&reads);
    list_init(&questions);
    list_init(&listings);
    pthread_mutex_lock(&store->thread.lock);
    list_move(&batches, &store->batches);
    list_move(&reads, &store->reads);
    list_move(&questions, &store->questions);
    list_move(&listings, &store->listings);
    tick_wall        = store->tick_wall;
    store->tick_wall = 0;
    pthread_mutex_unlock(&store->thread.lock);
    while ((link = list_pop(&batches)) != NULL)
        redis_batch_start(store, container_of(link, struct append_batch, link));
    while ((link = list_pop(&reads)) != NULL)
        redis_read_start(store, container_of(link, struct store_read, link));
    while ((link = list_pop(&questions)) != NULL)
        redis_heads_start(store, container_of(link, struct store_heads, link));
    while ((link = list_pop(&listings)) != NULL)
        redis_list_start(store, container_of(link, struct store_listing, link));
    if (tick_wall != 0)
        tick_start(store, tick_wall);
}

/* --- the port --------------------------------------------------------------------------------------------------------- */

static void redis_append(struct store *port, struct append_batch *batch)
{
    struct redis_store *store = redis_store_of(port);

    for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next) {
        append_check(container_of(link, struct append, link));
        must(container_of(link, struct append, link)->write == NULL);
    }
    pthread_mutex_lock(&store->thread.lock);
    batch->link = (struct list){ NULL, NULL };
    list_push(&store->batches, &batch->link);
    redis_thread_wake(&store->thread);
    pthread_mutex_unlock(&store->thread.lock);
}

/* False: too many wait already. */
static bool queue_push(struct redis_store *store, struct list *queue, struct list *link)
{
    pthread_mutex_lock(&store->thread.lock);
    bool has_place = store->read_count < READS_WAITING;
    if (has_place) {
        store->read_count++;
        *link = (struct list){ NULL, NULL };
        list_push(queue, link);
        redis_thread_wake(&store->thread);
    }
    pthread_mutex_unlock(&store->thread.lock);
    return has_place;
}

void redis_read_over(struct redis_store *store)
{
    pthread_mutex_lock(&store->thread.lock);
    store->read_count--;
    pthread_mutex_unlock(&store->thread.lock);
}

static void redis_read(struct store *port, struct store_read *read)
{
    struct redis_store *store = redis_store_of(port);

    store_read_check(read);
    read->entries     = NULL;
    read->entry_count = 0;
    if (queue_push(store, &store->reads, &read->link))
        return;
    read->rc = RC_FULL;
    read->done(read);
}

static void redis_heads(struct store *port, struct store_heads *question)
{
    struct redis_store *store = redis_store_of(port);

    must(question->count >= 1 && question->count <= STORE_HEADS_MAX);
    if (queue_push(store, &store->questions, &question->link))
        return;
    for (size_t i = 0; i < question->count; i++)
        question->heads[i] = (struct store_head){ .rc = RC_FULL };
    question->done(question);
}

static void redis_list(struct store *port, struct store_listing *listing)
{
    struct redis_store *store = redis_store_of(port);

    store_listing_begin(listing);
    if (queue_push(store, &store->listings, &listing->link))
        return;
    listing->rc = RC_FULL;
    listing->done(listing);
}

/* Of all nodes one makes a step in a second (redis_script.lua). */
static void redis_tick(struct store *port, msec wall)
{
    struct redis_store *store = redis_store_of(port);
    const msec          now   = redis_now();

    pthread_mutex_lock(&store->thread.lock);
    if (now >= store->tick_due) {
        store->tick_due  = now + TICK_EACH_MS;
        store->tick_wall = wall;
        redis_thread_wake(&store->thread);
    }
    pthread_mutex_unlock(&store->thread.lock);
}

static void redis_stats(struct store *port, struct store_stats *ret)
{
    struct redis_store *store = redis_store_of(port);

    *ret = (struct store_stats){
        .channel_count = counter_get(&store->channel_count),
        .append_count  = counter_get(&store->append_count),
        .batch_count   = counter_get(&store->batch_count),
        .failure_count = counter_get(&store->failure_count),
    };
    for (size_t i = 0; i < store->shard_count; i++) {
        const struct redis_line *line = &store->thread.lines[i];
        ret->sync_count += counter_get(&line->answer_count);
        ret->sync_us_sum += counter_get(&line->answer_us_sum);
        for (size_t at = 0; at < sizeof ret->sync_us_buckets / sizeof ret->sync_us_buckets[0]; at++)
            ret->sync_us_buckets[at] += counter_get(&line->answer_us_buckets[at]);
    }
    pthread_mutex_lock(&store->thread.lock);
    ret->is_broken = ret->is_failing = ret->is_unreadable = store->is_down;
    memcpy(ret->failure, store->failure, sizeof ret->failure);
    pthread_mutex_unlock(&store->thread.lock);
}

static void redis_close(struct store *port)
{
    struct redis_store *store = redis_store_of(port);

    redis_thread_stop(&store->thread);
    store_turn(store, 0);  /* what was never sent is refused, because no line is up */
    must(store->read_count == 0);
    redis_thread_fini(&store->thread);
    free(store);
}

static const struct store_ops redis_store_ops = {
    .name = "redis", .engine = "redis", .append = redis_append, .read = redis_read, .heads = redis_heads, .list = redis_list,
    .tick = redis_tick, .stats = redis_stats, .close = redis_close,
};

enum rc redis_store_open(const struct redis_store_options *options, struct store **ret, char *ret_why, size_t why_size)
{
    struct redis_url    urls[REDIS_INSTANCES];
    size_t              count = 0;
    struct redis_store *store;

    enum rc rc = redis_urls_parse(span_str(options->url), urls, &count, ret_why, why_size);
    if (rc != RC_OK)
        return rc;
    store = calloc(1, sizeof *store);
    must(store != NULL);
    store->store       = (struct store){ .ops = &redis_store_ops, .batches_max = REDIS_BATCHES, .has_one_writer = false };
    store->options     = *options;
    store->shard_count = count;
    store->is_down     = true;
    if (store->options.key_keep_ms == 0)
        store->options.key_keep_ms = REDIS_KEY_KEEP_MS;
    list_init(&store->batches);
    list_init(&store->reads);
    list_init(&store->questions);
    list_init(&store->listings);
    redis_thread_init(&store->thread, store, store_turn);
    for (size_t i = 0; i < count; i++)
        redis_thread_line(&store->thread, &urls[i], &shard_events, options->connect_ms == 0 ? STORE_CONNECT_MS : options->connect_ms,
                          options->answer_ms == 0 ? STORE_ANSWER_MS : options->answer_ms);
    redis_thread_start(&store->thread);
    *ret = &store->store;
    return RC_OK;
}
