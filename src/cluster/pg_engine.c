#include "cluster/pg_engine.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "cluster/pg_engine_priv.h"
#include "store/pg_hosts.h"

enum { CONNECT_MS = 5000, ANSWER_MS = 3000, BEAT_MS = 1000, TEXT_BYTES = 8192 };

uint64_t engine_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

msec engine_now(void)
{
    return (msec)(engine_now_us() / 1000);
}

void engine_note(struct pg_engine *engine, const char *why)
{
    char text[ENGINE_WHY_BYTES];

    snprintf(text, sizeof text, "%s", why);
    text[strcspn(text, "\n")] = '\0';
    pthread_mutex_lock(&engine->lock);
    memcpy(engine->failure, text, sizeof text);
    pthread_mutex_unlock(&engine->lock);
}

static size_t pg_call_bytes(const struct engine_call *call)
{
    return call->kind == ENGINE_SEND ? call->frame.len : 0;
}

void engine_call_done(struct pg_engine *engine, struct engine_call *call, enum rc rc)
{
    bool is_sent = call->kind == ENGINE_SEND && rc == RC_OK;

    call->rc = rc;
    counter_add(&engine->call_count, 1);
    counter_add(&engine->failure_count, rc == RC_IO);
    counter_add(&engine->frames_sent, is_sent);
    counter_add(&engine->bytes_sent, is_sent ? call->frame.len : 0);
    pthread_mutex_lock(&engine->lock);
    engine->waiting_count--;
    engine->waiting_bytes -= pg_call_bytes(call);
    pthread_mutex_unlock(&engine->lock);
    engine->options.events->done(engine->options.ctx, call);
}

/* --- the thread --------------------------------------------------------------------------------------------------------- */

/* At the end of a turn: `up` once both lines stand, and whenever the word is another one. */
static void pg_engine_tell_life(struct pg_engine *engine)
{
    if (engine->lines[LINE_CALLS].state != LINE_UP || engine->lines[LINE_BUS].state != LINE_UP || engine->life == engine->word)
        return;
    engine->life         = engine->word;
    engine->is_down_told = false;
    pthread_mutex_lock(&engine->lock);
    engine->is_up_told = true;
    pthread_mutex_unlock(&engine->lock);
    engine->options.events->up(engine->options.ctx, engine->life, 0);
}

static msec pg_turn_ms(const struct pg_engine *engine, msec now)
{
    msec wait = engine->beat_due > now ? engine->beat_due - now : 0;

    for (size_t i = 0; i < LINE_COUNT; i++) {
        msec due = engine->lines[i].due;
        if (due != 0 && due - now < wait)
            wait = due > now ? due - now : 0;
    }
    return wait;
}

static void engine_wait(struct pg_engine *engine)
{
    struct pollfd fds[LINE_COUNT + 1] = { { .fd = engine->wake, .events = POLLIN } };
    uint64_t      count;

    for (size_t i = 0; i < LINE_COUNT; i++) {
        struct engine_line *line = &engine->lines[i];
        fds[i + 1] = (struct pollfd){ .fd = line->state == LINE_AWAY ? -1 : PQsocket(line->conn), .events = pg_line_events(line) };
    }
    poll(fds, LINE_COUNT + 1, (int)pg_turn_ms(engine, engine_now()));
    if (fds[0].revents != 0 && read(engine->wake, &count, sizeof count) < 0)
        return;
    for (size_t i = 0; i < LINE_COUNT; i++)
        pg_line_go(&engine->lines[i], fds[i + 1].revents != 0);
}

static void pg_engine_turn(struct pg_engine *engine)
{
    struct list submitted;

    list_init(&submitted);
    pthread_mutex_lock(&engine->lock);
    list_move(&submitted, &engine->submitted);
    engine->is_stopping = engine->is_closing;
    pthread_mutex_unlock(&engine->lock);
    if (engine_now() >= engine->beat_due) {
        engine->beat_due = engine_now() + BEAT_MS;
        engine_ask_word(engine);
    }
    engine_calls_start(engine, &submitted);
    pg_engine_tell_life(engine);
}

/* What was submitted before the close is sent, and its answers are waited for, answer_ms at most. */
static bool engine_is_done(const struct pg_engine *engine)
{
    return engine->is_stopping && list_is_empty(&engine->lines[LINE_CALLS].tasks) && list_is_empty(&engine->lines[LINE_BUS].tasks);
}

static void *engine_thread(void *context)
{
    struct pg_engine *engine = context;

    pthread_setname_np(pthread_self(), "lw-engine");
    while (pg_engine_turn(engine), !engine_is_done(engine))
        engine_wait(engine);
    return NULL;
}

static void engine_wake(struct pg_engine *engine)
{
    uint64_t one = 1;

    if (write(engine->wake, &one, sizeof one) < 0)
        return;  /* the counter is full, so the thread wakes anyhow */
}

/* --- the port ------------------------------------------------------------------------------------------------------------ */

static struct pg_engine *pg_engine_of(struct engine *port)
{
    return container_of(port, struct pg_engine, engine);
}

