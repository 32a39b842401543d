/* lw.c - the public calls, but for those that run a client (lw_run.c). */
#include "longwire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/must.h"
#include "base/version.h"
#include "client.h"
#include "text.h"

enum { TOKEN_BYTES_MAX = 16384, HEARTBEAT_S_MAX = 24 * 3600 };

const char *lw_result_text(enum lw_result result)
{
    switch (result) {
    case LW_OK: return "fine";
    case LW_BAD: return "an argument can't be used";
    case LW_FULL: return "a maximum is reached";
    case LW_CLOSED: return "the client has ended";
    case LW_BUSY: return "it runs already";
    case LW_SYSTEM: return "no descriptor or thread to be had";
    }
    return "unknown";
}

const char *lw_version(void)
{
    return LONGWIRE_VERSION;
}

/* --- new and free ------------------------------------------------------------------------------------------------ */

static uint64_t random_number(void)
{
    uint64_t number;

    must(getrandom(&number, sizeof number, 0) == (ssize_t)sizeof number);
    return number;
}

/* NULL: fine. */
static const char *set_up(struct lw *lw, const struct lw_options *options)
{
    struct epoll_event event = { .events = EPOLLIN };
    const char        *fault = engine_init(&lw->engine, options, &lw->inbox, random_number());
    bool has_inbox = inbox_init(&lw->inbox, lw->engine.options.publish_count_max, lw->engine.options.publish_bytes_max);

    lw->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (fault != NULL)
        return fault;
    if (!has_inbox || lw->epoll_fd < 0 || epoll_ctl(lw->epoll_fd, EPOLL_CTL_ADD, lw->inbox.fd, &event) != 0)
        return "the system gives no descriptor (errno says why)";
    if (lw->engine.has_tls && (lw->tls = wire_tls_new(options->ca_file)) == NULL)
        return "ca_file: it can't be read as PEM certificates";
    return NULL;
}

struct lw *lw_new(const struct lw_options *options, const char **ret_fault)
{
    struct lw *lw = calloc(1, sizeof *lw);

    must(lw != NULL);
    must(pthread_mutex_init(&lw->thread_mutex, NULL) == 0);
    lw->key_prefix = random_number();
    wire_init(&lw->wire);
    const char *fault = set_up(lw, options);
    if (ret_fault != NULL)
        *ret_fault = fault;
    if (fault == NULL)
        return lw;
    int error = errno;
    lw_free(lw);
    errno = error;
    return NULL;
}

void lw_free(struct lw *lw)
{
    if (lw == NULL)
        return;
    lw_stop(lw, 0);
    client_drop_link(lw);
    engine_fini(&lw->engine);
    inbox_fini(&lw->inbox);
    SSL_CTX_free(lw->tls);
    if (lw->epoll_fd >= 0)
        close(lw->epoll_fd);
    pthread_mutex_destroy(&lw->thread_mutex);
    free(lw);
}

/* --- orders -------------------------------------------------------------------------------------------------------- */

static enum lw_result put(struct lw *lw, struct order *order)
{
    enum lw_result result = inbox_put(&lw->inbox, &order);

    order_free(order);
    return result;
}

static enum lw_result put_place(struct lw *lw, enum order_kind kind, const char *channel, uint64_t epoch, uint64_t seq)
{
    if (!text_is_channel(channel))
        return LW_BAD;
    struct order *order = order_new(kind, channel);
    order->epoch        = epoch;
    order->seq          = seq;
    return put(lw, order);
}

enum lw_result lw_subscribe(struct lw *lw, const struct lw_subscribe *subscribe)
{
    bool is_good = text_is_channel(subscribe->channel) && subscribe->seq <= UINT64_MAX / 2 &&
                   (!subscribe->needs_snapshot || (subscribe->place == LW_FROM_NOW && lw->engine.on.snapshot != NULL));

    if (!is_good)
        return LW_BAD;
    struct order *order = order_new(ORDER_SUBSCRIBE, subscribe->channel);
    order->subscribe    = *subscribe;
    return put(lw, order);
}

enum lw_result lw_unsubscribe(struct lw *lw, const char *channel)
{
    return put_place(lw, ORDER_UNSUBSCRIBE, channel, 0, 0);
}

enum lw_result lw_snapshot_taken(struct lw *lw, const char *channel, uint64_t epoch, uint64_t seq)
{
    return seq > UINT64_MAX / 2 ? LW_BAD : put_place(lw, ORDER_SNAPSHOT_TAKEN, channel, epoch, seq);
}

enum lw_result lw_ack(struct lw *lw, const char *channel, uint64_t seq)
{
    return put_place(lw, ORDER_ACK, channel, 0, seq);
}

enum lw_result lw_read(struct lw *lw, const char *channel, uint64_t seq)
{
    return put_place(lw, ORDER_READ, channel, 0, seq);
}

enum lw_result lw_publish(struct lw *lw, const struct lw_publish *publish, lw_published_fn *answer, void *arg)
{
    char key[MADE_KEY_BYTES + 1];

    snprintf(key, sizeof key, "%016llx%llx", (unsigned long long)lw->key_prefix,
             (unsigned long long)inbox_number(&lw->inbox));
    struct outgoing *outgoing = outgoing_new(publish, key, answer, arg);
    if (outgoing == NULL)
        return LW_BAD;
    struct order *order = order_new(ORDER_PUBLISH, NULL);
    order->outgoing     = outgoing;
    return put(lw, order);
}

void lw_make_id(struct lw *lw, char ret_id[LW_ID_BYTES])
{
    snprintf(ret_id, LW_ID_BYTES, "%016llx%llx", (unsigned long long)lw->key_prefix,
             (unsigned long long)inbox_number(&lw->inbox));
}

enum lw_result lw_request(struct lw *lw, const struct lw_request *request, lw_response_fn *answer, void *arg)
{
    char id[LW_ID_BYTES];

    lw_make_id(lw, id);
    struct request *asked = request_new(request, id, answer, arg);
    if (asked == NULL)
        return LW_BAD;
    struct order *order = order_new(ORDER_REQUEST, NULL);
    order->request      = asked;
    return put(lw, order);
}

enum lw_result lw_cancel(struct lw *lw, const char *id)
{
    return id != NULL && text_is_word(id, REQUEST_ID_MAX) ? put(lw, order_new(ORDER_CANCEL, id)) : LW_BAD;
}

enum lw_result lw_set_token(struct lw *lw, const char *token)
{
    return text_is_word(token, TOKEN_BYTES_MAX) ? put(lw, order_new(ORDER_TOKEN, token)) : LW_BAD;
}

enum lw_result lw_wake(struct lw *lw)
{
    return put(lw, order_new(ORDER_WAKE, NULL));
}

enum lw_result lw_heartbeat(struct lw *lw, unsigned next_s)
{
    if (next_s > HEARTBEAT_S_MAX)
        return LW_BAD;
    struct order *order = order_new(ORDER_HEARTBEAT, NULL);
    order->seq          = next_s;
    return put(lw, order);
}

enum lw_result lw_close(struct lw *lw)
{
    return put(lw, order_new(ORDER_CLOSE, NULL));
}
