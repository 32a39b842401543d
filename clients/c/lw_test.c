/* lw_test.c - the library over real sockets, on a loop of the caller's and on a thread of its own, against a server that
 * the test plays: plain and with TLS. */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/must.h"
#include "codec/bin/bin.h"
#include "longwire.h"

enum { EPOCH = 7, WAIT_MS = 60 * 1000 };

/* --- the server --------------------------------------------------------------------------------------------------- */

struct peer {
    int        listener, fd;
    unsigned   port;
    SSL_CTX   *tls;  /* NULL: plain */
    SSL       *ssl;
    struct buf in;
    char       url[64];
    pthread_t  thread;
};

static void peer_init(struct peer *peer, SSL_CTX *tls, const char *host)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          len     = sizeof address;

    *peer = (struct peer){ .fd = -1, .tls = tls, .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    must(peer->listener >= 0 && bind(peer->listener, (struct sockaddr *)&address, len) == 0 &&
         listen(peer->listener, 16) == 0 && getsockname(peer->listener, (struct sockaddr *)&address, &len) == 0);
    peer->port = ntohs(address.sin_port);
    snprintf(peer->url, sizeof peer->url, "%s://%s:%u", tls != NULL ? "tls" : "tcp", host, peer->port);
    buf_init(&peer->in, SIZE_MAX / 2);
}

static void peer_cut(struct peer *peer)
{
    SSL_free(peer->ssl);
    peer->ssl = NULL;
    if (peer->fd >= 0)
        close(peer->fd);
    peer->fd = -1;
    buf_clear(&peer->in);
}

static void peer_fini(struct peer *peer)
{
    peer_cut(peer);
    close(peer->listener);
    buf_fini(&peer->in);
}

static void peer_start(struct peer *peer, void *(*serve)(void *peer))
{
    sigset_t pipe, before;

    /* OpenSSL's own sockets raise SIGPIPE; the library's must not. */
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    must(pthread_create(&peer->thread, NULL, serve, peer) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* False: the handshake failed. */
static bool peer_accept(struct peer *peer)
{
    peer_cut(peer);
    peer->fd = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC);
    if (peer->fd < 0)
        return false;  /* the listener was shut down */
    if (peer->tls == NULL)
        return true;
    peer->ssl = SSL_new(peer->tls);
    must(peer->ssl != NULL && SSL_set_fd(peer->ssl, peer->fd) == 1);
    return SSL_accept(peer->ssl) == 1;
}

/* The next frame; false: the client has gone. */
static bool peer_read(struct peer *peer, struct bin_frame *ret_frame)
{
    static _Thread_local char kept[1 << 20];
    struct span      bytes;
    struct bin_fault fault;
    const char      *reason;
    size_t           used;
    char             piece[4096];

    while (bin_split(buf_span(&peer->in), UINT32_MAX, &bytes, &used, &fault) == BIN_SPLIT_MORE) {
        int got = peer->ssl != NULL ? SSL_read(peer->ssl, piece, sizeof piece)
                                    : (int)recv(peer->fd, piece, sizeof piece, 0);
        if (got <= 0)
            return false;
        buf_put(&peer->in, span_of(piece, (size_t)got));
    }
    memcpy(kept, bytes.at, bytes.len);
    buf_drop(&peer->in, used);
    must(bin_read(span_of(kept, bytes.len), BIN_CLIENT, ret_frame, &reason) == BIN_OK);
    return true;
}

static void peer_send(struct peer *peer, struct bin_frame *frame)
{
    struct buf buf;

    buf_init(&buf, SIZE_MAX / 2);
    bin_put(&buf, BIN_SERVER, frame);
    if (peer->ssl != NULL)
        (void)SSL_write(peer->ssl, buf.at, (int)buf.len);
    else
        (void)!send(peer->fd, buf.at, buf.len, MSG_NOSIGNAL);
    buf_fini(&buf);
}

static void answer_connect(struct peer *peer, const struct bin_frame *asked)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_CONNECT);
    bin_set_number(&frame, BIN_CONNECTION, 1);
    bin_set_number(&frame, BIN_HEARTBEAT, 30);
    bin_set_number(&frame, BIN_REF, bin_number(asked, BIN_REF));
    bin_set_number(&frame, BIN_BASE_MS, 1);
    bin_set_number(&frame, BIN_FACTOR, 100);
    bin_set_number(&frame, BIN_CAP_MS, 1);
    peer_send(peer, &frame);
}

