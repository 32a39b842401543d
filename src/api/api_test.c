/* The API behind a real connection, the writer played by the test: each row is a request and what comes back. */
#include "api/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "lib/hand_clock.h"
#include "node/canary.h"
#include "reactor/stream_tcp.h"

#include <cmocka.h>

#define LONG_TEXT "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmno"

static const struct hash_key key = { 1, 2 };

struct stage {
    struct namespaces      spaces;
    struct loop            loop;
    struct http_server     http;
    struct shard           shard;
    struct api             api;
    struct mail           *oldest, **newest;  /* commands to the writer */
    uint64_t               head;
    struct identity       *who;               /* who asks; NULL: with a key that is none */
    uint32_t               long_bytes;        /* the log holds one message of so many control characters; 0: none */
    struct api_health      health;
    enum rc                read_rc;
    enum publish_outcome   outcome;
    msec                   busy_ms;
    enum canary_end        canary_end;
    bool                  is_silent;   /* nothing is answered */
    int                    fd;
};

static struct identity stranger = { .refs = 1 };
static struct identity sender   = { .refs = 1, .rights = RIGHT_PUBLISH, .from_len = 6, .text = "sender" };
static struct identity reader   = { .refs = 1, .rights = RIGHT_SUBSCRIBE, .from_len = 6, .text = "reader" };
static struct identity everyone = { .refs = 1, .rights = KEY_RIGHTS_ALL };

static void on_send(void *ctx, struct command *command)
{
    struct stage *stage = ctx;

    command->mail.next = NULL;
    *stage->newest     = &command->mail;
    stage->newest      = &command->mail.next;
}

static void on_ready(void *ctx, struct subscription *sub)
{
    (void)ctx, (void)sub;
    must(!"nobody follows here");
}

static const struct shard_port shard_port = { .send = on_send, .ready = on_ready };

static void answer_read(const struct stage *stage, struct store_read *read)
{
    read->rc    = stage->read_rc;
    read->epoch = 9;
    read->first = 1;
    read->head  = stage->head;
    if (stage->long_bytes == 0)
        return;
    read->entries     = calloc(1, sizeof *read->entries);
    read->entry_count = 1;
    must(read->entries != NULL);
    read->entries[0].message = message_new(read->channel, MESSAGE_PLAIN, NULL, stage->long_bytes, SPAN("text/plain"),
                                           SPAN(""));
    memset(read->entries[0].message->bytes, 1, stage->long_bytes);
}

static void answer_publish(const struct stage *stage, struct publish_command *command)
{
    command->answer  = (struct append_answer){ 9, 1, 7, 1 };
    command->outcome = stage->outcome;
    if (!command->append.is_purge)
        return;
    command->outcome       = PUBLISH_PURGED;
    command->append.purged = (struct purge_answer){ 9, 1, 5 };
}

static void answer_all(struct stage *stage)
{
    struct mail *mail = stage->oldest;

    if (stage->is_silent)
        return;
    stage->oldest = NULL;
    stage->newest = &stage->oldest;
    while (mail != NULL) {
        struct command *command = command_of(mail);
        mail                    = mail->next;
        if (command->kind == &publish_kind)
            answer_publish(stage, container_of(command, struct publish_command, command));
        else if (command->kind == &read_kind)
            answer_read(stage, &container_of(command, struct read_command, command)->read);
        else if (command->kind == &stats_kind)
            container_of(command, struct stats_command, command)->stats.busy_ms = stage->busy_ms;
        else if (command->kind == &canary_kind)
            container_of(command, struct canary, command)->end = stage->canary_end;
        else if (command->kind == &count_kind)
            container_of(command, struct count_command, command)->is_home = true;
        else if (command->kind == &listing_kind)
            container_of(command, struct listing_command, command)->stage = LISTING_HOME;
        shard_take(&stage->shard, command);
    }
}

static void on_turn_begin(void *ctx)
{
    struct stage *stage = ctx;

    shard_turn_begin(&stage->shard, stage->loop.now, 1000);
    answer_all(stage);
}

static void on_turn_end(void *ctx)
{
    struct stage *stage = ctx;

    http_server_turn_end(&stage->http);
    loop_stop(&stage->loop);
}

