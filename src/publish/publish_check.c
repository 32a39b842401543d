#include "publish/publish_check.h"

#include "base/utf8.h"
#include "message/epoch.h"

/* One word of visible ASCII without the marks that part a media type. */
static bool is_media_word(struct span word)
{
    for (size_t i = 0; i < word.len; i++)
        if (word.at[i] <= ' ' || word.at[i] > '~' || strchr("/,;\"", word.at[i]) != NULL)
            return false;
    return word.len > 0;
}

/* type/subtype (RFC 9110 8.3.1); what parameters say is the reader's affair, but they can be passed on. */
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

/* What curl says if it isn't told better, or nobody said anything (design: 4.4). */
static bool media_is_unsaid(struct span media)
{
    return media.len == 0 || span_eq_nocase(media, SPAN("application/x-www-form-urlencoded"));
}

static bool key_is_well_formed(struct span key)
{
    if (key.len > PUBLISH_KEY_BYTES_MAX)
        return false;
    for (size_t i = 0; i < key.len; i++)
        if ((unsigned char)key.at[i] < 0x20 || key.at[i] == 0x7f)
            return false;
    return true;
}

unsigned publish_check_rights(const struct channel_name *name, const struct identity *identity, const char **ret_why)
{
    if (identity_may(identity, name->space->publish, RIGHT_PUBLISH))
        return 0;
    *ret_why = name->space->publish == ALLOW_NOBODY ? "only the server itself publishes in this namespace"
                                                    : "publishing here needs an API key with the right to publish";
    return identity_refusal(identity, name->space->publish);
}

static unsigned refuse(unsigned status, const char *why, const char **ret_why)
{
    *ret_why = why;
    return status;
}

static msec expiry_of(const struct publish_request *publish_request)
{
    uint64_t ttl_s = publish_request->has_ttl ? publish_request->ttl_s : publish_request->name->space->ttl_s_default;
    return ttl_s == 0 ? 0 : publish_request->wall + (msec)ttl_s * 1000;
}

unsigned publish_check(const struct publish_request *publish_request, struct message **ret_message, const char **ret_why,
                       struct json_fault *ret_json_fault)
{
    struct span media  = publish_request->media;
    unsigned    status = publish_check_rights(publish_request->name, publish_request->identity, ret_why);

    *ret_json_fault = (struct json_fault){ .reason = NULL };
    if (status != 0)
        return status;
    if (publish_request->payload.len > publish_request->name->space->payload_bytes_max)
        return refuse(413, "the payload is longer than its namespace takes (payload_bytes_max)", ret_why);
    if (!key_is_well_formed(publish_request->key))
        return refuse(400, "an idempotency key is 1 to 255 bytes without control characters", ret_why);
    if (publish_request->has_ttl && (publish_request->ttl_s == 0 || publish_request->ttl_s > PUBLISH_TTL_S_MAX))
        return refuse(400, "ttl takes seconds, from 1 to ten years", ret_why);
    if (media_is_unsaid(media))
        media = utf8_is_valid(publish_request->payload) ? SPAN("text/plain") : SPAN("application/octet-stream");
    else if (!media_is_well_formed(media))
        return refuse(415, "a media type is type/subtype in visible ASCII, 255 bytes at most", ret_why);
    else if (json_is_media(media) && !json_is_valid(publish_request->payload, ret_json_fault))
        return refuse(400, "the payload is declared JSON but isn't", ret_why);

    struct message *message = message_new(publish_request->name, MESSAGE_PLAIN, publish_request->payload.at,
                                          (uint32_t)publish_request->payload.len, media, span_str(publish_request->identity->name));
    message->time           = publish_request->wall;
    message->expires_at     = expiry_of(publish_request);
    *ret_message            = message;
    return 0;
}

const char *publish_explain(enum publish_outcome outcome, unsigned *ret_status)
{
    switch (outcome) {
    case PUBLISH_DONE:
        *ret_status = 201;
        return NULL;
    case PUBLISH_REPLAYED:
        *ret_status = 200;
        return NULL;
    case PUBLISH_KEY_CONFLICT:
        *ret_status = 422;
        return "this idempotency key was used with another payload";
    case PUBLISH_NO_TARGET:
        *ret_status = 404;
        return "there is no such message to take back";
    case PUBLISH_NO_SPACE:
        *ret_status = 507;
        return "the disk is full; nothing was stored; free some space, then send it again";
    case PUBLISH_BUSY:
        *ret_status = 429;
        return "too many publishes are waiting for the disk; send it again a little later";
    case PUBLISH_BROKEN:
        break;
    }
    *ret_status = 503;
    return "the store can't be written to now; whether this was stored is not known: repeat it with an Idempotency-Key";
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
