#include "node/tail.h"

#include <stdlib.h>

#include "base/must.h"

enum { TAIL_ORDER_PARTS = 8 };

void tails_init(struct tails *tails, size_t bytes_max, uint32_t messages_max)
{
    *tails = (struct tails){ .bytes_max = bytes_max, .messages_max = messages_max };
    near_map_init(&tails->map);
    pool_init(&tails->pool, sizeof(struct tail));
    pool_init(&tails->folded, sizeof(struct tail_folded));
    list_init(&tails->recent);
    list_init(&tails->owed);
}

/* --- folded or not -------------------------------------------------------------------------------------------- */

/* Folded entries stand in the same slot under another hash, so that a search tells which kind it has found. */
static const uint32_t HASH_FOLDED = UINT32_C(1) << 31;
static const uint64_t HEAD_FORGOTTEN = UINT64_MAX;

/* Of tails.folded_counts and folded_epochs. */
static unsigned folded_kind(const struct channel_name *name)
{
    return name->space->durability == DURABLE;
}

static struct tail_entry *tail_entry_of(struct near_map_node *node)
{
    return container_of(node, struct tail_entry, node);
}

static bool tail_entry_has_name(const struct near_map_node *node, const void *key)
{
    return channel_name_eq(container_of(node, struct tail_entry, node)->name, key);
}

static struct near_map_node *tails_find_folded(const struct tails *tails, const struct channel_name *name)
{
    return near_map_find(&tails->map, (uint32_t)name->hash ^ HASH_FOLDED, tail_entry_has_name, name);
}

struct tail *tail_at(struct near_map_node *node)
{
    struct tail_entry *entry = tail_entry_of(node);

    return node->hash == (uint32_t)entry->name->hash ? container_of(entry, struct tail, entry) : NULL;
}

struct tail *tails_look(const struct tails *tails, const struct channel_name *name)
{
    struct near_map_node *node = near_map_find(&tails->map, (uint32_t)name->hash, tail_entry_has_name, name);

    return node == NULL ? NULL : tail_at(node);
}

struct tail_entry *tails_entry(const struct tails *tails, const struct channel_name *name)
{
    struct near_map_node *node = near_map_find(&tails->map, (uint32_t)name->hash, tail_entry_has_name, name);

    if (node == NULL)
        node = tails_find_folded(tails, name);
    return node == NULL ? NULL : tail_entry_of(node);
}

static bool tail_entry_has_text(const struct near_map_node *node, const void *key)
{
    return span_eq(channel_name_span(container_of(node, struct tail_entry, node)->name), *(const struct span *)key);
}

struct channel_name *tails_name(const struct tails *tails, uint64_t hash, struct span text)
{
    struct near_map_node *node = near_map_find(&tails->map, (uint32_t)hash, tail_entry_has_text, &text);

    if (node == NULL)
        node = near_map_find(&tails->map, (uint32_t)hash ^ HASH_FOLDED, tail_entry_has_text, &text);
    return node == NULL ? NULL : tail_entry_of(node)->name;
}

uint64_t tails_followers(const struct tails *tails, const struct channel_name *name)
{
    const struct tail_entry *entry = tails_entry(tails, name);

    return entry == NULL ? 0 : entry->followers;
}

struct tail *tails_unfold(struct tails *tails, struct near_map_node *node)
{
    struct tail        *tail   = tail_at(node);
    struct tail_folded *folded = container_of(tail_entry_of(node), struct tail_folded, entry);
    const unsigned      kind   = folded_kind(tail_entry_of(node)->name);

    if (tail != NULL)
        return tail;
    tail                  = pool_take(&tails->pool);
    tail->entry.name      = folded->entry.name;
    tail->entry.followers = folded->entry.followers;
    if (folded->head != HEAD_FORGOTTEN) {
        tail->head_state = HEAD_KNOWN;
        tail->epoch      = tails->folded_epochs[kind];
        tail->first      = 1;
        tail->head       = folded->head;
    }
    near_map_take(&tails->map, node);
    near_map_add(&tails->map, &tail->entry.node, (uint32_t)tail->entry.name->hash);
    pool_give(&tails->folded, folded);
    tails->folded_counts[kind]--;
    return tail;
}

bool tail_may_fold(const struct tail *tail)
{
    return tail->entry.followers != 0 && tail->ring == NULL && tail->owed == NULL && !tail_is_asked(tail);
}

void tail_fold(struct tails *tails, struct tail *tail)
{
    struct tail_folded *folded = pool_take(&tails->folded);
    const unsigned      kind   = folded_kind(tail->entry.name);
    bool                knows  = tail->head_state == HEAD_KNOWN;

    must(tail_may_fold(tail));
    if (knows && tails->folded_counts[kind] == 0)
        tails->folded_epochs[kind] = tail->epoch;
    tails->folded_counts[kind]++;
    folded->entry.name      = tail->entry.name;
    folded->entry.followers = tail->entry.followers;
    folded->head            = knows && tail->epoch == tails->folded_epochs[kind] ? tail->head : HEAD_FORGOTTEN;
    near_map_take(&tails->map, &tail->entry.node);
    near_map_add(&tails->map, &folded->entry.node, (uint32_t)folded->entry.name->hash ^ HASH_FOLDED);
    pool_give(&tails->pool, tail);
}

