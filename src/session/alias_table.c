#include "session/alias_table.h"

#include <stdlib.h>

#include "base/must.h"

static struct alias *alias_at(struct list *link)
{
    return container_of(link, struct alias, in_used);
}

void alias_table_init(struct alias_table *table, uint32_t count_max)
{
    must(count_max > 0 && count_max <= BIN_ALIAS_COUNT);
    *table = (struct alias_table){ .count_max = count_max };
    map_init(&table->map);
    list_init(&table->used);
}

static void alias_free(struct alias *alias)
{
    channel_name_unref(alias->name);
    free(alias);
}

static void alias_table_drop(struct alias_table *table, struct alias *alias)
{
    map_take(&table->map, &alias->node);
    list_take(&alias->in_used);
    table->at[alias->number]                 = NULL;
    table->free_numbers[table->free_count++] = alias->number;
    alias_free(alias);
}

void alias_table_fini(struct alias_table *table)
{
    while (!list_is_empty(&table->used))
        alias_table_drop(table, alias_at(table->used.next));
    map_fini(&table->map);
    free(table->at);
    free(table->free_numbers);
    alias_table_init(table, table->count_max);
}

void alias_table_tick(struct alias_table *table)
{
    table->now_s++;
    while (!list_is_empty(&table->used) && table->now_s - alias_at(table->used.next)->used_s > ALIAS_KEPT_S)
        alias_table_drop(table, alias_at(table->used.next));
}

bool alias_table_is_current(const struct alias_table *table, uint16_t number, uint32_t announcement)
{
    return number < table->count && table->at[number] != NULL && table->at[number]->announcement == announcement;
}

/* --- numbers ------------------------------------------------------------------------------------------------------ */

static void alias_table_grow(struct alias_table *table)
{
    uint32_t count = table->count == 0 ? 16 : table->count * 2;

    if (count > table->count_max)
        count = table->count_max;
    table->at           = realloc(table->at, count * sizeof table->at[0]);
    table->free_numbers = realloc(table->free_numbers, count * sizeof table->free_numbers[0]);
    must(table->at != NULL && table->free_numbers != NULL);
    for (uint32_t number = count; number-- > table->count;) {
        table->at[number]                        = NULL;
        table->free_numbers[table->free_count++] = (uint16_t)number;  /* small ones first: they take one byte */
    }
    table->count = count;
}

static uint16_t alias_table_number(struct alias_table *table)
{
    if (table->free_count == 0 && table->count < table->count_max)
        alias_table_grow(table);
    if (table->free_count == 0)
        alias_table_drop(table, alias_at(table->used.next));
    return table->free_numbers[--table->free_count];
}

/* --- aliases ------------------------------------------------------------------------------------------------------ */

/* An alias of this number whose bases are the message's own numbers. */
static struct alias *alias_table_announce(struct alias_table *table, const struct message *message, uint16_t number)
{
    struct span   media = message_media(message), from = message_from(message);
    struct alias *alias = malloc(sizeof *alias + media.len + from.len);

    must(alias != NULL);
    if (++table->last_announcement == 0)
        table->last_announcement++;
    *alias = (struct alias){
        .name = channel_name_ref(message->channel), .epoch = message->epoch, .seq = message->seq, .id = message->id,
        .time = (uint64_t)message->time, .announcement = table->last_announcement, .number = number,
        .media_len = (uint8_t)media.len, .from_len = (uint8_t)from.len,
    };
    memcpy(alias->text, media.at, media.len);
    memcpy(alias->text + media.len, from.at, from.len);
    map_add(&table->map, &alias->node, message->channel->hash);
    list_push(&table->used, &alias->in_used);
    table->at[number] = alias;
    return alias;
}

static bool alias_is_of(const struct map_node *node, const void *key)
{
    return channel_name_eq(container_of(node, struct alias, node)->name, key);
}

