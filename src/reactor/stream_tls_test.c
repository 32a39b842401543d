/* Streams over TLS: the battery, over a socket pair whose far end is a client of OpenSSL; handshakes and how they fail;
 * which certificate a client gets; whom its own names; resumption. */
#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/hand_clock.h"
#include "reactor/stream_battery.h"
#include "reactor/tls_accept.h"
#include "reactor/tls_tickets.h"

#include <cmocka.h>

/* --- certificates, made for the test -------------------------------------------------------------------------- */

static char folder[] = "/tmp/stream_tls_test.XXXXXX";

static const char *path_of(const char *name, const char *kind)
{
    static char paths[64][128];
    static int  next;
    char       *path = paths[next++ % 64];

    snprintf(path, sizeof paths[0], "%s/%s.%s", folder, name, kind);
    return path;
}

struct maker_of_certificate {
    const char *name;        /* of the files */
    const char *cn, *san;    /* NULL: none */
    const char *signer;      /* another one's files; NULL: it signs itself */
    long        from_s, until_s;  /* from now on; 0, 0: an hour */
};

static void extension_add(X509 *certificate, int kind, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, kind, value);

    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static EVP_PKEY *key_read(const char *name)
{
    FILE     *file = fopen(path_of(name, "key"), "r");
    EVP_PKEY *key  = PEM_read_PrivateKey(file, NULL, NULL, NULL);

    fclose(file);
    assert_non_null(key);
    return key;
}

static X509 *certificate_read(const char *name)
{
    FILE *file        = fopen(path_of(name, "pem"), "r");
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);

    fclose(file);
    assert_non_null(certificate);
    return certificate;
}

static void certificate_sign(X509 *certificate, EVP_PKEY *key, const char *signer)
{
    X509     *authority = signer == NULL ? NULL : certificate_read(signer);
    EVP_PKEY *its_key   = signer == NULL ? NULL : key_read(signer);

    X509_set_issuer_name(certificate, X509_get_subject_name(authority == NULL ? certificate : authority));
    assert_true(X509_sign(certificate, its_key == NULL ? key : its_key, EVP_sha256()) > 0);
    X509_free(authority);
    EVP_PKEY_free(its_key);
}

static void certificate_make(const struct maker_of_certificate *facts)
{
    static long serial      = 1;
    EVP_PKEY   *key         = EVP_EC_gen("P-256");
    X509       *certificate = X509_new();
    X509_NAME  *subject     = X509_get_subject_name(certificate);

    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), facts->from_s);
    X509_gmtime_adj(X509_getm_notAfter(certificate), facts->until_s == 0 ? 3600 : facts->until_s);
    X509_set_pubkey(certificate, key);
    if (facts->cn != NULL)
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)facts->cn, -1, -1, 0);
    if (facts->signer == NULL)
        extension_add(certificate, NID_basic_constraints, "critical,CA:TRUE");
    if (facts->san != NULL)
        extension_add(certificate, NID_subject_alt_name, facts->san);
    certificate_sign(certificate, key, facts->signer);

    FILE *file = fopen(path_of(facts->name, "pem"), "w");
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    fclose(file);
    file = fopen(path_of(facts->name, "key"), "w");
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void certificates_make(void)
{
    static const struct maker_of_certificate all[] = {
        { .name = "one", .cn = "one", .san = "DNS:one.example" },
        { .name = "wild", .cn = "wild", .san = "DNS:*.two.example,DNS:two.example" },
        { .name = "exact", .cn = "exact", .san = "DNS:a.two.example" },
        { .name = "old", .cn = "old", .from_s = -7200, .until_s = -3600 },
        { .name = "early", .cn = "early", .from_s = 3600, .until_s = 7200 },
        { .name = "authority", .cn = "authority" },
        { .name = "stranger", .cn = "stranger" },
        { .name = "ann", .cn = "ann", .san = "URI:spiffe://x/ann,DNS:ann.example,email:ann@example", .signer = "authority" },
        { .name = "nameless", .san = "URI:spiffe://x/ann", .signer = "authority" },
        { .name = "late", .cn = "late", .san = "DNS:late", .from_s = -7200, .until_s = -3600, .signer = "authority" },
        { .name = "foreign", .cn = "foreign", .san = "DNS:foreign", .signer = "stranger" },
    };
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        certificate_make(&all[i]);
}

