#include "hub/channel.h"

#include <stdlib.h>

#include "base/must.h"

enum { WINDOW_FIRST_CAP = 4 };

struct channel *channel_new(struct channel_name *name, struct pool *pool)
{
    struct channel *channel = pool_take(pool);

    channel->name = channel_name_ref(name);
    list_init(&channel->subs);
    list_init(&channel->link);
    return channel;
}

void channel_free(struct channel *channel, struct pool *pool)
{
    if (channel == NULL)
        return;
    must(list_is_empty(&channel->subs));
    channel_window_clear(channel);
    channel_name_unref(channel->name);
    pool_give(pool, channel);
}

static struct message **window_slot(struct window *window, uint32_t index)
{
    return &window->ring[(window->first + index) & (window->cap - 1)];
}

struct message *channel_window_at(const struct channel *channel, uint64_t seq)
{
    struct window *window = channel->window;

    if (window == NULL || seq > channel->head || channel->head - seq >= window->count)
        return NULL;
    return *window_slot(window, window->count - 1 - (uint32_t)(channel->head - seq));
}

void channel_window_clear(struct channel *channel)
{
    if (channel->window == NULL)
        return;
    for (uint32_t i = 0; i < channel->window->count; i++)
        message_unref(*window_slot(channel->window, i));
    free(channel->window);
    channel->window = NULL;
}

static void window_drop_oldest(struct window *window)
{
    struct message *message = *window_slot(window, 0);

    window->bytes -= message_size(message);
    message_unref(message);
    window->first++;
    window->count--;
}

static struct window *window_grown(struct window *window)
{
    uint32_t       cap   = window == NULL ? WINDOW_FIRST_CAP : window->cap * 2;
    struct window *wider = malloc(sizeof *wider + cap * sizeof wider->ring[0]);

    must(wider != NULL);
    *wider = (struct window){ .cap = cap };
    if (window != NULL) {
        for (uint32_t i = 0; i < window->count; i++)
            wider->ring[i] = *window_slot(window, i);
        wider->count = window->count;
        wider->bytes = window->bytes;
        free(window);
    }
    return wider;
}

/* A message taken back must not be read from the window any more: what remains of it takes its place. */
static void window_recall(struct channel *channel, const struct message *recall)
{
    struct message *old = channel_window_at(channel, recall->target);
    if (old == NULL)
        return;

    struct window   *window = channel->window;
    struct message **slot   = window_slot(window, window->count - 1 - (uint32_t)(channel->head - recall->target));
    *slot                   = message_recalled(old, recall);
    window->bytes -= message_size(old) - message_size(*slot);
    message_unref(old);
}

bool channel_take_live(struct channel *channel, struct message *message, const struct hub_limits *limits)
{
    must(message->epoch == channel->epoch);
    if (message->seq <= channel->head)
        return false;
    if (message->seq != channel->head + 1)
        channel_window_clear(channel);
    if (message->kind == MESSAGE_RECALL)
        window_recall(channel, message);
    if (channel->window == NULL || channel->window->count == channel->window->cap)
        channel->window = window_grown(channel->window);

    struct window *window                = channel->window;
    *window_slot(window, window->count) = message_ref(message);
    window->count++;
    window->bytes += message_size(message);
    channel->head = message->seq;
    while (window->count > 1 &&
           (window->count > limits->window_messages_max || window->bytes > limits->window_bytes_max))
        window_drop_oldest(window);
    return true;
}
