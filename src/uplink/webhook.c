#include "uplink/webhook.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/must.h"
#include "codec/json/json.h"
#include "message/event_kind.h"

enum { SIGNATURE_BYTES = 32 };

/* --- the body --------------------------------------------------------------------------------------------------------- */

static void webhook_put_comma(struct buf *out, const struct webhook_count *count)
{
    if (count->events + count->gaps > 0)
        buf_putc(out, ',');
}

static void webhook_put_gap(struct buf *out, const struct channel_name *name, uint64_t epoch, const struct gap *gap,
                          struct webhook_count *count)
{
    webhook_put_comma(out, count);
    json_put_gap(out, channel_name_span(name), epoch, gap, SPAN(""));
    count->gaps++;
}

/* The object with its id as first member. */
static void webhook_put_event(struct buf *out, const struct message *message, struct webhook_count *count)
{
    struct span object = span_trim(message_payload(message));

    webhook_put_comma(out, count);
    buf_putf(out, "{\"id\":\"%llu\"", (unsigned long long)message->id);
    if (object.len > 2)
        buf_putc(out, ',');
    buf_put(out, span_skip(object, 1));
    count->events++;
}

static bool is_event(const struct message *message)
{
    struct span object = span_trim(message_payload(message));

    return message->kind == MESSAGE_PLAIN && object.len >= 2 && object.at[0] == '{';
}

static void webhook_put_entry(struct buf *out, const struct channel_name *name, uint64_t epoch, const struct entry *entry,
                            uint32_t kinds, msec wall, struct webhook_count *count)
{
    const struct message *message = entry->message;
    struct gap            gap     = entry->gap;

    if (message == NULL) {
        webhook_put_gap(out, name, epoch, &gap, count);
    } else if (message_is_past(message, wall, &gap.why)) {
        gap.from = gap.to = message->seq;
        webhook_put_gap(out, name, epoch, &gap, count);
    } else if (is_event(message) && webhook_wants(kinds, message)) {
        webhook_put_event(out, message, count);
    } else {
        count->skipped++;
    }
}

struct webhook_count webhook_put_body(struct buf *out, const struct channel_name *name, uint64_t epoch,
                                      const struct entry *entries, size_t count, bool is_changed, uint32_t kinds, msec wall)
{
    struct webhook_count ret = { 0 };

    buf_putc(out, '[');
    if (is_changed)
        webhook_put_gap(out, name, epoch, &(struct gap){ 1, 0, GAP_EPOCH }, &ret);
    for (size_t i = 0; i < count; i++)
        webhook_put_entry(out, name, epoch, &entries[i], kinds, wall, &ret);
    buf_putc(out, ']');
    return ret;
}

bool webhook_wants(uint32_t kinds, const struct message *message)
{
    enum event_kind kind;

    return event_kind_find(message_event(message), &kind) && (kinds & kind) != 0;
}

/* --- the signature ------------------------------------------------------------------------------------------------------ */

void webhook_put_signature(struct buf *out, struct span secret, int64_t unix_s, struct span body)
{
    unsigned char digest[SIGNATURE_BYTES];
    struct buf    head;
    char          name[]   = "SHA256";
    OSSL_PARAM    params[] = { OSSL_PARAM_construct_utf8_string("digest", name, 0), OSSL_PARAM_END };
    size_t        len      = 0;

    buf_init(&head, 32);
    buf_putf(&head, "%lld.", (long long)unix_s);
    EVP_MAC     *algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac       = EVP_MAC_CTX_new(algorithm);
    must(mac != NULL && EVP_MAC_init(mac, (const unsigned char *)secret.at, secret.len, params) == 1 &&
         EVP_MAC_update(mac, (const unsigned char *)head.at, head.len) == 1 &&
         EVP_MAC_update(mac, (const unsigned char *)body.at, body.len) == 1 &&
         EVP_MAC_final(mac, digest, &len, sizeof digest) == 1 && len == sizeof digest);
    EVP_MAC_CTX_free(mac);
    EVP_MAC_free(algorithm);
    buf_putf(out, "t=%lld,v1=", (long long)unix_s);
    for (size_t i = 0; i < sizeof digest; i++)
        buf_putf(out, "%02x", digest[i]);
    buf_fini(&head);
}