/* --- their life ----------------------------------------------------------------------------------------------- */

struct tail *tails_find(struct tails *tails, const struct channel_name *name)
{
    struct tail *tail = tails_look(tails, name);

    if (tail != NULL || tails->folded.count == 0)
        return tail;
    struct near_map_node *folded = tails_find_folded(tails, name);
    return folded == NULL ? NULL : tails_unfold(tails, folded);
}

struct tail *tails_get(struct tails *tails, struct channel_name *name)
{
    struct tail *tail = tails_find(tails, name);

    if (tail != NULL)
        return tail;
    tail             = pool_take(&tails->pool);
    tail->entry.name = channel_name_ref(name);
    near_map_add(&tails->map, &tail->entry.node, (uint32_t)name->hash);
    return tail;
}

static uint32_t tail_count(const struct tail *tail)
{
    return tail->ring == NULL ? 0 : message_ring_count(tail->ring->messages);
}

/* The message that leaves last frees the ring. */
static void tail_drop_oldest(struct tails *tails, struct tail *tail)
{
    struct message *message = message_ring_pop(&tail->ring->messages);

    must(tails->bytes >= message_size(message));
    tails->bytes -= message_size(message);
    message_unref(message);
    if (tail->ring->messages != NULL)
        return;
    list_take(&tail->ring->recent);
    free(tail->ring);
    tail->ring = NULL;
}

void tail_empty(struct tails *tails, struct tail *tail)
{
    while (tail->ring != NULL)
        tail_drop_oldest(tails, tail);
}

struct tail_owed *tail_owe(struct tails *tails, struct tail *tail)
{
    if (tail->owed != NULL)
        return tail->owed;
    tail->owed = calloc(1, sizeof *tail->owed);
    must(tail->owed != NULL);
    tail->owed->tail = tail;
    list_push(&tails->owed, &tail->owed->link);
    return tail->owed;
}

void tail_settle(struct tail *tail)
{
    if (tail->owed == NULL || tail->owed->askers != NULL || tail->owed->moved != 0 || tail->owed->is_read)
        return;
    list_take(&tail->owed->link);
    free(tail->owed);
    tail->owed = NULL;
}

bool tail_is_asked(const struct tail *tail)
{
    return tail->head_state != HEAD_UNKNOWN && tail->head_state != HEAD_KNOWN;
}

static bool tail_says_less(const struct tail *tail, uint64_t epoch, uint64_t head)
{
    if (tail->epoch == 0)
        return head > 0 && tail_is_asked(tail);
    return tail->epoch != epoch || tail->head < head;
}

static bool folded_says_less(const struct tail_folded *folded, uint64_t folded_epoch, uint64_t epoch, uint64_t head)
{
    return folded->head != HEAD_FORGOTTEN && (folded_epoch != epoch || folded->head < head);
}

bool tails_say_less(const struct tails *tails, const struct channel_name *name, uint64_t epoch, uint64_t head)
{
    const struct tail *tail = tails_look(tails, name);
    struct near_map_node   *node = tail == NULL ? tails_find_folded(tails, name) : NULL;

    if (tail != NULL)
        return tail_says_less(tail, epoch, head);
    return node != NULL && folded_says_less(container_of(tail_entry_of(node), struct tail_folded, entry),
                                            tails->folded_epochs[folded_kind(name)], epoch, head);
}

void tail_let_go(struct tails *tails, struct tail *tail)
{
    if (tail->entry.followers != 0 || tail->ring != NULL || tail->owed != NULL || tail_is_asked(tail))
        return;
    near_map_take(&tails->map, &tail->entry.node);
    channel_name_unref(tail->entry.name);
    pool_give(&tails->pool, tail);
}

static void tails_make_room(struct tails *tails, const struct tail *keep)
{
    while (tails->bytes > tails->bytes_max && !list_is_empty(&tails->recent)) {
        struct tail *oldest = container_of(tails->recent.next, struct tail_ring, recent)->tail;
        if (oldest == keep) {
            tail_drop_oldest(tails, oldest);
            continue;
        }
        tail_empty(tails, oldest);
        tail_let_go(tails, oldest);
    }
}

void tails_limit(struct tails *tails, size_t bytes_max)
{
    tails->bytes_max = bytes_max;
    tails_make_room(tails, NULL);
}

static struct tail_ring *tail_ring_new(struct tail *tail)
{
    struct tail_ring *ring = calloc(1, sizeof *ring);

    must(ring != NULL);
    ring->tail = tail;
    return ring;
}

static void tail_recall(struct tails *tails, struct tail *tail, const struct message *recall)
{
    uint32_t count  = tail_count(tail);
    uint64_t target = recall->target;

    if (target > tail->head || tail->head - target >= count)
        return;
    uint32_t        at   = count - 1 - (uint32_t)(tail->head - target);
    struct message *rest = message_recalled(message_ring_at(tail->ring->messages, at), recall);
    size_t          size = message_size(rest);
    struct message *old  = message_ring_swap(tail->ring->messages, at, &rest);
    tails->bytes -= message_size(old) - size;
    message_unref(old);
}