static const struct loop_hooks hooks = { .turn_begin = on_turn_begin, .turn_end = on_turn_end };

static void put_metrics(void *ctx, const struct writer_stats *stats, struct buf *out)
{
    (void)ctx, (void)stats;
    buf_put_lit(out, "numbers\n");
}

static void health(void *ctx, struct api_health *ret)
{
    const struct stage *stage = ctx;
    *ret = stage->health;
}

static const struct api_port api_port = { .put_metrics = put_metrics, .health = health };

static struct http_plan plan(void *ctx, const struct http_request *request)
{
    struct stage *stage = ctx;
    return (struct http_plan){ .body_bytes_max = api_body_bytes_max(&stage->api, request),
                               .needs_caller   = api_needs_caller(request) };
}

static void *on_identify(void *ctx, struct http_sender *from, const struct http_request *request, struct http_caller *ret)
{
    struct stage *stage = ctx;

    (void)from, (void)request;
    if (stage->who != NULL)
        ret->identity = identity_ref(stage->who);
    else
        *ret = (struct http_caller){ .status = 401, .reason = "this token is not known here" };
    return NULL;
}

static void on_forget(void *ctx, struct identity *identity)
{
    (void)ctx;
    identity_unref(identity);
}

static bool is_unwelcome(void *ctx, const struct http_request *request, const struct http_caller *caller)
{
    struct stage *stage = ctx;
    return api_is_unwelcome(&stage->api, request, caller);
}

static void serve(void *ctx, struct http_exchange *exchange, const struct http_request *request)
{
    struct stage *stage = ctx;
    api_serve(&stage->api, exchange, request);
}

static const struct http_service service = {
    .plan = plan, .identify = on_identify, .forget = on_forget, .is_unwelcome = is_unwelcome, .serve = serve,
};

static const struct api_page page = { "/page", "text/plain", SPAN("a page") };

static struct stage *stage_new(void)
{
    static const struct http_limits http = {
        .h1 = { 8192, 16384 }, .pipeline_max = 16, .answer_bytes_max = 1 << 20, .request_timeout_ms = 30000,
        .head_timeout_ms = 30000,
        .keepalive_timeout_ms = 30000, .body_bytes_max = 1 << 20, .owed_bytes_max = 1 << 30,
        .ease_bytes_max = 1 << 30, .stuck_ms = 2000, .taken_bytes_min = 1,
        .linger_ms = 2000,
    };
    static const struct shard_limits shard = { .publish_count_max = 3, .publish_bytes_max = 1 << 20 };
    struct stage *stage = calloc(1, sizeof *stage);
    int           pair[2];

