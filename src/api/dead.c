/* dead.c - POST /v1/dead/{seq}: a message that no back end took goes into its channel once more.
 *
 * The message is read from sys:dead, published again as it was (payload, media type, who it is from), and then recalled in
 * sys:dead, so that it counts as done with. It becomes the newest message of its channel and is forwarded like any
 * other; nothing is sent to the back end from here. Its idempotency key names the place in sys:dead, so that a call that is
 * repeated publishes nothing twice. */
#include <stdio.h>
#include <stdlib.h>

#include "api/call.h"
#include "base/base64.h"
#include "base/must.h"
#include "publish/publish_check.h"

enum { DEAD_KEY_BYTES = 64 };

static const char dead_not_there[] = "sys:dead has no such message: it was never there, is past its time, or was sent again already";

static void dead_refuse(struct api *api, struct http_exchange *exchange, unsigned status, const char *why)
{
    http_problem(api->server, exchange, status, NULL, why, retry_after(status));
}

/* --- the recall ------------------------------------------------------------------------------------------------------- */

/* What is sent again; owned until the recall has ended. */
struct dead_retry {
    struct api           *api;
    struct http_exchange *exchange;
    struct channel_name  *dead;     /* owns a reference */
    uint64_t              seq;      /* in sys:dead */
    struct channel_name  *channel;  /* owns a reference */
    struct append_answer  answer;
};

static void dead_retry_free(struct dead_retry *retry)
{
    channel_name_unref(retry->dead);
    channel_name_unref(retry->channel);
    free(retry);
}

static void dead_answer(struct dead_retry *retry)
{
    struct buf *scratch = &retry->api->scratch;

    buf_clear(scratch);
    buf_putc(scratch, '{');
    publish_put_receipt(scratch, retry->channel, &retry->answer);
    buf_putc(scratch, '}');
    http_answer(retry->api->server, retry->exchange, &(struct http_answer){
        .status = 201, .media = SPAN("application/json"), .body = buf_span(scratch),
    });
    dead_retry_free(retry);
}

/* The message is published in any case; should the recall fail, a repeated call makes up for it. */
static void dead_recalled(struct publish_command *command)
{
    struct dead_retry *retry = command->owner;
    unsigned           status;
    const char        *why = publish_explain_sent(retry->api->shard, command, &status);

    if (why == NULL || command->outcome == PUBLISH_NO_TARGET) {
        dead_answer(retry);
    } else {
        dead_refuse(retry->api, retry->exchange, status, why);
        dead_retry_free(retry);
    }
    command_free(&command->command);
}

static void dead_recall(struct dead_retry *retry)
{
    struct message *recall = message_new(retry->dead, MESSAGE_RECALL, NULL, 0, SPAN(""), SPAN(""));

    recall->target                  = retry->seq;
    recall->time                    = retry->api->shard->wall;
    struct publish_command *command = publish_command_new(&recall, SPAN(""), SPAN(""));
    command->owner                  = retry;
    command->answered               = dead_recalled;
    shard_publish(retry->api->shard, command);
}

static void dead_published(struct publish_command *command)
{
    struct dead_retry *retry = command->owner;
    unsigned           status;
    const char        *why = publish_explain_sent(retry->api->shard, command, &status);

    if (why != NULL) {
        dead_refuse(retry->api, retry->exchange, status, why);
        dead_retry_free(retry);
    } else {
        retry->answer = command->answer;
        dead_recall(retry);
    }
    command_free(&command->command);
}

/* --- the message ------------------------------------------------------------------------------------------------------ */

/* A text member; empty if it is not there. False: it is no text. */
static bool dead_text(const struct json_doc *doc, struct span name, struct buf *strings, struct span *ret)
{
    const struct json_token *token = json_member(doc, json_root(doc), name);

    *ret = SPAN("");
    return token == NULL || token->type == JSON_NULL || json_string(token, strings, ret);
}

/* As it was published: `data` of a JSON media type byte for byte, else a text; or `data_base64`. */
static bool dead_payload(const struct json_doc *doc, struct span media, struct buf *strings, struct span *ret)
{
    const struct json_token *data = json_member(doc, json_root(doc), SPAN("data"));
    struct span              text;

    if (data != NULL && json_is_media(media) && data->raw.len > 0) {
        *ret = data->raw;
        return true;
    }
    if (data != NULL)
        return json_string(data, strings, ret);
    if (!json_string(json_member(doc, json_root(doc), SPAN("data_base64")), strings, &text))
        return false;
    size_t from = strings->len;
    if (!base64_get(text, strings))
        return false;
    *ret = span_skip(buf_span(strings), from);
    return true;
}

