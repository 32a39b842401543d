/* writer_deliver.c - what loops are told of the logs that they follow: messages, and heads that have moved.
 *
 * A loop that is slow must not make memory grow: beyond delivery_count_max or delivery_bytes_max that it has not taken,
 * it is sent no more messages. It is told that the heads have moved once it has caught up by half, and reads the
 * log. */
#include <stdlib.h>

#include "base/must.h"
#include "node/writer_priv.h"

enum { MOVED_COMMANDS_MAX = 40 };  /* a loop and tick: 10,240 heads */

/* --- hints ---------------------------------------------------------------------------------------------------- */

static uint64_t account_count(const struct loop_account *account)
{
    return account->sent_count - counter_get(&account->taken_count);
}

static uint64_t account_bytes(const struct loop_account *account)
{
    return account->sent_bytes - counter_get(&account->taken_bytes);
}

static bool loop_is_full(const struct writer *writer, unsigned loop)
{
    const struct loop_account *account = &writer->accounts[loop];

    return account_count(account) >= writer->limits.delivery_count_max ||
           account_bytes(account) >= writer->limits.delivery_bytes_max;
}

static bool loop_has_caught_up(const struct writer *writer, unsigned loop)
{
    const struct loop_account *account = &writer->accounts[loop];

    return account_count(account) <= writer->limits.delivery_count_max / 2 &&
           account_bytes(account) <= writer->limits.delivery_bytes_max / 2;
}

static void hint_send(struct writer *writer, unsigned loop, struct hint *hint)
{
    struct loop_account *account = &writer->accounts[loop];

    hint->command.loop = loop;
    hint->account      = account;
    hint->number       = ++account->number;
    account->sent_count += hint->count;
    account->sent_bytes += hint->bytes;
    writer->port->send(writer->ctx, loop, &hint->command);
}

/* --- messages ------------------------------------------------------------------------------------------------- */

static void writer_send_delivery(struct writer *writer, unsigned loop)
{
    struct deliver_command *deliver = writer->delivers[loop];

    if (deliver == NULL)
        return;
    writer->delivers[loop] = NULL;
    hint_send(writer, loop, &deliver->hint);
}

static void writer_send_heard(struct writer *writer, unsigned loop);

void writer_send_deliveries(struct writer *writer)
{
    for (unsigned loop = 0; loop < writer->loop_count; loop++) {
        writer_send_delivery(writer, loop);
        writer_send_heard(writer, loop);
    }
}

void writer_send_view(struct writer *writer, struct command *command)
{
    writer_send_delivery(writer, command->loop);
    writer->port->send(writer->ctx, command->loop, command);
}

/* NULL: the loop has too much to take already. This is checked once a command, not once a message. */
static struct deliver_command *writer_delivery(struct writer *writer, unsigned loop)
{
    struct deliver_command *deliver = writer->delivers[loop];

    if (deliver != NULL)
        return deliver;
    if (loop_is_full(writer, loop))
        return NULL;
    deliver = malloc(sizeof *deliver);
    must(deliver != NULL);
    deliver->hint          = (struct hint){ .command = { .kind = &deliver_kind } };
    writer->delivers[loop] = deliver;
    return deliver;
}

static void writer_deliver_to(struct writer *writer, unsigned loop, struct tail *tail, struct message *message)
{
    struct deliver_command *deliver = writer_delivery(writer, loop);

    if (deliver == NULL) {
        writer_owe_head(writer, tail, UINT64_C(1) << loop);
        return;
    }
    deliver->messages[deliver->hint.count++] = message_ref(message);
    deliver->hint.bytes += message_size(message);
    if (deliver->hint.count == DELIVER_MESSAGES_MAX)
        writer_send_delivery(writer, loop);
}

/* A memory store that completes inline is as near as the tail is. */
static bool tail_is_of_use(struct writer *writer, const struct channel_name *name)
{
    return name->space->durability == DURABLE ||
           (name->space->durability == MEMORY && writer_store_of(writer, name)->lane_count > 0);
}

/* If other processes append too, messages come in any order, and some may be late and belong to a former life of the
 * log. Only the store knows which life is the present one. */