    must(stage != NULL && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    stage->newest = &stage->oldest;
    stage->who    = &everyone;
    stage->fd     = pair[1];
    namespaces_init(&stage->spaces);
    namespaces_find(&stage->spaces, SPAN("topic"))->payload_bytes_max = 90;
    must(loop_init(&stage->loop, &hooks, stage) == RC_OK);
    http_server_init(&stage->http, &stage->loop, &http, &service, stage);
    shard_init(&stage->shard, 0, &shard_port, stage, &shard);
    stage->api = (struct api){
        .server = &stage->http, .shard = &stage->shard, .namespaces = &stage->spaces, .hash_key = &key,
        .limits = { 1000, 100000, 4, 1000, 100000, 100000 }, .port = &api_port, .ctx = stage, .version = "1",
        .pages = &page, .page_count = 1,
    };
    api_init(&stage->api);
    struct stream *stream;
    assert_int_equal(stream_tcp_new(&stage->loop, pair[0], &stream), RC_OK);
    http_server_open(&stage->http, stream);
    return stage;
}

static void stage_turn(struct stage *stage)
{
    mailbox_ring(&stage->loop.mailbox);
    loop_run(&stage->loop);
}

static void stage_free(struct stage *stage)
{
    close(stage->fd);
    http_server_fini(&stage->http);
    stage_turn(stage);
    shard_fini(&stage->shard);
    api_fini(&stage->api);
    loop_fini(&stage->loop);
    free(stage);
}

/* One request and its whole answer, from the status on. */
static void ask(struct stage *stage, const char *method_path, const char *media, const char *body, struct buf *ret)
{
    struct buf request;
    char       bytes[65536];
    ssize_t    got;

    buf_init(&request, 1 << 17);
    buf_putf(&request, "%s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s", method_path,
             media, strlen(body), body);
    must(send(stage->fd, request.at, request.len, MSG_NOSIGNAL) == (ssize_t)request.len);
    buf_fini(&request);
    buf_clear(ret);
    for (int turn = 0; turn < 300; turn++) {
        stage_turn(stage);
        while ((got = recv(stage->fd, bytes, sizeof bytes, 0)) > 0)
            buf_put(ret, span_of(bytes, (size_t)got));
    }
    must(span_starts(buf_span(ret), SPAN("HTTP/1.1 ")));
    buf_drop(ret, 9);
}

static unsigned status_of(struct span answer)
{
    uint64_t status;
    must(span_u64(span_head(answer, 3), &status));
    return (unsigned)status;
}

/* Threat 104: each call by each who. 0: a credential that is none of ours. */
static void each_call_asks_for_its_right(void **state)
{
    (void)state;
    static const struct { const char *call, *body; unsigned stranger, sender, reader, everyone, none; } rows[] = {
        { "POST /v1/channels/user:a/messages", "x", 401, 201, 403, 201, 401 },
        { "POST /v1/channels/sys:a/messages", "x", 403, 403, 403, 403, 401 },
        { "GET /v1/channels/user:a/messages", "", 401, 403, 200, 200, 401 },
        { "GET /v1/channels/user:a", "", 401, 403, 200, 200, 401 },
        { "DELETE /v1/channels/user:a/messages/1", "", 401, 200, 403, 200, 401 },
        { "GET /metrics", "", 401, 403, 403, 200, 401 },
        { "GET /healthz", "", 200, 200, 200, 200, 200 },
        { "GET /readyz", "", 200, 200, 200, 200, 200 },
        { "GET /readyz/read", "", 200, 200, 200, 200, 200 },
        { "GET /readyz/publish", "", 200, 200, 200, 200, 200 },
        { "GET /readyz/nothing", "", 404, 404, 404, 404, 404 },
        { "PUT /v1/messages", "", 405, 405, 405, 405, 405 },
        { "GET /page", "", 200, 200, 200, 200, 200 },
        { "POST /page", "", 405, 405, 405, 405, 405 },
        { "GET /v1/channels/user:a/messages/1", "", 405, 405, 405, 405, 405 },
        { "GET /v1/channels//messages", "", 400, 400, 400, 400, 401 },
        { "GET /v1/channels/*/messages/", "", 404, 404, 404, 404, 404 },
        { "POST /v1/channels/*/messages/", "x", 404, 404, 404, 404, 404 },
        { "DELETE /v1/channels/*/messages/", "", 404, 404, 404, 404, 404 },
        { "GET /v1/channels/", "", 404, 404, 404, 404, 404 },
        { "GET /v1/nothing", "", 404, 404, 404, 404, 404 },
        { "DELETE /v1/channels/user:a", "", 401, 403, 403, 200, 401 },
        { "DELETE /v1/channels/sys:a", "", 401, 403, 403, 200, 401 },
        { "DELETE /v1/channels/user:a?force", "", 401, 403, 403, 400, 401 },
        { "DELETE /v1/channels/nope:a", "", 404, 404, 404, 404, 401 },
        { "GET /v1/channels", "", 401, 403, 403, 200, 401 },
        { "GET /v1/channels?prefix=topic%3Anews/&after=topic:&limit=9999", "", 401, 403, 403, 200, 401 },
        { "GET /v1/channels?limit=0", "", 401, 403, 403, 400, 401 },
        { "GET /v1/channels?limit=x", "", 401, 403, 403, 400, 401 },
        { "GET /v1/channels?prefix=%zz", "", 401, 403, 403, 400, 401 },
        { "GET /v1/channels?after=" LONG_TEXT LONG_TEXT LONG_TEXT, "", 401, 403, 403, 400, 401 },
        { "GET /v1/channels?prefixes=a", "", 401, 403, 403, 400, 401 },
        { "POST /v1/channels", "", 405, 405, 405, 405, 405 },
        { "GET /v1/channels/", "", 404, 404, 404, 404, 404 },
        { "GET /v1/channels/user:a/messages?after=18446744073709551615", "", 401, 403, 200, 200, 401 },
        { "GET /v1/channels/user:a/messages?after=18446744073709551616", "", 401, 403, 400, 400, 401 },
        { "GET /v1/channels/user:a/messages?limit=0", "", 401, 403, 400, 400, 401 },
        { "GET /v1/channels/user:a/messages?after=1&before=2", "", 401, 403, 400, 400, 401 },
        { "GET /v1/channels/user:a/messages?since=5m&limit=2&until=1m", "", 401, 403, 200, 200, 401 },
        { "GET /v1/channels/user:a/messages?after=1&until=2026-11-28T12%3A00:00%2B01:00", "", 401, 403, 200, 200, 401 },
        { "GET /v1/channels/user:a/messages?_=1795297177831&access_token=", "", 401, 403, 200, 200, 401 },
        { "GET /v1/channels/user:a/messages?since=yesterday", "", 401, 403, 400, 400, 401 },
        { "GET /v1/channels/user:a/messages?until=", "", 401, 403, 400, 400, 401 },
        { "GET /v1/channels/user:a/messages?since=5m&after=1", "", 401, 403, 400, 400, 401 },
        { "GET /v1/channels/user:a/messages?since=5m&before=1", "", 401, 403, 400, 400, 401 },
        { "GET /v1/channels/user:a/messages?limit=1&limit=2", "", 401, 403, 400, 400, 401 },
        { "GET /v1/channels/user:a/messages?Limit=1", "", 401, 403, 400, 400, 401 },
        { "GET /v1/channels/user:a?limit=1", "", 401, 403, 400, 400, 401 },
        { "DELETE /v1/channels/user:a/messages/1?seq=1", "", 400, 400, 400, 400, 401 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct { struct identity *who; unsigned want; } columns[] = {
            { &stranger, rows[i].stranger }, { &sender, rows[i].sender }, { &reader, rows[i].reader },
            { &everyone, rows[i].everyone }, { NULL, rows[i].none },
        };
        for (size_t at = 0; at < sizeof columns / sizeof columns[0]; at++) {
            struct stage *stage = stage_new();
            struct buf    answer;

            buf_init(&answer, 1 << 20);
            stage->head = 1;
            stage->who  = columns[at].who;
            namespaces_find(&stage->spaces, SPAN("user"))->publish   = ALLOW_KEY;
            namespaces_find(&stage->spaces, SPAN("user"))->subscribe = ALLOW_KEY;
            ask(stage, rows[i].call, "", rows[i].body, &answer);
            if (status_of(buf_span(&answer)) != columns[at].want)
                fail_msg("%s, column %zu: %.*s", rows[i].call, at, SPAN_ARG(buf_span(&answer)));
            buf_fini(&answer);
            stage_free(stage);
        }
    }
}

/* RFC 9112 9.3, threat 51: who may publish is told about a wrong path behind the body, and goes on with the connection.
 * Who may publish nothing is told before the body, and the connection closes. */
static void a_wrong_path_is_no_reason_to_close(void **state)
{
    (void)state;
    static const struct { const char *path; struct identity *who; bool closes; } rows[] = {
        { "/v1/nothing", &sender, false }, { "/v1/nothing", &everyone, false }, { "/page", &sender, false },
        { "/v1/nothing", &stranger, true }, { "/v1/nothing", NULL, true },      { "/page", &stranger, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();
        char          head[128], answer[4096] = "";

        stage->who = rows[i].who;
        for (size_t at = 0; at < stage->spaces.count; at++)
            stage->spaces.at[at].publish = ALLOW_KEY;
        snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", rows[i].path);
        must(send(stage->fd, head, strlen(head), MSG_NOSIGNAL) == (ssize_t)strlen(head));
        for (int turn = 0; turn < 5; turn++)
            stage_turn(stage);
        assert_int_equal(recv(stage->fd, answer, sizeof answer - 1, 0) > 0, rows[i].closes);
        must(send(stage->fd, "abc", 3, MSG_NOSIGNAL) == 3);
        for (int turn = 0; turn < 5; turn++)
            stage_turn(stage);
        if (!rows[i].closes)
            assert_true(recv(stage->fd, answer, sizeof answer - 1, 0) > 0);
        assert_int_equal(strstr(answer, "Connection: close") != NULL, rows[i].closes);
        assert_int_equal(recv(stage->fd, answer, sizeof answer, 0) == 0, rows[i].closes);
        stage_free(stage);
    }
}

/* Threat 57. Statuses in order; the shard takes three publishes at a time, so later ones are refused at once. */
static void a_batch_answers_each_in_order(void **state)
{
    (void)state;
    static const struct { const char *name, *media, *body, *want; } rows[] = {
        { "empty", "application/json", "{\"messages\":[]}", "200 " },
        { "not an object", "application/json", "[]", "400 " },
        { "two", "application/json",
          "{\"messages\":[{\"channel\":\"topic:a\",\"data\":1},{\"channel\":\"topic:a\",\"data\":2}]}",
          "200 201 201 " },
        { "good, bad, good", "application/json",
          "{\"messages\":[{\"channel\":\"topic:a\",\"data\":1},7,{\"channel\":\"topic:a\",\"data_base64\":\"eA==\"}]}",
          "200 201 400 201 " },
        { "five are too many", "application/json", "{\"messages\":[1,2,3,4,5]}", "413 " },
        { "busy", "application/json",
          "{\"messages\":[{\"channel\":\"topic:a\",\"data\":1},"
          "{\"channels\":[\"topic:a\",\"topic:b\",\"topic:c\",\"x\"],\"data\":2}]}",
          "200 201 207 201 201 429 400 " },
        { "all refused at once", "application/json",
          "{\"messages\":[{\"channel\":\"sys:a\",\"data\":1},{}]}", "200 403 400 " },
        { "inner ones too many", "application/json",
          "{\"messages\":[{\"channels\":[\"x\",\"x\",\"x\"],\"data\":2},{\"channels\":[\"x\",\"x\"],\"data\":2}]}",
          "200 207 400 400 400 413 " },
        { "empty list", "application/json", "{\"messages\":[{\"channels\":[],\"data\":2}]}", "200 400 " },
        { "both", "application/json",
          "{\"messages\":[{\"channels\":[],\"channel\":\"topic:a\",\"data\":2}]}", "200 400 " },
        { "too long", "application/json",
          "{\"messages\":[{\"channel\":\"topic:a\",\"data\":\"" LONG_TEXT "\"}]}", "200 413 " },
        { "lines", "application/x-ndjson; charset=utf-8",
          "{\"channel\":\"topic:a\",\"data\":1}\r\n\n{\n{\"channels\":[\"topic:a\",\"topic:b\"],\"data\":1}",
          "200 201 400 207 201 201 " },
        { "no lines", "application/x-ndjson", "\n\n", "200 " },
        { "five lines", "application/x-ndjson", "1\n2\n3\n4\n5", "413 " },
        { "text", "text/plain", "{\"messages\":[]}", "415 " },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage *stage = stage_new();
        struct buf    answer, told;

        buf_init(&answer, 1 << 20);
        buf_init(&told, 4096);
        ask(stage, "POST /v1/messages", rows[i].media, rows[i].body, &answer);
        buf_putf(&told, "%u ", status_of(buf_span(&answer)));
        buf_putc(&answer, '\0');
        const char *at = status_of(buf_span(&answer)) == 200 ? answer.at : "";
        while ((at = strstr(at, "{\"status\":")) != NULL)
            buf_putf(&told, "%.3s ", at += strlen("{\"status\":"));
        if (!span_eq(buf_span(&told), span_str(rows[i].want)))
            fail_msg("%s: %.*s\n%s", rows[i].name, SPAN_ARG(buf_span(&told)), answer.at);
        buf_fini(&answer);
        buf_fini(&told);
        stage_free(stage);
    }
}

/* A full disk takes no reader away, and an unreadable log no publisher. */
static void readiness_to_read_and_to_publish_are_two_questions(void **state)
{
    (void)state;
    static const struct {
        const char          *name;
        struct api_health    health;
        enum rc              read_rc;
        enum publish_outcome outcome;
        msec                 busy_ms;
        bool                 has_durable;
        unsigned             ready, read, publish;
        bool                 is_elsewhere;  /* Redis keeps memory channels */
    } rows[] = {
        { "all is well",       { 0 },                       RC_OK, PUBLISH_DONE, 0,    true,  200, 200, 200 },
        { "stopping",          { .is_stopping = true },     RC_OK, PUBLISH_DONE, 0,    true,  503, 503, 503 },
        { "full",              { .is_store_full = true },   RC_OK, PUBLISH_DONE, 0,    true,  503, 200, 503 },
        { "broken",            { .is_store_broken = true }, RC_OK, PUBLISH_DONE, 0,    true,  503, 200, 503 },
        { "broken, unreadable", { .is_store_broken = true }, RC_IO, PUBLISH_DONE, 0,   true,  503, 503, 503 },
        { "unreadable",        { 0 },                       RC_IO, PUBLISH_DONE, 0,    true,  503, 503, 200 },
        { "nothing to read",   { 0 },                       RC_IO, PUBLISH_DONE, 0,    false, 200, 200, 200 },
        { "a sync of 5 s",     { 0 },                       RC_OK, PUBLISH_DONE, 5000, true,  200, 200, 200 },
        { "a longer one",      { 0 },                       RC_OK, PUBLISH_DONE, 5001, true,  503, 200, 503 },
        { "no canary",         { 0 },                       RC_OK, PUBLISH_BUSY, 0,    true,  503, 503, 503 },
        { "no memory",         { 0 },                       RC_OK, PUBLISH_AWAY, 0,    true,  503, 503, 503 },
        { "no Redis",          { 0 },                       RC_OK, PUBLISH_AWAY, 0,    true,  200, 200, 200, true },
        { "a doubtful Redis",  { 0 },                       RC_OK, PUBLISH_BROKEN, 0,  true,  200, 200, 200, true },
        { "too many wait for it", { 0 },                    RC_OK, PUBLISH_BUSY, 0,    true,  503, 503, 503, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct { const char *call; unsigned want; } columns[] = {
            { "GET /readyz", rows[i].ready }, { "GET /readyz/read", rows[i].read },
            { "GET /readyz/publish", rows[i].publish },
        };
        for (size_t at = 0; at < sizeof columns / sizeof columns[0]; at++) {
            struct stage *stage = stage_new();
            struct buf    answer;

            buf_init(&answer, 1 << 20);
            stage->health  = rows[i].health;
            stage->read_rc = rows[i].read_rc;
            stage->outcome = rows[i].outcome;
            stage->busy_ms = rows[i].busy_ms;
            stage->shard.engines.memory = rows[i].is_elsewhere ? "redis" : NULL;
            for (size_t space = 0; space < stage->spaces.count && !rows[i].has_durable; space++)
                stage->spaces.at[space].durability = MEMORY;
            ask(stage, columns[at].call, "", "", &answer);
            if (status_of(buf_span(&answer)) != columns[at].want)
                fail_msg("%s, %s: %.*s", rows[i].name, columns[at].call, SPAN_ARG(buf_span(&answer)));
            buf_fini(&answer);
            stage_free(stage);
        }
    }
}

static size_t commands_under_way(const struct stage *stage)
{
    size_t count = 0;

    for (const struct mail *mail = stage->oldest; mail != NULL; mail = mail->next)
        count++;
    return count;
}

/* Who pipelines batches and doesn't read makes no more than answer_bytes_max of answers wait for it. */
static void batches_count_for_their_answers_before_they_have_them(void **state)  /* threats 21, 34 */
{
    (void)state;
    static const char *const bodies[] = {
        "Content-Type: application/json\r\nContent-Length: 48\r\n\r\n"
        "{\"messages\":[{\"channels\":[\"topic:a\"],\"data\":1}]}",
        "Content-Type: application/x-ndjson\r\nContent-Length: 32\r\n\r\n{\"channel\":\"topic:abc\",\"data\":1}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct stage *stage = stage_new();
        char          text[512];

        stage->http.limits.answer_bytes_max = 100;
        int len = snprintf(text, sizeof text, "POST /v1/messages HTTP/1.1\r\nHost: a\r\n%s", bodies[i]);
        for (int batch = 0; batch < 3; batch++)
            must(send(stage->fd, text, (size_t)len, MSG_NOSIGNAL) == len);
        for (int batch = 0; batch < 3; batch++) {
            int turns = 0;
            do
                stage_turn(stage);
            while (stage->oldest == NULL && ++turns < 100);
            assert_int_equal(commands_under_way(stage), 1);
        }
        stage_free(stage);
    }
}

/* A database whose packets are lost is given up after ten seconds, and a balancer does not wait for so long. */
static void a_store_that_says_nothing_is_reported_in_time(void **state)
{
    (void)state;
    static const char *const paths[] = { "/readyz/read", "/readyz" };

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct stage *stage = stage_new();
        char          text[512];
        int           len = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", paths[i]);

        stage->shard.engines.durable = "postgres";
        must(send(stage->fd, text, (size_t)len, MSG_NOSIGNAL) == len);
        do {
            stage->is_silent = stage->oldest != NULL && command_of(stage->oldest)->kind == &read_kind;
            stage_turn(stage);
        } while (!stage->is_silent);
        const msec asked = stage->shard.now;
        api_tick(&stage->api);
        stage_turn(stage);
        assert_int_equal(recv(stage->fd, text, sizeof text, 0), -1);
        stage->shard.now = asked + 1000;
        api_tick(&stage->api);
        stage_turn(stage);
        ssize_t got = recv(stage->fd, text, sizeof text, 0);
        assert_true(got > 0);
        assert_int_equal(status_of(span_of(text + 9, (size_t)got - 9)), 503);
        assert_non_null(memmem(text, (size_t)got, "(postgres)", 10));
        stage->is_silent = false;
        for (int turn = 0; turn < 4; turn++)
            stage_turn(stage);
        assert_int_equal(stage->shard.away_count, 0);
        assert_int_equal(recv(stage->fd, text, sizeof text, 0), -1);
        stage_free(stage);
    }
}

enum { QUESTIONS_IN_A_ROW = 4 };  /* of GET /readyz, which has the most */

/* Cut off before the answer: it comes to nobody. */
static void answers_outlive_their_asker(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "POST /v1/channels/topic:a/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        ("POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 49\r\n\r\n"
         "{\"messages\":[{\"channels\":[\"topic:a\"],\"data\":1}]}\n"),
        "GET /v1/channels/topic:a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /readyz/read HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /readyz/publish HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct stage *stage = stage_new();

        stage->head = 1;
        must(send(stage->fd, requests[i], strlen(requests[i]), MSG_NOSIGNAL) > 0);
        stage_turn(stage);
        assert_non_null(stage->oldest);
        http_server_fini(&stage->http);
        for (int turn = 0; turn < QUESTIONS_IN_A_ROW; turn++)
            stage_turn(stage);
        assert_int_equal(stage->shard.away_count, 0);
        stage_free(stage);
    }
}

/* Control characters take six bytes each. */
static void a_long_answer_is_whole_and_leaves_no_memory_behind(void **state)
{
    (void)state;
    static const uint32_t lengths[] = { 1024 * 1024, 12 * 1024 * 1024 };

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct stage *stage = stage_new();
        struct buf    answer;
        struct span   rest, length;
        uint64_t      bytes = 0;

        buf_init(&answer, 1 << 27);
        stage->head       = 1;
        stage->long_bytes = lengths[i];
        ask(stage, "GET /v1/channels/topic:a/messages", "", "", &answer);
        const char *at = memmem(answer.at, answer.len, "Content-Length: ", 16);
        assert_non_null(at);
        rest = span_of(at + 16, 20);
        assert_true(span_cut(&rest, '\r', &length) && span_u64(length, &bytes));
        assert_true(bytes > UINT64_C(6) * lengths[i]);
        if (i == 0) {
            ask(stage, "GET /healthz", "", "", &answer);
            assert_true(stage->api.scratch.cap < lengths[i]);
        }
        buf_fini(&answer);
        stage_free(stage);
    }
}

