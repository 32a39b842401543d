#include "hub/channel.h"

#include "base/must.h"

struct channel *channel_new(struct channel_name *name, struct pool *pool)
{
    struct channel *channel = pool_take(pool);

    channel->entry.name = channel_name_ref(name);
    near_list_init(&channel->subs);
    list_init(&channel->link);
    return channel;
}

void channel_free(struct channel *channel, struct pool *pool)
{
    if (channel == NULL)
        return;
    must(near_list_is_empty(&channel->subs));
    channel_window_clear(channel);
    channel_name_unref(channel->entry.name);
    pool_give(pool, channel);
}

struct message *channel_window_at(const struct channel *channel, uint64_t seq)
{
    uint32_t count = message_ring_count(channel->window);

    if (seq > channel->head || channel->head - seq >= count)
        return NULL;
    return message_ring_at(channel->window, count - 1 - (uint32_t)(channel->head - seq));
}

void channel_window_clear(struct channel *channel)
{
    message_ring_clear(&channel->window);
}

void channel_window_drop(struct channel *channel, uint64_t to)
{
    uint32_t count;

    while ((count = message_ring_count(channel->window)) > 0 && channel->head - count < to)
        message_unref(message_ring_pop(&channel->window));
}

/* A recalled message must not be read from the window any more: its tombstone replaces it. */
static void window_recall(struct channel *channel, const struct message *recall)
{
    struct message *old = channel_window_at(channel, recall->target);
    if (old == NULL)
        return;

    struct message *rest = message_recalled(old, recall);
    uint32_t        last = message_ring_count(channel->window) - 1;
    message_unref(message_ring_swap(channel->window, last - (uint32_t)(channel->head - recall->target), &rest));
}

static bool window_is_too_big(const struct message_ring *window, const struct hub_limits *limits)
{
    return window->count > 1 && (window->count > limits->window_messages_max ||
                                 window->bytes > limits->window_bytes_max);
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

    struct message *live = message_ref(message);
    message_ring_push(&channel->window, &live);
    channel->head = message->seq;
    while (window_is_too_big(channel->window, limits))
        message_unref(message_ring_pop(&channel->window));
    return true;
}