static struct tls_section_facts facts_of(const char *name)
{
    return (struct tls_section_facts){ .name = name, .certificate = path_of(name, "pem"), .key = path_of(name, "key"), .client_ca = "" };
}

/* --- a loop with handshakes, and a client ---------------------------------------------------------------------- */

struct tls_rig {
    struct loop         loop;
    struct tls_accept   accept;
    struct tls_tickets *tickets;
    struct tls_use      use;
    struct stream      *stream;   /* the last that was accepted */
    unsigned            accepted;
    SSL_CTX            *client_context;
    SSL                *client;
    int                 fd;
    SSL_SESSION        *session;  /* the newest that the client was given */
};

static void tls_on_readable(struct stream *stream, void *owner)
{
    (void)stream, (void)owner;
}

static const struct stream_events tls_quiet = { .on_readable = tls_on_readable, .on_writable = tls_on_readable };

static void tls_accepted(void *ctx, struct stream *stream)
{
    struct tls_rig *rig = ctx;

    rig->stream = stream;
    rig->accepted++;
}

static void tls_accepted_quietly(void *ctx, struct stream *stream)
{
    tls_accepted(ctx, stream);
    stream_start(stream, &tls_quiet, ctx);
}

static void tls_on_turn_end(void *ctx)
{
    struct tls_rig *rig = ctx;

    tls_accept_turn_end(&rig->accept);
    loop_stop(&rig->loop);
}

static const struct loop_hooks tls_hooks = { .turn_end = tls_on_turn_end };

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_rig *rig = SSL_get_app_data(ssl);

    SSL_SESSION_free(rig->session);
    rig->session = session;
    return 1;
}

static void tls_rig_turn(struct tls_rig *rig)
{
    mailbox_ring(&rig->loop.mailbox);  /* so that it never waits */
    loop_run(&rig->loop);
}

static struct tls_sections *sections_of(struct tls_rig *rig, const struct tls_section_facts *facts, size_t count)
{
    struct tls_sections *sections;
    struct buf           why;

    buf_init(&why, 1024);
    bool is_good = tls_sections_new(facts, count, rig->tickets, &sections, &why);
    if (!is_good)
        print_error("%.*s\n", SPAN_ARG(buf_span(&why)));
    assert_true(is_good);
    buf_fini(&why);
    return sections;
}

static struct tls_rig *tls_rig_new(const struct tls_section_facts *facts, size_t count)
{
    struct tls_rig *rig = calloc(1, sizeof *rig);

    assert_int_equal(loop_init(&rig->loop, &tls_hooks, rig), RC_OK);
    tls_accept_init(&rig->accept, &rig->loop, &(const struct tls_limits){ .handshakes_max = 4, .handshake_ms = 10000 });
    rig->tickets = tls_tickets_new();
    tls_accept_set_sections(&rig->accept, sections_of(rig, facts, count));
    rig->use = (struct tls_use){ .protocols = SPAN("\x08" "http/1.1"), .speaks_http = true, .accepted = tls_accepted_quietly, .ctx = rig };
    rig->client_context = SSL_CTX_new(TLS_client_method());
    rig->fd             = -1;
    SSL_CTX_set_session_cache_mode(rig->client_context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(rig->client_context, on_session);
    SSL_CTX_set_security_level(rig->client_context, 0);
    return rig;
}

/* The server's end of a new link, and the client's, which has not begun its handshake. */
static void tls_rig_connect(struct tls_rig *rig)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    rig->fd     = ends[0];
    rig->stream = NULL;
    rig->client = SSL_new(rig->client_context);
    SSL_set_app_data(rig->client, rig);
    SSL_set_fd(rig->client, rig->fd);
    SSL_set_connect_state(rig->client);
    tls_accept_begin(&rig->accept, ends[1], NULL, &rig->use);
}

