#include "cluster/redis_engine.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "codec/bus/bus_frame.h"
#include "cluster/redis_engine_priv.h"

enum { CONNECT_MS = 2000, ANSWER_MS = 12000, SILENT_PARTS = 4, BEAT_MS = 1000, SWEEP_MS = 30000, WORD_BYTES = 24, BUCKETS = 20 };

static struct redis_engine *engine_of_line(const struct redis_line *line)
{
    return line->owner;
}

void redis_engine_note(struct redis_engine *engine, const char *why)
{
    pthread_mutex_lock(&engine->thread.lock);
    snprintf(engine->failure, sizeof engine->failure, "%s", why);
    engine->failure[strcspn(engine->failure, "\r\n")] = '\0';
    pthread_mutex_unlock(&engine->thread.lock);
}

/* --- life ---------------------------------------------------------------------------------------------------------- */

/* What the words and the processes are together. Never 0. */
static uint64_t life_of(const struct redis_engine *engine)
{
    struct hash_key key  = { 0, engine->instance_count };
    uint64_t        life = 1;

    for (size_t i = 0; i < engine->instance_count; i++) {
        const struct redis_instance *instance = &engine->instances[i];
        key.k1 ^= instance->word;
        life   = hash_bytes(&key, span_str(instance->run_id)) ^ (life * 31);
        key.k0 = life;
    }
    return life == 0 ? 1 : life;
}

static bool all_are_up(const struct redis_engine *engine)
{
    for (size_t i = 0; i < engine->thread.line_count; i++)
        if (engine->thread.lines[i].state != REDIS_UP)
            return false;
    return true;
}

static void say_up_told(struct redis_engine *engine, bool is_up)
{
    pthread_mutex_lock(&engine->thread.lock);
    engine->is_up_told = is_up;
    pthread_mutex_unlock(&engine->thread.lock);
}

/* The first round in which any of them may have had another life. */
static uint64_t sure_round_of(const struct redis_engine *engine)
{
    uint64_t round = UINT64_MAX;

    for (size_t i = 0; i < engine->instance_count; i++)
        if (engine->instances[i].sure_round < round)
            round = engine->instances[i].sure_round;
    return round;
}

/* At the end of a turn, so that a life that changes in several ways at once is told once. */
void redis_engine_tell_life(struct redis_engine *engine)
{
    if (!all_are_up(engine))
        return;
    uint64_t life = life_of(engine);
    if (engine->is_up && engine->life == life)
        return;
    engine->is_up         = true;
    engine->is_known_down = false;
    engine->life          = life;
    say_up_told(engine, true);
    engine->events->up(engine->ctx, life, sure_round_of(engine));
}

static void on_word_set(void *ctx, const redisReply *reply)
{
    struct redis_line *line = ctx;

    if (reply != NULL && reply->type == REDIS_REPLY_ERROR)
        redis_engine_note(engine_of_line(line), reply->str);
}

/* A Redis that holds no word and takes none (its memory is full) is of no use. */
static bool word_take(struct redis_line *line, const redisReply *reply)
{
    uint64_t word = strtoull(reply->str == NULL ? "" : reply->str, NULL, 16);

    if (word == 0) {
        redis_line_fail(line, reply->type == REDIS_REPLY_ERROR ? reply->str : "Redis keeps nothing: the key lw:life can't be set");
        return false;
    }
    engine_of_line(line)->instances[line->number].word = word;
    return true;
}

/* Each beat asks once, and answers come in the order of the questions: so many rounds ago this one was asked. */
static void on_word(void *ctx, const redisReply *reply)
{
    struct redis_line     *line     = ctx;
    struct redis_engine   *engine   = engine_of_line(line);
    struct redis_instance *instance = &engine->instances[line->number];
    const uint64_t         was      = instance->word;

    must(instance->words_away > 0);
    instance->words_away--;
    if (reply != NULL && word_take(line, reply) && instance->word == was)
        instance->sure_round = engine->beat_round - instance->words_away;
}

