#include "main/memory_hand_over.h"

#include "base/must.h"
#include "codec/handover/handover.h"
#include "main/stores.h"
#include "store/mem.h"

/* --- telling ----------------------------------------------------------------------------------------------------- */

struct memory_teller {
    struct buf *buf;
    uint64_t    count;
};

static void memory_tell_channel(void *ctx, const struct channel_name *name, uint64_t epoch, uint64_t before)
{
    struct memory_teller *teller = ctx;

    handover_put_channel(teller->buf, &(struct handover_channel){ channel_name_span(name), epoch, before });
    teller->count++;
}

static void memory_tell_message(void *ctx, const struct message *message)
{
    struct memory_teller *teller = ctx;

    handover_put_message(teller->buf, &(struct handover_message){
        .kind = message->kind, .seq = message->seq, .id = message->id, .target = message->target,
        .time = (uint64_t)message->time, .expires_at = (uint64_t)message->expires_at, .payload = message_payload(message),
        .media = message_media(message), .from = message_from(message), .event = message_event(message),
        .collapse_key = message_collapse_key(message),
    });
    teller->count++;
}

static void memory_tell_store(struct memory_teller *teller, struct store *store, bool is_durable)
{
    static const struct mem_visitor visitor = { memory_tell_channel, memory_tell_message };
    struct handover_store           numbers = { .is_durable = is_durable };

    if (store == NULL || !mem_store_is(store))
        return;
    mem_store_next(store, &numbers.epoch_next, &numbers.id_next);
    handover_put_store(teller->buf, &numbers);
    teller->count++;
    mem_store_visit(store, &visitor, teller);
}

uint64_t memory_put(const struct stores *stores, struct buf *buf)
{
    struct memory_teller teller = { .buf = buf };

    memory_tell_store(&teller, stores->memory, false);
    memory_tell_store(&teller, stores->durable, true);
    return teller.count;
}

/* --- taking ------------------------------------------------------------------------------------------------------ */

struct memory_taker {
    const struct stores   *stores;
    struct namespaces     *namespaces;
    const struct hash_key *key;
    struct store          *store;    /* that the records are of; NULL: they are left out */
    struct channel_name   *channel;  /* … or NULL; owns a reference */
    uint64_t               epoch;
};

static bool take_store(struct memory_taker *taker, struct span body)
{
    struct handover_store numbers;

    channel_name_unref(taker->channel);
    taker->channel = NULL;
    taker->store   = NULL;
    if (!handover_get_store(body, &numbers))
        return false;
    struct store *store = numbers.is_durable ? taker->stores->durable : taker->stores->memory;
    if (store == NULL || !mem_store_is(store))
        return false;
    taker->store = store;
    mem_store_begin_at(store, numbers.epoch_next, numbers.id_next);
    return true;
}

static bool is_kept_here(const struct memory_taker *taker, const struct channel_name *name)
{
    return (name->space->durability == DURABLE) == (taker->store == taker->stores->durable);
}

static bool take_channel(struct memory_taker *taker, struct span body)
{
    struct handover_channel channel;
    struct channel_name    *name = NULL;

    channel_name_unref(taker->channel);
    taker->channel = NULL;
    if (taker->store == NULL || !handover_get_channel(body, &channel) ||
        channel_name_new(taker->namespaces, taker->key, channel.name, &name) != CHANNEL_NAME_OK)
        return false;
    if (!is_kept_here(taker, name) || !mem_store_add_channel(taker->store, name, channel.epoch, channel.head)) {
        channel_name_unref(name);
        return false;
    }
    taker->channel = name;
    taker->epoch   = channel.epoch;
    return true;
}

static bool message_is_sound(const struct handover_message *told)
{
    return told->kind <= MESSAGE_RECALLED && told->payload.len <= UINT32_MAX && told->media.len <= MEDIA_BYTES_MAX &&
           told->from.len <= FROM_BYTES_MAX && told->event.len <= EVENT_BYTES_MAX &&
           told->collapse_key.len <= COLLAPSE_KEY_BYTES_MAX;
}

static bool take_message(struct memory_taker *taker, struct span body)
{
    struct handover_message told;

    if (taker->channel == NULL || !handover_get_message(body, &told) || !message_is_sound(&told))
        return false;
    struct message *message = message_new_tagged(taker->channel, (enum message_kind)told.kind, told.payload.at,
                                                 (uint32_t)told.payload.len, told.media, told.from,
                                                 &(struct message_tags){ .event = told.event, .collapse_key = told.collapse_key });
    message->epoch      = taker->epoch;
    message->seq        = told.seq;
    message->id         = told.id;
    message->target     = told.target;
    message->time       = (msec)told.time;
    message->expires_at = (msec)told.expires_at;
    bool is_taken       = mem_store_add_message(taker->store, message);
    message_unref(message);
    return is_taken;
}

size_t memory_take(const struct stores *stores, struct namespaces *namespaces, const struct hash_key *key, struct span records)
{
    struct memory_taker taker = { .stores = stores, .namespaces = namespaces, .key = key };
    enum handover_kind  kind;
    struct span         body;
    size_t              lost = 0;

    while (handover_next(&records, &kind, &body) && kind != HANDOVER_END)
        lost += !(kind == HANDOVER_STORE     ? take_store(&taker, body)
                  : kind == HANDOVER_CHANNEL ? take_channel(&taker, body)
                  : kind == HANDOVER_MESSAGE ? take_message(&taker, body)
                                             : true);
    channel_name_unref(taker.channel);
    return lost;
}