static void writer_take_in(struct writer *writer, struct tail *tail, struct message *message)
{
    const struct store *store   = writer_store_of(writer, message->channel)->store;
    bool                is_kept = tail_is_of_use(writer, message->channel) && (store->has_one_writer || tail->entry.followers != 0);

    if (tail->epoch == message->epoch && message->seq <= tail->head)
        return;
    if (tail->epoch != 0 && tail->epoch != message->epoch && !store->has_one_writer)
        writer_outdate(writer, tail);
    else
        tail_take(&writer->tails, tail, message, is_kept);
}

/* NULL: the message is of no use to anybody here. */
static struct tail *spread_tail(struct writer *writer, const struct message *message)
{
    bool is_kept = tail_is_of_use(writer, message->channel) && writer_store_of(writer, message->channel)->store->has_one_writer;

    return is_kept ? tails_get(&writer->tails, message->channel) : tails_find(&writer->tails, message->channel);
}

static void spread_to(struct writer *writer, struct tail *tail, struct message *message)
{
    /* What is old for the tail may be new for a loop: the head may have come from the store before the message. */
    writer_take_in(writer, tail, message);
    for (uint64_t left = tail->entry.followers; left != 0; left &= left - 1)
        writer_deliver_to(writer, (unsigned)__builtin_ctzll(left), tail, message);
    tail_let_go(&writer->tails, tail);
}

void writer_spread(struct writer *writer, struct message *message)
{
    struct tail *tail = spread_tail(writer, message);

    if (tail != NULL)
        spread_to(writer, tail, message);
}

struct channel_name *writer_known_name(const struct writer *writer, uint64_t hash, struct span text)
{
    return tails_name(&writer->tails, hash, text);
}

void writer_hear(struct writer *writer, struct message *message)
{
    must(message->seq != 0 && message->epoch != 0);
    struct tail *tail = spread_tail(writer, message);
    if (tail == NULL)
        return;
    if (tail->epoch != message->epoch || message->seq >= tail->first)
        spread_to(writer, tail, message);
    /* else it was purged or trimmed while it was on its way */
}

/* --- heads without messages ----------------------------------------------------------------------------------- */

void writer_owe_head(struct writer *writer, struct tail *tail, uint64_t loops)
{
    if (loops == 0)
        return;
    struct tail_owed *owed = tail_owe(&writer->tails, tail);
    if (owed->moved == 0)
        owed->tick = writer->tick;
    owed->moved |= loops;
}

static void moved_add(struct moved_command *moved, const struct tail *tail)
{
    moved->heads[moved->hint.count++] = (struct moved_head){
        channel_name_ref(tail->entry.name), tail->epoch, tail->first, tail->head,
    };
    moved->hint.bytes += sizeof moved->heads[0];
}

static struct moved_command *moved_new(void)
{
    struct moved_command *moved = malloc(sizeof *moved);

    must(moved != NULL);
    moved->hint = (struct hint){ .command = { .kind = &moved_kind } };
    return moved;
}

static void moved_send(struct writer *writer, unsigned loop, struct moved_command *moved)
{
    writer_send_delivery(writer, loop);
    hint_send(writer, loop, &moved->hint);
}

static void writer_send_heard(struct writer *writer, unsigned loop)
{
    struct moved_command *moved = writer->moveds[loop];

    if (moved == NULL)
        return;
    writer->moveds[loop] = NULL;
    moved_send(writer, loop, moved);
}

static void writer_tell_heard(struct writer *writer, struct tail *tail, unsigned loop)
{
    if (writer->moveds[loop] == NULL && loop_is_full(writer, loop)) {
        writer_owe_head(writer, tail, UINT64_C(1) << loop);
        return;
    }
    if (writer->moveds[loop] == NULL)
        writer->moveds[loop] = moved_new();
    moved_add(writer->moveds[loop], tail);
    if (writer->moveds[loop]->hint.count == MOVED_HEADS_MAX)
        writer_send_heard(writer, loop);
}

/* A head that this node's own batch has moved, whose completion is still to come, is told as well: loops then read the
 * messages from the log, and drop them when they come. */
void writer_hear_head(struct writer *writer, const struct channel_name *name, uint64_t epoch, uint64_t head)
{
    struct tail *tail = tails_find(&writer->tails, name);

    must(epoch != 0);
    if (tail == NULL || tail->entry.followers == 0 || (tail->epoch == epoch && head <= tail->head))
        return;
    if (tail->epoch != epoch) {
        writer_outdate(writer, tail);
        return;
    }
    tail_empty(&writer->tails, tail);
    tail->head = head;
    for (uint64_t left = tail->entry.followers; left != 0; left &= left - 1)
        writer_tell_heard(writer, tail, (unsigned)__builtin_ctzll(left));
}