static void word_ask(struct redis_line *line, redis_answered *answered)
{
    char word[WORD_BYTES];

    snprintf(word, sizeof word, "%016llx", (unsigned long long)(redis_random() | 1));
    redis_line_ask(line, on_word_set, line, SPAN("SET"), SPAN("lw:life"), span_str(word), SPAN("NX"));
    redis_line_ask(line, answered, line, SPAN("GET"), SPAN("lw:life"));
}

static void on_bus_pong(void *ctx, const redisReply *reply)
{
    (void)ctx;
    (void)reply;
}

void redis_engine_beat(struct redis_engine *engine)
{
    engine->beat_round++;
    for (size_t i = 0; i < engine->instance_count; i++) {
        if (engine->thread.lines[i].state != REDIS_UP)
            continue;
        engine->instances[i].words_away++;
        word_ask(&engine->thread.lines[i], on_word);
    }
    if (engine->bus->state == REDIS_UP)
        redis_line_ask(engine->bus, on_bus_pong, NULL, SPAN("PING"));
}

/* --- lines ------------------------------------------------------------------------------------------------------------ */

static void line_is_up(struct redis_line *line)
{
    (void)line;  /* redis_engine_tell_life() looks at all of them */
}

static void line_is_lost(struct redis_line *line, const char *why, bool was_up)
{
    struct redis_engine *engine = engine_of_line(line);

    (void)was_up;
    redis_engine_note(engine, why);
    if (engine->is_known_down || redis_thread_is_stopping(&engine->thread))
        return;
    engine->is_up         = false;
    engine->is_silent     = false;
    engine->is_known_down = true;
    say_up_told(engine, false);
    engine->events->down(engine->ctx, why);
}

/* "run_id:…" of INFO. It may be denied; then a restart shows by the word alone. */
static void on_info(void *ctx, const redisReply *reply)
{
    struct redis_line *line   = ctx;
    char              *run_id = engine_of_line(line)->instances[line->number].run_id;
    const char        *at     = reply == NULL || reply->str == NULL ? NULL : strstr(reply->str, "run_id:");

    if (at == NULL)
        return;
    at += sizeof "run_id:" - 1;
    snprintf(run_id, RUN_ID_BYTES, "%.*s", (int)strcspn(at, "\r\n"), at);
}

static void script_take(struct redis_line *line, const redisReply *reply, enum redis_script script)
{
    if (reply == NULL)
        return;
    if (reply->type != REDIS_REPLY_STRING || reply->len != SHA_BYTES) {
        redis_line_fail(line, reply->type == REDIS_REPLY_ERROR ? reply->str : "Redis takes no scripts");
        return;
    }
    memcpy(engine_of_line(line)->instances[line->number].shas[script], reply->str, SHA_BYTES + 1);
}

static void on_lease_script(void *ctx, const redisReply *reply)
{
    script_take(ctx, reply, SCRIPT_LEASE);
}

static void on_leave_script(void *ctx, const redisReply *reply)
{
    script_take(ctx, reply, SCRIPT_LEAVE);
}

static void on_nodes_script(void *ctx, const redisReply *reply)
{
    script_take(ctx, reply, SCRIPT_NODES);
}

/* What Redis says of a frame is not heard later. */
static void on_may_publish(void *ctx, const redisReply *reply)
{
    if (reply != NULL && reply->type != REDIS_REPLY_INTEGER)
        redis_line_fail(ctx, reply->type == REDIS_REPLY_ERROR ? reply->str : "Redis takes no frames");
}

static void on_first_word(void *ctx, const redisReply *reply)
{
    if (reply != NULL && word_take(ctx, reply))
        redis_line_greeted(ctx);
}

