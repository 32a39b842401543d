/* receipts.c - GET /v1/channels/{channel}/messages/{seq}/receipts: how far a message came with each device. */
#include "device/receipts.h"

#include <stdlib.h>

#include "api/peers.h"
#include "base/must.h"
#include "codec/url/url.h"

enum { RECEIPTS_LIMIT_DEFAULT = 100 };

static const char no_receipts[] = "receipts are kept of channels whose readers are stored: user:U, device:U/D and group:G; "
                                  "GET /v1/why says for one device how far it is in another channel";

/* A call while the message is read: the caller may have to be its publisher. */
struct receipts_call {
    struct api              *api;
    struct http_exchange    *exchange;
    struct receipts_command *command;
    const char              *only_publisher;  /* NULL: anybody may; else the refusal of all others */
};

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void put_receipt(struct buf *buf, const struct receipt *receipt)
{
    buf_put_lit(buf, "{\"user\":");
    json_put_string(buf, span_str(receipt->facts.user));
    buf_put_lit(buf, ",\"device\":");
    json_put_string(buf, span_str(receipt->facts.device));
    buf_putf(buf, ",\"state\":\"%s\",\"time\":", receipt_state_text(receipt->state));
    if (receipt->time != 0)
        buf_putf(buf, "%lld}", (long long)receipt->time);
    else
        buf_put_lit(buf, "null}");
}

static void put_receipts(struct buf *buf, const struct receipts_command *command, bool is_incomplete)
{
    buf_clear(buf);
    buf_put_lit(buf, "{\"channel\":");
    json_put_string(buf, channel_name_span(command->channel));
    buf_put_lit(buf, ",\"seq\":");
    buf_put_u64(buf, command->message.seq);
    buf_put_lit(buf, ",\"devices\":[");
    for (size_t i = 0; i < command->count; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        put_receipt(buf, &command->at[i]);
    }
    buf_putc(buf, ']');
    if (command->place[0] != '\0') {
        buf_put_lit(buf, ",\"next\":");
        json_put_string(buf, span_str(command->place));
    }
    put_incomplete(buf, is_incomplete);
    buf_putc(buf, '}');
}

/* What other nodes have handed to sockets counts as what this one has. */
static void receipts_finish(struct far_devices *far)
{
    struct receipts_command *command  = far->owner;
    struct http_exchange    *exchange = command->owner;
    struct api              *api      = exchange->owner;

    for (size_t i = 0; i < command->count; i++)
        command->at[i].state = receipt_judge(&command->at[i].facts, &command->message, api->shard->wall, &command->at[i].time);
    put_receipts(&api->scratch, command, far->is_incomplete);
    http_answer(api->server, exchange, &(struct http_answer){
        .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
    });
    command_free(&command->command);
    far_devices_free(far);
}

/* Of who has acknowledged it nothing more is to be known. */
static void receipts_ask_elsewhere(struct api *api, struct receipts_command *command)
{
    struct device_facts **facts = calloc(command->count + 1, sizeof facts[0]);
    size_t                count = 0;

    must(facts != NULL);
    for (size_t i = 0; i < command->count; i++)
        if (command->at[i].state != RECEIPT_ACKNOWLEDGED)
            facts[count++] = &command->at[i].facts;
    api_ask_devices(api, command->channel, facts, count, command, receipts_finish);
    free(facts);
}

static void receipts_answered(struct receipts_command *command)
{
    struct http_exchange *exchange = command->owner;
    struct api           *api      = exchange->owner;

    switch (command->outcome) {
    case RECEIPTS_DONE: receipts_ask_elsewhere(api, command); return;
    case RECEIPTS_BUSY:
        http_problem(api->server, exchange, 429, NULL, "16 pages of receipts are being gathered; ask again a little later",
                     retry_after(429));
        break;
    case RECEIPTS_AWAY:
        http_problem(api->server, exchange, 503, NULL,
                     shard_engine_text(api->shard, NULL, "sessions can't be read just now; come again later"),
                     retry_after(503));
        break;
    }
    command_free(&command->command);
}

/* --- the message ------------------------------------------------------------------------------------------------ */

/* NULL: it is not there any more, or never was. */
static const struct message *message_of(const struct read_command *read)
{
    return read->read.entry_count > 0 ? read->read.entries[0].message : NULL;
}

static bool is_published_by(const struct message *message, const struct identity *identity)
{
    return message != NULL && span_eq(message_from(message), identity_from(identity));
}

