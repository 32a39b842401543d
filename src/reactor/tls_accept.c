#include "reactor/tls_accept.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "reactor/log.h"
#include "reactor/stream_tcp.h"

enum { STEPS_MS_A_TURN = 1, RECORD_HANDSHAKE = 22, PLAIN_DROP_BYTES_MAX = 64 * 1024 };

/* One on its way. */
struct tls_handshake {
    struct list           link;      /* in waiting or ready */
    struct timer          timer;
    struct tls_accept    *accept;
    struct stream_tls    *tls;
    struct tls_sections  *sections;  /* a reference */
    const struct tls_use *use;
    bool                  is_ready;
};

const char *tls_failure_name(enum tls_failure failure)
{
    static const char *const names[] = {
        [TLS_FAILED_TIMEOUT] = "timeout",   [TLS_FAILED_CROWD] = "crowd",       [TLS_FAILED_PLAIN] = "plain",
        [TLS_FAILED_LEFT] = "left",         [TLS_FAILED_VERSION] = "version",   [TLS_FAILED_CIPHER] = "cipher",
        [TLS_FAILED_PROTOCOL] = "protocol", [TLS_FAILED_CERTIFICATE] = "certificate", [TLS_FAILED_ALERT] = "alert",
        [TLS_FAILED_OTHER] = "other",
    };
    must(failure < TLS_FAILURE_COUNT);
    return names[failure];
}

/* --- how it ends ------------------------------------------------------------------------------------------------- */

/* The handshake is over for this stream; the stream stays. */
static void handshake_free(struct tls_handshake *handshake)
{
    struct tls_accept *accept = handshake->accept;

    handshake->tls->handshake = NULL;
    counter_sub(&accept->counters.under_way, 1);
    wheel_disarm(&accept->loop->wheel, &handshake->timer);
    list_take(&handshake->link);
    tls_sections_unref(handshake->sections);
    free(handshake);
}

/* The stream is being closed, by whomever. */
static void handshake_dropped(struct stream_tls *tls)
{
    handshake_free(tls->handshake);
}

static void log_failed(const struct stream_tls *tls, enum tls_failure failure, const char *why)
{
    struct buf peer;

    if (!log_is_on(LOG_INFO))
        return;
    buf_init(&peer, 64);
    stream_put_peer(&tls->stream, &peer);
    LOG(LOG_INFO, "tls_handshake_failed", log_str("reason", tls_failure_name(failure)), log_str("why", why),
        log_span("address", buf_span(&peer)));
    buf_fini(&peer);
}

static void handshake_fail(struct tls_handshake *handshake, enum tls_failure failure, const char *why)
{
    struct stream_tls *tls = handshake->tls;

    counter_add(&handshake->accept->counters.failed[failure], 1);
    log_failed(tls, failure, why);
    stream_close(&tls->stream);
}

static void handshake_timed_out(struct timer *timer, msec now)
{
    (void)now;
    handshake_fail(container_of(timer, struct tls_handshake, timer), TLS_FAILED_TIMEOUT, "tls_handshake_s is over");
}

/* --- why it failed ----------------------------------------------------------------------------------------------- */

static enum tls_failure failure_of(int reason)
{
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_UNKNOWN_PROTOCOL:
        return TLS_FAILED_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
        return TLS_FAILED_CIPHER;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return TLS_FAILED_PROTOCOL;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return TLS_FAILED_CERTIFICATE;
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
        return TLS_FAILED_PLAIN;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return TLS_FAILED_LEFT;
    default:
        return reason > SSL_AD_REASON_OFFSET && reason <= SSL_AD_REASON_OFFSET + 255 ? TLS_FAILED_ALERT : TLS_FAILED_OTHER;
    }
}