/* True: both are done. */
static bool tls_rig_shake(struct tls_rig *rig)
{
    unsigned before = rig->accepted;
    int      error  = SSL_ERROR_WANT_READ;

    for (int i = 0; i < 50 && (error == SSL_ERROR_WANT_READ || rig->accepted == before); i++) {
        int outcome = SSL_do_handshake(rig->client);
        error       = outcome == 1 ? SSL_ERROR_NONE : SSL_get_error(rig->client, outcome);
        ERR_clear_error();
        tls_rig_turn(rig);
        if (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ)
            return false;
    }
    return rig->accepted > before && error == SSL_ERROR_NONE;
}

/* What the server sent behind its handshake: tickets, alerts. */
static int tls_rig_drain_client(struct tls_rig *rig)
{
    char scratch[64];
    int  got = SSL_read(rig->client, scratch, sizeof scratch);

    got = got > 0 ? SSL_ERROR_NONE : SSL_get_error(rig->client, got);
    ERR_clear_error();
    return got;
}

static void tls_rig_hang_up(struct tls_rig *rig)
{
    stream_close(rig->stream);
    rig->stream = NULL;
    if (rig->client != NULL)
        SSL_set_shutdown(rig->client, SSL_SENT_SHUTDOWN);  /* else its session would count as broken */
    SSL_free(rig->client);
    rig->client = NULL;
    if (rig->fd >= 0)
        close(rig->fd);
    rig->fd = -1;
    tls_rig_turn(rig);
}

static void tls_rig_free(struct tls_rig *rig)
{
    tls_rig_hang_up(rig);
    tls_accept_stop(&rig->accept);
    assert_int_equal(counter_get(&rig->accept.counters.under_way), 0);
    loop_fini(&rig->loop);
    tls_accept_fini(&rig->accept);
    SSL_SESSION_free(rig->session);
    SSL_CTX_free(rig->client_context);
    tls_tickets_free(rig->tickets);
    free(rig);
}

static uint64_t failed(const struct tls_rig *rig, enum tls_failure failure)
{
    return counter_get(&rig->accept.counters.failed[failure]);
}