static struct span alias_media_span(const struct alias *alias)
{
    return span_of(alias->text, alias->media_len);
}

static struct span alias_from_span(const struct alias *alias)
{
    return span_of(alias->text + alias->media_len, alias->from_len);
}

/* How a message's numbers lie to the bases. */
struct alias_difference {
    bool     is_before, is_mixed;
    uint64_t seq, id, time;
};

static struct alias_difference alias_difference(const struct alias *alias, const struct message *message)
{
    uint64_t time      = (uint64_t)message->time;
    bool     is_before = message->seq < alias->seq;
    bool     is_mixed  = is_before ? message->id > alias->id || time > alias->time
                                   : message->id < alias->id || time < alias->time;

    if (is_before)
        return (struct alias_difference){ true, is_mixed, alias->seq - message->seq, alias->id - message->id,
                                          alias->time - time };
    return (struct alias_difference){ false, is_mixed, message->seq - alias->seq, message->id - alias->id,
                                      time - alias->time };
}

static bool difference_is_long(const struct alias *alias, const struct alias_difference *difference)
{
    return bin_varint_bytes(alias->number) + bin_varint_bytes(difference->seq) + bin_varint_bytes(difference->id) +
               bin_varint_bytes(difference->time) > ALIAS_NUMBERS_BYTES_MOST;
}

/* Its media or its sender has to be told beside the numbers. */
static bool alias_is_odd(const struct alias *alias, const struct message *message)
{
    return !span_eq(alias_media_span(alias), message_media(message)) ||
           !span_eq(alias_from_span(alias), message_from(message));
}

enum alias_fit { ALIAS_FITS, ALIAS_MOVES, ALIAS_DOES_NOT_FIT };

static enum alias_fit alias_judge(const struct alias *alias, const struct message *message)
{
    struct alias_difference difference = alias_difference(alias, message);

    if (alias->epoch != message->epoch)
        return (uint64_t)message->time > alias->time ? ALIAS_MOVES : ALIAS_DOES_NOT_FIT;
    if (!difference.is_before &&
        (difference.is_mixed || difference_is_long(alias, &difference) || alias->odd_count >= ALIAS_ODD_MOST))
        return ALIAS_MOVES;
    /* There is no field that says "none". */
    bool lacks_text = (alias->from_len > 0 && message->from_len == 0) || (alias->media_len > 0 && message->media_len == 0);
    return difference.is_mixed || lacks_text ? ALIAS_DOES_NOT_FIT : ALIAS_FITS;
}

static struct alias *alias_table_move(struct alias_table *table, struct alias *alias, const struct message *message)
{
    uint16_t number = alias->number;

    map_take(&table->map, &alias->node);
    list_take(&alias->in_used);
    alias_free(alias);
    return alias_table_announce(table, message, number);
}

static struct alias *alias_table_find(const struct alias_table *table, const struct channel_name *name)
{
    struct map_node *node = map_find(&table->map, name->hash, alias_is_of, name);
    return node == NULL ? NULL : container_of(node, struct alias, node);
}

static void alias_count_odd(struct alias *alias, bool is_odd)
{
    if (!is_odd)
        alias->odd_count = 0;
    else if (alias->odd_count < ALIAS_ODD_MOST)
        alias->odd_count++;
}

/* A move touches two other aliases, which are in no cache. As long as there are numbers for more it is enough that seconds are in order. */
static void alias_table_use(struct alias_table *table, struct alias *alias)
{
    const bool has_room = table->free_count > 0 || table->count < table->count_max;

    if (has_room && alias->used_s == table->now_s)
        return;
    alias->used_s = table->now_s;
    list_take(&alias->in_used);
    list_push(&table->used, &alias->in_used);
}