/* Each move touches two other rings, which are in no cache, or in that of another processor. So who moved lately stays. */
static void tail_ring_move(struct tails *tails, struct tail_ring *ring)
{
    if (list_is_linked(&ring->recent) && tails->written - ring->moved_at < tails->bytes_max / TAIL_ORDER_PARTS)
        return;
    ring->moved_at = tails->written;
    list_take(&ring->recent);
    list_push(&tails->recent, &ring->recent);
}

static void tail_keep(struct tails *tails, struct tail *tail, struct message *message)
{
    struct message *kept = message_ref(message);

    if (tail_count(tail) >= tails->messages_max)
        tail_drop_oldest(tails, tail);
    if (tail->ring == NULL)
        tail->ring = tail_ring_new(tail);
    message_ring_push(&tail->ring->messages, &kept);
    tails->bytes += message_size(message);
    tails->written += message_size(message);
    tail_ring_move(tails, tail->ring);
    if (tails->bytes > tails->bytes_max)
        tails_make_room(tails, tail);
}

void tail_take(struct tails *tails, struct tail *tail, struct message *message, bool is_kept)
{
    must(tail->epoch != message->epoch || message->seq > tail->head);
    if (tail->epoch != message->epoch || message->seq != tail->head + 1)
        tail_empty(tails, tail);
    tail->epoch = message->epoch;
    if (message->kind == MESSAGE_RECALL)
        tail_recall(tails, tail, message);
    tail->head = message->seq;
    if (is_kept)
        tail_keep(tails, tail, message);
}

void tail_purge(struct tails *tails, struct tail *tail, uint64_t epoch, uint64_t head)
{
    tail_empty(tails, tail);
    if (tail->epoch == 0)
        tail->epoch = epoch;  /* the purge is the first that tells of the log */
    if (tail->epoch != epoch)
        return;
    tail->head  = tail->head > head ? tail->head : head;
    tail->first = tail->first > head ? tail->first : head + 1;
}

/* Recalls that came meanwhile have moved the head, so the page is as the log is now. */
static bool page_is_tail(const struct tail *tail, const struct store_read *read)
{
    if (read->rc != RC_OK || read->way != READ_AFTER || read->epoch != tail->epoch || read->entry_count == 0 ||
        tail->ring != NULL || entry_last(&read->entries[read->entry_count - 1]) != tail->head)
        return false;
    for (size_t i = 0; i < read->entry_count; i++)
        if (read->entries[i].message == NULL || read->entries[i].message->seq < tail->first)
            return false;
    return true;
}

void tail_fill(struct tails *tails, struct tail *tail, const struct store_read *read)
{
    if (!page_is_tail(tail, read))
        return;
    for (size_t i = 0; i < read->entry_count; i++)
        tail_keep(tails, tail, read->entries[i].message);
}

bool tail_read(const struct tail *tail, struct store_read *read)
{
    uint32_t held = tail_count(tail);

    if (held == 0 || read->way != READ_AFTER || read->limit == 0 || read->bound >= tail->head ||
        tail->head - read->bound > held)
        return false;

    uint32_t at    = held - (uint32_t)(tail->head - read->bound);
    uint32_t count = held - at < read->limit ? held - at : read->limit;
    size_t   bytes = 0;

    read->entries = malloc(count * sizeof read->entries[0]);
    must(read->entries != NULL);
    read->entry_count = 0;
    while (read->entry_count < count && (read->entry_count == 0 || bytes < read->bytes_max)) {
        struct message *message = message_ring_at(tail->ring->messages, at++);
        bytes += message_size(message);
        read->entries[read->entry_count++] = (struct entry){ .message = message_ref(message) };
    }
    read->rc    = RC_OK;
    read->epoch = tail->epoch;
    read->first = tail->first;
    read->head  = tail->head;
    return true;
}

static void tail_free_owed(struct tail *tail)
{
    if (tail->owed == NULL)
        return;
    while (tail->owed->askers != NULL) {
        struct command *command = command_of(tail->owed->askers);
        tail->owed->askers      = command->mail.next;
        command_free(command);
    }
    while (tail->owed->readers != NULL) {
        struct command *command = command_of(tail->owed->readers);
        tail->owed->readers     = command->mail.next;
        command_free(command);
    }
    tail->owed->moved   = 0;
    tail->owed->is_read = false;
    tail_settle(tail);
}

void tails_fini(struct tails *tails)
{
    for (size_t i = 0; i < tails->map.slot_count; i++) {
        for (struct near_map_node *node; (node = near_map_first(&tails->map, i)) != NULL;) {
            struct tail *tail = tails_unfold(tails, node);
            tail_empty(tails, tail);
            tail_free_owed(tail);
            tail->entry.followers  = 0;
            tail->head_state = HEAD_UNKNOWN;
            tail_let_go(tails, tail);
        }
    }
    near_map_fini(&tails->map);
    pool_fini(&tails->pool);
    pool_fini(&tails->folded);
}
