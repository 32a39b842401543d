#include "inbox.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/must.h"

struct order *order_new(enum order_kind kind, const char *text)
{
    size_t        len   = text == NULL ? 0 : strlen(text);
    struct order *order = calloc(1, sizeof *order + len + 1);

    must(order != NULL);
    order->kind     = kind;
    order->text_len = len;
    if (len > 0)
        memcpy(order->text, text, len);
    return order;
}

void order_free(struct order *order)
{
    if (order == NULL)
        return;
    outgoing_free(order->outgoing);
    request_free(order->request);
    explicit_bzero(order->text, order->text_len);  /* it may be a token */
    free(order);
}

bool inbox_init(struct inbox *inbox, size_t publish_count_max, size_t publish_bytes_max)
{
    *inbox = (struct inbox){ .publish_count_max = publish_count_max, .publish_bytes_max = publish_bytes_max };
    must(pthread_mutex_init(&inbox->mutex, NULL) == 0);
    list_init(&inbox->orders);
    inbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return inbox->fd >= 0;
}

void inbox_fini(struct inbox *inbox)
{
    struct list *link;

    while ((link = list_pop(&inbox->orders)) != NULL)
        order_free(container_of(link, struct order, link));
    if (inbox->fd >= 0)
        close(inbox->fd);
    pthread_mutex_destroy(&inbox->mutex);
}

static void lock(struct inbox *inbox)
{
    must(pthread_mutex_lock(&inbox->mutex) == 0);
}

static void unlock(struct inbox *inbox)
{
    must(pthread_mutex_unlock(&inbox->mutex) == 0);
}

/* 0: it waits for no answer. */
static size_t size_of(const struct order *order)
{
    return order->kind == ORDER_PUBLISH ? order->outgoing->size : order->kind == ORDER_REQUEST ? order->request->size : 0;
}

static enum lw_result judge(const struct inbox *inbox, const struct order *order)
{
    if (inbox->is_closed)
        return LW_CLOSED;
    if (order->kind == ORDER_CLOSE)
        return LW_OK;  /* one can always leave, and only once */
    if (inbox->order_count >= ORDERS_MAX)
        return LW_FULL;
    if (size_of(order) == 0)
        return LW_OK;
    bool fits = inbox->publish_count < inbox->publish_count_max &&
                size_of(order) <= inbox->publish_bytes_max - inbox->publish_bytes;
    return fits ? LW_OK : LW_FULL;
}

enum lw_result inbox_put(struct inbox *inbox, struct order **take)
{
    struct order *order = *take;

    lock(inbox);
    enum lw_result result = judge(inbox, order);
    if (result == LW_OK) {
        if (size_of(order) > 0) {
            inbox->publish_count++;
            inbox->publish_bytes += size_of(order);
        }
        inbox->is_closed = order->kind == ORDER_CLOSE;
        if (inbox->order_count++ == 0)
            must(eventfd_write(inbox->fd, 1) == 0);
        list_push(&inbox->orders, &order->link);
        *take = NULL;
    }
    unlock(inbox);
    return result;
}

void inbox_take(struct inbox *inbox, struct list *ret_orders)
{
    eventfd_t ignored;

    list_init(ret_orders);
    lock(inbox);
    (void)eventfd_read(inbox->fd, &ignored);  /* EAGAIN: nothing waits */
    list_move(ret_orders, &inbox->orders);
    inbox->order_count = 0;
    unlock(inbox);
}

uint64_t inbox_number(struct inbox *inbox)
{
    lock(inbox);
    uint64_t number = ++inbox->number;
    unlock(inbox);
    return number;
}

void inbox_answered(struct inbox *inbox, size_t size)
{
    lock(inbox);
    must(inbox->publish_count > 0 && inbox->publish_bytes >= size);
    inbox->publish_count--;
    inbox->publish_bytes -= size;
    unlock(inbox);
}

void inbox_poke(struct inbox *inbox)
{
    must(eventfd_write(inbox->fd, 1) == 0);
}

void inbox_close(struct inbox *inbox)
{
    lock(inbox);
    inbox->is_closed = true;
    unlock(inbox);
}