/* NULL: the receipts can be gathered. */
static const char *receipts_fault(const struct receipts_call *mine, const struct read_command *read, unsigned *ret_status)
{
    *ret_status = 403;
    if (mine->only_publisher != NULL && !is_published_by(message_of(read), mine->exchange->caller.identity))
        return mine->only_publisher;
    *ret_status = 404;
    return mine->command->message.seq > read->read.head ? "this channel has no such message yet" : NULL;
}

static void receipts_message_came(struct read_command *read)
{
    struct receipts_call    *mine    = read->owner;
    struct receipts_command *command = mine->command;
    unsigned                 status;

    if (read->read.rc != RC_OK) {
        call_answer_unreadable(mine->api, mine->exchange, read->read.channel);
        command_free(&command->command);
    } else if (receipts_fault(mine, read, &status) != NULL) {
        http_problem(mine->api->server, mine->exchange, status, NULL, receipts_fault(mine, read, &status), HTTP_NO_FIELDS);
        command_free(&command->command);
    } else {
        command->message.epoch = read->read.epoch;
        command->message.time  = message_of(read) != NULL ? message_of(read)->time : 0;
        shard_ask_receipts(mine->api->shard, command);
    }
    command_free(&read->command);
    free(mine);
}

static void receipts_read(struct call *call, struct receipts_command *command, struct verdict verdict)
{
    struct receipts_call *mine = malloc(sizeof *mine);

    must(mine != NULL);
    *mine = (struct receipts_call){ call->api, call->exchange, command,
                                    verdict.needs_publisher ? verdict.reason : NULL };
    command->owner            = call->exchange;
    command->answered         = receipts_answered;
    struct read_command *read = call_read_new(call, command->channel, READ_AFTER, command->message.seq - 1, 1,
                                              receipts_message_came);
    read->owner               = mine;
    shard_read(call->api->shard, read);
}

/* --- the question ----------------------------------------------------------------------------------------------- */

bool call_seq(const struct call *call, struct span encoded, uint64_t *ret)
{
    if (span_u64(encoded, ret) && *ret > 0 && *ret < UINT64_MAX / 2)
        return true;
    call_refuse(call, 400, "the seq of a message is a whole number from 1 on");
    return false;
}

/* next=, if it is there. False: answered with 400. */
static bool receipts_place(const struct call *call, struct receipts_command *command)
{
    struct span encoded, place;
    struct buf  scratch;

    if (!call_parameter(call, SPAN("next"), &encoded))
        return true;
    buf_init(&scratch, RECEIPTS_PLACE_MAX + 1);
    bool is_fine = url_decode(encoded, URL_QUERY, &scratch, &place) && receipts_set_place(command, place);
    buf_fini(&scratch);
    if (!is_fine)
        call_refuse(call, 400, "next= is what the page before said as \"next\"");
    return is_fine;
}

static bool receipts_limit(const struct call *call, uint32_t *ret)
{
    uint64_t limit = RECEIPTS_LIMIT_DEFAULT;
    bool     is_there;

    if (!call_u64(call, SPAN("limit"), &is_there, &limit))
        return false;
    if (limit == 0)
        call_refuse(call, 400, "limit= is 1 or more");
    *ret = limit < RECEIPTS_LIMIT_MAX ? (uint32_t)limit : RECEIPTS_LIMIT_MAX;
    return limit > 0;
}

static const struct span receipts_parameters[] = { SPAN("limit"), SPAN("next") };

static void ask_receipts(struct call *call, struct channel_name *channel, struct verdict verdict)
{
    struct receipts_command *command = receipts_command_new(call->api->devices, channel);

    if (call_knows_query(call, KNOWN_WORDS(receipts_parameters)) && receipts_limit(call, &command->limit) &&
        receipts_place(call, command) && call_seq(call, call->segments[4], &command->message.seq))
        receipts_read(call, command, verdict);
    else
        command_free(&command->command);
}

void serve_receipts(struct call *call)
{
    struct channel_name *channel = call_channel(call, ACTION_RECEIPTS);

    if (channel == NULL)
        return;
    struct verdict verdict = may(call->identity, channel, ACTION_RECEIPTS);
    /* To a user a channel without receipts is as one where others publish. */
    if ((!verdict.needs_publisher || !receipts_are_of(channel)) && !call_passes(call, verdict)) {
        channel_name_unref(channel);
        return;
    }
    if (receipts_are_of(channel))
        ask_receipts(call, channel, verdict);
    else
        call_refuse(call, 404, no_receipts);
    channel_name_unref(channel);
}