static void client_shows(struct tls_rig *rig, const char *name)
{
    X509     *certificate = certificate_read(name);
    EVP_PKEY *key         = key_read(name);

    assert_int_equal(SSL_use_certificate(rig->client, certificate), 1);
    assert_int_equal(SSL_use_PrivateKey(rig->client, key), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

/* --- the battery ------------------------------------------------------------------------------------------------ */

static int battery_version;  /* 0: the newest */

static void far_tls_open(struct battery_rig *battery)
{
    struct tls_section_facts facts = facts_of("one");
    struct tls_rig          *rig   = tls_rig_new(&facts, 1);

    rig->use.accepted = tls_accepted;
    if (battery_version != 0)
        SSL_CTX_set_max_proto_version(rig->client_context, battery_version);
    tls_rig_connect(rig);
    /* The battery starts the stream in the turn that made it, so the last step is taken by hand. */
    for (int i = 0; i < 50 && rig->accepted == 0; i++) {
        SSL_do_handshake(rig->client);
        mailbox_ring(&rig->loop.mailbox);
        rig->use.accepted = tls_accepted_quietly;
        loop_run(&rig->loop);
    }
    assert_int_equal(rig->accepted, 1);
    SSL_do_handshake(rig->client);
    assert_true(SSL_is_init_finished(rig->client));
    assert_int_equal(tls_rig_drain_client(rig), SSL_ERROR_WANT_READ);  /* takes the ticket */
    tls_rig_turn(rig);
    rig->stream->events = NULL;
    battery->stream     = rig->stream;
    battery->far_end    = rig;
    battery->loop       = &rig->loop;
    rig->stream         = NULL;  /* the battery closes it */
}

static void far_tls_close(struct battery_rig *battery)
{
    tls_rig_free(battery->far_end);
}

static void far_tls_turn(struct battery_rig *battery)
{
    tls_rig_turn(battery->far_end);
}

static void far_tls_send(struct battery_rig *battery, struct span bytes)
{
    struct tls_rig *rig = battery->far_end;

    assert_int_equal(SSL_write(rig->client, bytes.at, (int)bytes.len), bytes.len);
}

static void far_tls_end(struct battery_rig *battery)
{
    struct tls_rig *rig = battery->far_end;

    assert_int_equal(SSL_shutdown(rig->client), 0);
    assert_int_equal(shutdown(rig->fd, SHUT_WR), 0);
}

static void far_tls_reset(struct battery_rig *battery)
{
    struct tls_rig *rig = battery->far_end;

    close(rig->fd);
    rig->fd = -1;
}

static bool far_tls_take(struct battery_rig *battery, struct buf *into)
{
    struct tls_rig *rig = battery->far_end;
    char            scratch[65536];
    int             got;

    if (rig->fd < 0)
        return false;
    while ((got = SSL_read(rig->client, scratch, sizeof scratch)) > 0)
        buf_put(into, span_of(scratch, (size_t)got));
    bool is_end = SSL_get_error(rig->client, got) == SSL_ERROR_ZERO_RETURN;
    ERR_clear_error();
    return is_end;
}

static const struct battery_far tls_far = {
    .name = "stream_tls", .open = far_tls_open, .close = far_tls_close, .turn = far_tls_turn, .send = far_tls_send,
    .end = far_tls_end, .reset = far_tls_reset, .take = far_tls_take,
};

/* --- handshakes ------------------------------------------------------------------------------------------------ */

static struct tls_rig *plain_rig(void)
{
    struct tls_section_facts facts = facts_of("one");

    return tls_rig_new(&facts, 1);
}

static void the_newest_version_is_spoken_and_nothing_old(void **state)  /* threat 110 */
{
    static const struct { int version; bool outcome; } rows[] = {
        { TLS1_3_VERSION, true }, { TLS1_2_VERSION, true }, { TLS1_1_VERSION, false }, { TLS1_VERSION, false },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tls_rig *rig = plain_rig();
        SSL_CTX_set_min_proto_version(rig->client_context, rows[i].version);
        SSL_CTX_set_max_proto_version(rig->client_context, rows[i].version);
        tls_rig_connect(rig);
        assert_int_equal(tls_rig_shake(rig), rows[i].outcome);
        assert_int_equal(failed(rig, TLS_FAILED_VERSION), rows[i].outcome ? 0 : 1);
        tls_rig_free(rig);
    }
}

static void a_protocol_is_agreed_on_or_refused(void **state)
{
    static const struct { const char *offer; unsigned len; bool outcome; } rows[] = {
        { "\x02h2\x08http/1.1", 12, true }, { "\x02h2", 3, false }, { "", 0, true },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tls_rig *rig = plain_rig();
        tls_rig_connect(rig);
        SSL_set_alpn_protos(rig->client, (const unsigned char *)rows[i].offer, rows[i].len);
        assert_int_equal(tls_rig_shake(rig), rows[i].outcome);
        assert_int_equal(failed(rig, TLS_FAILED_PROTOCOL), rows[i].outcome ? 0 : 1);
        if (rows[i].outcome)
            assert_true(span_eq(stream_protocol(rig->stream), rows[i].len > 0 ? SPAN("http/1.1") : SPAN("")));
        tls_rig_free(rig);
    }
}

static void a_silent_stranger_is_closed_in_time(void **state)  /* threat 52 */
{
    struct tls_rig *rig = plain_rig();
    char            byte;

    (void)state;
    tls_rig_connect(rig);
    tls_rig_turn(rig);
    wheel_turn(&rig->loop.wheel, rig->loop.now + 9000);
    assert_int_equal(recv(rig->fd, &byte, 1, MSG_PEEK), -1);
    wheel_turn(&rig->loop.wheel, rig->loop.now + 11000);
    assert_int_equal(recv(rig->fd, &byte, 1, MSG_PEEK), 0);
    assert_int_equal(failed(rig, TLS_FAILED_TIMEOUT), 1);
    tls_rig_free(rig);
}

/* The rig has room for four. */
static void the_one_that_has_waited_longest_makes_room(void **state)
{
    struct tls_rig *rig = plain_rig();
    int             fds[5];
    char            byte;

    (void)state;
    for (int i = 0; i < 5; i++) {
        int ends[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
        fds[i] = ends[0];
        tls_accept_begin(&rig->accept, ends[1], NULL, &rig->use);
        tls_rig_turn(rig);
        if (i == 1)
            assert_int_equal(write(fds[0], "\x16\x03\x01", 3), 3);  /* the first has sent something: the second waits longest */
        tls_rig_turn(rig);
    }
    assert_int_equal(counter_get(&rig->accept.counters.under_way), 4);
    assert_int_equal(failed(rig, TLS_FAILED_CROWD), 1);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(recv(fds[i], &byte, 1, 0), i == 1 ? 0 : -1);
        close(fds[i]);
    }
    tls_rig_turn(rig);
    tls_rig_turn(rig);
    assert_int_equal(failed(rig, TLS_FAILED_LEFT), 4);
    tls_rig_free(rig);
}

static void plain_http_is_told_what_is_wrong(void **state)
{
    static const struct { const char *said; const char *answer; } rows[] = {
        { "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n" }, { "\x10\x2f", "" }, { "\x82", "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tls_rig *rig = plain_rig();
        char            answer[512] = "";
        tls_rig_connect(rig);
        assert_int_equal(write(rig->fd, rows[i].said, strlen(rows[i].said)), strlen(rows[i].said));
        tls_rig_turn(rig);
        tls_rig_turn(rig);
        ssize_t got = recv(rig->fd, answer, sizeof answer - 1, 0);
        assert_memory_equal(answer, rows[i].answer, strlen(rows[i].answer));
        assert_true(got <= 0 ? rows[i].answer[0] == '\0' : strstr(answer, "https://") != NULL);
        assert_int_equal(failed(rig, TLS_FAILED_PLAIN), 1);
        tls_rig_free(rig);
    }
}

static void an_end_without_close_notify_is_a_fault(void **state)
{
    struct tls_rig *rig = plain_rig();
    char            into[8];

    (void)state;
    tls_rig_connect(rig);
    assert_true(tls_rig_shake(rig));
    assert_int_equal(shutdown(rig->fd, SHUT_WR), 0);
    tls_rig_turn(rig);
    assert_int_equal(stream_read(rig->stream, into, sizeof into), STREAM_FAULT);
    assert_int_equal(stream_write(rig->stream, SPAN("x")), STREAM_FAULT);
    tls_rig_free(rig);
}

static void a_close_says_so(void **state)
{
    struct tls_rig *rig = plain_rig();

    (void)state;
    tls_rig_connect(rig);
    assert_true(tls_rig_shake(rig));
    assert_int_equal(tls_rig_drain_client(rig), SSL_ERROR_WANT_READ);
    stream_close(rig->stream);
    rig->stream = NULL;
    tls_rig_turn(rig);
    assert_int_equal(tls_rig_drain_client(rig), SSL_ERROR_ZERO_RETURN);
    tls_rig_free(rig);
}

/* A client of 1.3 may renew its keys as often as it likes; one read does not work for ever. */
static void a_flood_of_new_keys_is_read_in_pieces(void **state)  /* threat 110 */
{
    struct tls_rig *rig = plain_rig();
    char            into[8];

    (void)state;
    tls_rig_connect(rig);
    assert_true(tls_rig_shake(rig));
    for (int i = 0; i < 100; i++) {
        assert_int_equal(SSL_key_update(rig->client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(rig->client), 1);
    }
    assert_int_equal(SSL_write(rig->client, "end", 3), 3);
    ssize_t got = STREAM_LATER;
    for (int i = 0; i < 100 && got == STREAM_LATER; i++) {
        tls_rig_turn(rig);
        got = stream_read(rig->stream, into, sizeof into);
    }
    assert_int_equal(got, 3);
    assert_memory_equal(into, "end", 3);
    tls_rig_free(rig);
}

static void nobody_renegotiates(void **state)  /* threat 110 */
{
    struct tls_rig *rig = plain_rig();
    char            into[8];

    (void)state;
    SSL_CTX_set_max_proto_version(rig->client_context, TLS1_2_VERSION);
    tls_rig_connect(rig);
    assert_true(tls_rig_shake(rig));
    assert_int_equal(SSL_renegotiate(rig->client), 1);
    SSL_do_handshake(rig->client);
    tls_rig_turn(rig);
    assert_int_equal(stream_read(rig->stream, into, sizeof into), STREAM_LATER);
    assert_true(SSL_do_handshake(rig->client) != 1);  /* refused by an alert */
    tls_rig_free(rig);
}

/* --- certificates ------------------------------------------------------------------------------------------------ */

static void a_client_gets_the_certificate_that_it_names(void **state)
{
    static const struct { const char *name; const char *want; } rows[] = {
        { NULL, "one" },           { "one.example", "one" },  { "ONE.example", "one" }, { "elsewhere", "one" },
        { "two.example", "wild" }, { "b.two.example", "wild" }, { "a.two.example", "exact" }, { "c.b.two.example", "one" },
    };
    struct tls_section_facts facts[] = { facts_of("one"), facts_of("wild"), facts_of("exact") };
    struct tls_rig          *rig     = tls_rig_new(facts, 3);
    char                     cn[64];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tls_rig_connect(rig);
        if (rows[i].name != NULL)
            SSL_set_tlsext_host_name(rig->client, rows[i].name);
        assert_true(tls_rig_shake(rig));
        X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(rig->client)), NID_commonName, cn, sizeof cn);
        assert_string_equal(cn, rows[i].want);
        tls_rig_hang_up(rig);
    }
    tls_rig_free(rig);
}

static void what_can_not_be_served_is_said_with_section_and_file(void **state)  /* threat 110 */
{
    struct tls_section_facts rows[8];
    static const char *const want[] = {
        "[tls old]: certificate: %s/old.pem: has expired on ", "[tls early]: certificate: %s/early.pem: is not valid before ",
        "[tls gone]: certificate: %s/gone.pem: No such file or directory", "[tls keyless]: key: %s/two.key: No such file or directory",
        "[tls wrong]: key: %s/wild.key: is not the key of the certificate", "[tls twisted]: certificate: %s/one.key: holds no certificate in PEM",
        "[tls twisted]: key: %s/one.pem: holds no private key in PEM without a password",
        "[tls clients]: client_ca: %s/one.key: holds no certificate in PEM",
    };
    (void)state;
    rows[0] = facts_of("old");
    rows[1] = facts_of("early");
    rows[2] = facts_of("gone");
    rows[3] = (struct tls_section_facts){ .name = "keyless", .certificate = path_of("one", "pem"), .key = path_of("two", "key") };
    rows[4] = (struct tls_section_facts){ .name = "wrong", .certificate = path_of("one", "pem"), .key = path_of("wild", "key") };
    struct tls_tickets *tickets = tls_tickets_new();
    for (size_t i = 0; i < 8; i++) {
        if (i == 5)
            rows[i] = (struct tls_section_facts){ .name = "twisted", .certificate = path_of("one", "key"), .key = path_of("one", "key") };
        else if (i == 6)
            rows[i] = (struct tls_section_facts){ .name = "twisted", .certificate = path_of("one", "pem"), .key = path_of("one", "pem") };
        else if (i == 7)
            rows[i] = (struct tls_section_facts){ .name = "clients", .certificate = path_of("one", "pem"), .key = path_of("one", "key"),
                                                  .client_ca = path_of("one", "key"), .client_cert = TLS_CLIENT_CERT_OPTIONAL };
        struct tls_sections *sections;
        struct buf           why;
        char                 expected[256];
        buf_init(&why, 1024);
        assert_false(tls_sections_new(&rows[i], 1, tickets, &sections, &why));
        snprintf(expected, sizeof expected, want[i], folder);
        buf_putc(&why, '\0');
        if (strncmp(why.at, expected, strlen(expected)) != 0)
            fail_msg("%s\nand not\n%s", why.at, expected);
        buf_fini(&why);
    }
    tls_tickets_free(tickets);
}

/* --- clients' certificates --------------------------------------------------------------------------------------- */

static void a_client_is_whom_its_certificate_names(void **state)  /* threat 110 */
{
    static const struct {
        const char          *shows;
        enum tls_client_cert asks;
        enum tls_client_user user;
        const char          *want;  /* NULL: refused; "": nobody */
    } rows[] = {
        { NULL, TLS_CLIENT_CERT_OPTIONAL, TLS_CLIENT_USER_SAN, "" },
        { NULL, TLS_CLIENT_CERT_REQUIRED, TLS_CLIENT_USER_SAN, NULL },
        { "ann", TLS_CLIENT_CERT_OPTIONAL, TLS_CLIENT_USER_SAN, "ann.example" },
        { "ann", TLS_CLIENT_CERT_REQUIRED, TLS_CLIENT_USER_CN, "ann" },
        { "ann", TLS_CLIENT_CERT_NONE, TLS_CLIENT_USER_CN, "" },  /* nobody asks for it */
        { "nameless", TLS_CLIENT_CERT_OPTIONAL, TLS_CLIENT_USER_SAN, NULL },
        { "nameless", TLS_CLIENT_CERT_OPTIONAL, TLS_CLIENT_USER_CN, NULL },
        { "late", TLS_CLIENT_CERT_OPTIONAL, TLS_CLIENT_USER_SAN, NULL },
        { "foreign", TLS_CLIENT_CERT_OPTIONAL, TLS_CLIENT_USER_SAN, NULL },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tls_section_facts facts = facts_of("one");
        facts.client_cert = rows[i].asks;
        facts.client_user = rows[i].user;
        facts.client_ca   = path_of("authority", "pem");
        struct tls_rig *rig = tls_rig_new(&facts, 1);
        tls_rig_connect(rig);
        if (rows[i].shows != NULL)
            client_shows(rig, rows[i].shows);
        tls_rig_shake(rig);
        assert_int_equal(rig->accepted, rows[i].want != NULL);
        assert_int_equal(failed(rig, TLS_FAILED_CERTIFICATE), rows[i].want == NULL);
        if (rows[i].want != NULL) {
            struct tls_person *person = container_of(rig->stream, struct stream_tls, stream)->person;
            assert_int_equal(person == NULL ? 0 : person->len, strlen(rows[i].want));
            assert_true(person == NULL || memcmp(person->user, rows[i].want, person->len) == 0);
            assert_true(person == NULL || (person->from <= rig->loop.wall && person->until > rig->loop.wall));
        }
        tls_rig_free(rig);
    }
}

/* --- resumption -------------------------------------------------------------------------------------------------- */

/* A link with the session that the client has, if it has one. True: it was resumed. */
static bool link_again(struct tls_rig *rig, const char *name, const char *shows)
{
    uint64_t before = counter_get(&rig->accept.counters.resumed);

    tls_rig_connect(rig);
    if (rig->session != NULL)
        SSL_set_session(rig->client, rig->session);
    if (name != NULL)
        SSL_set_tlsext_host_name(rig->client, name);
    if (shows != NULL)
        client_shows(rig, shows);
    assert_true(tls_rig_shake(rig));
    assert_int_equal(tls_rig_drain_client(rig), SSL_ERROR_WANT_READ);
    bool is_resumed = SSL_session_reused(rig->client);
    assert_int_equal(counter_get(&rig->accept.counters.resumed) - before, is_resumed);
    return is_resumed;
}

static void a_session_is_resumed_where_it_began_and_nowhere_else(void **state)
{
    static const int versions[] = { TLS1_3_VERSION, TLS1_2_VERSION };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct tls_section_facts facts[] = { facts_of("one"), facts_of("wild") };
        struct tls_rig          *rig     = tls_rig_new(facts, 2);
        SSL_CTX_set_max_proto_version(rig->client_context, versions[i]);
        assert_false(link_again(rig, "one.example", NULL));
        tls_rig_hang_up(rig);
        assert_true(link_again(rig, "one.example", NULL));
        tls_rig_hang_up(rig);
        assert_false(link_again(rig, "two.example", NULL));
        tls_rig_hang_up(rig);
        tls_rig_free(rig);
    }
}

