/* why.c - GET /v1/why: what became of one message for one device. Gathered one after the other: the message, what ledger
 * and loops know of the device, the connection of its link, and the messages by which its user
 * joined or left and by which the message was taken back. */
#include "device/why.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/peers.h"
#include "base/must.h"
#include "codec/url/url.h"
#include "device/why_steps.h"
#include "node/connection_command.h"
#include "node/connection_key.h"

enum { MOMENT_JOINED, MOMENT_LEFT, MOMENT_RECALLED, MOMENTS };

struct why_call {
    struct api           *api;
    struct http_exchange *exchange;
    struct why_command   *command;
    struct why_facts      facts;
    struct why_membership membership;
    uint64_t              recall;          /* seq of the message that took this one back; 0: none did */
    char                  node[65];        /* by way of which the device is there; empty: this one */
    bool                  is_incomplete;
    bool                  has_asked_link;
    unsigned              moment;          /* the next one to be read */
};

static void why_call_free(struct why_call *mine)
{
    if (mine->command != NULL)
        command_free(&mine->command->command);
    free(mine);
}

static void why_refuse(struct why_call *mine, unsigned status, const char *detail)
{
    http_problem(mine->api->server, mine->exchange, status, NULL, detail, retry_after(status));
    why_call_free(mine);
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static void put_step(struct buf *buf, const struct why_step *step, const struct why_call *mine)
{
    buf_putf(buf, "{\"what\":\"%s\",\"time\":", step->what);
    if (step->time != 0)
        buf_putf(buf, "%lld", (long long)step->time);
    else
        buf_put_lit(buf, "null");
    if (step->seq != 0) {
        buf_put_lit(buf, ",\"seq\":");
        buf_put_u64(buf, step->seq);
    }
    if (step->is_of_link) {
        buf_put_lit(buf, ",\"node\":");
        json_put_string(buf, span_str(mine->node[0] != '\0' ? mine->node : mine->api->node));
        buf_put_lit(buf, ",\"connection\":\"");
        connection_key_put(buf, mine->command->facts.key);
        buf_putc(buf, '"');
    }
    buf_putc(buf, '}');
}

static void put_why(struct buf *buf, const struct why_call *mine, const struct why_told *told)
{
    const struct device_facts *device = &mine->command->facts;
    char                       name[USER_NAME_BYTES_MAX + 1 + DEVICE_NAME_BYTES_MAX + 1];

    snprintf(name, sizeof name, "%s/%s", device->user, device->device);
    buf_clear(buf);
    buf_put_lit(buf, "{\"channel\":");
    json_put_string(buf, channel_name_span(mine->command->channel));
    buf_put_lit(buf, ",\"seq\":");
    buf_put_u64(buf, mine->facts.message.seq);
    buf_put_lit(buf, ",\"device\":");
    json_put_string(buf, span_str(name));
    buf_putf(buf, ",\"state\":\"%s\",\"steps\":[", told->state);
    for (size_t i = 0; i < told->count; i++) {
        if (i > 0)
            buf_putc(buf, ',');
        put_step(buf, &told->steps[i], mine);
    }
    buf_putc(buf, ']');
    put_incomplete(buf, mine->is_incomplete);
    buf_putc(buf, '}');
}

static void why_finish(struct why_call *mine)
{
    struct why_told told;

    mine->facts.now = mine->api->shard->wall;
    why_tell(&mine->facts, &told);
    put_why(&mine->api->scratch, mine, &told);
    http_answer(mine->api->server, mine->exchange, &(struct http_answer){
        .status = 200, .media = SPAN("application/json"), .body = buf_span(&mine->api->scratch),
    });
    why_call_free(mine);
}

static void why_go_on(struct why_call *mine);

/* --- when its user joined or left, when the message was taken back ----------------------------------------------- */

/* A message of which only the time matters. */
struct why_moment {
    bool     is_of_user;  /* in the log of the user; else in the channel */
    uint64_t seq;         /* 0: there is none to be read */
    msec    *into;
};

static struct why_moment moment_of(struct why_call *mine, unsigned which)
{
    switch (which) {
    case MOMENT_JOINED: return (struct why_moment){ true, mine->membership.joined, &mine->facts.joined };
    case MOMENT_LEFT: return (struct why_moment){ true, mine->membership.left, &mine->facts.left };
    default: return (struct why_moment){ false, mine->recall, &mine->facts.recalled };
    }
}

static void moment_came(struct read_command *read)
{
    struct why_call      *mine  = read->owner;
    const struct message *found = read->read.entry_count > 0 ? read->read.entries[0].message : NULL;

    if (read->read.rc == RC_OK && found != NULL)
        *moment_of(mine, mine->moment).into = found->time;
    command_free(&read->command);
    mine->moment++;
    why_go_on(mine);
}

static struct channel_name *user_log_of(const struct why_call *mine)
{
    struct channel_name *user = NULL;
    struct buf           text;

    buf_init(&text, CHANNEL_NAME_BYTES_MAX);
    buf_putf(&text, "user:%s", mine->command->facts.user);
    must(channel_name_new(mine->api->namespaces, mine->api->hash_key, buf_span(&text), &user) == CHANNEL_NAME_OK);
    buf_fini(&text);
    return user;
}

static void ask_moment(struct why_call *mine, const struct why_moment *moment)
{
    struct channel_name *log  = moment->is_of_user ? user_log_of(mine) : channel_name_ref(mine->command->channel);
    struct read_command *read = read_command_new(log);

    channel_name_unref(log);
    read->owner          = mine;
    read->answered       = moment_came;
    read->read.way       = READ_AFTER;
    read->read.bound     = moment->seq - 1;
    read->read.limit     = 1;
    read->read.bytes_max = mine->api->limits.history_bytes_max;
    shard_read(mine->api->shard, read);
}

/* --- its link --------------------------------------------------------------------------------------------------- */

/* The key tells the second at which the connection came, the session the millisecond at which it was opened on it. */
static void link_answered(void *owner, const struct found_connection *found)
{
    struct why_call *mine = owner;
    msec             seen = mine->command->facts.seen;

    if (found->outcome == CONNECTION_FOUND) {
        msec since         = found->facts->since;
        mine->facts.linked = seen >= since && seen < since + 1000 ? seen : since;
    }
    why_go_on(mine);
}

static void ask_link(struct why_call *mine)
{
    mine->has_asked_link = true;
    api_find_connection(mine->api, mine->command->facts.key, false, mine, link_answered);
}

/* What can be known comes one after the other. */
static void why_go_on(struct why_call *mine)
{
    if (mine->command->facts.key != 0 && !mine->has_asked_link) {
        ask_link(mine);
        return;
    }
    for (; mine->moment < MOMENTS; mine->moment++) {
        const struct why_moment moment = moment_of(mine, mine->moment);
        if (moment.seq != 0) {
            ask_moment(mine, &moment);
            return;
        }
    }
    why_finish(mine);
}

/* --- its session ------------------------------------------------------------------------------------------------ */

static void why_told_elsewhere(struct far_devices *far)
{
    struct why_call *mine = far->owner;

    mine->is_incomplete = far->is_incomplete;
    if (far->count > 0)
        memcpy(mine->node, far->nodes[0], sizeof mine->node);
    far_devices_free(far);
    why_go_on(mine);
}

static void why_answered(struct why_command *command)
{
    struct why_call *mine = command->owner;

    switch (command->outcome) {
    case WHY_DONE: break;
    case WHY_BUSY: why_refuse(mine, 429, "64 such questions are being answered; ask again a little later"); return;
    case WHY_AWAY:
        why_refuse(mine, 503, shard_engine_text(mine->api->shard, NULL, "sessions can't be read just now; come again later"));
        return;
    }
    mine->facts.device    = &command->facts;
    mine->facts.has_ended = command->has_ended;
    mine->facts.spans     = &command->spans;
    mine->facts.spans_seq = command->spans_seq;
    mine->membership      = why_membership_of(&command->spans, command->spans_seq, &mine->facts.message);
    struct device_facts *device = &command->facts;
    api_ask_devices(mine->api, command->channel, &device, device->generation != 0, mine, why_told_elsewhere);
}

static enum why_way why_way_of(const struct channel_name *channel, const struct device_facts *device)
{
    struct span name = channel_own_name(channel), user = SPAN("");

    if (strcmp(channel->space->name, "group") == 0)
        return WHY_MEMBER;
    if (strcmp(channel->space->name, "user") == 0)
        return span_eq(name, span_str(device->user)) ? WHY_OWN : WHY_ASKED;
    if (strcmp(channel->space->name, "device") == 0 && span_cut(&name, '/', &user) && span_eq(user, span_str(device->user)))
        return span_eq(name, span_str(device->device)) ? WHY_OWN : WHY_ASKED;
    return WHY_ASKED;
}

/* --- the message ------------------------------------------------------------------------------------------------ */

static void take_entry(struct why_call *mine, const struct entry *entry)
{
    const struct message *message = entry->message;
    struct why_facts     *facts   = &mine->facts;

    if (message == NULL) {
        facts->gone = gap_why_text(entry->gap.why);
        return;
    }
    facts->message.time   = message->time;
    facts->expires_at     = message->expires_at;
    facts->is_recalled    = message->kind == MESSAGE_RECALLED;
    mine->recall          = facts->is_recalled ? message->target : 0;
    facts->is_collapsible = message->collapse_len > 0;
}

static void why_message_came(struct read_command *read)
{
    struct why_call *mine = read->owner;

    if (read->read.rc != RC_OK) {
        why_refuse(mine, 503, shard_engine_text(mine->api->shard, read->read.channel, "the store can't be read just now"));
    } else if (mine->facts.message.seq > read->read.head) {
        why_refuse(mine, 404, "this channel has no such message yet");
    } else {
        mine->facts.message.epoch = read->read.epoch;
        mine->facts.gone          = "trimmed";  /* all before the first kept one is, if no entry says more */
        if (read->read.entry_count > 0) {
            mine->facts.gone = NULL;
            take_entry(mine, &read->read.entries[0]);
        }
        mine->command->message = mine->facts.message;
        shard_ask_why(mine->api->shard, mine->command);
    }
    command_free(&read->command);
}

/* --- the question ----------------------------------------------------------------------------------------------- */

static const struct span why_parameters[] = { SPAN("channel"), SPAN("seq"), SPAN("device") };

/* A parameter that must be there, decoded into `scratch`. False: answered with 400. */
static bool why_word(const struct call *call, struct span name, struct buf *scratch, struct span *ret)
{
    struct span encoded;

    if (call_parameter(call, name, &encoded) && url_decode(encoded, URL_QUERY, scratch, ret))
        return true;
    call_refuse(call, 400, "say channel=NAMESPACE:NAME, seq=N and device=USER/DEVICE");
    return false;
}

static void ask_why(struct call *call, struct channel_name *channel, uint64_t seq, struct span user, struct span device)
{
    struct why_call *mine = calloc(1, sizeof *mine);

    must(mine != NULL);
    mine->api               = call->api;
    mine->exchange          = call->exchange;
    mine->command           = why_command_new(call->api->devices, channel, user, device);
    mine->command->owner    = mine;
    mine->command->answered = why_answered;
    mine->facts.message.seq = seq;
    mine->facts.way         = why_way_of(channel, &mine->command->facts);
    struct read_command *read = call_read_new(call, channel, READ_AFTER, seq - 1, 1, why_message_came);
    read->owner               = mine;
    shard_read(call->api->shard, read);
}

/* The device is the credential's, too; but who asks here is no device, so the word is read as it stands. */
static bool why_device(const struct call *call, struct buf *scratch, struct span *ret_user, struct span *ret_device)
{
    if (!why_word(call, SPAN("device"), scratch, ret_device))
        return false;
    if (span_cut(ret_device, '/', ret_user) && user_name_is_valid(*ret_user) && device_name_is_valid(*ret_device))
        return true;
    call_refuse(call, 400, "device= is USER/DEVICE: " USER_NAMES_ARE);
    return false;
}

static void serve_why_of(struct call *call, struct channel_name *channel)
{
    struct buf  scratch, scratch_seq;
    struct span user = SPAN(""), device = SPAN(""), text;
    uint64_t    seq;

    buf_init(&scratch, 4096);
    buf_init(&scratch_seq, 64);
    if (call_knows_query(call, KNOWN_WORDS(why_parameters)) && why_word(call, SPAN("seq"), &scratch_seq, &text) &&
        call_seq(call, text, &seq) && why_device(call, &scratch, &user, &device))
        ask_why(call, channel, seq, user, device);
    buf_fini(&scratch);
    buf_fini(&scratch_seq);
}

void serve_why(struct call *call)
{
    struct channel_name *channel = NULL;
    struct span          text;
    struct buf           scratch;

    buf_init(&scratch, 4096);
    if (why_word(call, SPAN("channel"), &scratch, &text) &&
        call_passes(call, may_name(call->identity, ACTION_WHY, call->api->namespaces, call->api->hash_key, text, &channel)) &&
        call_passes(call, may(call->identity, channel, ACTION_WHY)))
        serve_why_of(call, channel);
    buf_fini(&scratch);
    if (channel != NULL)
        channel_name_unref(channel);
}