/* The message anew; NULL: what sys:dead holds can't be read. */
static struct message *dead_read(struct api *api, struct span object, struct buf *strings, struct json_doc *doc)
{
    struct channel_name *name;
    struct message      *message;
    struct span          channel, media, from, event, payload;

    if (!json_parse(object, &(struct json_limits){ .depth_kept = 1 }, doc) ||
        !dead_text(doc, SPAN("channel"), strings, &channel) || !dead_text(doc, SPAN("media"), strings, &media) ||
        !dead_text(doc, SPAN("from"), strings, &from) || !dead_text(doc, SPAN("event"), strings, &event) ||
        !dead_payload(doc, media, strings, &payload) || media.len > MEDIA_BYTES_MAX || from.len > FROM_BYTES_MAX ||
        event.len > EVENT_BYTES_MAX || channel_name_new(api->namespaces, api->hash_key, channel, &name) != CHANNEL_NAME_OK)
        return NULL;
    message       = message_new_event(name, MESSAGE_PLAIN, payload.at, (uint32_t)payload.len, media, from, event);
    message->time = api->shard->wall;
    channel_name_unref(name);
    return message;
}

static struct message *dead_message_again(struct api *api, const struct message *dead)
{
    struct span     object = message_payload(dead);
    struct json_doc doc;
    struct buf      strings;

    json_doc_init(&doc);
    buf_init(&strings, 4 * object.len + 64);
    must(buf_extend(&strings, 4 * object.len + 64) != NULL);  /* what points into it must not move */
    buf_clear(&strings);
    struct message *message = dead_read(api, object, &strings, &doc);
    buf_fini(&strings);
    json_doc_fini(&doc);
    return message;
}

static void dead_publish(struct api *api, struct http_exchange *exchange, const struct message *dead)
{
    struct message *message = dead_message_again(api, dead);
    char            key[DEAD_KEY_BYTES];

    if (message == NULL) {
        dead_refuse(api, exchange, 409, "this message can't be published again: its namespace is gone, or it can't be read");
        return;
    }
    struct dead_retry *retry = calloc(1, sizeof *retry);
    must(retry != NULL);
    *retry = (struct dead_retry){ .api = api, .exchange = exchange, .dead = channel_name_ref(dead->channel), .seq = dead->seq,
                                  .channel = channel_name_ref(message->channel) };
    snprintf(key, sizeof key, "dead/%016llx/%llu", (unsigned long long)dead->epoch, (unsigned long long)dead->seq);
    struct publish_command *command = publish_command_new(&message, span_str(key), SPAN("sys:dead"));
    command->owner                  = retry;
    command->answered               = dead_published;
    shard_publish(api->shard, command);
}

/* --- the call --------------------------------------------------------------------------------------------------------- */

static void dead_came(struct read_command *command)
{
    struct http_exchange *exchange = command->owner;
    struct api           *api      = exchange->owner;
    const struct entry   *entry    = command->read.entry_count == 1 ? &command->read.entries[0] : NULL;

    if (command->read.rc != RC_OK)
        call_answer_unreadable(api, exchange, command->read.channel);
    else if (entry == NULL || entry->message == NULL || entry->message->kind != MESSAGE_PLAIN ||
             entry->message->seq != command->read.bound + 1)
        dead_refuse(api, exchange, 404, dead_not_there);
    else
        dead_publish(api, exchange, entry->message);
    command_free(&command->command);
}

void serve_dead(struct call *call)
{
    struct channel_name *name;
    uint64_t             seq;

    if (!call_passes(call, may(call->identity, NULL, ACTION_FORWARDERS)) || !call_knows_query(call, KNOWN_NO_WORDS) ||
        !call_seq(call, call->segments[2], &seq))
        return;
    if (seq == 0) {
        call_refuse(call, 404, dead_not_there);
        return;
    }
    must(channel_name_new(call->api->namespaces, call->api->hash_key, SPAN("sys:dead"), &name) == CHANNEL_NAME_OK);
    struct read_command *read = call_read_new(call, name, READ_AFTER, seq - 1, 1, dead_came);
    read->source              = READ_STORE;
    channel_name_unref(name);
    shard_read(call->api->shard, read);
}