static void answer_subscribe(struct peer *peer, const struct bin_frame *asked, uint64_t head)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_SUBSCRIBE);
    bin_set_bytes(&frame, BIN_CHANNEL, bin_bytes(asked, BIN_CHANNEL));
    bin_set_number(&frame, BIN_EPOCH, EPOCH);
    bin_set_number(&frame, BIN_HEAD, head);
    bin_set_number(&frame, BIN_REF, bin_number(asked, BIN_REF));
    peer_send(peer, &frame);
}

static void send_message(struct peer *peer, uint64_t seq)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_FULL);
    bin_set_bytes(&frame, BIN_CHANNEL, SPAN("topic:a"));
    bin_set_number(&frame, BIN_EPOCH, EPOCH);
    bin_set_number(&frame, BIN_SEQ, seq);
    bin_set_bytes(&frame, BIN_MEDIA, SPAN("text/plain"));
    frame.payload = SPAN("hello");
    peer_send(peer, &frame);
}

static void answer_plain(struct peer *peer, enum bin_type type)
{
    struct bin_frame frame;

    bin_init(&frame, type);
    peer_send(peer, &frame);
}

/* A link of the script: takes `connect`. On a busy machine the client may give a link up before that, and makes another. */
static void peer_greet(struct peer *peer)
{
    struct bin_frame frame;
    bool             is_there;

    do
        is_there = peer_accept(peer) && peer_read(peer, &frame);
    while (!is_there && peer->fd >= 0);
    must(is_there && frame.type == BIN_CONNECT);
    answer_connect(peer, &frame);
}

/* Until the client has left. */
static void peer_serve_end(struct peer *peer)
{
    struct bin_frame frame;

    while (peer_read(peer, &frame))
        if (frame.type == BIN_PING)
            answer_plain(peer, BIN_PONG);
}

/* --- a certificate ------------------------------------------------------------------------------------------------- */

static char ca_path[] = "/tmp/longwire-ca-XXXXXX";

/* A certificate for "localhost" alone; ca_path holds it too. */
static SSL_CTX *server_tls(void)
{
    EVP_PKEY   *key  = EVP_EC_gen("P-256");
    X509       *cert = X509_new();
    SSL_CTX    *tls  = SSL_CTX_new(TLS_server_method());
    FILE       *file;

    must(key != NULL && cert != NULL && tls != NULL);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost");
    must(names != NULL && X509_add_ext(cert, names, -1) == 1 && X509_sign(cert, key, EVP_sha256()) > 0);
    X509_EXTENSION_free(names);
    must(SSL_CTX_use_certificate(tls, cert) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1);
    file = fdopen(mkstemp(ca_path), "w");
    must(file != NULL && PEM_write_X509(file, cert) == 1 && fclose(file) == 0);
    X509_free(cert);
    EVP_PKEY_free(key);
    return tls;
}

/* --- the application --------------------------------------------------------------------------------------------------- */

/* What it was told; on one thread, or under the mutex. */
struct app {
    pthread_mutex_t mutex;
    pthread_cond_t  changed;
    struct lw      *lw;
    unsigned        messages, connects, published;
    uint64_t        seq;
    bool            has_ended;
    char            reason[200];
};

static void app_init(struct app *app)
{
    *app = (struct app){ 0 };
    pthread_mutex_init(&app->mutex, NULL);
    pthread_cond_init(&app->changed, NULL);
}

static void app_fini(struct app *app)
{
    lw_free(app->lw);
    pthread_mutex_destroy(&app->mutex);
    pthread_cond_destroy(&app->changed);
}

static void app_lock(struct app *app)
{
    pthread_mutex_lock(&app->mutex);
}

static void app_unlock(struct app *app)
{
    pthread_cond_broadcast(&app->changed);
    pthread_mutex_unlock(&app->mutex);
}

static void on_message(void *arg, const struct lw_message *message)
{
    struct app *app = arg;

    app_lock(app);
    must(message->seq == app->seq + 1 && strcmp(message->data, "hello") == 0);
    app->seq = message->seq;
    app->messages++;
    app_unlock(app);
}