static void handshake_fail_by_openssl(struct tls_handshake *handshake, int error)
{
    unsigned long first  = ERR_peek_error();
    const char   *reason = ERR_reason_error_string(first);
    long          verify = SSL_get_verify_result(handshake->tls->ssl);

    if (error == SSL_ERROR_SYSCALL || first == 0)
        handshake_fail(handshake, TLS_FAILED_LEFT, "the peer closed the link");
    else if (ERR_GET_REASON(first) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        handshake_fail(handshake, TLS_FAILED_CERTIFICATE, X509_verify_cert_error_string(verify));
    else
        handshake_fail(handshake, failure_of(ERR_GET_REASON(first)), reason == NULL ? "unknown" : reason);
    ERR_clear_error();
}

/* --- done -------------------------------------------------------------------------------------------------------- */

/* A certificate that was shown has to name somebody: else its holder would be taken for nobody, silently. */
static bool person_is_fine(struct tls_handshake *handshake)
{
    struct stream_tls *tls = handshake->tls;

    switch (tls_person_of(handshake->sections, tls->ssl, handshake->accept->loop->wall, &tls->person)) {
    case TLS_PERSON_NONE:
    case TLS_PERSON_NAMED:
        return true;
    case TLS_PERSON_UNNAMED:
        handshake_fail(handshake, TLS_FAILED_CERTIFICATE, "the client's certificate has no name where client_user looks for one");
        return false;
    case TLS_PERSON_EXPIRED:
        handshake_fail(handshake, TLS_FAILED_CERTIFICATE, "the certificate of the resumed session has expired");
        return false;
    }
    return false;
}

/* Names of the handshake that nobody asks for any more: the section is chosen, and tickets are sent. About 100 bytes a link. */
static void forget_names(SSL *ssl)
{
    SSL_SESSION *session = SSL_get_session(ssl);

    must(SSL_SESSION_set1_hostname(session, NULL) == 1 && SSL_SESSION_set1_alpn_selected(session, NULL, 0) == 1);
    must(SSL_set_tlsext_host_name(ssl, NULL) == 1);
}

static void handshake_done(struct tls_handshake *handshake)
{
    struct tls_accept    *accept = handshake->accept;
    const struct tls_use *use    = handshake->use;
    struct stream_tls    *tls    = handshake->tls;

    if (!person_is_fine(handshake))
        return;
    counter_add(&accept->counters.done[SSL_version(tls->ssl) == TLS1_3_VERSION], 1);
    if (SSL_session_reused(tls->ssl))
        counter_add(&accept->counters.resumed, 1);
    counter_add(&accept->maker.links, 1);
    forget_names(tls->ssl);
    handshake_free(handshake);
    use->accepted(use->ctx, &tls->stream);
    must(tls->stream.is_closed || tls->stream.events != NULL);
    stream_more(&tls->stream);  /* requests may have come with the end of the handshake */
}

/* --- what is no TLS ---------------------------------------------------------------------------------------------- */

#define PLAIN_BODY "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"detail\":\"this port speaks TLS: use https://\"}\n"

/* What has come is read before the link is closed, or the kernel would answer it with a reset, and the client would lose
 * the answer. */
static void answer_plain(int fd)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
                                 "Content-Length: ";
    char              text[512], scratch[4096];
    size_t            dropped = 0;
    ssize_t           got;

    int len = snprintf(text, sizeof text, "%s%zu\r\n\r\n%s", answer, sizeof PLAIN_BODY - 1, PLAIN_BODY);
    must(len > 0 && (size_t)len < sizeof text);
    if (send(fd, text, (size_t)len, MSG_NOSIGNAL) < 0)
        return;
    shutdown(fd, SHUT_WR);
    while (dropped < PLAIN_DROP_BYTES_MAX && (got = recv(fd, scratch, sizeof scratch, 0)) > 0)
        dropped += (size_t)got;
}

static bool looks_like_http(char byte)
{
    return byte >= 'A' && byte <= 'Z';
}

/* Looks at the first byte without taking it. False: nothing to go on with; the handshake waits, or has failed. */
static bool begins_with_tls(struct tls_handshake *handshake)
{
    char    first;
    int     fd  = handshake->tls->stream.number;
    ssize_t got = recv(fd, &first, 1, MSG_PEEK);

    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return false;
    if (got <= 0) {
        handshake_fail(handshake, TLS_FAILED_LEFT, "the peer sent nothing");
        return false;
    }
    if (first == RECORD_HANDSHAKE)
        return true;
    if (handshake->use->speaks_http && looks_like_http(first))
        answer_plain(fd);
    handshake_fail(handshake, TLS_FAILED_PLAIN, looks_like_http(first) ? "plain text came, perhaps HTTP" : "what came is no TLS");
    return false;
}

static bool has_connection(struct tls_handshake *handshake)
{
    if (handshake->tls->ssl != NULL)
        return true;
    if (!begins_with_tls(handshake))
        return false;
    SSL *ssl = tls_sections_open(handshake->sections, &handshake->use->protocols);
    if (ssl != NULL)
        stream_tls_open(handshake->tls, ssl);
    else
        handshake_fail(handshake, TLS_FAILED_OTHER, "no memory for one more");
    return ssl != NULL;
}

/* --- steps ------------------------------------------------------------------------------------------------------- */