static void pg_engine_submit(struct engine *port, struct engine_call *call)
{
    struct pg_engine *engine = pg_engine_of(port);
    size_t            bytes  = pg_call_bytes(call);

    must(bytes <= port->frame_bytes_max);
    must((call->kind != ENGINE_ROUTE && call->kind != ENGINE_LOOKUP) ||
         (call->name_count >= 1 && call->name_count <= ENGINE_NAMES_MAX));
    pthread_mutex_lock(&engine->lock);
    bool is_full = engine->waiting_count >= ENGINE_CALLS_MAX || engine->waiting_bytes + bytes > PG_FRAMES_BYTES;
    if (!is_full) {
        engine->waiting_count++;
        engine->waiting_bytes += bytes;
        call->link = (struct list){ NULL, NULL };
        list_push(&engine->submitted, &call->link);
    }
    pthread_mutex_unlock(&engine->lock);
    if (!is_full) {
        engine_wake(engine);
        return;
    }
    call->rc = RC_FULL;
    engine->options.events->done(engine->options.ctx, call);
}

static void pg_engine_stats(struct engine *port, struct engine_stats *ret)
{
    struct pg_engine *engine   = pg_engine_of(port);
    uint64_t          connects = counter_get(&engine->connect_count);

    *ret = (struct engine_stats){
        .call_count      = counter_get(&engine->call_count),
        .failure_count   = counter_get(&engine->failure_count),
        .reconnect_count = connects > LINE_COUNT ? connects - LINE_COUNT : 0,
        .frames_sent     = counter_get(&engine->frames_sent),
        .frames_received = counter_get(&engine->frames_received),
        .bytes_sent      = counter_get(&engine->bytes_sent),
        .bytes_received  = counter_get(&engine->bytes_received),
        .answer_us_sum   = counter_get(&engine->answer_us_sum),
        .answer_count    = counter_get(&engine->answer_count),
    };
    for (size_t i = 0; i < ENGINE_BUCKETS; i++)
        ret->answer_us_buckets[i] = counter_get(&engine->answer_us_buckets[i]);
    pthread_mutex_lock(&engine->lock);
    ret->waiting_count = (uint32_t)engine->waiting_count;
    ret->is_up         = engine->is_up_told;
    memcpy(ret->failure, engine->failure, sizeof ret->failure);
    pthread_mutex_unlock(&engine->lock);
}

static void pg_engine_close(struct engine *port)
{
    struct pg_engine *engine = pg_engine_of(port);

    pthread_mutex_lock(&engine->lock);
    engine->is_closing = true;
    pthread_mutex_unlock(&engine->lock);
    engine_wake(engine);
    must(pthread_join(engine->thread, NULL) == 0);
    must(list_is_empty(&engine->submitted));
    engine_drop_arrivals(engine);
    for (size_t i = 0; i < LINE_COUNT; i++)
        PQfinish(engine->lines[i].conn);
    pg_args_fini(&engine->args);
    buf_fini(&engine->text);
    pthread_mutex_destroy(&engine->lock);
    close(engine->wake);
    explicit_bzero(engine->url, strlen(engine->url));
    free(engine->url);
    free(engine);
}

static const struct engine_ops pg_engine_ops = { .name = "postgres", .submit = pg_engine_submit, .stats = pg_engine_stats,
                                                 .close = pg_engine_close };

static bool url_is_readable(const char *url)
{
    PQconninfoOption *options = PQconninfoParse(url, NULL);

    PQconninfoFree(options);
    return options != NULL;
}

enum rc pg_engine_open(const struct pg_engine_options *options, struct engine **ret, char *ret_why, size_t why_size)
{
    struct pg_engine *engine;

    if (!url_is_readable(options->url)) {
        snprintf(ret_why, why_size, "libpq can't read this URL: write postgres://USER:PASSWORD@HOST:PORT/DATABASE?NAME=VALUE, and "
                                    "percent-encode what is special in it");
        return RC_BAD;
    }
    engine = calloc(1, sizeof *engine);
    must(engine != NULL);
    engine->engine  = (struct engine){ .ops = &pg_engine_ops, .frame_bytes_max = PG_FRAME_BYTES_MAX, .prefers_heads = true };
    engine->options = *options;
    engine->options.connect_ms = options->connect_ms == 0 ? CONNECT_MS : options->connect_ms;
    engine->options.answer_ms  = options->answer_ms == 0 ? ANSWER_MS : options->answer_ms;
    engine->url                = strdup(options->url);
    engine->host_count         = pg_hosts_count(options->url);
    engine->wake               = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    must(engine->url != NULL && engine->wake >= 0);
    snprintf(engine->listen, sizeof engine->listen, "listen longwire_%016llx", (unsigned long long)options->self.incarnation);
    pthread_mutex_init(&engine->lock, NULL);
    list_init(&engine->submitted);
    list_init(&engine->arrivals);
    pg_args_init(&engine->args);
    buf_init(&engine->text, TEXT_BYTES);
    for (int i = 0; i < LINE_COUNT; i++)
        line_init(&engine->lines[i], engine, (enum line_kind)i);
    must(pthread_create(&engine->thread, NULL, engine_thread, engine) == 0);
    *ret = &engine->engine;
    return RC_OK;
}
