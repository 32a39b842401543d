/* publish.c - publishes one message, or takes one back. The answer comes when the message is durable. */
#include "api/call.h"
#include "codec/url/url.h"
#include "device/member_publish.h"
#include "publish/publish_check.h"

static void publish_answered(struct publish_command *command)
{
    struct http_exchange *exchange = command->owner;
    struct api           *api      = exchange->owner;
    const struct message *message  = command->append.message;
    bool                  is_recall = message->kind == MESSAGE_RECALL;
    unsigned              status;
    const char           *why = publish_explain_sent(api->shard, command, &status);

    if (why != NULL) {
        http_problem(api->server, exchange, status, NULL, why, retry_after(status));
    } else {
        buf_clear(&api->scratch);
        buf_putc(&api->scratch, '{');
        publish_put_receipt(&api->scratch, message->channel, &command->answer);
        if (is_recall) {
            buf_put_lit(&api->scratch, ",\"target\":");
            buf_put_u64(&api->scratch, message->target);
        }
        buf_putc(&api->scratch, '}');
        http_answer(api->server, exchange, &(struct http_answer){
            .status = is_recall ? 200 : status,
            .media  = SPAN("application/json"),
            .fields = command->outcome == PUBLISH_REPLAYED && !is_recall
                          ? HTTP_FIELDS({ SPAN("Idempotency-Replayed"), SPAN("true") })
                                                                             : HTTP_NO_FIELDS,
            .body   = buf_span(&api->scratch),
        });
    }
    command_free(&command->command);
}

static void call_publish(const struct call *call, struct message *message, struct span key, bool needs_member)
{
    struct publish_command *command = publish_command_new(&message, key, identity_from(call->identity));

    command->owner    = call->exchange;
    command->answered = publish_answered;
    if (needs_member)
        publish_only_for_member(call->api->memberships, call->api->namespaces, call->api->hash_key,
                                identity_user(call->identity), command);
    shard_publish(call->api->shard, command);
}

/* A header, percent-encoded as parts of a multipart stream have it. Empty: none. False: answered with 400. */
static bool call_header(const struct call *call, struct span name, const char *fault, struct buf *scratch,
                        struct span *ret)
{
    if (url_decode(request_field(call->request->head, name), URL_PATH, scratch, ret))
        return true;
    call_refuse(call, 400, fault);
    return false;
}

static bool call_tags(const struct call *call, struct buf scratch[2], struct publish_request *ret)
{
    return call_header(call, SPAN("longwire-event"), "Longwire-Event is percent-encoded: %25 stands for a percent sign",
                       &scratch[0], &ret->event) &&
           call_header(call, SPAN("collapse-key"), "Collapse-Key is percent-encoded: %25 stands for a percent sign",
                       &scratch[1], &ret->collapse_key);
}

static const struct span publish_parameters[] = { SPAN("ttl"), SPAN("priority") };

void serve_publish(struct call *call)
{
    struct channel_name *name = call_body_is_plain(call) ? call_channel(call, ACTION_PUBLISH) : NULL;
    struct message      *message;
    char                 why[PUBLISH_WHY_BYTES];
    struct buf           scratch[2];
    struct span          priority;

    if (name == NULL)
        return;
    /* The right comes first: any other fault would tell a user that a namespace is there. */
    if (!call_passes_member(call, may(call->identity, name, ACTION_PUBLISH))) {
        channel_name_unref(name);
        return;
    }
    buf_init(&scratch[0], 4096);
    buf_init(&scratch[1], 4096);
    struct publish_request request = {
        .name     = name,
        .payload  = call->request->body,
        .media    = request_field(call->request->head, SPAN("content-type")),
        .key      = request_field(call->request->head, SPAN("idempotency-key")),
        .wall     = call->api->shard->wall,
        .identity = call->identity,
    };
    if (call_parameter(call, SPAN("priority"), &priority))
        request.priority = priority;
    if (call_tags(call, scratch, &request) && call_knows_query(call, KNOWN_WORDS(publish_parameters)) &&
        call_u64(call, SPAN("ttl"), &request.has_ttl, &request.ttl_s) && call_may_publish_now(call)) {
        struct verdict verdict = publish_check(&request, why, &message);
        if (call_passes(call, verdict))
            call_publish(call, message, request.key, verdict.needs_member);
    }
    buf_fini(&scratch[0]);
    buf_fini(&scratch[1]);
    channel_name_unref(name);
}

void serve_recall(struct call *call)
{
    uint64_t target = 0;

    if (!call_knows_query(call, KNOWN_NO_WORDS))
        return;
    if (!span_u64(call->segments[4], &target) || target == 0) {
        call_refuse(call, 400, "a seq is a whole number from 1");
        return;
    }
    struct channel_name *name = call_channel(call, ACTION_RECALL);
    if (name == NULL)
        return;
    if (call_passes(call, may(call->identity, name, ACTION_RECALL)) && call_may_publish_now(call)) {
        struct message *message = message_new(name, MESSAGE_RECALL, NULL, 0, SPAN(""), identity_from(call->identity));
        message->target         = target;
        message->time           = call->api->shard->wall;
        call_publish(call, message, SPAN(""), false);
    }
    channel_name_unref(name);
}