static void handshake_progress(struct stream_tls *tls)
{
    struct tls_handshake *handshake = tls->handshake;

    if (handshake->is_ready)
        return;
    handshake->is_ready = true;
    list_take(&handshake->link);
    list_push(&handshake->accept->ready, &handshake->link);
}

static void handshake_step(struct tls_handshake *handshake)
{
    ERR_clear_error();
    if (!has_connection(handshake))
        return;
    int outcome = stream_tls_shake(handshake->tls);
    int error   = outcome == 1 ? SSL_ERROR_NONE : SSL_get_error(handshake->tls->ssl, outcome);
    if (error == SSL_ERROR_NONE)
        handshake_done(handshake);
    else if (error != SSL_ERROR_WANT_READ)
        handshake_fail_by_openssl(handshake, error);
    else if (!handshake->tls->is_socket_empty)
        handshake_progress(handshake->tls);
}

void tls_accept_turn_end(struct tls_accept *accept)
{
    struct list *link;

    accept->loop->is_busy = false;
    if (list_is_empty(&accept->ready))
        return;
    msec began = clock_now();
    do {
        link = list_pop(&accept->ready);
        if (link == NULL)
            return;
        struct tls_handshake *handshake = container_of(link, struct tls_handshake, link);
        handshake->is_ready = false;
        list_push(&accept->waiting, link);
        handshake_step(handshake);
    } while (clock_now() - began < STEPS_MS_A_TURN);
    accept->loop->is_busy = !list_is_empty(&accept->ready);
}

/* --- the beginning ----------------------------------------------------------------------------------------------- */

/* False: all that are under way have sent something, and the loop has yet to look at it. */
static bool make_room(struct tls_accept *accept)
{
    if (counter_get(&accept->counters.under_way) < accept->limits.handshakes_max)
        return true;
    if (list_is_empty(&accept->waiting))
        return false;
    handshake_fail(container_of(accept->waiting.next, struct tls_handshake, link), TLS_FAILED_CROWD,
                   "tls_handshakes_max is reached, and this one has waited longest");
    return true;
}

void tls_accept_begin(struct tls_accept *accept, int fd, const struct ip_address *named, const struct tls_use *use)
{
    struct stream_tls *tls;

    if (!make_room(accept) || stream_tls_new(&accept->maker, fd, &tls) != RC_OK) {
        counter_add(&accept->counters.failed[TLS_FAILED_CROWD], 1);
        LOG(LOG_WARN, "connection_refused", log_str("why", "tls_handshakes_max is reached"));
        loop_close(accept->loop, fd);
        return;
    }
    struct tls_handshake *handshake = calloc(1, sizeof *handshake);

    must(handshake != NULL && accept->sections != NULL);
    *handshake = (struct tls_handshake){ .accept = accept, .tls = tls, .use = use, .sections = tls_sections_ref(accept->sections) };
    handshake->timer.fire = handshake_timed_out;
    tls->handshake        = handshake;
    if (named != NULL)
        stream_name_peer(&tls->stream, named);
    counter_add(&accept->counters.under_way, 1);
    list_push(&accept->waiting, &handshake->link);
    wheel_arm(&accept->loop->wheel, &handshake->timer, accept->loop->now + accept->limits.handshake_ms);
}

void tls_accept_init(struct tls_accept *accept, struct loop *loop, const struct tls_limits *limits)
{
    *accept = (struct tls_accept){ .loop = loop, .limits = *limits };
    tls_maker_init(&accept->maker, loop);
    accept->maker.progress = handshake_progress;
    accept->maker.dropped  = handshake_dropped;
    list_init(&accept->waiting);
    list_init(&accept->ready);
}

static void close_each(struct list *handshakes)
{
    while (!list_is_empty(handshakes))
        stream_close(&container_of(handshakes->next, struct tls_handshake, link)->tls->stream);
}

void tls_accept_close_all(struct tls_accept *accept)
{
    close_each(&accept->ready);
    close_each(&accept->waiting);
}

void tls_accept_stop(struct tls_accept *accept)
{
    tls_accept_close_all(accept);
    tls_maker_stop(&accept->maker);
}

void tls_accept_fini(struct tls_accept *accept)
{
    tls_sections_unref(accept->sections);
    accept->sections = NULL;
    tls_maker_fini(&accept->maker);
}

void tls_accept_set_sections(struct tls_accept *accept, struct tls_sections *sections)
{
    tls_sections_unref(accept->sections);
    accept->sections = sections;
}

bool tls_accept_is_idle(const struct tls_accept *accept)
{
    return counter_get(&accept->counters.under_way) == 0 && list_is_empty(&accept->maker.rests);
}
