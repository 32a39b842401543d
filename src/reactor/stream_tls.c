#include "reactor/stream_tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "reactor/stream_tcp.h"
#include "reactor/tls_section.h"

/* Records without bytes for the owner (KeyUpdate, tickets) that one read handles; a peer that sends more waits a turn. */
enum { QUIET_RECORDS_A_READ = 8 };

static struct stream_tls *tls_of(const struct stream *stream)
{
    return container_of(stream, struct stream_tls, stream);
}

static struct tls_maker *tls_maker_of(const struct stream_tls *tls)
{
    return container_of(tls->stream.source.kind, struct tls_maker, maker.source);
}

/* --- the socket ------------------------------------------------------------------------------------------------ */

/* Bytes sent, 0 if there is no room, -1 if the link is gone. */
static ssize_t socket_send(int fd, const char *at, size_t len)
{
    for (;;) {
        ssize_t put = send(fd, at, len, MSG_NOSIGNAL);
        if (put >= 0)
            return put;
        if (errno != EINTR)
            return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    }
}

static ssize_t socket_receive(int fd, char *into, size_t len)
{
    for (;;) {
        ssize_t got = recv(fd, into, len, 0);
        if (got >= 0)
            return got;
        if (errno != EINTR)
            return errno == EAGAIN || errno == EWOULDBLOCK ? STREAM_LATER : STREAM_FAULT;
    }
}

/* --- between OpenSSL and the socket ------------------------------------------------------------------------------ */

/* OpenSSL is about to work on this one. */
static SSL *work_on(struct stream_tls *tls)
{
    tls_maker_of(tls)->current = tls;
    return tls->ssl;
}

static struct stream_tls *current_of(BIO *bio)
{
    const struct tls_maker *maker = BIO_get_data(bio);

    must(maker->current != NULL);
    return maker->current;
}

/* A read that was short has taken all there was, unless the end stands behind it: then the next one would be in vain until
 * an event comes. */
static int tls_bio_read(BIO *bio, char *into, int len)
{
    struct stream_tls *tls = current_of(bio);

    BIO_clear_retry_flags(bio);
    ssize_t got = tls->is_socket_empty ? STREAM_LATER : socket_receive(tls->stream.number, into, (size_t)len);
    if (got == STREAM_LATER)
        BIO_set_retry_read(bio);
    tls->is_socket_empty = got == STREAM_LATER || (got > 0 && got < len && !tls->stream.is_ended);
    return got < 0 ? -1 : (int)got;
}

static void keep_unsent(struct stream_tls *tls, struct span bytes)
{
    if (tls->unsent == NULL) {
        tls->unsent = calloc(1, sizeof *tls->unsent);
        must(tls->unsent != NULL);
        buf_init(tls->unsent, TLS_UNSENT_BYTES_MAX);
    }
    buf_put(tls->unsent, bytes);
    tls->stream.is_full = true;
}

/* Takes all: OpenSSL never has to repeat a write. */
static int tls_bio_write(BIO *bio, const char *at, int len)
{
    struct stream_tls *tls = current_of(bio);
    ssize_t            put = tls->unsent != NULL ? 0 : socket_send(tls->stream.number, at, (size_t)len);

    BIO_clear_retry_flags(bio);
    if (put < 0)
        return -1;
    if (put < len)
        keep_unsent(tls, span_of(at + put, (size_t)(len - put)));
    return tls->unsent != NULL && buf_is_over(tls->unsent) ? -1 : len;
}

static long tls_bio_control(BIO *bio, int command, long number, void *at)
{
    (void)bio, (void)number, (void)at;
    return command == BIO_CTRL_FLUSH;
}

static int tls_bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

/* --- what is kept until the socket takes it --------------------------------------------------------------------- */

static void unsent_free(struct buf *unsent)
{
    if (unsent == NULL)
        return;
    buf_fini(unsent);
    free(unsent);
}

/* True: all has left, and it is freed. False: there is more, or the link is gone. */
static bool unsent_flush(int fd, struct buf **unsent, bool *ret_is_gone)
{
    ssize_t put = socket_send(fd, (*unsent)->at, (*unsent)->len);

    *ret_is_gone = put < 0;
    if (put > 0)
        buf_drop(*unsent, (size_t)put);
    if (put < 0 || (*unsent)->len > 0)
        return false;
    unsent_free(*unsent);
    *unsent = NULL;
    return true;
}

/* What a closed stream has left to send. */
struct tls_rest {
    struct source     source;
    struct list       link;   /* in the maker's */
    struct timer      timer;
    struct loop      *loop;
    int               fd;
    struct buf       *unsent;
};

static void rest_end(struct tls_rest *rest)
{
    if (rest->fd >= 0)
        loop_close(rest->loop, rest->fd);
    unsent_free(rest->unsent);
    rest->fd     = -1;
    rest->unsent = NULL;
}

static void rest_free(struct tls_rest *rest)
{
    rest_end(rest);
    wheel_disarm(&rest->loop->wheel, &rest->timer);
    list_take(&rest->link);
    free(rest);
}

