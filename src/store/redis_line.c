#include "store/redis_line.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"

enum { PAUSE_MS_FIRST = 50, PAUSE_MS_LONGEST = 2000, PAUSE_SHIFTS = 6, TURN_MS = 100, CHUNK_BYTES = 64 * 1024, CHUNKS_A_TURN = 16,
       ASKED_FIRST = 64, BUCKETS = 20, NUMBER_BYTES = 24 };

static uint64_t redis_now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

msec redis_now(void)
{
    return (msec)(redis_now_us() / 1000);
}

uint64_t redis_random(void)
{
    uint64_t value = 0;

    must(getrandom(&value, sizeof value, 0) == sizeof value);
    return value;
}

struct span redis_text(const struct redisReply *reply)
{
    if (reply == NULL || reply->str == NULL)
        return SPAN("");
    return span_of(reply->str, reply->len);
}

bool redis_is_error(const struct redisReply *reply)
{
    return reply == NULL || reply->type == REDIS_REPLY_ERROR;
}

/* --- a line is lost ------------------------------------------------------------------------------------------------ */

static msec line_pause_ms(uint32_t failure_count)
{
    msec whole = (msec)PAUSE_MS_FIRST << (failure_count < PAUSE_SHIFTS ? failure_count : PAUSE_SHIFTS);

    if (whole > PAUSE_MS_LONGEST)
        whole = PAUSE_MS_LONGEST;
    return whole / 2 + (msec)(redis_random() % (uint64_t)(whole / 2));
}

void redis_line_fail(struct redis_line *line, const char *why)
{
    if (line->is_failing || line->state == REDIS_AWAY)
        return;
    line->is_failing = true;
    snprintf(line->why, sizeof line->why, "%s", why);
    line->why[strcspn(line->why, "\r\n")] = '\0';
}

static struct redis_asked asked_pop(struct redis_line *line)
{
    struct redis_asked asked = line->asked[line->asked_first];

    must(line->asked_count > 0);
    line->asked_first = (line->asked_first + 1) % line->asked_cap;
    line->asked_count--;
    return asked;
}

/* Those whose bytes end there, or, if the connection is lost, all. */
static void said_end(struct redis_line *line, uint64_t written, bool is_written)
{
    while (!list_is_empty(&line->said)) {
        struct redis_said *said = container_of(line->said.next, struct redis_said, link);
        if (is_written && said->end > written)
            return;
        list_take(&said->link);
        said->written(said, is_written);
    }
}

/* What is sent while the answers of this connection are told meets a line that is away, and is answered with NULL too. */
static void line_lose(struct redis_line *line, msec now)
{
    bool was_up = line->state == REDIS_UP;

    line->state      = REDIS_AWAY;
    line->is_failing = false;
    line->failure_count += !was_up;
    line->due = now + line_pause_ms(line->failure_count);
    if (line->redis != NULL)
        redisFree(line->redis);
    line->redis = NULL;
    line->sent  = 0;
    buf_fini(&line->out);
    said_end(line, 0, false);
    for (size_t left = line->asked_count; left > 0; left--) {
        struct redis_asked asked = asked_pop(line);
        asked.answered(asked.ctx, NULL);
    }
    line->events->lost(line, line->why, was_up);
}

/* --- sending -------------------------------------------------------------------------------------------------------- */

static void asked_push(struct redis_line *line, redis_answered *answered, void *ctx)
{
    if (line->asked_count == line->asked_cap) {
        size_t              cap   = line->asked_cap == 0 ? ASKED_FIRST : line->asked_cap * 2;
        struct redis_asked *asked = malloc(cap * sizeof *asked);
        must(asked != NULL);
        for (size_t i = 0; i < line->asked_count; i++)
            asked[i] = line->asked[(line->asked_first + i) % line->asked_cap];
        free(line->asked);
        line->asked       = asked;
        line->asked_first = 0;
        line->asked_cap   = cap;
    }
    line->asked[(line->asked_first + line->asked_count++) % line->asked_cap] =
        (struct redis_asked){ .answered = answered, .ctx = ctx, .at_us = redis_now_us() };
}

static void put_count(struct buf *out, char kind, size_t number)
{
    buf_putc(out, kind);
    buf_put_u64(out, number);
    buf_put_lit(out, "\r\n");
}

void redis_line_begin(struct redis_line *line, size_t count, redis_answered *answered, void *ctx)
{
    must(line->state >= REDIS_GREETING);
    asked_push(line, answered, ctx);
    put_count(&line->out, '*', count);
}

void redis_line_put(struct redis_line *line, struct span arg)
{
    put_count(&line->out, '$', arg.len);
    buf_put(&line->out, arg);
    buf_put_lit(&line->out, "\r\n");
}

