/* wire.c - sockets. TLS goes through a BIO of ours, because OpenSSL's own raises SIGPIPE. */
#include "wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static enum wire_result fail(struct wire *wire, const char *what)
{
    snprintf(wire->fault, sizeof wire->fault, "%s", what);
    return WIRE_ENDED;
}

static enum wire_result fail_errno(struct wire *wire, int error)
{
    char text[WIRE_FAULT_BYTES];

    return fail(wire, strerror_r(error, text, sizeof text));
}

/* --- TLS ------------------------------------------------------------------------------------------------------ */

static int bio_write(BIO *bio, const char *bytes, int len)
{
    ssize_t sent = send((int)(intptr_t)BIO_get_data(bio), bytes, (size_t)len, MSG_NOSIGNAL);

    BIO_clear_retry_flags(bio);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)sent;
}

static int bio_read(BIO *bio, char *into, int max)
{
    ssize_t got = recv((int)(intptr_t)BIO_get_data(bio), into, (size_t)max, 0);

    BIO_clear_retry_flags(bio);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    return (int)got;
}

static long bio_ctrl(BIO *bio, int command, long number, void *at)
{
    (void)bio, (void)number, (void)at;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "longwire socket");

    must(method != NULL && BIO_meth_set_write(method, bio_write) == 1 && BIO_meth_set_read(method, bio_read) == 1 &&
         BIO_meth_set_ctrl(method, bio_ctrl) == 1);
    return method;
}

/* The method belongs to the context, and goes with it. */
static void tls_method_free(void *parent, void *method, CRYPTO_EX_DATA *data, int index, long number, void *arg)
{
    (void)parent, (void)data, (void)index, (void)number, (void)arg;
    BIO_meth_free(method);
}

static int        tls_method_index;
static CRYPTO_ONCE tls_once = CRYPTO_ONCE_STATIC_INIT;

static void tls_make_index(void)
{
    tls_method_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, tls_method_free);
}

SSL_CTX *wire_tls_new(const char *ca_file)
{
    must(CRYPTO_THREAD_run_once(&tls_once, tls_make_index) == 1);
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

    if (tls == NULL)
        return NULL;
    must(SSL_CTX_set_ex_data(tls, tls_method_index, bio_method()) == 1);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    int is_good = SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) &&
                  (ca_file != NULL ? SSL_CTX_load_verify_locations(tls, ca_file, NULL)
                                   : SSL_CTX_set_default_verify_paths(tls));
    ERR_clear_error();
    if (is_good)
        return tls;
    SSL_CTX_free(tls);
    return NULL;
}

static bool is_address(const char *host)
{
    return strchr(host, ':') != NULL || strspn(host, "0123456789.") == strlen(host);
}

