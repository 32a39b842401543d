/* inbox.h - what the application asks for, on its way from any thread to the one that runs the client.
 *
 * Bounded: ORDERS_MAX orders wait at most, and the publishes and requests that have no answer yet keep their own two maxima. */
#ifndef CLIENT_INBOX_H
#define CLIENT_INBOX_H

#include <pthread.h>

#include "base/list.h"
#include "base/span.h"
#include "longwire.h"
#include "outgoing.h"
#include "request.h"

enum order_kind {
    ORDER_SUBSCRIBE, ORDER_UNSUBSCRIBE, ORDER_SNAPSHOT_TAKEN, ORDER_PUBLISH, ORDER_ACK, ORDER_READ, ORDER_TOKEN, ORDER_WAKE,
    ORDER_HEARTBEAT, ORDER_REQUEST, ORDER_CANCEL, ORDER_CLOSE,
};

enum { ORDERS_MAX = 8192 };

struct order {
    struct list         link;
    enum order_kind     kind;
    struct lw_subscribe subscribe;   /* SUBSCRIBE; its channel is not to be used */
    uint64_t            epoch, seq;  /* SNAPSHOT_TAKEN, ACK, READ; HEARTBEAT: the seconds */
    struct outgoing    *outgoing;    /* PUBLISH; owned */
    struct request     *request;     /* REQUEST; owned */
    size_t              text_len;
    char                text[];      /* the channel, the token, or the id of a request; with a NUL */
};

static inline struct span order_text(const struct order *order)
{
    return span_of(order->text, order->text_len);
}

struct order *order_new(enum order_kind kind, const char *text);  /* NULL text: "" */
void          order_free(struct order *order);                    /* NULL is fine */

struct inbox {
    pthread_mutex_t mutex;
    int             fd;           /* readable while orders wait */
    struct list     orders;
    size_t          order_count;
    size_t          publish_count, publish_count_max;
    size_t          publish_bytes, publish_bytes_max;
    bool            is_closed;
    uint64_t        number;       /* the last one given */
};

/* False: no descriptor (errno). The inbox can be given to inbox_fini() all the same. */
bool inbox_init(struct inbox *inbox, size_t publish_count_max, size_t publish_bytes_max);
void inbox_fini(struct inbox *inbox);

/* Any thread. Takes the order only on LW_OK. */
enum lw_result inbox_put(struct inbox *inbox, struct order **take);

/* All that waits, in its order; the caller owns it. */
void inbox_take(struct inbox *inbox, struct list *ret_orders);

/* A number that it has not given before. Any thread. */
uint64_t inbox_number(struct inbox *inbox);

/* A publish or request of `size` bytes has its answer. */
void inbox_answered(struct inbox *inbox, size_t size);

/* Makes inbox->fd readable once. Any thread. */
void inbox_poke(struct inbox *inbox);

/* From now on nothing is taken any more. */
void inbox_close(struct inbox *inbox);

#endif