/* A ticket of 1.2 may be used until its key goes; one of 1.3 once. */
static void a_ticket_is_renewed_where_it_may_be_used_once(void **state)
{
    static const int versions[] = { TLS1_3_VERSION, TLS1_2_VERSION };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct tls_section_facts facts = facts_of("one");
        struct tls_rig          *rig   = tls_rig_new(&facts, 1);
        SSL_CTX_set_max_proto_version(rig->client_context, versions[i]);
        assert_false(link_again(rig, NULL, NULL));
        tls_rig_hang_up(rig);
        SSL_SESSION *first = rig->session;
        assert_int_equal(SSL_SESSION_up_ref(first), 1);
        for (int again = 0; again < 3; again++) {
            assert_true(link_again(rig, NULL, NULL));
            tls_rig_hang_up(rig);
        }
        assert_int_equal(rig->session == first, versions[i] == TLS1_2_VERSION);
        SSL_SESSION_free(first);
        tls_rig_free(rig);
    }
}

static void a_reload_keeps_links_and_sessions_unless_it_asks_for_more(void **state)
{
    struct tls_section_facts facts = facts_of("one");
    struct tls_rig          *rig   = tls_rig_new(&facts, 1);

    (void)state;
    assert_false(link_again(rig, NULL, NULL));
    tls_accept_set_sections(&rig->accept, sections_of(rig, &facts, 1));
    assert_int_equal(stream_write(rig->stream, SPAN("still here")), 10);
    assert_int_equal(tls_rig_drain_client(rig), SSL_ERROR_NONE);
    tls_rig_hang_up(rig);
    assert_true(link_again(rig, NULL, NULL));
    tls_rig_hang_up(rig);

    facts.client_cert = TLS_CLIENT_CERT_OPTIONAL;
    facts.client_ca   = path_of("authority", "pem");
    tls_accept_set_sections(&rig->accept, sections_of(rig, &facts, 1));
    assert_false(link_again(rig, NULL, "ann"));
    tls_rig_hang_up(rig);
    assert_true(link_again(rig, NULL, NULL));  /* the session knows ann */
    struct tls_person *person = container_of(rig->stream, struct stream_tls, stream)->person;
    assert_non_null(person);
    assert_memory_equal(person->user, "ann.example", 11);
    tls_rig_free(rig);
}