/* The certificate must name the host. */
static bool tls_expect(SSL *ssl, const char *host)
{
    if (is_address(host))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static enum wire_result tls_begin(struct wire *wire)
{
    BIO *bio  = BIO_new(SSL_CTX_get_ex_data(wire->tls, tls_method_index));
    wire->ssl = SSL_new(wire->tls);

    must(bio != NULL && wire->ssl != NULL);
    BIO_set_data(bio, (void *)(intptr_t)wire->fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(wire->ssl, bio, bio);
    SSL_set_connect_state(wire->ssl);
    if (!tls_expect(wire->ssl, wire->host))
        return fail(wire, "TLS: this host name can't be looked for in a certificate");
    wire->state = WIRE_HANDSHAKE;
    return WIRE_DONE;
}

static enum wire_result tls_fail(struct wire *wire)
{
    long          verified = SSL_get_verify_result(wire->ssl);
    unsigned long error    = ERR_get_error();
    const char   *why      = verified != X509_V_OK ? X509_verify_cert_error_string(verified)
                                                   : ERR_reason_error_string(error);

    snprintf(wire->fault, sizeof wire->fault, "TLS: %s", why != NULL ? why : "the connection ended");
    ERR_clear_error();
    return WIRE_ENDED;
}

/* What a call of OpenSSL's came to. */
static enum wire_result tls_result(struct wire *wire, int answer)
{
    if (answer > 0)
        return WIRE_DONE;
    switch (SSL_get_error(wire->ssl, answer)) {
    case SSL_ERROR_WANT_READ: return WIRE_WAITS;
    case SSL_ERROR_WANT_WRITE: wire->wants_out = true; return WIRE_WAITS;
    case SSL_ERROR_ZERO_RETURN: return fail(wire, "the server closed the connection");
    default: return tls_fail(wire);
    }
}

/* --- connecting ------------------------------------------------------------------------------------------------ */

static void shut(struct wire *wire)
{
    SSL_free(wire->ssl);
    wire->ssl = NULL;
    if (wire->fd >= 0)
        close(wire->fd);
    wire->fd = -1;
}

void wire_init(struct wire *wire)
{
    *wire = (struct wire){ .fd = -1 };
}

void wire_close(struct wire *wire)
{
    if (wire->ssl != NULL && wire->state == WIRE_OPEN)
        SSL_shutdown(wire->ssl);  /* says so to the peer, as far as the socket takes it */
    ERR_clear_error();
    shut(wire);
    if (wire->found != NULL)
        freeaddrinfo(wire->found);
    *wire = (struct wire){ .fd = -1, .serial = wire->serial };
}

/* Tries the next address. WAITS: it is under way. */
static enum wire_result try_next(struct wire *wire, msec now)
{
    const struct addrinfo *address = wire->next;
    const int              one     = 1;

    shut(wire);
    if (address == NULL)
        return WIRE_ENDED;  /* with the fault of the last one */
    wire->next  = address->ai_next;
    wire->state = WIRE_CONNECTING;
    wire->until = now + WIRE_CONNECT_MS;
    wire->fd    = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (wire->fd < 0)
        return fail_errno(wire, errno);
    setsockopt(wire->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    wire->serial++;
    if (connect(wire->fd, address->ai_addr, address->ai_addrlen) == 0 || errno == EINPROGRESS)
        return WIRE_WAITS;
    fail_errno(wire, errno);
    shut(wire);
    return WIRE_ENDED;
}

static enum wire_result try_rest(struct wire *wire, msec now)
{
    enum wire_result result;

    do
        result = try_next(wire, now);
    while (result == WIRE_ENDED && wire->next != NULL);
    return result;
}

void wire_open(struct wire *wire, struct addrinfo **found, SSL_CTX *tls, const char *host, msec now)
{
    must(wire->state == WIRE_CLOSED);
    *wire  = (struct wire){
        .fd = -1, .serial = wire->serial, .found = *found, .next = *found, .tls = tls, .host = host
    };
    *found = NULL;
    snprintf(wire->fault, sizeof wire->fault, "this name has no address");
    wire->state = WIRE_CONNECTING;
    wire->until = now + WIRE_CONNECT_MS;
    (void)try_rest(wire, now);  /* wire_advance() sees what came of it */
}

/* Is the socket connected? */
static enum wire_result check_connected(struct wire *wire)
{
    struct sockaddr_storage peer;
    socklen_t               len   = sizeof peer;
    int                     error = 0;
    socklen_t               size  = sizeof error;

    if (getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0)
        return fail_errno(wire, error != 0 ? error : errno);
    return getpeername(wire->fd, (struct sockaddr *)&peer, &len) == 0 ? WIRE_DONE : WIRE_WAITS;
}

static enum wire_result advance_connecting(struct wire *wire, msec now)
{
    enum wire_result result = wire->fd < 0 ? WIRE_ENDED : check_connected(wire);

    if (result == WIRE_WAITS && now >= wire->until)
        result = fail(wire, "no answer to the connection request within 10 seconds");
    if (result == WIRE_ENDED)
        return try_rest(wire, now);
    if (result != WIRE_DONE)
        return result;
    wire->until = now + WIRE_CONNECT_MS;
    if (wire->tls != NULL)
        return tls_begin(wire);
    wire->state = WIRE_OPEN;
    return WIRE_DONE;
}

static enum wire_result advance_handshake(struct wire *wire, msec now)
{
    wire->wants_out         = false;
    enum wire_result result = tls_result(wire, SSL_do_handshake(wire->ssl));

    if (result == WIRE_DONE)
        wire->state = WIRE_OPEN;
    if (result == WIRE_WAITS && now >= wire->until)
        return fail(wire, "TLS: the handshake did not end within 10 seconds");
    return result;
}

enum wire_result wire_advance(struct wire *wire, msec now)
{
    enum wire_result result = WIRE_DONE;

    if (wire->state == WIRE_CONNECTING)
        result = advance_connecting(wire, now);
    if (result == WIRE_DONE && wire->state == WIRE_HANDSHAKE)
        result = advance_handshake(wire, now);
    return result;
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

enum wire_result wire_read(struct wire *wire, char *into, size_t max, size_t *ret_len)
{
    if (wire->ssl != NULL)
        return tls_result(wire, SSL_read_ex(wire->ssl, into, max, ret_len));
    ssize_t got = recv(wire->fd, into, max, 0);
    if (got > 0) {
        *ret_len = (size_t)got;
        return WIRE_DONE;
    }
    if (got == 0)
        return fail(wire, "the server closed the connection");
    return errno == EAGAIN || errno == EINTR ? WIRE_WAITS : fail_errno(wire, errno);
}

enum wire_result wire_write(struct wire *wire, struct span bytes, size_t *ret_len)
{
    wire->wants_out = false;
    if (wire->ssl != NULL)
        return tls_result(wire, SSL_write_ex(wire->ssl, bytes.at, bytes.len, ret_len));
    ssize_t sent = send(wire->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
    if (sent >= 0) {
        *ret_len = (size_t)sent;
        return WIRE_DONE;
    }
    return errno == EAGAIN || errno == EINTR ? WIRE_WAITS : fail_errno(wire, errno);
}

uint32_t wire_events(const struct wire *wire, bool has_output)
{
    bool wants_out = wire->state == WIRE_CONNECTING || wire->wants_out || (wire->state == WIRE_OPEN && has_output);

    return EPOLLIN | (wants_out ? (uint32_t)EPOLLOUT : 0);
}