/* All loops are told in one pass over what is owed: there may be as much of it as there are channels. */
struct moved_round {
    uint64_t              open;             /* a bit a loop: it may be told more in this tick */
    struct moved_command *moved[LOOPS_MAX]; /* being filled */
    unsigned              counts[LOOPS_MAX]; /* commands */
};

/* NULL: the loop has had its share, or has enough to do. */
static struct moved_command *round_moved(struct writer *writer, struct moved_round *round, unsigned loop)
{
    if (round->moved[loop] != NULL)
        return round->moved[loop];
    if (round->counts[loop] == MOVED_COMMANDS_MAX || !loop_has_caught_up(writer, loop)) {
        round->open &= ~(UINT64_C(1) << loop);
        return NULL;
    }
    round->counts[loop]++;
    round->moved[loop] = moved_new();
    return round->moved[loop];
}

static void round_tell(struct writer *writer, struct moved_round *round, struct tail_owed *owed, unsigned loop)
{
    struct moved_command *moved = round_moved(writer, round, loop);

    if (moved == NULL)
        return;
    moved_add(moved, owed->tail);
    owed->moved &= ~(UINT64_C(1) << loop);
    if (moved->hint.count < MOVED_HEADS_MAX)
        return;
    round->moved[loop] = NULL;
    moved_send(writer, loop, moved);
}

static void round_tell_all(struct writer *writer, struct moved_round *round, struct tail_owed *owed)
{
    struct tail *tail = owed->tail;
    uint64_t     due  = writer->tick - owed->tick >= 2 ? owed->moved & round->open : 0;

    if (due == 0)
        return;
    for (; due != 0; due &= due - 1)
        round_tell(writer, round, owed, (unsigned)__builtin_ctzll(due));
    tail_settle(tail);
    tail_let_go(&writer->tails, tail);
}

void writer_tick_moved(struct writer *writer)
{
    struct moved_round round = { .open = UINT64_MAX >> (LOOPS_MAX - writer->loop_count) };
    struct list       *next;

    for (struct list *link = writer->tails.owed.next; link != &writer->tails.owed && round.open != 0; link = next) {
        next = link->next;
        round_tell_all(writer, &round, container_of(link, struct tail_owed, link));
    }
    for (unsigned loop = 0; loop < writer->loop_count; loop++)
        if (round.moved[loop] != NULL)
            moved_send(writer, loop, round.moved[loop]);
}

/* --- a loop's heartbeat --------------------------------------------------------------------------------------- */

/* Of a tail that knows no head the store is asked, and who follows is told what it answers. */
static void writer_owe_entry(struct writer *writer, struct near_map_node *node, uint64_t bit)
{
    if ((container_of(node, struct tail_entry, node)->followers & bit) == 0)
        return;
    struct tail *tail = tails_unfold(&writer->tails, node);
    if (tail->epoch != 0)
        writer_owe_head(writer, tail, bit);
    else
        writer_outdate(writer, tail);
}

static void writer_owe_all(struct writer *writer, unsigned loop)
{
    for (size_t i = 0; i < writer->tails.map.slot_count; i++) {
        for (struct near_map_node *node = near_map_first(&writer->tails.map, i), *next; node != NULL; node = next) {
            next = near_map_next(node);
            writer_owe_entry(writer, node, UINT64_C(1) << loop);
        }
    }
}

void writer_take_heartbeat(struct command *command, struct writer *writer)
{
    struct heartbeat_command *heartbeat = container_of(command, struct heartbeat_command, command);

    must(command->loop < writer->loop_count);
    if (heartbeat->is_hint_lost)
        writer_owe_all(writer, command->loop);
    writer_send_delivery(writer, command->loop);
    heartbeat->number = writer->accounts[command->loop].number;
    writer->port->send(writer->ctx, command->loop, command);
}

void writer_deliver_fini(struct writer *writer)
{
    for (unsigned i = 0; i < writer->loop_count; i++) {
        if (writer->delivers[i] != NULL)
            command_free(&writer->delivers[i]->hint.command);
        if (writer->moveds[i] != NULL)
            command_free(&writer->moveds[i]->hint.command);
    }
}