void redis_line_send(struct redis_line *line, const struct span *args, size_t count, redis_answered *answered, void *ctx)
{
    if (line->state < REDIS_GREETING) {
        answered(ctx, NULL);
        return;
    }
    redis_line_begin(line, count, answered, ctx);
    for (size_t i = 0; i < count; i++)
        redis_line_put(line, args[i]);
}

static void line_put_command(struct redis_line *line, const struct span *args, size_t count)
{
    put_count(&line->out, '*', count);
    for (size_t i = 0; i < count; i++)
        redis_line_put(line, args[i]);
}

/* Of the next command. */
static void line_put_skip(struct redis_line *line)
{
    line_put_command(line, (const struct span[]){ SPAN("CLIENT"), SPAN("REPLY"), SPAN("SKIP") }, 3);
}

void redis_line_say(struct redis_line *line, const struct span *args, size_t count, struct redis_said *said)
{
    if (line->state < REDIS_UP) {
        said->written(said, false);
        return;
    }
    line_put_skip(line);
    line_put_command(line, args, count);
    said->end = line->written + line->out.len;
    list_push(&line->said, &said->link);
}

static void on_skipped(void *ctx, const redisReply *reply)
{
    if (reply != NULL && !span_eq(redis_text(reply), SPAN("told")))
        redis_line_fail(ctx, reply->type == REDIS_REPLY_ERROR ? reply->str : "Redis does not let answers be skipped");
}

/* The first answer is that of the second of these. */
void redis_line_ask_skip(struct redis_line *line)
{
    line_put_skip(line);
    line_put_command(line, (const struct span[]){ SPAN("ECHO"), SPAN("skipped") }, 2);
    redis_line_ask(line, on_skipped, line, SPAN("ECHO"), SPAN("told"));
}