/* A batch of very many JSON values; the next request finds what they took given back. */
static void a_batch_of_many_values_leaves_no_memory_behind(void **state)
{
    (void)state;
    enum { VALUES = 40000 };
    struct stage *stage = stage_new();
    struct buf    body, answer;

    buf_init(&body, 1 << 17);
    buf_init(&answer, 1 << 17);
    buf_put_lit(&body, "{\"messages\":[[1");
    for (int i = 0; i < VALUES; i++)
        buf_put_lit(&body, ",1");
    buf_put(&body, span_of("]]}", 4));
    ask(stage, "POST /v1/messages", "application/json", body.at, &answer);
    assert_int_equal(status_of(buf_span(&answer)), 200);
    ask(stage, "GET /healthz", "", "", &answer);
    assert_in_range(stage->api.doc.cap, 0, VALUES);
    buf_fini(&body);
    buf_fini(&answer);
    stage_free(stage);
}

/* Threat 21: what would not fit into memory together isn't read together; all are answered, save those who left. */
static void pages_are_read_a_few_at_a_time(void **state)
{
    (void)state;
    enum { COUNT = 10, AT_ONCE = 4, TURNS = 50 };
    static const char request[] = "GET /v1/channels/user:a/messages HTTP/1.1\r\nHost: a\r\n\r\n";

    for (int is_leaving = 0; is_leaving < 2; is_leaving++) {
        struct stage *stage = stage_new();
        struct buf    answers;
        char         *bytes = calloc(1, 65536);
        int           count = 0;

        buf_init(&answers, 1 << 20);
        for (int i = 0; i < COUNT; i++)
            must(send(stage->fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request));
        stage_turn(stage);
        assert_int_equal(commands_under_way(stage), AT_ONCE);
        for (int turn = 0; turn < TURNS && !is_leaving; turn++) {
            stage_turn(stage);
            assert_true(commands_under_way(stage) <= AT_ONCE);
            ssize_t got = recv(stage->fd, bytes, 65536, 0);
            buf_put(&answers, span_of(bytes, got > 0 ? (size_t)got : 0));
        }
        buf_putc(&answers, '\0');
        for (const char *at = answers.at; (at = strstr(at, "HTTP/1.1 200")) != NULL; at++)
            count++;
        assert_int_equal(count, is_leaving ? 0 : COUNT);
        free(bytes);
        buf_fini(&answers);
        stage_free(stage);
    }
}