static void instance_greet(struct redis_line *line)
{
    static redis_answered *const taken[SCRIPT_COUNT] = { on_lease_script, on_leave_script, on_nodes_script };
    char nobody[KEY_BYTES];

    redis_line_ask_skip(line);
    redis_line_ask(line, on_may_publish, line, SPAN("PUBLISH"), redis_bus_name(0, nobody), SPAN(""));
    redis_line_ask(line, on_info, line, SPAN("INFO"), SPAN("server"));
    for (size_t i = 0; i < SCRIPT_COUNT; i++)
        redis_line_ask(line, taken[i], line, SPAN("SCRIPT"), SPAN("LOAD"), span_str(redis_script_texts[i]));
    word_ask(line, on_first_word);
}

static void on_subscribed(void *ctx, const redisReply *reply)
{
    struct redis_line *line = ctx;

    if (reply == NULL)
        return;
    if (reply->type == REDIS_REPLY_ARRAY)
        redis_line_greeted(line);
    else
        redis_line_fail(line, reply->type == REDIS_REPLY_ERROR ? reply->str : "Redis takes no subscriptions");
}

static void bus_greet(struct redis_line *line)
{
    char text[KEY_BYTES];

    redis_line_ask(line, on_subscribed, line, SPAN("SUBSCRIBE"),
                   redis_bus_name(engine_of_line(line)->self.incarnation, text));
}

static void bus_pushed(struct redis_line *line, const redisReply *reply)
{
    struct redis_engine *engine = engine_of_line(line);

    counter_add(&engine->frames_received, 1);
    engine->events->frame(engine->ctx, redis_text(reply->element[2]));
}

static const struct redis_line_events instance_events = { .greet = instance_greet, .up = line_is_up, .lost = line_is_lost };
static const struct redis_line_events bus_events = { .greet = bus_greet, .up = line_is_up, .lost = line_is_lost,
                                                     .pushed = bus_pushed };

/* --- routes of the dead ---------------------------------------------------------------------------------------------- */

static int live_order(const void *a, const void *b)
{
    return strcmp(((const struct live_member *)a)->text, ((const struct live_member *)b)->text);
}

static bool is_live(const struct redis_engine *engine, struct span member)
{
    struct live_member key = { "" };

    if (engine->live_count == 0 || member.len >= sizeof key.text)
        return false;
    memcpy(key.text, member.at, member.len);
    return bsearch(&key, engine->live, engine->live_count, sizeof key, live_order) != NULL;
}

static bool is_suspected(const struct redis_engine *engine, struct span route, struct span member)
{
    for (size_t i = 0; i < engine->suspect_count; i++) {
        const struct route_suspect *suspect = &engine->suspects[i];
        if (span_eq(span_of(suspect->route, suspect->route_len), route) && span_eq(span_str(suspect->member), member))
            return true;
    }
    return false;
}

/* A node that has only just come is not in the last list of leases, so nothing is swept at once. */
void redis_suspect(struct redis_engine *engine, struct span route, struct span member)
{
    if (!engine->has_live || is_live(engine, member) || engine->suspect_count == SUSPECTS || member.len >= MEMBER_BYTES ||
        is_suspected(engine, route, member))
        return;
    struct route_suspect *suspect = &engine->suspects[engine->suspect_count++];
    *suspect                      = (struct route_suspect){ .route_len = route.len, .since = redis_now() };
    memcpy(suspect->member, member.at, member.len);
    memcpy(suspect->route, route.at, route.len);
}

static void on_swept(void *ctx, const redisReply *reply)
{
    (void)ctx;
    (void)reply;  /* who meets it next sweeps it */
}

static void suspect_sweep(struct redis_engine *engine, const struct route_suspect *suspect)
{
    char        key[KEY_BYTES];
    struct span route = span_of(suspect->route, suspect->route_len);

    memcpy(key, "lw:r:", 5);
    memcpy(key + 5, route.at, route.len);
    redis_line_ask(redis_line_of_route(engine, route), on_swept, NULL, SPAN("SREM"), span_of(key, route.len + 5),
                   span_str(suspect->member));
}