static void on_state(void *arg, const struct lw_status *status)
{
    struct app *app = arg;

    app_lock(app);
    app->connects += status->state == LW_CONNECTED;
    app->has_ended |= status->state == LW_ENDED;
    if (status->reason != NULL)
        snprintf(app->reason, sizeof app->reason, "%s", status->reason);
    app_unlock(app);
}

static void on_published(void *arg, const struct lw_published *published)
{
    struct app *app = arg;

    app_lock(app);
    app->published += published->code == 0;
    app_unlock(app);
}

static void app_new(struct app *app, struct lw_options options)
{
    const char *fault;

    options.on  = (struct lw_callbacks){ .message = on_message, .state = on_state };
    options.arg = app;
    options.backoff = (struct lw_backoff){ .base_ms = 1, .cap_ms = 5, .factor = 1 };
    app->lw = lw_new(&options, &fault);
    if (app->lw == NULL)
        fail_msg("%s", fault);
}

/* Turns the caller's loop until `is_done`. */
static void app_run_until(struct app *app, bool (*is_done)(struct app *app))
{
    struct pollfd fds = { .fd = lw_fd(app->lw), .events = POLLIN };

    while (!is_done(app)) {
        int timeout = lw_timeout(app->lw);
        int ready   = poll(&fds, 1, timeout < 0 || timeout > WAIT_MS ? WAIT_MS : timeout);
        assert_true(ready >= 0 && (ready > 0 || timeout >= 0));
        (void)lw_process(app->lw);
    }
}

static void app_wait_until(struct app *app, bool (*is_done)(struct app *app))
{
    app_lock(app);
    while (!is_done(app))
        pthread_cond_wait(&app->changed, &app->mutex);
    app_unlock(app);
}

static bool has_three(struct app *app) { return app->messages == 3; }
static bool has_ended(struct app *app) { return app->has_ended; }
static bool has_reason(struct app *app) { return app->reason[0] != '\0'; }
static bool has_published_all(struct app *app) { return app->published == 2 * 200; }

/* --- a link that is cut ------------------------------------------------------------------------------------------------- */

static void *serve_a_cut(void *arg)
{
    struct peer     *peer = arg;
    struct bin_frame frame;

    peer_greet(peer);
    must(peer_read(peer, &frame) && frame.type == BIN_SUBSCRIBE);
    answer_subscribe(peer, &frame, 0);
    send_message(peer, 1);
    send_message(peer, 2);
    peer_greet(peer);  /* after a cut */
    must(peer_read(peer, &frame) && frame.type == BIN_SUBSCRIBE && bin_number(&frame, BIN_AFTER) == 2);
    answer_subscribe(peer, &frame, 3);
    send_message(peer, 3);
    peer_serve_end(peer);
    return NULL;
}


static void check_a_cut(SSL_CTX *tls, const char *host, const char *ca_file)
{
    struct peer peer;
    struct app  app;

    peer_init(&peer, tls, host);
    peer_start(&peer, serve_a_cut);
    app_init(&app);
    app_new(&app, (struct lw_options){ .servers = peer.url, .ca_file = ca_file });
    assert_int_equal(lw_subscribe(app.lw, &(struct lw_subscribe){ .channel = "topic:a" }), LW_OK);
    app_run_until(&app, has_three);
    assert_int_equal(app.connects, 2);
    assert_int_equal(lw_close(app.lw), LW_OK);
    app_run_until(&app, has_ended);
    assert_int_equal(lw_process(app.lw), LW_CLOSED);
    assert_int_equal(lw_subscribe(app.lw, &(struct lw_subscribe){ .channel = "topic:a" }), LW_CLOSED);
    pthread_join(peer.thread, NULL);
    app_fini(&app);
    peer_fini(&peer);
}

static void test_a_cut_link_on_the_callers_loop(void **state)
{
    (void)state;
    check_a_cut(NULL, "127.0.0.1", NULL);
    check_a_cut(NULL, "localhost", NULL);
}

/* --- TLS ------------------------------------------------------------------------------------------------------------------ */

