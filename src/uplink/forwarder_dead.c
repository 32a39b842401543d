/* forwarder_dead.c - messages that nobody takes go to sys:dead.
 *
 * The message in sys:dead is written first, and the cursor moves when that is durable. Both can't be one commit, because sys:dead
 * and the cursor may lie in different databases. So after a crash between them the same message is written again; its idempotency
 * key, which names it, lets the store drop it. */
#include <stdio.h>

#include "uplink/forwarder_batch.h"
#include "uplink/forwarder_priv.h"

enum { DEAD_TEXT_BYTES = 512 };

static void bury_next(struct forwarder_batch *batch);

static void bury_settled(struct publish_command *publish, struct writer *writer)
{
    struct forwarder_batch *batch   = publish->owner;
    enum publish_outcome    outcome = publish->outcome;

    (void)writer;
    must(batch->set->away_count > 0);
    batch->set->away_count--;
    command_free(&publish->command);
    if (outcome == PUBLISH_DONE)
        counter_add(&batch->channel->part->forwarder->counters.dead, 1);
    /* The same message was buried before, perhaps for another status. */
    bool is_there = outcome == PUBLISH_DONE || outcome == PUBLISH_REPLAYED || outcome == PUBLISH_KEY_CONFLICT;
    batch->buried += is_there;
    if (is_there || batch->channel->is_gone)
        bury_next(batch);
    else
        forwarder_batch_again(batch, true, 0);
}

static struct message *dead_message_new(const struct forwarder_batch *batch, const struct message *message)
{
    const struct forwarder_options *options = &batch->channel->part->forwarder->options;
    struct buf                      object;

    buf_init(&object, UINT32_MAX);
    forwarder_put_dead(&object, message, batch->status, span_str(options->backend), span_str(options->name));
    must(!buf_is_over(&object));
    struct message *dead = message_new(batch->set->dead, MESSAGE_PLAIN, object.at, (uint32_t)object.len,
                                         SPAN("application/json"), SPAN(""));
    dead->time = batch->set->writer->wall;
    buf_fini(&object);
    return dead;
}

/* Of the key: the forwarder and the channel. */
static void put_publisher(struct buf *out, const struct forwarder_channel *channel)
{
    buf_put(out, span_str(channel->part->forwarder->options.name));
    buf_putc(out, ' ');
    buf_put(out, channel_name_span(channel->name));
}

static void bury(struct forwarder_batch *batch, const struct message *message)
{
    struct message *dead = dead_message_new(batch, message);
    char            key[64];
    struct buf      publisher;

    snprintf(key, sizeof key, "%016llx/%llu", (unsigned long long)message->epoch, (unsigned long long)message->seq);
    buf_init(&publisher, DEAD_TEXT_BYTES);
    put_publisher(&publisher, batch->channel);
    must(!buf_is_over(&publisher));
    struct publish_command *publish = publish_command_new(&dead, span_str(key), buf_span(&publisher));
    buf_fini(&publisher);
    publish->settled = bury_settled;
    publish->owner   = batch;
    batch->set->away_count++;
    publish_kind.at_writer(&publish->command, batch->set->writer);
}

static bool is_buried(const struct forwarder_batch *batch, const struct message *message)
{
    const struct forwarder_options *options = &batch->channel->part->forwarder->options;

    return message != NULL && message->kind == MESSAGE_PLAIN && forwarder_wants(options, message);
}

static void bury_next(struct forwarder_batch *batch)
{
    while (batch->buried < batch->count && !batch->channel->is_gone) {
        const struct message *message = batch->entries[batch->buried].message;
        if (is_buried(batch, message)) {
            bury(batch, message);
            return;
        }
        batch->buried++;
    }
    forwarder_batch_done(batch);
}

void forwarder_bury(struct forwarder_batch *batch)
{
    batch->buried         = 0;
    batch->channel->stage = BATCH_BURIED;
    bury_next(batch);
}
