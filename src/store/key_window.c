#include "store/key_window.h"

#include <stdlib.h>

#include "base/must.h"
#include "store/digest.h"

struct used_key {
    struct map_node      node;
    struct list          link;
    struct channel_name *channel;  /* owns a reference */
    uint64_t             digest;
    struct append_answer answer;
    msec                 forget_at;
    uint32_t             publisher_len, key_len;
    char                 bytes[];  /* publisher, key */
};

void key_window_init(struct key_window *window, const struct hash_key *hash_key, msec keep_ms, size_t count_max)
{
    must(count_max > 0);
    *window = (struct key_window){ .hash_key = *hash_key, .keep_ms = keep_ms, .count_max = count_max };
    map_init(&window->map);
    list_init(&window->oldest_first);
}

static void key_forget(struct key_window *window, struct used_key *used)
{
    map_take(&window->map, &used->node);
    list_take(&used->link);
    channel_name_unref(used->channel);
    free(used);
}

static struct used_key *oldest_key(struct key_window *window)
{
    return list_is_empty(&window->oldest_first) ? NULL
                                                : container_of(window->oldest_first.next, struct used_key, link);
}

void key_window_fini(struct key_window *window)
{
    for (struct used_key *used; (used = oldest_key(window)) != NULL;)
        key_forget(window, used);
    map_fini(&window->map);
}

static uint64_t used_key_hash(const struct key_window *window, const struct append *append)
{
    struct hash_key key = window->hash_key;

    key.k0 ^= append->message->channel->hash;
    key.k0 ^= hash_bytes(&key, append->publisher);
    return hash_bytes(&key, append->key);
}

static bool used_key_is(const struct map_node *node, const void *key)
{
    const struct used_key *used   = container_of(node, struct used_key, node);
    const struct append   *append = key;

    return channel_name_eq(used->channel, append->message->channel) &&
           span_eq(span_of(used->bytes, used->publisher_len), append->publisher) &&
           span_eq(span_of(used->bytes + used->publisher_len, used->key_len), append->key);
}

bool key_window_decides(struct key_window *window, struct append *append, msec wall)
{
    struct map_node *node = map_find(&window->map, used_key_hash(window, append), used_key_is, append);
    if (node == NULL)
        return false;

    struct used_key *used = container_of(node, struct used_key, node);
    if (used->forget_at <= wall) {
        key_forget(window, used);
        return false;
    }
    append->outcome = used->digest == append_digest(append) ? APPEND_REPLAYED : APPEND_KEY_CONFLICT;
    if (append->outcome == APPEND_REPLAYED)
        append->first = used->answer;
    return true;
}

void key_window_add(struct key_window *window, const struct append *append, msec wall)
{
    const struct message *message = append->message;

    must(append->key.len > 0 && message->seq != 0);
    if (window->map.count >= window->count_max)
        key_forget(window, oldest_key(window));

    struct used_key *used = malloc(sizeof *used + append->publisher.len + append->key.len);
    must(used != NULL);
    *used = (struct used_key){
        .channel       = channel_name_ref(message->channel),
        .digest        = append_digest(append),
        .answer        = { message->epoch, message->seq, message->id, message->time },
        .forget_at     = wall + window->keep_ms,
        .publisher_len = (uint32_t)append->publisher.len,
        .key_len       = (uint32_t)append->key.len,
    };
    if (append->publisher.len > 0)
        memcpy(used->bytes, append->publisher.at, append->publisher.len);
    memcpy(used->bytes + append->publisher.len, append->key.at, append->key.len);
    map_add(&window->map, &used->node, used_key_hash(window, append));
    list_push(&window->oldest_first, &used->link);
}

void key_window_tick(struct key_window *window, msec wall, size_t count_max)
{
    for (size_t i = 0; i < count_max; i++) {
        struct used_key *used = oldest_key(window);
        if (used == NULL || used->forget_at > wall)
            return;
        key_forget(window, used);
    }
}