void redis_take_live(struct redis_engine *engine, struct live_member *live, size_t count)
{
    msec   now  = redis_now();
    size_t kept = 0;

    free(engine->live);
    engine->live       = live;
    engine->live_count = count;
    engine->has_live   = true;
    if (count > 0)
        qsort(live, count, sizeof *live, live_order);
    for (size_t i = 0; i < engine->suspect_count; i++) {
        const struct route_suspect *suspect = &engine->suspects[i];
        if (is_live(engine, span_str(suspect->member)))
            continue;
        if (now - suspect->since >= engine->sweep_ms)
            suspect_sweep(engine, suspect);
        else
            engine->suspects[kept++] = *suspect;
    }
    engine->suspect_count = kept;
}

/* --- silence ------------------------------------------------------------------------------------------------------------ */

static bool line_is_silent(const struct redis_engine *engine, const struct redis_line *line, msec now)
{
    return line->state == REDIS_UP && (redis_line_silence(line, now) > engine->answer_ms / SILENT_PARTS ||
                                       redis_line_waits(line, now) > engine->answer_ms);
}

static void tell_silence(struct redis_engine *engine, msec now)
{
    bool is_silent = false;

    for (size_t i = 0; i < engine->thread.line_count; i++)
        is_silent |= line_is_silent(engine, &engine->thread.lines[i], now);
    if (!engine->is_up || engine->is_silent == is_silent)
        return;
    engine->is_silent = is_silent;
    if (engine->events->silent != NULL)
        engine->events->silent(engine->ctx, is_silent);
}

/* --- the thread ------------------------------------------------------------------------------------------------------- */

static void redis_turn(void *owner, msec now)
{
    struct redis_engine *engine = owner;
    struct list          submitted, *link;

    list_init(&submitted);
    pthread_mutex_lock(&engine->thread.lock);
    list_move(&submitted, &engine->submitted);
    pthread_mutex_unlock(&engine->thread.lock);
    if (now >= engine->beat_due) {
        engine->beat_due = now + BEAT_MS;
        redis_engine_beat(engine);
    }
    while ((link = list_pop(&submitted)) != NULL)
        redis_call_start(engine, container_of(link, struct engine_call, link));
    redis_engine_tell_life(engine);
    tell_silence(engine, now);
}

/* --- the port --------------------------------------------------------------------------------------------------------- */

static struct redis_engine *engine_of(struct engine *engine)
{
    return container_of(engine, struct redis_engine, engine);
}

static void engine_submit(struct engine *port, struct engine_call *call)
{
    struct redis_engine *engine  = engine_of(port);
    size_t               bytes   = call->kind == ENGINE_SEND ? call->frame.len : 0;
    bool                 is_full = false;

    must(bytes <= port->frame_bytes_max);
    must((call->kind != ENGINE_ROUTE && call->kind != ENGINE_LOOKUP) ||
         (call->name_count >= 1 && call->name_count <= ENGINE_NAMES_MAX));
    pthread_mutex_lock(&engine->thread.lock);
    is_full = engine->waiting_count >= ENGINE_CALLS_MAX || engine->waiting_bytes + bytes > REDIS_FRAMES_BYTES;
    if (!is_full) {
        engine->waiting_count++;
        engine->waiting_bytes += bytes;
        call->link = (struct list){ NULL, NULL };
        list_push(&engine->submitted, &call->link);
        redis_thread_wake(&engine->thread);
    }
    pthread_mutex_unlock(&engine->thread.lock);
    if (is_full) {
        call->rc = RC_FULL;
        engine->events->done(engine->ctx, call);
    }
}

