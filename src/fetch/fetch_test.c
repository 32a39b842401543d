/* Calls to a server that misbehaves in every way we could think of. The server is a thread of this test: what it does
 * with a connection is said by the path that is asked for. All of it runs once with libcurl for all calls, and once with our own
 * client for those that it takes: nobody can tell which has served a call. What does not end with the module's own thread runs once more by
 * parts of the module, on loops of this test. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "fetch/fetch_priv.h"

#include <cmocka.h>

enum { CONNS_MAX = 1024, HEAD_ROOM = 1024 * 1024, ANSWER_MAX = 64 * 1024, PATIENCE_MS = 60000, SHORT_MS = 300 };

/* --- the server ---------------------------------------------------------------------------------------------- */

struct far_server {
    int         listener;
    unsigned    port;
    pthread_t   thread, conns[CONNS_MAX];
    atomic_uint conn_count;   /* connections ever */
    atomic_uint request_count;
    atomic_uint closed_count; /* connections that have ended */
    atomic_bool is_closing;
};

static bool put(int fd, const char *text, size_t len)
{
    return send(fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool put_text(int fd, const char *text)
{
    return put(fd, text, strlen(text));
}

/* Until the client closes. */
static void hold(int fd)
{
    char bytes[4096];
    while (recv(fd, bytes, sizeof bytes, 0) > 0) {}
}

static void drip(int fd, const char *head)
{
    put_text(fd, head);
    while (put_text(fd, "X"))
        usleep(20 * 1000);
}

static void flood(int fd, const char *head)
{
    static const char block[16 * 1024];
    put_text(fd, head);
    while (put(fd, block, sizeof block)) {}
}

static void flood_head(int fd)
{
    put_text(fd, "HTTP/1.1 200 OK\r\n");
    while (put_text(fd, "X-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")) {}
}

static void echo(int fd, const char *request, size_t len)
{
    char head[128];
    snprintf(head, sizeof head, "HTTP/1.1 201 Created\r\nX-Kept: yes\r\nContent-Length: %zu\r\n\r\n", len);
    put_text(fd, head);
    if (strncmp(request, "HEAD ", 5) != 0)
        put(fd, request, len);
}

/* False: the connection ends. */
static bool serve_far(int fd, const char *path, const char *request, size_t len)
{
    struct { const char *path, *answer; bool stays; } plain[] = {
        { "/ok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true },
        { "/refused", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", true },
        { "/redirect", "HTTP/1.1 302 Found\r\nLocation: /ok\r\nContent-Length: 0\r\n\r\n", true },
        { "/early", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot all", false },
        { "/garbage", "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", false },
        { "/chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n", false },
        { "/close", "", false },
        { "/more", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged", true },
        { "/interim", "HTTP/1.1 103 Early Hints\r\nX-Kept: early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true },
        { "/none", "HTTP/1.1 204 No Content\r\n\r\n", true },
        { "/old", "HTTP/1.0 200 OK\r\n\r\nold", false },
        { "/bye", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", false },
        { "/quiet", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false },
        { "/short", "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok", true },
        { "/half", "HTTP/1.1 200 OK\r\nContent-Le", false },
        { "/trailing", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Kept: late\r\n\r\n", true },
    };
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (strcmp(path, plain[i].path) == 0)
            return put_text(fd, plain[i].answer) && plain[i].stays;
    if (strcmp(path, "/echo") == 0)
        echo(fd, request, len);
    else if (strcmp(path, "/silent") == 0)
        hold(fd);
    else if (strcmp(path, "/drip") == 0)
        drip(fd, "HTTP/1.1 200 OK\r\nX-Slow: ");
    else if (strcmp(path, "/drop") == 0)
        drip(fd, "HTTP/1.1 200 OK\r\n\r\n");
    else if (strcmp(path, "/big") == 0)
        flood(fd, "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n");
    else if (strcmp(path, "/endless") == 0)
        flood(fd, "HTTP/1.1 200 OK\r\n\r\n");
    else if (strcmp(path, "/heads") == 0)
        flood_head(fd);
    return strcmp(path, "/echo") == 0;
}

/* An answer before the request is whole. */
static void refuse_early(int fd)
{
    put_text(fd, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    shutdown(fd, SHUT_WR);
    hold(fd);
}

/* One whole request, with a body of Content-Length. 0: the client is gone. */
static size_t read_request(int fd, char *into)
{
    size_t len = 0, want = 0;

    for (;;) {
        ssize_t got = recv(fd, into + len, HEAD_ROOM - 1 - len, 0);
        if (got <= 0)
            return 0;
        len += (size_t)got;
        into[len] = '\0';
        if (strncmp(into, "POST /large ", 12) == 0) {
            refuse_early(fd);
            return 0;
        }
        const char *end    = strstr(into, "\r\n\r\n");
        const char *length = strstr(into, "Content-Length: ");
        if (end == NULL)
            continue;
        want = (size_t)(end - into) + 4 + (length == NULL ? 0 : (size_t)atol(length + 16));
        if (len >= want)
            return len;
    }
}

/* The client's kernel knows of the end once it has acknowledged it, which takes a moment on a busy machine. */
static void close_heard(int fd)
{
    struct tcp_info info = { .tcpi_state = TCP_FIN_WAIT1 };
    socklen_t       len  = sizeof info;

    shutdown(fd, SHUT_WR);
    while (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_state == TCP_FIN_WAIT1)
        usleep(1000);
    close(fd);
}

struct far_conn { struct far_server *server; int fd; };

static void *serve_conn(void *ctx)
{
    struct far_conn conn = *(struct far_conn *)ctx;
    char           *request = malloc(HEAD_ROOM), path[64];
    size_t          len;

    must(request != NULL);
    free(ctx);
    while ((len = read_request(conn.fd, request)) > 0) {
        atomic_fetch_add(&conn.server->request_count, 1);
        if (sscanf(request, "%*s %63s", path) != 1 || !serve_far(conn.fd, path, request, len))
            break;
    }
    close_heard(conn.fd);
    atomic_fetch_add(&conn.server->closed_count, 1);
    free(request);
    return NULL;
}

static void *accept_all(void *ctx)
{
    struct far_server *server = ctx;
    int                fd;

    while ((fd = accept(server->listener, NULL, NULL)) >= 0) {
        unsigned         at   = atomic_fetch_add(&server->conn_count, 1);
        struct far_conn *conn = malloc(sizeof *conn);
        must(at < CONNS_MAX && conn != NULL);
        *conn = (struct far_conn){ server, fd };
        must(pthread_create(&server->conns[at], NULL, serve_conn, conn) == 0);
    }
    return NULL;
}

static void far_server_open(struct far_server *server)
{
    struct sockaddr_in at  = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          len = sizeof at;
    int                few = 8 * 1024;  /* bytes that its kernel takes, so that long requests go in parts */
    int                yes = 1;

    *server = (struct far_server){ .listener = socket(AF_INET, SOCK_STREAM, 0) };
    must(setsockopt(server->listener, SOL_SOCKET, SO_RCVBUF, &few, sizeof few) == 0);
    must(setsockopt(server->listener, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes) == 0);
    must(bind(server->listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(server->listener, 64) == 0);
    must(getsockname(server->listener, (struct sockaddr *)&at, &len) == 0);
    server->port = ntohs(at.sin_port);
    must(pthread_create(&server->thread, NULL, accept_all, server) == 0);
}

/* Nobody else gets the port while this one is there, which never listens. */
static int far_server_keep_port(const struct far_server *server)
{
    struct sockaddr_in at  = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)server->port) };
    int                yes = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    must(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes) == 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0);
    return fd;
}

static void wait_until_closed(struct far_server *server, unsigned count)
{
    while (atomic_load(&server->closed_count) < count)
        usleep(1000);
}

/* All clients have closed. */
static void far_server_close(struct far_server *server)
{
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    for (unsigned i = 0; i < atomic_load(&server->conn_count); i++)
        pthread_join(server->conns[i], NULL);
    close(server->listener);
}

/* --- calls --------------------------------------------------------------------------------------------------- */

enum { PARTS = 2 };

/* A loop that has a part of the module; its mail is calls. */
struct part {
    struct loop   loop;
    struct fetch *fetch;
    pthread_t     thread;
    atomic_bool   is_ending;
};

static void part_take(void *ctx, struct mail *mail)
{
    fetch_part_send(((struct part *)ctx)->fetch, container_of(mail, struct fetch_call, mail));
}

static void part_end_turn(void *ctx)
{
    struct part *part = ctx;

    fetch_part_turn_end(part->fetch);
    if (!atomic_load(&part->is_ending))
        return;
    fetch_part_stop(part->fetch);
    loop_stop(&part->loop);
}

static const struct loop_hooks part_hooks = { .mail = part_take, .turn_end = part_end_turn };

static void *part_main(void *ctx)
{
    loop_run(&((struct part *)ctx)->loop);
    return NULL;
}

static void part_open(struct part *part, struct fetch *whole)
{
    must(loop_init(&part->loop, &part_hooks, part) == RC_OK);
    part->fetch = fetch_part_new(whole, &part->loop);
    must(pthread_create(&part->thread, NULL, part_main, part) == 0);
}

static void part_close(struct part *part)
{
    atomic_store(&part->is_ending, true);
    mailbox_ring(&part->loop.mailbox);
    pthread_join(part->thread, NULL);
    fetch_part_free(part->fetch);
    loop_fini(&part->loop);
}

static void part_send(struct part *part, struct fetch_call *call)
{
    struct bundle one = { NULL, NULL };

    call->is_counted = true;
    bundle_add(&one, &call->mail);
    mailbox_put(&part->loop.mailbox, &one);
}

struct asker {
    struct far_server server;
    struct fetch     *fetch;
    struct part       parts[PARTS];
    pthread_mutex_t   lock;
    pthread_cond_t    came;
    struct bundle     back;       /* calls that came back */
    unsigned          back_count;
};

static void on_done(struct fetch_call *call)
{
    struct asker *asker = call->owner;

    pthread_mutex_lock(&asker->lock);
    bundle_add(&asker->back, &call->mail);
    asker->back_count++;
    pthread_cond_signal(&asker->came);
    pthread_mutex_unlock(&asker->lock);
}

static bool is_curl_alone, has_parts;

static void asker_open(struct asker *asker, struct fetch_limits limits)
{
    *asker = (struct asker){ .lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER };
    far_server_open(&asker->server);
    asker->fetch                = fetch_new(&limits);
    asker->fetch->is_curl_alone = is_curl_alone;
    assert_int_equal(fetch_start(asker->fetch), RC_OK);
    assert_int_equal(fetch_start(asker->fetch), RC_OK);
    for (int i = 0; i < PARTS && has_parts; i++)
        part_open(&asker->parts[i], asker->fetch);
}

static bool asker_send(struct asker *asker, struct fetch_call *call)
{
    if (!has_parts)
        return fetch_send(asker->fetch, call);
    part_send(&asker->parts[0], call);
    return true;
}

static void asker_close(struct asker *asker)
{
    for (int i = 0; i < PARTS && has_parts; i++)
        part_close(&asker->parts[i]);
    fetch_stop(asker->fetch);
    fetch_free(asker->fetch);
    far_server_close(&asker->server);
    for (struct mail *mail = bundle_take(&asker->back), *next; mail != NULL; mail = next) {
        next = mail->next;
        fetch_call_free(container_of(mail, struct fetch_call, mail));
    }
}

static const struct fetch_limits usual = { .calls_max = 200, .under_way_max = 50, .idle_max = 8 };

static struct fetch_call *call_new(struct asker *asker, const char *method, const char *path)
{
    char url[128];

    if (path[0] == '/')
        snprintf(url, sizeof url, "http://127.0.0.1:%u%s", asker->server.port, path);
    else
        snprintf(url, sizeof url, "%s", path);
    struct fetch_call *call  = fetch_call_new(method, span_str(url));
    call->done               = on_done;
    call->owner              = asker;
    call->timeout_ms         = PATIENCE_MS;
    call->connect_timeout_ms = PATIENCE_MS;
    call->answer_bytes_max   = ANSWER_MAX;
    fetch_call_want(call, "x-kept");
    return call;
}

static struct fetch_call *wait_for_one(struct asker *asker)
{
    pthread_mutex_lock(&asker->lock);
    while (asker->back_count == 0)
        pthread_cond_wait(&asker->came, &asker->lock);
    struct mail *mail = bundle_take(&asker->back);
    for (struct mail *rest = mail->next, *next; rest != NULL; rest = next) {
        next = rest->next;
        bundle_add(&asker->back, rest);
    }
    asker->back_count--;
    pthread_mutex_unlock(&asker->lock);
    return container_of(mail, struct fetch_call, mail);
}

static struct fetch_call *ask(struct asker *asker, struct fetch_call *call)
{
    assert_true(asker_send(asker, call));
    assert_ptr_equal(wait_for_one(asker), call);
    return call;
}

/* Asks for what is never answered. A busy machine may need longer than a short time to send it: then it gets twice as long. */
static struct fetch_call *ask_in_vain(struct asker *asker, const char *path)
{
    for (msec ms = SHORT_MS;; ms *= 2) {
        struct fetch_call *call = call_new(asker, "POST", path);
        call->timeout_ms        = ms;
        ask(asker, call);
        if (call->outcome != FETCH_TIMEOUT || call->is_sent || ms > PATIENCE_MS)
            return call;
        fetch_call_free(call);
    }
}

/* --- tests --------------------------------------------------------------------------------------------------- */

static void every_end_has_a_word(void **state)
{
    (void)state;
    static const struct {
        const char        *path;
        enum fetch_outcome outcome;
        unsigned           status;
        const char        *answer;
        bool               is_sent;
    } rows[] = {
        { "/ok",        FETCH_ANSWERED,  200, "ok", true },
        { "/refused",   FETCH_ANSWERED,  403, "",   true },
        { "/redirect",  FETCH_ANSWERED,  302, "",   true },  /* threat 112 */
        { "/trailing",  FETCH_ANSWERED,  200, "ok", true },
        { "/interim",   FETCH_ANSWERED,  200, "ok", true },
        { "/none",      FETCH_ANSWERED,  204, "",   true },
        { "/old",       FETCH_ANSWERED,  200, "old", true },
        { "/bye",       FETCH_ANSWERED,  200, "ok", true },
        { "/early",     FETCH_GARBAGE,   0,   NULL, true },
        { "/garbage",   FETCH_GARBAGE,   0,   NULL, true },
        { "/chunks",    FETCH_GARBAGE,   0,   NULL, true },
        { "/close",     FETCH_GARBAGE,   0,   NULL, true },
        { "/half",      FETCH_GARBAGE,   0,   NULL, true },
        { "/silent",    FETCH_TIMEOUT,   0,   NULL, true },
        { "/drip",      FETCH_TIMEOUT,   0,   NULL, true },
        { "/drop",      FETCH_TIMEOUT,   0,   NULL, true },
        { "/big",       FETCH_TOO_LARGE, 0,   NULL, true },
        { "/endless",   FETCH_TOO_LARGE, 0,   NULL, true },
        { "/heads",     FETCH_TOO_LARGE, 0,   NULL, true },
        { "http://127.0.0.1:1/",         FETCH_UNREACHABLE, 0, NULL, false },
        { "http://no.such.host.invalid/", FETCH_UNREACHABLE, 0, NULL, false },
        { "file:///etc/passwd",          FETCH_UNREACHABLE, 0, NULL, false },
        { "gopher://127.0.0.1/",         FETCH_UNREACHABLE, 0, NULL, false },
        { "no url at all",               FETCH_UNREACHABLE, 0, NULL, false },
    };
    struct asker asker;

    asker_open(&asker, usual);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fetch_call *call = rows[i].outcome == FETCH_TIMEOUT ? ask_in_vain(&asker, rows[i].path)
                                                                   : ask(&asker, call_new(&asker, "POST", rows[i].path));
        if (call->outcome != rows[i].outcome || call->is_sent != rows[i].is_sent)
            fail_msg("%s: %s, %s, sent: %d", rows[i].path, fetch_outcome_text(call->outcome), call->why, call->is_sent);
        if (call->outcome == FETCH_ANSWERED) {
            assert_int_equal(call->status, rows[i].status);
            assert_true(span_eq(buf_span(&call->answer), span_str(rows[i].answer)));
            assert_int_equal(fetch_call_field(call, "X-Kept").len, 0);  /* those of interim heads and of trailers don't count */
        } else {
            assert_true(call->why[0] != '\0' && call->answer.len <= ANSWER_MAX);
        }
        fetch_call_free(call);
    }
    asker_close(&asker);
}

/* Whatever the byte is, and wherever it stands. */
static void no_control_character_is_sent(void **state)
{
    (void)state;
    struct fetch_call *call = fetch_call_new("GET", SPAN("http://a/"));
    char               value[25];

    for (int byte = 0; byte < 256; byte++)
        for (size_t at = 1; at < sizeof value - 1; at++) {  /* at its ends a space is taken away */
            memset(value, at % 2 == 0 ? 'a' : 0xe9, sizeof value);
            value[at] = (char)byte;
            assert_int_equal(fetch_call_add_field(call, SPAN("X-A"), span_of(value, sizeof value)),
                             byte == '\t' || (byte >= ' ' && byte != 0x7f));
        }
    fetch_call_free(call);
}

static void a_name_is_refused_by_one_bad_byte_wherever_it_stands(void **state)
{
    (void)state;
    struct fetch_call *call = fetch_call_new("GET", SPAN("http://a/"));
    char               name[21];

    for (int byte = 0; byte < 256; byte++)
        for (size_t len = 1; len <= sizeof name; len++)
            for (size_t at = 0; at < len; at++) {
                memset(name, 'a', sizeof name);
                name[at] = (char)byte;
                assert_int_equal(fetch_call_add_field(call, span_of(name, len), SPAN("x")),
                                 byte > ' ' && byte < 0x7f && byte != ':');
            }
    fetch_call_free(call);
}

static void a_request_says_what_it_was_told_and_no_more(void **state)
{
    (void)state;
    struct asker        asker;
    struct fetch_call *call;
    char               want[512];

    asker_open(&asker, usual);
    call = call_new(&asker, "POST", "/echo");
    assert_true(fetch_call_add_field(call, SPAN("Content-Type"), SPAN("application/json")));
    assert_true(fetch_call_add_field(call, SPAN("X-Empty"), SPAN("")));
    assert_false(fetch_call_add_field(call, SPAN("X-Bad"), SPAN("a\r\nX-Forged: yes")));
    assert_false(fetch_call_add_field(call, SPAN("X Bad"), SPAN("a")));
    assert_false(fetch_call_add_field(call, SPAN(""), SPAN("a")));
    assert_false(fetch_call_add_field(call, SPAN("host"), SPAN("a")));
    assert_false(fetch_call_add_field(call, SPAN("content-length"), SPAN("1")));
    assert_false(fetch_call_add_field(call, SPAN("Transfer-encoding"), SPAN("chunked")));
    assert_false(fetch_call_add_field(call, SPAN("Connection"), SPAN("close")));
    buf_put_lit(&call->body, "{\"a\":\0}");
    ask(&asker, call);
    assert_int_equal(call->status, 201);
    assert_true(span_eq(fetch_call_field(call, "X-Kept"), SPAN("yes")));
    int len = snprintf(want, sizeof want,
                       "POST /echo HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Type: application/json\r\nX-Empty:\r\n"
                       "Content-Length: 7\r\n\r\n", asker.server.port);
    if (call->answer.len != (size_t)len + 7 || memcmp(call->answer.at, want, (size_t)len) != 0)
        fail_msg("%.*s", SPAN_ARG(buf_span(&call->answer)));
    fetch_call_free(call);

    call = ask(&asker, call_new(&asker, "GET", "/echo"));
    buf_putc(&call->answer, '\0');
    assert_null(strstr(call->answer.at, "Content-"));
    fetch_call_free(call);
    asker_close(&asker);
}

static void connections_are_kept(void **state)
{
    (void)state;
    struct asker asker;

    asker_open(&asker, usual);
    for (int i = 0; i < 20; i++)
        fetch_call_free(ask(&asker, call_new(&asker, "GET", "/ok")));
    assert_int_equal(atomic_load(&asker.server.conn_count), 1);
    asker_close(&asker);
}

static void a_call_can_be_cancelled(void **state)
{
    (void)state;
    struct asker        asker;
    struct fetch_call *calls[3];

    asker_open(&asker, (struct fetch_limits){ .calls_max = 8, .under_way_max = 1, .idle_max = 1 });
    for (int i = 0; i < 3; i++) {  /* the first is under way, the others wait */
        calls[i] = call_new(&asker, "GET", "/silent");
        assert_true(asker_send(&asker, calls[i]));
    }
    for (int i = 2; i >= 0; i--) {
        fetch_cancel(calls[i]);
        assert_ptr_equal(wait_for_one(&asker), calls[i]);
        assert_int_equal(calls[i]->outcome, FETCH_CANCELLED);
        fetch_call_free(calls[i]);
    }
    struct fetch_counters counters;
    fetch_read_counters(asker.fetch, &counters);
    assert_int_equal(counter_get(&counters.outcomes[FETCH_CANCELLED]), 3);
    asker_close(&asker);
}

/* Some are cancelled while the thread is in a turn, which the first call of a round begins, and has not taken them yet. */
static void a_call_can_be_cancelled_at_once(void **state)
{
    (void)state;
    enum { ROUNDS = 600 };
    struct asker asker;

    asker_open(&asker, usual);
    for (int round = 0; round < ROUNDS; round++) {
        struct fetch_call *first = call_new(&asker, "GET", "/ok"), *call = call_new(&asker, "GET", "/silent");
        first->is_counted = true;
        call->is_counted  = round % 2 == 0;
        assert_true(asker_send(&asker, first));
        for (volatile int spin = 0; spin < round * 100; spin++) {}
        assert_true(asker_send(&asker, call));
        fetch_cancel(call);
        for (int i = 0; i < 2; i++) {
            struct fetch_call *back = wait_for_one(&asker);
            assert_int_equal(back->outcome, back == call ? FETCH_CANCELLED : FETCH_ANSWERED);
            fetch_call_free(back);
        }
    }
    asker_close(&asker);
}

/* threat 59: a server that closes a connection which was kept open may have carried out what it was sent there. */
static void what_was_sent_is_not_sent_again(void **state)
{
    (void)state;
    struct asker asker;

    asker_open(&asker, usual);
    for (unsigned repeatable = 0; repeatable < 2; repeatable++) {
        fetch_call_free(ask(&asker, call_new(&asker, "GET", "/ok")));
        unsigned           before = atomic_load(&asker.server.request_count);
        struct fetch_call *call   = call_new(&asker, "POST", "/close");
        call->is_repeatable       = repeatable == 1;
        ask(&asker, call);
        if (call->outcome != FETCH_GARBAGE || !call->is_sent ||
            atomic_load(&asker.server.request_count) - before != 1 + repeatable)
            fail_msg("repeatable %u: %s, %s, sent %u times", repeatable, fetch_outcome_text(call->outcome), call->why,
                     atomic_load(&asker.server.request_count) - before);
        fetch_call_free(call);
    }
    asker_close(&asker);
}

static void a_connection_that_has_ended_is_not_used(void **state)
{
    (void)state;
    static const char *const paths[] = { "/bye", "/quiet", "/old" };
    struct asker             asker;

    asker_open(&asker, usual);
    for (unsigned i = 0; i < 3; i++) {
        fetch_call_free(ask(&asker, call_new(&asker, "GET", paths[i])));
        wait_until_closed(&asker.server, i + 1);
        assert_int_equal(atomic_load(&asker.server.conn_count), i + 1);
    }
    struct fetch_call *call = ask(&asker, call_new(&asker, "POST", "/ok"));
    assert_int_equal(call->outcome, FETCH_ANSWERED);
    assert_int_equal(atomic_load(&asker.server.conn_count), 4);
    fetch_call_free(call);
    asker_close(&asker);
}

/* Node.js keeps a connection for 5 s, and says so. */
static void a_server_says_how_long_it_keeps_a_connection(void **state)
{
    (void)state;
    struct asker asker;

    if (is_curl_alone)
        return;  /* libcurl does not go by it */
    asker_open(&asker, usual);
    fetch_call_free(ask(&asker, call_new(&asker, "GET", "/short")));
    wait_until_closed(&asker.server, 1);
    asker_close(&asker);
}

/* libcurl goes by milliseconds: it may close either of two. */
static void the_connection_unused_for_longest_is_closed(void **state)
{
    (void)state;
    struct asker      asker;
    struct far_server other;
    char              url[64];

    asker_open(&asker, (struct fetch_limits){ .calls_max = 8, .under_way_max = 8, .idle_max = 1 });
    far_server_open(&other);
    fetch_call_free(ask(&asker, call_new(&asker, "GET", "/ok")));
    snprintf(url, sizeof url, "http://127.0.0.1:%u/ok", other.port);
    fetch_call_free(ask(&asker, call_new(&asker, "GET", url)));
    while (is_curl_alone && atomic_load(&asker.server.closed_count) + atomic_load(&other.closed_count) == 0)
        usleep(1000);
    if (!is_curl_alone) {
        wait_until_closed(&asker.server, 1);
        assert_int_equal(atomic_load(&other.closed_count), 0);
    }
    fetch_stop(asker.fetch);
    far_server_close(&other);
    asker_close(&asker);
}

static void long_bodies_go_in_parts(void **state)
{
    (void)state;
    enum { LONG = 900 * 1024 };
    struct asker asker;

    asker_open(&asker, usual);
    for (int i = 0; i < 3; i++) {
        struct fetch_call *call = call_new(&asker, "POST", "/echo");
        memset(buf_extend(&call->body, LONG), 'a' + i, LONG);
        call->answer_bytes_max = 2 * LONG;
        ask(&asker, call);
        assert_int_equal(call->outcome, FETCH_ANSWERED);
        assert_memory_equal(call->answer.at + call->answer.len - LONG, call->body.at, LONG);
        fetch_call_free(call);
    }
    assert_int_equal(atomic_load(&asker.server.conn_count), 1);
    asker_close(&asker);
}

static void an_answer_may_come_before_the_request_is_whole(void **state)
{
    (void)state;
    enum { LONG = 32 * 1024 * 1024 };
    struct asker asker;

    asker_open(&asker, usual);
    struct fetch_call *call = call_new(&asker, "POST", "/large");
    memset(buf_extend(&call->body, LONG), 'a', LONG);
    ask(&asker, call);
    if (call->outcome != FETCH_ANSWERED || call->status != 413)
        fail_msg("%s, %u, %s", fetch_outcome_text(call->outcome), call->status, call->why);
    fetch_call_free(call);
    asker_close(&asker);
}

/* The queue of connections that nobody accepts is full, so that the kernel drops what else comes. */
static void connecting_has_a_time_of_its_own(void **state)
{
    (void)state;
    enum { QUEUED = 8 };
    struct sockaddr_in at  = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          len = sizeof at;
    int                deaf = socket(AF_INET, SOCK_STREAM, 0), queued[QUEUED];
    struct asker       asker;
    char               url[64];

    must(bind(deaf, (struct sockaddr *)&at, sizeof at) == 0 && listen(deaf, 0) == 0);
    must(getsockname(deaf, (struct sockaddr *)&at, &len) == 0);
    for (int i = 0; i < QUEUED; i++) {
        queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(queued[i], (struct sockaddr *)&at, sizeof at);
    }
    must(poll(&(struct pollfd){ .fd = deaf, .events = POLLIN }, 1, -1) == 1);  /* it is full */
    asker_open(&asker, usual);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", ntohs(at.sin_port));
    struct fetch_call *call  = call_new(&asker, "GET", url);
    call->connect_timeout_ms = 100;
    ask(&asker, call);
    assert_true(call->outcome == FETCH_TIMEOUT && !call->is_sent && call->why[0] != '\0');
    fetch_call_free(call);
    asker_close(&asker);
    for (int i = 0; i < QUEUED; i++)
        close(queued[i]);
    close(deaf);
}

/* Our own client has the address of a name from libcurl, which serves the first call to it. */
static void a_name_is_looked_up_once(void **state)
{
    (void)state;
    struct asker asker;
    char         url[64];

    asker_open(&asker, usual);
    snprintf(url, sizeof url, "http://localhost:%u/echo", asker.server.port);
    for (int i = 0; i < 10; i++) {
        struct fetch_call *call = ask(&asker, call_new(&asker, "GET", url));
        char               want[128];
        snprintf(want, sizeof want, "GET /echo HTTP/1.1\r\nHost: localhost:%u\r\n\r\n", asker.server.port);
        assert_true(call->outcome == FETCH_ANSWERED && span_eq(buf_span(&call->answer), span_str(want)));
        fetch_call_free(call);
    }
    assert_int_equal(atomic_load(&asker.server.conn_count), is_curl_alone ? 1 : 2);
    asker_close(&asker);
}

/* The kernel has no way to the address that is remembered: TCP does not speak to all at once. */
static void a_name_whose_address_is_none_is_looked_up_anew(void **state)
{
    (void)state;
    struct asker       asker;
    struct plain_url   url;
    struct fetch_call *call;
    char               text[64];

    asker_open(&asker, usual);
    fetch_stop(asker.fetch);
    snprintf(text, sizeof text, "http://localhost:%u/ok", asker.server.port);
    call = call_new(&asker, "GET", text);
    must(plain_url_read(span_str(text), &url));
    plain_host_get(&asker.fetch->plain, &url);
    asker.fetch->loop->now = clock_now();
    plain_looked_up(asker.fetch, call, SPAN("255.255.255.255"));
    assert_int_equal(fetch_start(asker.fetch), RC_OK);
    for (int i = 0; i < 2; i++) {
        ask(&asker, call);
        assert_int_equal(call->outcome, FETCH_ANSWERED);
        fetch_call_renew(call, span_str(text), SPAN(""));
    }
    fetch_call_free(call);
    asker_close(&asker);
}

static void a_name_that_has_left_its_address_is_unreachable(void **state)
{
    (void)state;
    struct asker      asker;
    struct far_server gone;
    char              url[64];

    asker_open(&asker, usual);
    far_server_open(&gone);
    snprintf(url, sizeof url, "http://localhost:%u/bye", gone.port);
    for (int i = 0; i < 2; i++)
        fetch_call_free(ask(&asker, call_new(&asker, "GET", url)));
    int holder = far_server_keep_port(&gone);
    far_server_close(&gone);
    for (int i = 0; i < 2; i++) {  /* at the address that is remembered, then without one */
        struct fetch_call *call = ask(&asker, call_new(&asker, "GET", url));
        assert_true(call->outcome == FETCH_UNREACHABLE && !call->is_sent && call->why[0] != '\0');
        fetch_call_free(call);
    }
    close(holder);
    asker_close(&asker);
}

/* The rest of an answer that is longer than it says is no answer to the next request. */
static void a_lie_about_the_length_forges_no_answer(void **state)
{
    (void)state;
    struct asker asker;

    asker_open(&asker, usual);
    for (int i = 0; i < 3; i++) {
        struct fetch_call *lie = ask(&asker, call_new(&asker, "GET", "/more"));
        assert_true(lie->outcome == FETCH_ANSWERED && span_eq(buf_span(&lie->answer), SPAN("ok")));
        struct fetch_call *next = ask(&asker, call_new(&asker, "GET", "/ok"));
        assert_true(span_eq(buf_span(&next->answer), SPAN("ok")));
        fetch_call_free(lie);
        fetch_call_free(next);
    }
    asker_close(&asker);
}

static void a_handle_keeps_nothing_of_the_call_before(void **state)
{
    (void)state;
    static const char *const methods[] = { "POST", "HEAD", "GET", "PUT", "DELETE", "HEAD", "POST" };
    struct asker             asker;

    asker_open(&asker, usual);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        bool               has_body = methods[i][0] == 'P';
        struct fetch_call *call     = call_new(&asker, methods[i], "/echo");
        char               first[64];
        if (has_body)
            buf_put_lit(&call->body, "a body");
        ask(&asker, call);
        snprintf(first, sizeof first, "%s /echo HTTP/1.1\r\n", methods[i]);
        assert_int_equal(call->status, 201);
        buf_putc(&call->answer, '\0');
        if (strcmp(methods[i], "HEAD") == 0)
            assert_int_equal(call->answer.len, 1);
        else if (strncmp(call->answer.at, first, strlen(first)) != 0 || (strstr(call->answer.at, "a body") != NULL) != has_body)
            fail_msg("%s: %s", methods[i], call->answer.at);
        fetch_call_free(call);
    }
    asker_close(&asker);
}

/* Calls of back ends: each back end counts its own. */
static void counted_calls_stand_in_no_line(void **state)
{
    (void)state;
    struct asker       asker;
    struct fetch_call *silent;

    asker_open(&asker, (struct fetch_limits){ .calls_max = 1, .under_way_max = 1, .idle_max = 8 });
    silent = call_new(&asker, "GET", "/silent");
    assert_true(asker_send(&asker, silent));
    for (int i = 0; i < 20; i++) {
        struct fetch_call *call = call_new(&asker, "GET", "/ok");
        call->is_counted        = true;
        assert_true(asker_send(&asker, call));
    }
    for (int i = 0; i < 20; i++) {
        struct fetch_call *call = wait_for_one(&asker);
        assert_int_equal(call->outcome, FETCH_ANSWERED);
        fetch_call_free(call);
    }
    fetch_cancel(silent);
    assert_ptr_equal(wait_for_one(&asker), silent);
    fetch_call_free(silent);
    asker_close(&asker);
}

static void a_call_can_be_tried_again_elsewhere(void **state)
{
    (void)state;
    struct asker asker;
    char         address[64];

    asker_open(&asker, usual);
    snprintf(address, sizeof address, "http://127.0.0.1:%u", asker.server.port);
    struct fetch_call *call = call_new(&asker, "POST", "http://127.0.0.1:1/");
    buf_put_lit(&call->body, "a body");
    assert_int_equal(ask(&asker, call)->outcome, FETCH_UNREACHABLE);
    fetch_call_renew(call, span_str(address), SPAN("/echo"));
    ask(&asker, call);
    buf_putc(&call->answer, '\0');
    assert_true(call->outcome == FETCH_ANSWERED && call->why[0] == '\0' && strstr(call->answer.at, "a body") != NULL);
    fetch_call_free(call);
    asker_close(&asker);
}

/* Puts four calls that are never answered into the line, and one more. True: the one more is refused, as the four are still there. */
static bool a_fifth_is_refused(struct asker *asker, msec timeout_ms)
{
    struct fetch_call *fifth = call_new(asker, "GET", "/ok");

    for (int i = 0; i < 4; i++) {
        struct fetch_call *call = call_new(asker, "GET", "/silent");
        call->timeout_ms        = timeout_ms;
        assert_true(asker_send(asker, call));
    }
    bool is_refused = !asker_send(asker, fifth);
    for (int i = 0; i < (is_refused ? 4 : 5); i++) {
        struct fetch_call *back = wait_for_one(asker);
        if (back == fifth)
            continue;
        assert_int_equal(back->outcome, FETCH_TIMEOUT);
        fetch_call_free(back);
    }
    fetch_call_free(is_refused ? ask(asker, fifth) : fifth);
    return is_refused;
}

/* Waiting for a place counts, and too many calls are refused at once. On a busy machine the first may have come to their end before the
 * last is sent: then they get twice as long. */
static void a_line_has_an_end(void **state)
{
    (void)state;
    struct asker asker;
    msec         timeout_ms = SHORT_MS;

    asker_open(&asker, (struct fetch_limits){ .calls_max = 4, .under_way_max = 1, .idle_max = 1 });
    while (!a_fifth_is_refused(&asker, timeout_ms))
        assert_true((timeout_ms *= 2) < PATIENCE_MS);
    asker_close(&asker);
}

static void a_stop_brings_all_back(void **state)
{
    (void)state;
    struct asker asker;

    asker_open(&asker, (struct fetch_limits){ .calls_max = 8, .under_way_max = 2, .idle_max = 1 });
    for (int i = 0; i < 6; i++) {
        assert_true(asker_send(&asker, call_new(&asker, "GET", "/silent")));
    }
    fetch_stop(asker.fetch);
    for (int i = 0; i < 6; i++) {
        struct fetch_call *call = wait_for_one(&asker);
        assert_int_equal(call->outcome, FETCH_STOPPED);
        fetch_call_free(call);
    }
    fetch_stop(asker.fetch);
    asker_close(&asker);
}

static void many_at_once(void **state)
{
    (void)state;
    struct asker asker;

    asker_open(&asker, usual);
    for (int i = 0; i < 200; i++) {
        assert_true(asker_send(&asker, call_new(&asker, "POST", i % 4 == 0 ? "/early" : "/echo")));
    }
    unsigned answered = 0;
    for (int i = 0; i < 200; i++) {
        struct fetch_call *call = wait_for_one(&asker);
        answered += call->outcome == FETCH_ANSWERED;
        fetch_call_free(call);
    }
    assert_int_equal(answered, 150);
    asker_close(&asker);
}

/* --- parts --- */

static struct fetch_call *ask_part(struct asker *asker, int part, uint32_t connections_max)
{
    struct fetch_call *call = call_new(asker, "GET", "/ok");

    call->connections_max = connections_max;
    part_send(&asker->parts[part], call);
    assert_ptr_equal(wait_for_one(asker), call);
    assert_int_equal(call->outcome, FETCH_ANSWERED);
    return call;
}

/* Another part needs the place of a connection that rests. */
static void parts_share_the_connections_of_a_server(void **state)
{
    (void)state;
    struct asker asker;

    asker_open(&asker, usual);
    for (int i = 0; i < 4; i++)
        fetch_call_free(ask_part(&asker, i % PARTS, 2));
    assert_int_equal(atomic_load(&asker.server.conn_count), 2);
    assert_int_equal(atomic_load(&asker.server.closed_count), 0);
    asker_close(&asker);

    asker_open(&asker, usual);
    for (int i = 0; i < 4; i++) {
        fetch_call_free(ask_part(&asker, i % PARTS, 1));
        fetch_call_free(ask_part(&asker, i % PARTS, 1));
    }
    assert_int_equal(atomic_load(&asker.server.conn_count), 4);
    wait_until_closed(&asker.server, 3);
    asker_close(&asker);
}

/* https is libcurl's, on the module's own thread. */
static void a_part_passes_on_what_it_cannot_serve(void **state)
{
    (void)state;
    struct asker asker;
    char         url[64];

    asker_open(&asker, usual);
    snprintf(url, sizeof url, "https://127.0.0.1:%u/garbage", asker.server.port);
    struct fetch_call *call = call_new(&asker, "GET", url);
    call->timeout_ms = call->connect_timeout_ms = SHORT_MS;
    ask(&asker, call);
    assert_int_equal(call->outcome, FETCH_TIMEOUT);  /* the server waits for a request, and gets a handshake */
    assert_true(call->is_passed_on);
    fetch_call_free(call);
    call = ask(&asker, call_new(&asker, "GET", "/ok"));
    assert_int_equal(call->outcome, FETCH_ANSWERED);
    assert_false(call->is_passed_on);
    fetch_call_free(call);
    asker_close(&asker);
}

static void a_part_that_stops_brings_its_calls_back(void **state)
{
    (void)state;
    struct asker       asker;
    struct fetch_call *call = NULL;

    asker_open(&asker, usual);
    call = call_new(&asker, "GET", "/silent");
    part_send(&asker.parts[1], call);
    while (atomic_load(&asker.server.request_count) == 0)
        usleep(1000);
    atomic_store(&asker.parts[1].is_ending, true);
    mailbox_ring(&asker.parts[1].loop.mailbox);
    assert_ptr_equal(wait_for_one(&asker), call);
    assert_int_equal(call->outcome, FETCH_STOPPED);
    assert_true(call->is_sent);
    fetch_call_free(call);
    asker_close(&asker);
}

static int by_libcurl(void **state)
{
    (void)state;
    is_curl_alone = true;
    return 0;
}

static int by_our_own(void **state)
{
    (void)state;
    is_curl_alone = false;
    return 0;
}

static int by_parts(void **state)
{
    (void)state;
    is_curl_alone = false;
    has_parts     = true;
    return 0;
}

int main(void)
{
    const struct CMUnitTest of_parts[] = {
        cmocka_unit_test(every_end_has_a_word),  cmocka_unit_test(no_control_character_is_sent),
        cmocka_unit_test(a_name_is_refused_by_one_bad_byte_wherever_it_stands),
        cmocka_unit_test(a_request_says_what_it_was_told_and_no_more),
        cmocka_unit_test(connections_are_kept),  cmocka_unit_test(a_call_can_be_cancelled),
        cmocka_unit_test(a_call_can_be_cancelled_at_once),
        cmocka_unit_test(what_was_sent_is_not_sent_again),
        cmocka_unit_test(a_connection_that_has_ended_is_not_used),
        cmocka_unit_test(a_server_says_how_long_it_keeps_a_connection),
        cmocka_unit_test(the_connection_unused_for_longest_is_closed),
        cmocka_unit_test(long_bodies_go_in_parts),
        cmocka_unit_test(an_answer_may_come_before_the_request_is_whole),
        cmocka_unit_test(connecting_has_a_time_of_its_own),
        cmocka_unit_test(a_name_is_looked_up_once),
        cmocka_unit_test(a_name_that_has_left_its_address_is_unreachable),
        cmocka_unit_test(a_lie_about_the_length_forges_no_answer),
        cmocka_unit_test(a_handle_keeps_nothing_of_the_call_before),
        cmocka_unit_test(a_call_can_be_tried_again_elsewhere),
        cmocka_unit_test(parts_share_the_connections_of_a_server),
        cmocka_unit_test(a_part_passes_on_what_it_cannot_serve),
        cmocka_unit_test(a_part_that_stops_brings_its_calls_back),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_end_has_a_word),  cmocka_unit_test(no_control_character_is_sent),
        cmocka_unit_test(a_name_is_refused_by_one_bad_byte_wherever_it_stands),
        cmocka_unit_test(a_request_says_what_it_was_told_and_no_more),
        cmocka_unit_test(connections_are_kept),  cmocka_unit_test(a_call_can_be_cancelled),
        cmocka_unit_test(a_call_can_be_cancelled_at_once),
        cmocka_unit_test(what_was_sent_is_not_sent_again),
        cmocka_unit_test(a_connection_that_has_ended_is_not_used),
        cmocka_unit_test(a_server_says_how_long_it_keeps_a_connection),
        cmocka_unit_test(the_connection_unused_for_longest_is_closed),
        cmocka_unit_test(long_bodies_go_in_parts),
        cmocka_unit_test(an_answer_may_come_before_the_request_is_whole),
        cmocka_unit_test(connecting_has_a_time_of_its_own),
        cmocka_unit_test(a_name_is_looked_up_once),
        cmocka_unit_test(a_name_whose_address_is_none_is_looked_up_anew),
        cmocka_unit_test(a_name_that_has_left_its_address_is_unreachable),
        cmocka_unit_test(a_lie_about_the_length_forges_no_answer),
        cmocka_unit_test(a_handle_keeps_nothing_of_the_call_before),
        cmocka_unit_test(counted_calls_stand_in_no_line),
        cmocka_unit_test(a_call_can_be_tried_again_elsewhere),
        cmocka_unit_test(a_line_has_an_end),     cmocka_unit_test(a_stop_brings_all_back),
        cmocka_unit_test(many_at_once),
    };
    int failed = cmocka_run_group_tests_name("by libcurl", tests, by_libcurl, NULL);
    failed += cmocka_run_group_tests_name("by our own client", tests, by_our_own, NULL);
    return failed + cmocka_run_group_tests_name("by parts", of_parts, by_parts, NULL);
}