const struct alias *alias_table_get(struct alias_table *table, const struct message *message)
{
    if (message->kind != MESSAGE_PLAIN || message->payload_len > ALIAS_PAYLOAD_BYTES_MOST)
        return NULL;
    struct alias *alias = alias_table_find(table, message->channel);
    if (alias == NULL)
        alias = alias_table_announce(table, message, alias_table_number(table));
    else
        alias_count_odd(alias, alias_is_odd(alias, message));
    switch (alias_judge(alias, message)) {
    case ALIAS_FITS: break;
    case ALIAS_MOVES: alias = alias_table_move(table, alias, message); break;
    case ALIAS_DOES_NOT_FIT: return NULL;
    }
    alias_table_use(table, alias);
    return alias;
}

/* --- frames ------------------------------------------------------------------------------------------------------------ */

void alias_put_announcement(struct buf *buf, const struct alias *alias)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_ALIAS);
    bin_set_number(&frame, BIN_ALIAS_NO, alias->number);
    bin_set_bytes(&frame, BIN_CHANNEL, channel_name_span(alias->name));
    bin_set_number(&frame, BIN_EPOCH, alias->epoch);
    bin_set_number(&frame, BIN_SEQ, alias->seq);
    bin_set_number(&frame, BIN_ID, alias->id);
    bin_set_number(&frame, BIN_TIME, alias->time);
    bin_set_bytes(&frame, BIN_MEDIA, alias_media_span(alias));
    bin_set_bytes(&frame, BIN_FROM, alias_from_span(alias));
    bin_put(buf, BIN_SERVER, &frame);
}

void alias_full_frame(struct bin_frame *frame, const struct message *message)
{
    bin_init(frame, BIN_FULL);
    bin_set_bytes(frame, BIN_CHANNEL, channel_name_span(message->channel));
    bin_set_number(frame, BIN_EPOCH, message->epoch);
    bin_set_number(frame, BIN_SEQ, message->seq);
    bin_set_number(frame, BIN_ID, message->id);
    bin_set_number(frame, BIN_TIME, (uint64_t)message->time);
    bin_set_bytes(frame, BIN_FROM, message_from(message));
    if (message->kind == MESSAGE_RECALL) {
        bin_set_number(frame, BIN_TARGET, message->target);
    } else if (message->kind == MESSAGE_RECALLED) {
        bin_set_flag(frame, BIN_RECALLED, true);
    } else {
        bin_set_bytes(frame, BIN_MEDIA, message_media(message));
        bin_set_bytes(frame, BIN_EVENT, message_event(message));
        frame->payload = message_payload(message);
    }
}

void alias_put_message(struct buf *buf, const struct alias *alias, const struct message *message)
{
    struct bin_frame frame;

    if (alias == NULL) {
        alias_full_frame(&frame, message);
        bin_put(buf, BIN_SERVER, &frame);
        return;
    }
    struct alias_difference difference = alias_difference(alias, message);
    must(!difference.is_mixed && alias->epoch == message->epoch);
    if (message->event_len == 0 && !alias_is_odd(alias, message)) {
        bin_put_message(buf, &(struct bin_message){ alias->number, difference.seq, difference.id, difference.time,
                                                    difference.is_before, message_payload(message) });
        return;
    }
    bin_init(&frame, BIN_MESSAGE);
    frame.is_before = difference.is_before;
    bin_set_number(&frame, BIN_ALIAS_NO, alias->number);
    bin_set_number(&frame, BIN_SEQ, difference.seq);
    bin_set_number(&frame, BIN_ID, difference.id);
    bin_set_number(&frame, BIN_TIME, difference.time);
    if (!span_eq(alias_media_span(alias), message_media(message)))
        bin_set_bytes(&frame, BIN_MEDIA, message_media(message));
    if (!span_eq(alias_from_span(alias), message_from(message)))
        bin_set_bytes(&frame, BIN_FROM, message_from(message));
    bin_set_bytes(&frame, BIN_EVENT, message_event(message));
    frame.payload = message_payload(message);
    bin_put(buf, BIN_SERVER, &frame);
}