static void stats_add_line(struct engine_stats *stats, const struct redis_line *line)
{
    uint64_t connects = counter_get(&line->connect_count);

    stats->reconnect_count += connects > 0 ? connects - 1 : 0;
    stats->bytes_sent += counter_get(&line->bytes_sent);
    stats->bytes_received += counter_get(&line->bytes_received);
    stats->answer_us_sum += counter_get(&line->answer_us_sum);
    stats->answer_count += counter_get(&line->answer_count);
    for (size_t i = 0; i < BUCKETS; i++)
        stats->answer_us_buckets[i] += counter_get(&line->answer_us_buckets[i]);
}

static void engine_stats_read(struct engine *port, struct engine_stats *ret)
{
    struct redis_engine *engine = engine_of(port);

    *ret = (struct engine_stats){
        .call_count      = counter_get(&engine->call_count),
        .failure_count   = counter_get(&engine->failure_count),
        .frames_sent     = counter_get(&engine->frames_sent),
        .frames_received = counter_get(&engine->frames_received),
    };
    for (size_t i = 0; i < engine->thread.line_count; i++)
        stats_add_line(ret, &engine->thread.lines[i]);
    pthread_mutex_lock(&engine->thread.lock);
    ret->waiting_count = (uint32_t)engine->waiting_count;
    ret->is_up         = engine->is_up_told;
    memcpy(ret->failure, engine->failure, sizeof ret->failure);
    pthread_mutex_unlock(&engine->thread.lock);
}

static void engine_close(struct engine *port)
{
    struct redis_engine *engine = engine_of(port);
    struct list         *link;

    redis_thread_stop(&engine->thread);
    while ((link = list_pop(&engine->submitted)) != NULL)
        redis_call_done(engine, container_of(link, struct engine_call, link), RC_IO);
    for (size_t i = 0; i <= ENGINE_SEND; i++)
        must(list_is_empty(&engine->tasks[i]));
    redis_thread_fini(&engine->thread);
    free(engine->live);
    free(engine->suspects);
    free(engine);
}

static const struct engine_ops redis_ops = { .name = "redis", .submit = engine_submit, .stats = engine_stats_read,
                                             .close = engine_close };

enum rc redis_engine_open(const struct redis_engine_options *options, struct engine **ret, char *ret_why, size_t why_size)
{
    struct redis_url     urls[REDIS_INSTANCES];
    size_t               count = 0;
    const msec           connect_ms = options->connect_ms == 0 ? CONNECT_MS : options->connect_ms;
    const msec           answer_ms  = options->answer_ms == 0 ? ANSWER_MS : options->answer_ms;
    struct redis_engine *engine;

    enum rc rc = redis_urls_parse(span_str(options->url), urls, &count, ret_why, why_size);
    if (rc != RC_OK)
        return rc;
    engine = calloc(1, sizeof *engine);
    must(engine != NULL);
    engine->engine         = (struct engine){ .ops = &redis_ops, .frame_bytes_max = BUS_FRAME_BYTES_MAX };
    engine->self           = options->self;
    engine->events         = options->events;
    engine->ctx            = options->ctx;
    engine->instance_count = count;
    engine->answer_ms      = answer_ms;
    engine->sweep_ms       = options->sweep_ms == 0 ? SWEEP_MS : options->sweep_ms;
    engine->suspects       = calloc(SUSPECTS, sizeof *engine->suspects);
    must(engine->suspects != NULL);
    list_init(&engine->submitted);
    for (size_t i = 0; i <= ENGINE_SEND; i++)
        list_init(&engine->tasks[i]);
    redis_thread_init(&engine->thread, engine, redis_turn);
    for (size_t i = 0; i < count; i++)
        redis_thread_line(&engine->thread, &urls[i], &instance_events, connect_ms, answer_ms);
    engine->bus = redis_thread_line(&engine->thread, &urls[engine->self.incarnation % count], &bus_events, connect_ms, answer_ms);
    redis_thread_start(&engine->thread);
    *ret = &engine->engine;
    return RC_OK;
}
