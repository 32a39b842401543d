#include "publish/publish_check.h"

#include <stdio.h>

#include "base/must.h"
#include "base/utf8.h"
#include "message/control_message.h"
#include "message/epoch.h"

/* One word of visible ASCII without the marks that part a media type. */
static bool is_media_word(struct span word)
{
    for (size_t i = 0; i < word.len; i++)
        if (word.at[i] <= ' ' || word.at[i] > '~' || strchr("/,;\"", word.at[i]) != NULL)
            return false;
    return word.len > 0;
}

/* type/subtype (RFC 9110 8.3.1); the parameters mean nothing to us; they are checked so that they can be passed on. */
static bool media_is_well_formed(struct span media)
{
    struct span parameters = media, kind = SPAN(""), type = SPAN("");

    for (size_t i = 0; i < media.len; i++)
        if (media.at[i] < ' ' || media.at[i] > '~')
            return false;
    span_cut(&parameters, ';', &kind);
    kind = span_trim(kind);
    span_cut(&kind, '/', &type);
    return media.len <= MEDIA_BYTES_MAX && is_media_word(type) && is_media_word(kind);
}

/* No media type was named, or only the one that curl sends by itself (docs/http-api.md). */
static bool media_is_unsaid(struct span media)
{
    return media.len == 0 || span_eq_nocase(media, SPAN("application/x-www-form-urlencoded"));
}

static bool key_is_well_formed(struct span key)
{
    return key.len <= PUBLISH_KEY_BYTES_MAX && !span_has_control(key);
}

static struct verdict publish_refuse(unsigned status, const char *why)
{
    return (struct verdict){ .status = status, .reason = why };
}

static msec expiry_of(const struct publish_request *request)
{
    uint64_t ttl_s = request->has_ttl ? request->ttl_s : request->name->space->ttl_s_default;
    return ttl_s == 0 ? 0 : request->wall + (msec)ttl_s * 1000;
}

/* What is checked, and the text of the refusal. */
struct publish_checking {
    struct span payload, media;
    char       *why;
};

/* The payload stands in `data` of message objects and in the data: lines of raw events. No reader of JSON takes a byte
 * order mark there. So it is left out. */
static struct verdict check_json(struct publish_checking *checking)
{
    struct span       text = json_skip_mark(checking->payload);
    struct json_fault fault = { .at = 0 };
    bool              is_json = json_is_valid(text, &fault);

    fault.at         += checking->payload.len - text.len;
    checking->payload = text;
    if (is_json)
        return (struct verdict){ 0 };
    return publish_refuse(400, json_fault_say("the payload is declared JSON but isn't", &fault, checking->why));
}

/* Sets the default media type if nothing was said. */
static struct verdict check_media(struct publish_checking *checking)
{
    if (media_is_unsaid(checking->media))
        checking->media = utf8_is_valid(checking->payload) ? SPAN("text/plain") : SPAN("application/octet-stream");
    else if (!media_is_well_formed(checking->media))
        return publish_refuse(415, "a media type is type/subtype in visible ASCII, 255 bytes at most");
    else if (control_media_is_reserved(checking->media))
        return publish_refuse(400, "media types application/vnd.longwire.* are the server's own; take another one");
    else if (json_is_media(checking->media))
        return check_json(checking);
    return (struct verdict){ 0 };
}

static struct verdict refuse_size(const struct publish_request *request, char *why)
{
    const struct namespace *space = request->name->space;

    snprintf(why, PUBLISH_WHY_BYTES, "the payload has %zu bytes; the namespace %.*s takes %zu at most "
             "(payload_bytes_max)", request->payload.len, SPAN_ARG(span_str(space->name)),
             (size_t)space->payload_bytes_max);
    return publish_refuse(413, why);
}

static struct verdict check_event(struct span event)
{
    if (event.len == 0)
        return (struct verdict){ 0 };
    switch (event_name_judge(event)) {
    case EVENT_MALFORMED:
        return publish_refuse(400, "an event's name is 1 to 64 bytes of UTF-8 without control characters");
    case EVENT_RESERVED:
        return publish_refuse(400, "this event's name is the server's or the browser's own; take another one");
    case EVENT_FINE:
        break;
    }
    return (struct verdict){ 0 };
}

static struct verdict check_delivery(const struct publish_request *request)
{
    struct span key = request->collapse_key, priority = request->priority;

    /* The form of an event's name; no word is reserved. */
    if (key.len > 0 && (key.len > COLLAPSE_KEY_BYTES_MAX || event_name_judge(key) == EVENT_MALFORMED))
        return publish_refuse(400, "a collapse key is 1 to 64 bytes of UTF-8 without control characters");
    if (priority.len > 0 && !span_eq(priority, SPAN("now")) && !span_eq(priority, SPAN("beat")))
        return publish_refuse(400, "priority is now or beat");
    return (struct verdict){ 0 };
}

