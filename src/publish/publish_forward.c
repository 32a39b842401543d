/* publish_forward.c - the question is
 *
 *     version 1 | text: idempotency key | text: its publisher | the message, as on the bus (codec/bus/bus_frame.h)
 *
 * and the answer: version 1 | outcome 1 | epoch 8 | seq 8 | id 8 | time 8. A text is its length 2 and its bytes. Numbers are
 * big-endian. */
#include "publish/publish_forward.h"

#include <stdlib.h>

#include "base/must.h"
#include "codec/bus/bus_frame.h"
#include "node/shard.h"

enum { FORWARD_VERSION = 1, FORWARD_ANSWER_BYTES = 2 + 4 * 8, FORWARD_MESSAGE_BYTES_MAX = PEER_BODY_BYTES_MAX - 4096 };

/* --- bytes ------------------------------------------------------------------------------------------------------ */

static void forward_put_number(struct buf *buf, uint64_t number, unsigned bytes)
{
    while (bytes-- > 0)
        buf_putc(buf, (char)(number >> (8 * bytes)));
}

static uint64_t forward_take_number(struct span *rest, unsigned bytes)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < bytes; i++)
        number = number << 8 | (unsigned char)rest->at[i];
    *rest = span_skip(*rest, bytes);
    return number;
}

static void forward_put_text(struct buf *buf, struct span text)
{
    must(text.len <= UINT16_MAX);
    forward_put_number(buf, text.len, 2);
    buf_put(buf, text);
}

static bool forward_take_text(struct span *rest, struct span *ret)
{
    if (rest->len < 2)
        return false;
    size_t len = (size_t)forward_take_number(rest, 2);
    if (len > rest->len)
        return false;
    *ret  = span_head(*rest, len);
    *rest = span_skip(*rest, len);
    return true;
}

static bool forward_take_version(struct span *rest)
{
    return rest->len > 0 && forward_take_number(rest, 1) == FORWARD_VERSION;
}

/* A message on the bus has a number, and this one has none yet: it travels with 1. */
static void forward_put_question(struct buf *buf, const struct append *append)
{
    forward_put_number(buf, FORWARD_VERSION, 1);
    forward_put_text(buf, append->key);
    forward_put_text(buf, append->publisher);
    append->message->seq = 1;
    bus_message_put(buf, append->message);
    append->message->seq = 0;
}

static struct message *forward_take_message(struct span rest, struct namespaces *namespaces,
                                            const struct hash_key *hash_key)
{
    struct bus_item      item;
    struct channel_name *name;
    uint64_t             key;
    struct message      *message = NULL;

    if (!bus_item_get(&rest, &item) || item.kind != BUS_MESSAGE ||
        channel_name_new(namespaces, hash_key, item.channel, &name) != CHANNEL_NAME_OK)
        return NULL;
    if (conn_channel_key(name, &key))
        message = bus_message_get(&item, name);
    channel_name_unref(name);
    if (message != NULL)
        message->seq = message->epoch = message->id = 0;
    return message;
}

static void forward_put_answer(struct buf *buf, const struct publish_command *publish)
{
    forward_put_number(buf, FORWARD_VERSION, 1);
    forward_put_number(buf, publish->outcome, 1);
    forward_put_number(buf, publish->answer.epoch, 8);
    forward_put_number(buf, publish->answer.seq, 8);
    forward_put_number(buf, publish->answer.id, 8);
    forward_put_number(buf, (uint64_t)publish->answer.time, 8);
}

/* How a publish without rows and target may end. */
static bool is_outcome_of_publish(uint64_t outcome)
{
    return outcome == PUBLISH_DONE || outcome == PUBLISH_REPLAYED || outcome == PUBLISH_KEY_CONFLICT ||
           outcome == PUBLISH_NO_SPACE || outcome == PUBLISH_BROKEN || outcome == PUBLISH_AWAY || outcome == PUBLISH_BUSY;
}

static bool forward_take_answer(struct span rest, struct publish_command *publish)
{
    if (rest.len != FORWARD_ANSWER_BYTES || !forward_take_version(&rest))
        return false;
    uint64_t outcome = forward_take_number(&rest, 1);
    if (!is_outcome_of_publish(outcome))
        return false;
    publish->outcome      = (enum publish_outcome)outcome;
    publish->answer.epoch = forward_take_number(&rest, 8);
    publish->answer.seq   = forward_take_number(&rest, 8);
    publish->answer.id    = forward_take_number(&rest, 8);
    publish->answer.time  = (msec)forward_take_number(&rest, 8);
    return true;
}

/* --- the node that was asked for the publish --------------------------------------------------------------------- */

struct forwarded_publish {
    struct shard           *shard;
    struct publish_command *publish;
};

static void forward_came_back(struct peer_question *question)
{
    struct forwarded_publish *forwarded   = question->owner;
    bool                      is_answered = false;

    for (const struct peer_answer *answer = question->answers; answer != NULL && !is_answered; answer = answer->next)
        is_answered = forward_take_answer(span_of(answer->body, answer->len), forwarded->publish);
    shard_forwarded(forwarded->shard, forwarded->publish, is_answered);
    free(forwarded);
    command_free(&question->command);
}

void publish_forward(struct shard *shard, struct publish_command *publish, uint16_t tag)
{
    if (message_size(publish->append.message) > FORWARD_MESSAGE_BYTES_MAX) {
        publish->outcome = PUBLISH_TOO_FAR;
        shard_forwarded(shard, publish, true);
        return;
    }
    struct forwarded_publish *forwarded = calloc(1, sizeof *forwarded);
    must(forwarded != NULL);
    *forwarded = (struct forwarded_publish){ shard, publish };
    struct peer_question *question = peer_question_new(PEER_PUBLISH);
    question->tag      = tag;
    question->answered = forward_came_back;
    question->owner    = forwarded;
    forward_put_question(&question->body, &publish->append);
    shard_ask_peers(shard, question);
}

/* --- the node that has the connection ----------------------------------------------------------------------------- */

struct forwarded_call {
    struct shard     *shard;
    struct peer_call *call;
};

static void forward_published(struct publish_command *publish)
{
    struct forwarded_call *forwarded = publish->owner;

    forward_put_answer(&forwarded->call->answer, publish);
    peer_call_answer(forwarded->shard, forwarded->call);
    free(forwarded);
    command_free(&publish->command);
}

static struct publish_command *forward_read(struct span body, struct namespaces *namespaces, const struct hash_key *hash_key)
{
    struct span key, publisher;

    if (!forward_take_version(&body) || !forward_take_text(&body, &key) || !forward_take_text(&body, &publisher))
        return NULL;
    struct message *message = forward_take_message(body, namespaces, hash_key);
    return message == NULL ? NULL : publish_command_new(&message, key, publisher);
}

void publish_forward_serve(struct shard *shard, struct namespaces *namespaces, const struct hash_key *hash_key,
                           struct peer_call *call)
{
    struct publish_command *publish = forward_read(buf_span(&call->body), namespaces, hash_key);

    if (publish == NULL) {
        call->is_unknown = true;
        peer_call_answer(shard, call);
        return;
    }
    struct forwarded_call *forwarded = calloc(1, sizeof *forwarded);
    must(forwarded != NULL);
    *forwarded        = (struct forwarded_call){ shard, call };
    publish->owner    = forwarded;
    publish->answered = forward_published;
    shard_publish(shard, publish);
}