/* The struct lives until the timers of the turn: its events may still name it. */
static void rest_ready(struct source *source, uint32_t events)
{
    struct tls_rest *rest = container_of(source, struct tls_rest, source);
    bool             is_gone;

    if (rest->fd < 0 || (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0)
        return;
    if (!unsent_flush(rest->fd, &rest->unsent, &is_gone) && !is_gone)
        return;
    rest_end(rest);
    wheel_arm(&rest->loop->wheel, &rest->timer, rest->loop->now);
}

static void rest_timed_out(struct timer *timer, msec now)
{
    (void)now;
    rest_free(container_of(timer, struct tls_rest, timer));
}

static const struct source_kind rest_kind = { .ready = rest_ready };

/* Takes the descriptor and what is unsent. */
static void rest_begin(struct stream_tls *tls)
{
    struct tls_maker *maker = tls_maker_of(tls);
    struct loop      *loop  = maker->maker.loop;
    struct tls_rest  *rest  = calloc(1, sizeof *rest);

    must(rest != NULL);
    *rest = (struct tls_rest){ .source.kind = &rest_kind, .loop = loop, .fd = tls->stream.number, .unsent = tls->unsent };
    rest->timer.fire = rest_timed_out;
    tls->unsent      = NULL;
    list_push(&maker->rests, &rest->link);
    wheel_arm(&loop->wheel, &rest->timer, loop->now + TLS_REST_MS);
    loop_unwatch(loop, rest->fd);
    if (loop_watch(loop, rest->fd, EPOLLOUT | EPOLLET, &rest->source) != RC_OK)
        rest_free(rest);
}

/* --- events ---------------------------------------------------------------------------------------------------- */

/* False: nothing has changed for the owner. */
static bool flush_unsent(struct stream_tls *tls)
{
    bool is_gone = false;

    if (tls->unsent == NULL)
        return true;
    if (!unsent_flush(tls->stream.number, &tls->unsent, &is_gone)) {
        tls->is_broken |= is_gone;
        return false;
    }
    /* Once: each shutdown() makes the socket writable anew, so that the loop would spin until the client closes. */
    if (tls->is_shut)
        shutdown(tls->stream.number, SHUT_WR);
    return true;
}

static void stream_tls_ready(struct source *source, uint32_t events)
{
    struct stream     *stream = container_of(source, struct stream, source);
    struct stream_tls *tls    = tls_of(stream);
    unsigned           news   = 0;

    if (stream->is_closed)
        return;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        news |= STREAM_IS_ENDED;
    if ((events & EPOLLIN) != 0)
        news |= STREAM_IS_READABLE;
    if (news != 0)
        tls->is_socket_empty = false;
    if ((events & EPOLLOUT) != 0 && flush_unsent(tls))
        news |= STREAM_IS_WRITABLE;
    if (tls->handshake == NULL) {
        stream_tell(stream, news);
        return;
    }
    stream->is_ended |= (news & STREAM_IS_ENDED) != 0;
    if ((news & (STREAM_IS_READABLE | STREAM_IS_ENDED)) != 0)
        tls_maker_of(tls)->progress(tls);
}

/* --- the stream ------------------------------------------------------------------------------------------------ */

/* What a call of OpenSSL that brought nothing means. */
static ssize_t fault_or_end(struct stream_tls *tls)
{
    int error = SSL_get_error(tls->ssl, 0);

    ERR_clear_error();
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (error == SSL_ERROR_WANT_READ)
        return STREAM_LATER;
    tls->is_broken = true;
    return STREAM_FAULT;
}

/* Saves OpenSSL the buffer that it would read nothing into. */
static bool has_nothing(const struct stream_tls *tls)
{
    return tls->is_socket_empty && !SSL_has_pending(tls->ssl) && (SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN) == 0;
}

static ssize_t stream_tls_read(struct stream *stream, void *into, size_t len)
{
    struct stream_tls *tls = tls_of(stream);
    size_t             got;

    if (tls->is_broken)
        return STREAM_FAULT;
    for (int i = 0; i < QUIET_RECORDS_A_READ; i++) {
        if (has_nothing(tls))
            return STREAM_LATER;
        if (SSL_read_ex(work_on(tls), into, len, &got) == 1)
            return (ssize_t)got;
        ssize_t why = fault_or_end(tls);
        if (why != STREAM_LATER)
            return why;
    }
    stream_more(stream);
    return STREAM_LATER;
}

static ssize_t stream_tls_write(struct stream *stream, struct span bytes)
{
    struct stream_tls *tls   = tls_of(stream);
    size_t             taken = 0, put;

    if (tls->is_shut || tls->is_broken)
        return STREAM_FAULT;
    while (taken < bytes.len && tls->unsent == NULL) {
        if (SSL_write_ex(work_on(tls), bytes.at + taken, bytes.len - taken, &put) != 1) {
            tls->is_broken = true;
            ERR_clear_error();
            return STREAM_FAULT;
        }
        taken += put;
    }
    stream->is_full |= taken < bytes.len;
    return (ssize_t)taken;
}

static void stream_tls_shut(struct stream *stream)
{
    struct stream_tls *tls = tls_of(stream);

    if (tls->is_shut)
        return;
    tls->is_shut = true;
    if (!tls->is_broken && tls->ssl != NULL && SSL_is_init_finished(tls->ssl))
        SSL_shutdown(work_on(tls));
    ERR_clear_error();
    if (tls->unsent == NULL)
        shutdown(stream->number, SHUT_WR);
}

static void stream_tls_close(struct stream *stream)
{
    struct stream_tls *tls = tls_of(stream);

    if (tls->handshake != NULL)
        tls_maker_of(tls)->dropped(tls);
    else
        counter_sub(&tls_maker_of(tls)->links, 1);
    stream_tls_shut(stream);
    if (tls->unsent != NULL && !tls->is_broken)
        rest_begin(tls);
    else
        loop_close(stream_loop(stream), stream->number);
    unsent_free(tls->unsent);
    SSL_free(work_on(tls));
    tls_maker_of(tls)->current = NULL;
    free(tls->person);
    tls->unsent = NULL;
    tls->ssl    = NULL;
    tls->person = NULL;
}

/* A broken one says no goodbye, and leaves nothing to be sent. */
static void stream_tls_forget(struct stream *stream)
{
    tls_of(stream)->is_broken = true;
    stream_tcp_forget(stream);
}

static size_t stream_tls_unacked_bytes(const struct stream *stream)
{
    const struct buf *unsent = tls_of(stream)->unsent;

    return stream_tcp_unacked_bytes(stream) + (unsent == NULL ? 0 : unsent->len);
}

static bool stream_tls_person(const struct stream *stream, struct stream_person *ret)
{
    const struct tls_person *person = container_of(stream, const struct stream_tls, stream)->person;

    if (person == NULL)
        return false;
    *ret = (struct stream_person){ span_of(person->user, person->len), person->from, person->until };
    return true;
}

static struct span stream_tls_protocol(const struct stream *stream)
{
    const unsigned char *at;
    unsigned             len;

    SSL_get0_alpn_selected(container_of(stream, const struct stream_tls, stream)->ssl, &at, &len);
    return span_of(at, len);
}

static const struct stream_ops stream_tls_ops = {
    .read          = stream_tls_read,
    .write         = stream_tls_write,
    .shut          = stream_tls_shut,
    .close         = stream_tls_close,
    .forget        = stream_tls_forget,
    .is_dead       = stream_tcp_is_dead,
    .unacked_bytes = stream_tls_unacked_bytes,
    .peer          = stream_tcp_peer,
    .person        = stream_tls_person,
    .protocol      = stream_tls_protocol,
    .is_secret     = true,
    .is_paced      = true,
};

enum rc stream_tls_new(struct tls_maker *maker, int fd, struct stream_tls **ret)
{
    struct stream *stream = stream_make(&maker->maker, fd);

    enum rc rc = loop_watch(maker->maker.loop, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &stream->source);
    if (rc != RC_OK) {
        stream_unmake(stream);
        return rc;
    }
    *ret = tls_of(stream);
    return RC_OK;
}

void stream_tls_open(struct stream_tls *tls, SSL *ssl)
{
    BIO *bio = tls_maker_of(tls)->bio;

    must(tls->ssl == NULL && BIO_up_ref(bio) == 1);
    SSL_set_bio(ssl, bio, bio);
    tls->ssl = ssl;
}

int stream_tls_shake(struct stream_tls *tls)
{
    return SSL_do_handshake(work_on(tls));
}

/* --- the maker ------------------------------------------------------------------------------------------------- */

void tls_maker_init(struct tls_maker *maker, struct loop *loop)
{
    *maker = (struct tls_maker){ .method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "link") };
    must(maker->method != NULL);
    BIO_meth_set_read(maker->method, tls_bio_read);
    BIO_meth_set_write(maker->method, tls_bio_write);
    BIO_meth_set_ctrl(maker->method, tls_bio_control);
    BIO_meth_set_create(maker->method, tls_bio_create);
    maker->bio = BIO_new(maker->method);
    must(maker->bio != NULL);
    BIO_set_data(maker->bio, maker);
    stream_maker_init(&maker->maker, &stream_tls_ops, loop, sizeof(struct stream_tls));
    maker->maker.source.ready = stream_tls_ready;
    list_init(&maker->rests);
}

void tls_maker_stop(struct tls_maker *maker)
{
    while (!list_is_empty(&maker->rests))
        rest_free(container_of(maker->rests.next, struct tls_rest, link));
}

void tls_maker_fini(struct tls_maker *maker)
{
    stream_maker_fini(&maker->maker);
    BIO_free(maker->bio);
    BIO_meth_free(maker->method);
    maker->method = NULL;
}
