/* publish.c - one message in, its seq out once it is durable; and taking one back. */
#include "api/call.h"
#include "intake/intake.h"

static void publish_answered(struct publish_letter *letter)
{
    struct http_exchange *exchange = letter->owner;
    struct api           *api      = exchange->owner;
    const struct message *message  = letter->append.message;
    bool                  is_recall = message->kind == MESSAGE_RECALL;
    unsigned              status;
    const char           *why = intake_outcome(letter->outcome, &status);

    if (why != NULL) {
        http_problem(api->server, exchange, status, NULL, why, retry_after(status));
    } else {
        buf_clear(&api->room);
        buf_putc(&api->room, '{');
        intake_put_receipt(&api->room, message->channel, &letter->answer);
        if (is_recall) {
            buf_put_lit(&api->room, ",\"target\":");
            buf_put_u64(&api->room, message->target);
        }
        buf_putc(&api->room, '}');
        http_answer(api->server, exchange, &(struct http_answer){
            .status = is_recall ? 200 : status,
            .media  = SPAN("application/json"),
            .fields = letter->outcome == PUBLISH_REPLAYED && !is_recall ? SPAN("Idempotency-Replayed: true\r\n") : SPAN(""),
            .body   = buf_span(&api->room),
        });
    }
    letter_free(&letter->letter);
}

static void call_publish(const struct call *call, struct message *message, struct span key)
{
    struct publish_letter *letter = publish_letter_new(&message, key, span_str(call->identity->name));

    letter->owner    = call->exchange;
    letter->answered = publish_answered;
    shard_publish(call->api->shard, letter);
}

void serve_publish(struct call *call)
{
    struct channel_name *name = call_body_is_plain(call) ? call_channel(call) : NULL;
    struct message      *message;
    const char          *why;

    if (name == NULL)
        return;
    struct intake intake = {
        .name     = name,
        .payload  = call->request->body,
        .media    = h1_field(call->request->head, SPAN("content-type")),
        .key      = h1_field(call->request->head, SPAN("idempotency-key")),
        .wall     = call->api->shard->wall,
        .identity = call->identity,
    };
    if (call_u64(call, SPAN("ttl"), &intake.has_ttl, &intake.ttl_s)) {
        unsigned status = intake_check(&intake, &message, &why);
        if (status == 0)
            call_publish(call, message, intake.key);
        else
            call_refuse_rights(call, status, why);
    }
    channel_name_unref(name);
}

void serve_recall(struct call *call)
{
    uint64_t    target = 0;
    const char *why;

    if (!span_u64(call->segments[4], &target) || target == 0) {
        call_refuse(call, 400, "a seq is a whole number from 1");
        return;
    }
    struct channel_name *name = call_channel(call);
    if (name == NULL)
        return;
    unsigned status = intake_check_rights(name, call->identity, &why);
    if (status == 0) {
        struct message *message = message_new(name, MESSAGE_RECALL, NULL, 0, SPAN(""), span_str(call->identity->name));
        message->target         = target;
        message->time           = call->api->shard->wall;
        call_publish(call, message, SPAN(""));
    } else {
        call_refuse_rights(call, status, why);
    }
    channel_name_unref(name);
}