static void *serve_refusals(void *arg)
{
    struct peer *peer = arg;

    do
        must(!peer_accept(peer));
    while (peer->fd >= 0);
    return NULL;
}

/* The certificate is for another host, or is signed by nobody who is trusted. */
static void check_refused(struct peer *peer, const char *ca_file, const char *words)
{
    struct app app;

    app_init(&app);
    app_new(&app, (struct lw_options){ .servers = peer->url, .ca_file = ca_file });
    app_run_until(&app, has_reason);
    assert_non_null(strstr(app.reason, words));
    app_fini(&app);
}

static void test_tls(void **state)
{
    SSL_CTX    *tls = server_tls();
    struct peer peer;

    (void)state;
    check_a_cut(tls, "localhost", ca_path);
    peer_init(&peer, tls, "127.0.0.1");
    peer_start(&peer, serve_refusals);
    check_refused(&peer, ca_path, "mismatch");
    check_refused(&peer, NULL, "self-signed");
    shutdown(peer.listener, SHUT_RDWR);
    pthread_join(peer.thread, NULL);
    peer_fini(&peer);
    SSL_CTX_free(tls);
    unlink(ca_path);
}

/* --- a thread of its own ------------------------------------------------------------------------------------------------- */

/* Stores each key once, and cuts the link after every seventh publish, sometimes before its answer. */
static void *serve_publishes(void *arg)
{
    struct peer     *peer = arg;
    struct bin_frame frame;
    uint64_t         seq = 0, count = 0;
    static char      seen[1024][64];

    for (;;) {
        peer_greet(peer);
        while (peer_read(peer, &frame)) {
            if (frame.type == BIN_PING)
                answer_plain(peer, BIN_PONG);
            if (frame.type != BIN_PUBLISH)
                continue;
            char key[64];
            snprintf(key, sizeof key, "%.*s", SPAN_ARG(bin_bytes(&frame, BIN_KEY)));
            uint64_t at = 0;
            while (at < seq && strcmp(seen[at], key) != 0)
                at++;
            if (at == seq)
                strcpy(seen[seq++], key);
            if (++count % 7 == 0 && seq < 2 * 200)
                break;
            struct bin_frame answer;
            bin_init(&answer, BIN_PUBLISH);
            bin_set_number(&answer, BIN_SEQ, at + 1);
            bin_set_number(&answer, BIN_REF, bin_number(&frame, BIN_REF));
            peer_send(peer, &answer);
        }
        if (seq == 2 * 200)  /* from the last key on nothing is cut: the client has left with all its answers */
            break;
    }
    must(seq == 2 * 200);
    return NULL;
}

static void *publish_many(void *arg)
{
    struct app *app = arg;

    for (int i = 0; i < 200; i++)
        while (lw_publish(app->lw, &(struct lw_publish){ .channel = "topic:a", .data = "x", .data_len = 1 }, on_published,
                          app) == LW_FULL)
            usleep(100);  /* the queue is full on purpose */
    return NULL;
}

static void test_publishes_of_many_threads(void **state)
{
    struct peer peer;
    struct app  app;
    pthread_t   publishers[2];

    (void)state;
    peer_init(&peer, NULL, "127.0.0.1");
    peer_start(&peer, serve_publishes);
    app_init(&app);
    app_new(&app, (struct lw_options){ .servers = peer.url, .publish_count_max = 16 });
    assert_int_equal(lw_start(app.lw), LW_OK);
    assert_int_equal(lw_start(app.lw), LW_BUSY);
    for (int i = 0; i < 2; i++)
        must(pthread_create(&publishers[i], NULL, publish_many, &app) == 0);
    app_wait_until(&app, has_published_all);
    for (int i = 0; i < 2; i++)
        pthread_join(publishers[i], NULL);
    lw_stop(app.lw, WAIT_MS);
    assert_true(app.has_ended);
    pthread_join(peer.thread, NULL);
    app_fini(&app);
    peer_fini(&peer);
}

static void test_a_thread_is_stopped_without_a_server(void **state)
{
    struct peer peer;
    struct app  app;

    (void)state;
    peer_init(&peer, NULL, "127.0.0.1");
    app_init(&app);
    app_new(&app, (struct lw_options){ .servers = peer.url });  /* taken by the kernel, never answered */
    assert_int_equal(lw_start(app.lw), LW_OK);
    lw_free(app.lw);
    app.lw = NULL;
    app_fini(&app);
    peer_fini(&peer);
}