/* What no log keeps can't wait: it would be lost. */
static struct message_tags tags_of(const struct publish_request *request)
{
    return (struct message_tags){
        .event          = request->event,
        .collapse_key   = request->collapse_key,
        .waits_for_beat = span_eq(request->priority, SPAN("beat")) && request->name->space->durability != NONE,
    };
}

static struct verdict check_all(const struct publish_request *request, struct publish_checking *checking)
{
    struct verdict verdict;

    if (request->payload.len > request->name->space->payload_bytes_max)
        return refuse_size(request, checking->why);
    if (!key_is_well_formed(request->key))
        return publish_refuse(400, "an idempotency key is 1 to 255 bytes without control characters");
    if (request->has_ttl && (request->ttl_s == 0 || request->ttl_s > PUBLISH_TTL_S_MAX))
        return publish_refuse(400, "ttl takes seconds, from 1 to ten years");
    verdict = check_delivery(request);
    if (verdict.status == 0)
        verdict = check_event(request->event);
    return verdict.status != 0 ? verdict : check_media(checking);
}

struct verdict publish_check(const struct publish_request *request, char scratch[PUBLISH_WHY_BYTES],
                             struct message **ret_message)
{
    must(request->name != NULL && request->identity != NULL);
    struct publish_checking checking = { request->payload, request->media, scratch };
    struct verdict          allowed  = may(request->identity, request->name, ACTION_PUBLISH);

    if (allowed.status != 0 && !allowed.needs_member)
        return allowed;
    struct verdict verdict = check_all(request, &checking);
    if (verdict.status != 0)
        return verdict;
    const struct message_tags tags    = tags_of(request);
    struct message           *message = message_new_tagged(request->name, MESSAGE_PLAIN, checking.payload.at,
                                                           (uint32_t)checking.payload.len, checking.media,
                                                           identity_from(request->identity), &tags);
    message->time           = request->wall;
    message->expires_at     = expiry_of(request);
    *ret_message            = message;
    verdict.needs_member    = allowed.needs_member;
    return verdict;
}

const char *publish_explain(enum publish_outcome outcome, unsigned *ret_status)
{
    switch (outcome) {
    case PUBLISH_DONE:
        *ret_status = 201;
        return NULL;
    case PUBLISH_REPLAYED:
    case PUBLISH_PURGED:
        *ret_status = 200;
        return NULL;
    case PUBLISH_KEY_CONFLICT:
        *ret_status = 422;
        return "this idempotency key was used with another payload, media type or event";
    case PUBLISH_NO_TARGET:
        *ret_status = 404;
        return "there is no such message to take back";
    case PUBLISH_NO_SPACE:
        *ret_status = 507;
        return "the disk is full; nothing was stored; free some space, then send it again";
    case PUBLISH_BUSY:
        *ret_status = 429;
        return "too many publishes are waiting for the disk; send it again a little later";
    case PUBLISH_AWAY:
        *ret_status = 503;
        return "the store can't be reached; nothing was stored; send it again a little later";
    case PUBLISH_NO_MEMBER:
        *ret_status = 403;
        return "you may not publish in this channel, or there is none";
    case PUBLISH_TOO_OFTEN:
        *ret_status = 429;
        return "too much is published to everyone (all_publishes_per_s); nothing was stored; send it again a second later";
    case PUBLISH_TOO_FAR:
        *ret_status = 413;
        return "the connection is on another node of the cluster, where a message to it is at most 1,044,480 bytes with all "
               "that belongs to it";
    case PUBLISH_STALE:
        must(!"what callers publish carries no rows");
        break;
    case PUBLISH_BROKEN:
        break;
    }
    *ret_status = 503;
    return "the store can't be written to now; whether this was stored is not known: repeat it with an Idempotency-Key";
}

const char *publish_explain_sent(struct shard *shard, const struct publish_command *command, unsigned *ret_status)
{
    const char *why = publish_explain(command->outcome, ret_status);

    if (why == NULL || (*ret_status != 503 && *ret_status != 507))
        return why;
    return shard_engine_text(shard, command->append.message->channel, why);
}

void publish_put_receipt(struct buf *buf, const struct channel_name *name, const struct append_answer *answer)
{
    buf_put_lit(buf, "\"channel\":");
    json_put_string(buf, channel_name_span(name));
    buf_put_lit(buf, ",\"epoch\":\"");
    epoch_put(buf, answer->epoch);
    buf_put_lit(buf, "\",\"seq\":");
    buf_put_u64(buf, answer->seq);
    buf_put_lit(buf, ",\"id\":");
    buf_put_u64(buf, answer->id);
    buf_put_lit(buf, ",\"time\":");
    buf_put_u64(buf, (uint64_t)answer->time);
}