/* Threat 21: and refused while too many wait for clients to read them; never because it is long itself. */
static void a_page_that_has_no_room_is_refused(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    struct buf    answer;

    buf_init(&answer, 1 << 20);
    stage->head                       = 1;
    stage->long_bytes                 = 1000;
    stage->http.limits.owed_bytes_max = 0;
    ask(stage, "GET /v1/channels/user:a/messages", "", "", &answer);
    assert_int_equal(status_of(buf_span(&answer)), 503);
    assert_non_null(memmem(answer.at, answer.len, "Retry-After: 1\r\n", 16));
    stage->http.limits.owed_bytes_max = 1;
    ask(stage, "GET /v1/channels/user:a/messages", "", "", &answer);
    assert_int_equal(status_of(buf_span(&answer)), 200);
    buf_fini(&answer);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_asks_for_its_right),
        cmocka_unit_test(a_wrong_path_is_no_reason_to_close),
        cmocka_unit_test(a_batch_answers_each_in_order),
        cmocka_unit_test(batches_count_for_their_answers_before_they_have_them),
        cmocka_unit_test(a_store_that_says_nothing_is_reported_in_time),
        cmocka_unit_test(answers_outlive_their_asker),
        cmocka_unit_test(readiness_to_read_and_to_publish_are_two_questions),
        cmocka_unit_test(a_long_answer_is_whole_and_leaves_no_memory_behind),
        cmocka_unit_test(a_batch_of_many_values_leaves_no_memory_behind),
        cmocka_unit_test(pages_are_read_a_few_at_a_time),
        cmocka_unit_test(a_page_that_has_no_room_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