static void the_keys_of_tickets_go_with_time(void **state)
{
    struct tls_tickets   *tickets = tls_tickets_new();
    struct tls_ticket_key first, second, found;

    (void)state;
    assert_true(tls_tickets_newest(tickets, 1000, &first));
    assert_true(tls_tickets_newest(tickets, 1000 + 3599999, &second));
    assert_memory_equal(&first, &second, sizeof first);
    assert_true(tls_tickets_newest(tickets, 1000 + 3600000, &second));
    assert_memory_not_equal(first.name, second.name, sizeof first.name);
    assert_memory_not_equal(first.cipher, second.cipher, sizeof first.cipher);
    assert_true(tls_tickets_find(tickets, 1000 + 3 * 3600000 - 1, first.name, &found));
    assert_memory_equal(found.mac, first.mac, sizeof first.mac);
    assert_false(tls_tickets_find(tickets, 1000 + 3 * 3600000, first.name, &found));
    assert_true(tls_tickets_find(tickets, 1000 + 3 * 3600000, second.name, &found));
    tls_tickets_free(tickets);
}

#define TEST(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_newest_version_is_spoken_and_nothing_old),
        TEST(a_protocol_is_agreed_on_or_refused),
        TEST(a_silent_stranger_is_closed_in_time),
        TEST(the_one_that_has_waited_longest_makes_room),
        TEST(plain_http_is_told_what_is_wrong),
        TEST(an_end_without_close_notify_is_a_fault),
        TEST(a_close_says_so),
        TEST(a_flood_of_new_keys_is_read_in_pieces),
        TEST(nobody_renegotiates),
        TEST(a_client_gets_the_certificate_that_it_names),
        TEST(what_can_not_be_served_is_said_with_section_and_file),
        TEST(a_client_is_whom_its_certificate_names),
        TEST(a_session_is_resumed_where_it_began_and_nowhere_else),
        TEST(a_ticket_is_renewed_where_it_may_be_used_once),
        TEST(a_reload_keeps_links_and_sessions_unless_it_asks_for_more),
        TEST(the_keys_of_tickets_go_with_time),
    };
    certificates_make();
    hand_clock.tv_sec = time(NULL);  /* certificates go by the real one */
    int failures = cmocka_run_group_tests(tests, NULL, NULL) + stream_battery_run(&tls_far);
    battery_version = TLS1_2_VERSION;
    failures += stream_battery_run(&tls_far);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) + failures;
}