static void line_write_out(struct redis_line *line)
{
    if (buf_is_over(&line->out)) {
        redis_line_fail(line, "too many bytes wait for Redis to take them");
        return;
    }
    while (line->sent < line->out.len) {
        ssize_t count = send(line->redis->fd, line->out.at + line->sent, line->out.len - line->sent, MSG_NOSIGNAL);
        if (count < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (count < 0) {
            redis_line_fail(line, strerror(errno));
            return;
        }
        line->sent += (size_t)count;
        counter_add(&line->bytes_sent, (size_t)count);
        said_end(line, line->written + line->sent, true);
    }
    line->written += line->out.len;
    if (line->out.cap > CHUNK_BYTES)
        buf_fini(&line->out);
    buf_clear(&line->out);
    line->sent = 0;
}

/* --- answers --------------------------------------------------------------------------------------------------------- */

static void count_answer(struct redis_line *line, uint64_t took_us)
{
    size_t bucket = 0;

    while (bucket < BUCKETS - 1 && took_us >= UINT64_C(1) << (bucket + 5))
        bucket++;
    counter_add(&line->answer_us_buckets[bucket], 1);
    counter_add(&line->answer_us_sum, took_us);
    counter_add(&line->answer_count, 1);
}

/* A Redis that says this will say it to everything. */
static bool is_useless(const redisReply *reply)
{
    static const char *const words[] = { "NOAUTH", "READONLY", "LOADING", "MASTERDOWN", "NOSCRIPT", "WRONGPASS" };

    if (reply->type != REDIS_REPLY_ERROR)
        return false;
    if (strstr(reply->str, "-READONLY ") != NULL)
        return true;  /* as Redis 6 tells what a script met */
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (span_starts(redis_text(reply), span_str(words[i])))
            return true;
    return false;
}

static bool is_push(const struct redis_line *line, const redisReply *reply)
{
    return line->events->pushed != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
           span_eq(redis_text(reply->element[0]), SPAN("message"));
}

static void line_take_reply(struct redis_line *line, const redisReply *reply)
{
    if (is_useless(reply)) {
        redis_line_fail(line, reply->str);
    } else if (is_push(line, reply)) {
        line->events->pushed(line, reply);
    } else if (line->asked_count == 0) {
        redis_line_fail(line, "Redis answered what was not asked");
    } else {
        struct redis_asked asked = asked_pop(line);
        count_answer(line, redis_now_us() - asked.at_us);
        asked.answered(asked.ctx, reply);
    }
}

/* False: nothing whole is there. */
static bool line_take_one(struct redis_line *line)
{
    void *reply = NULL;

    if (redisReaderGetReply(line->redis->reader, &reply) != REDIS_OK) {
        redis_line_fail(line, line->redis->reader->errstr);
        return false;
    }
    if (reply == NULL)
        return false;
    line_take_reply(line, reply);
    freeReplyObject(reply);
    return true;
}

static void line_read(struct redis_line *line)
{
    static _Thread_local char chunk[CHUNK_BYTES];

    for (size_t i = 0; i < CHUNKS_A_TURN && !line->is_failing; i++) {
        ssize_t count = recv(line->redis->fd, chunk, sizeof chunk, 0);
        if (count < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (count <= 0) {
            redis_line_fail(line, count == 0 ? "Redis closed the connection" : strerror(errno));
            return;
        }
        counter_add(&line->bytes_received, (size_t)count);
        line->heard_at = redis_now();
        if (redisReaderFeed(line->redis->reader, chunk, (size_t)count) != REDIS_OK)
            redis_line_fail(line, line->redis->reader->errstr);
        while (!line->is_failing && line_take_one(line))
            ;
        if (line->redis->reader->len > REDIS_ANSWER_BYTES)
            redis_line_fail(line, "an answer of Redis is too long");
        if ((size_t)count < sizeof chunk)
            return;
    }
}

/* --- a line is made -------------------------------------------------------------------------------------------------- */

static void on_login(void *ctx, const redisReply *reply)
{
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR)
        redis_line_fail(ctx, reply->str);
}

static void line_greet(struct redis_line *line)
{
    const struct redis_url *url = &line->url;
    char                    db[NUMBER_BYTES];

    line->state = REDIS_GREETING;
    if (url->password[0] != '\0' && url->user[0] != '\0')
        redis_line_ask(line, on_login, line, SPAN("AUTH"), span_str(url->user), span_str(url->password));
    else if (url->password[0] != '\0')
        redis_line_ask(line, on_login, line, SPAN("AUTH"), span_str(url->password));
    snprintf(db, sizeof db, "%u", url->db);
    if (url->db != 0)
        redis_line_ask(line, on_login, line, SPAN("SELECT"), span_str(db));
    line->events->greet(line);
}

void redis_line_greeted(struct redis_line *line)
{
    if (line->state != REDIS_GREETING || line->is_failing)
        return;
    line->state         = REDIS_UP;
    line->due           = 0;
    line->failure_count = 0;
    counter_add(&line->connect_count, 1);
    line->events->up(line);
}

static void line_connect(struct redis_line *line, msec now)
{
    line->redis = line->url.path[0] != '\0' ? redisConnectUnixNonBlock(line->url.path)
                                            : redisConnectNonBlock(line->url.host, line->url.port);
    line->state   = REDIS_CONNECTING;
    line->due     = now + line->connect_ms;
    line->written = 0;
    buf_init(&line->out, REDIS_UNSENT_BYTES);
    if (line->redis == NULL)
        redis_line_fail(line, "no memory for a connection to Redis");
    else if (line->redis->err != 0)
        redis_line_fail(line, line->redis->errstr);
}

static void line_connected(struct redis_line *line)
{
    int       error = 0, one = 1;
    socklen_t size = sizeof error;

    if (getsockopt(line->redis->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error != 0) {
        redis_line_fail(line, strerror(error));
        return;
    }
    if (line->url.path[0] == '\0')
        setsockopt(line->redis->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    line_greet(line);
}

msec redis_line_waits(const struct redis_line *line, msec now)
{
    return line->asked_count == 0 ? 0 : now - (msec)(line->asked[line->asked_first].at_us / 1000);
}

msec redis_line_silence(const struct redis_line *line, msec now)
{
    const msec waits = redis_line_waits(line, now);

    return waits < now - line->heard_at ? waits : now - line->heard_at;
}

static bool line_is_late(const struct redis_line *line, msec now)
{
    return redis_line_silence(line, now) > line->answer_ms || redis_line_waits(line, now) > REDIS_LATE_TIMES * line->answer_ms;
}

static void line_go_late(struct redis_line *line, msec now)
{
    if ((line->state == REDIS_UP || line->state == REDIS_GREETING) && line_is_late(line, now))
        redis_line_fail(line, "Redis did not answer in time");
    if (line->state == REDIS_AWAY && line->due <= now)
        line_connect(line, now);
    else if (line->state != REDIS_AWAY && line->due != 0 && line->due <= now)
        redis_line_fail(line, "the connection to Redis took too long");
}

static void line_go(struct redis_line *line, short events, msec now)
{
    if (events != 0 && line->state == REDIS_CONNECTING)
        line_connected(line);
    else if ((events & (POLLIN | POLLERR | POLLHUP)) != 0 && line->state > REDIS_CONNECTING)
        line_read(line);
    line_go_late(line, now);
    if (line->is_failing)
        line_lose(line, now);
}

/* After the owner's turn: what has gathered leaves in one write. */
static void line_flush(struct redis_line *line, msec now)
{
    if (line->state >= REDIS_GREETING && !line->is_failing && line->sent < line->out.len)
        line_write_out(line);
    if (line->is_failing)
        line_lose(line, now);
}

/* --- the thread ---------------------------------------------------------------------------------------------------- */

void redis_thread_init(struct redis_thread *thread, void *owner, void (*turn)(void *owner, msec now))
{
    *thread = (struct redis_thread){ .owner = owner, .turn = turn, .wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
    must(thread->wake_fd >= 0);
    pthread_mutex_init(&thread->lock, NULL);
}

struct redis_line *redis_thread_line(struct redis_thread *thread, const struct redis_url *url,
                                     const struct redis_line_events *events, msec connect_ms, msec answer_ms)
{
    must(thread->line_count < REDIS_LINES);
    struct redis_line *line = &thread->lines[thread->line_count];

    *line = (struct redis_line){ .events = events, .owner = thread->owner, .number = thread->line_count++, .url = *url,
                                 .connect_ms = connect_ms, .answer_ms = answer_ms };
    list_init(&line->said);
    return line;
}

/* The one whose thread this is; NULL: none. */
static _Thread_local const struct redis_thread *own_thread;

void redis_thread_wake(struct redis_thread *thread)
{
    const uint64_t one = 1;

    if (own_thread == thread) {
        thread->is_called = true;
        return;
    }
    if (thread->is_woken)
        return;
    thread->is_woken = true;
    must(write(thread->wake_fd, &one, sizeof one) == sizeof one);
}

bool redis_thread_is_stopping(struct redis_thread *thread)
{
    pthread_mutex_lock(&thread->lock);
    bool is_stopping = thread->is_stopping;
    pthread_mutex_unlock(&thread->lock);
    return is_stopping;
}

static short line_events(const struct redis_line *line)
{
    if (line->state == REDIS_CONNECTING)
        return POLLOUT;
    return POLLIN | (line->sent < line->out.len ? POLLOUT : 0);
}

static msec thread_patience(const struct redis_thread *thread, msec now)
{
    msec patience = thread->is_called ? 0 : TURN_MS;

    for (size_t i = 0; i < thread->line_count; i++) {
        const struct redis_line *line = &thread->lines[i];
        if (line->due != 0 && line->due - now < patience)
            patience = line->due > now ? line->due - now : 0;
    }
    return patience;
}

static bool thread_begin_turn(struct redis_thread *thread, bool is_readable)
{
    uint64_t count;

    pthread_mutex_lock(&thread->lock);
    if (is_readable && read(thread->wake_fd, &count, sizeof count) == sizeof count)
        thread->is_woken = false;
    pthread_mutex_unlock(&thread->lock);
    return !redis_thread_is_stopping(thread);
}

static void thread_poll(const struct redis_thread *thread, struct pollfd *fds)
{
    fds[0] = (struct pollfd){ .fd = thread->wake_fd, .events = POLLIN };
    for (size_t i = 0; i < thread->line_count; i++) {
        const struct redis_line *line = &thread->lines[i];
        fds[i + 1] = (struct pollfd){ .fd = line->redis == NULL ? -1 : line->redis->fd, .events = line_events(line) };
    }
    poll(fds, thread->line_count + 1, (int)thread_patience(thread, redis_now()));
}

static void *thread_run(void *ctx)
{
    struct redis_thread *thread = ctx;
    struct pollfd        fds[REDIS_LINES + 1];

    own_thread = thread;
    for (;;) {
        thread_poll(thread, fds);
        if (!thread_begin_turn(thread, fds[0].revents != 0))
            return NULL;
        const msec now = redis_now();
        for (size_t i = 0; i < thread->line_count; i++)
            line_go(&thread->lines[i], fds[i + 1].fd < 0 ? 0 : fds[i + 1].revents, now);
        thread->is_called = false;
        thread->turn(thread->owner, now);
        for (size_t i = 0; i < thread->line_count; i++)
            line_flush(&thread->lines[i], now);
    }
}

void redis_thread_start(struct redis_thread *thread)
{
    must(pthread_create(&thread->thread, NULL, thread_run, thread) == 0);
    thread->is_started = true;
}

void redis_thread_stop(struct redis_thread *thread)
{
    pthread_mutex_lock(&thread->lock);
    thread->is_stopping = true;
    redis_thread_wake(thread);
    pthread_mutex_unlock(&thread->lock);
    if (thread->is_started)
        must(pthread_join(thread->thread, NULL) == 0);
    thread->is_started = false;
    for (size_t i = 0; i < thread->line_count; i++) {
        struct redis_line *line = &thread->lines[i];
        redis_line_fail(line, "the server ends");
        if (line->is_failing)
            line_lose(line, redis_now());
    }
}

void redis_thread_fini(struct redis_thread *thread)
{
    for (size_t i = 0; i < thread->line_count; i++) {
        must(thread->lines[i].asked_count == 0);
        free(thread->lines[i].asked);
        buf_fini(&thread->lines[i].out);
    }
    pthread_mutex_destroy(&thread->lock);
    close(thread->wake_fd);
}