/* --- what is refused --------------------------------------------------------------------------------------------------------- */

static void test_a_server_that_is_not_there(void **state)
{
    static const struct { const char *servers, *words; } rows[] = {
        { "tcp://127.0.0.1:1", "Connection refused" },
        { "no.such.name.invalid", "" },  /* as the resolver says it */
        { "tcp://127.0.0.1:1, no.such.name.invalid", "" },
    };
    struct app app;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        app_init(&app);
        app_new(&app, (struct lw_options){ .servers = rows[i].servers });
        app_run_until(&app, has_reason);
        assert_non_null(strstr(app.reason, rows[i].words));
        app.reason[0] = '\0';
        app_run_until(&app, has_reason);
        assert_int_equal(lw_close(app.lw), LW_OK);
        app_run_until(&app, has_ended);
        app_fini(&app);
    }
}

static void test_maxima_are_told(void **state)
{
    const struct lw_publish small = { .channel = "topic:a", .data = "x", .data_len = 1 };
    char                    large[2000];
    struct app              app;

    (void)state;
    memset(large, 'x', sizeof large);
    app_init(&app);
    app_new(&app, (struct lw_options){ .servers = "127.0.0.1:1", .publish_count_max = 2, .publish_bytes_max = 2000 });
    assert_int_equal(lw_publish(app.lw, &(struct lw_publish){ .channel = "topic:a", .data = large, .data_len = 2000 }, NULL,
                                NULL), LW_FULL);
    assert_int_equal(lw_publish(app.lw, &small, NULL, NULL), LW_OK);
    assert_int_equal(lw_publish(app.lw, &small, NULL, NULL), LW_OK);
    assert_int_equal(lw_publish(app.lw, &small, NULL, NULL), LW_FULL);
    unsigned count = 0;
    while (lw_ack(app.lw, "topic:a", 1) == LW_OK)
        count++;
    assert_int_equal(count, 8190);
    assert_int_equal(lw_close(app.lw), LW_OK);  /* one can always leave */
    app_fini(&app);
}

static void test_arguments_that_cannot_be_used(void **state)
{
    static const struct { const char *name; struct lw_options options; } rows[] = {
        { "no server", { .servers = "" } },
        { "a server without a name", { .servers = "tcp://:7400" } },
        { "a port of letters", { .servers = "a:b" } },
        { "a port too high", { .servers = "a:65536" } },
        { "a path", { .servers = "tcp://a/b" } },
        { "an HTTP address", { .servers = "http://a" } },
        { "an empty token", { .servers = "a", .token = "" } },
        { "a name with a control character", { .servers = "a", .user = "a\nb" } },
        { "a name that is not UTF-8", { .servers = "a", .device = "\xff" } },
        { "no certificates", { .servers = "tls://a", .ca_file = "/nowhere" } },
    };
    struct app app;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *fault = NULL;
        print_message("%s\n", rows[i].name);
        assert_null(lw_new(&rows[i].options, &fault));
        assert_non_null(fault);
    }
    app_init(&app);
    app_new(&app, (struct lw_options){ .servers = "[::1]:7, b, tls://c, 10.0.0.1" });
    assert_int_equal(lw_subscribe(app.lw, &(struct lw_subscribe){ .channel = "nocolon" }), LW_BAD);
    assert_int_equal(lw_subscribe(app.lw, &(struct lw_subscribe){ .channel = NULL }), LW_BAD);
    assert_int_equal(lw_publish(app.lw, &(struct lw_publish){ .channel = "topic:\n" }, NULL, NULL), LW_BAD);
    assert_int_equal(lw_set_token(app.lw, ""), LW_BAD);
    app_fini(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_cut_link_on_the_callers_loop),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_publishes_of_many_threads),
        cmocka_unit_test(test_a_thread_is_stopped_without_a_server),
        cmocka_unit_test(test_a_server_that_is_not_there),
        cmocka_unit_test(test_maxima_are_told),
        cmocka_unit_test(test_arguments_that_cannot_be_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
