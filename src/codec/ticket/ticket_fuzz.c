/* Any bytes as a ticket; and, so that chance gets beyond the signature, any bytes signed with our key. What is read has
 * one spelling: writing it gives the same text. */
#include "base/base64.h"
#include "base/must.h"
#include "codec/ticket/ticket.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const char secret[] = "0123456789abcdef0123456789abcdef";

static void check(const struct ticket_key *key, struct span text)
{
    static struct ticket ticket;
    struct buf           scratch, again;

    buf_init(&scratch, TICKET_TEXT_BYTES_MAX);
    buf_init(&again, 2 * TICKET_TEXT_BYTES_MAX);
    if (ticket_get(text, key, &scratch, &ticket)) {
        must(ticket.user.len > 0 && ticket.device.len > 0 && ticket.grant_count <= TICKET_GRANTS_MAX);
        ticket_put(&again, &ticket, key);
        /* One without a mark is read, and written with the room of one. */
        must(ticket.token_mark == 0 ? again.len >= text.len : span_eq(buf_span(&again), text));
    }
    buf_fini(&scratch);
    buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct ticket_key key;
    unsigned char     hmac[EVP_MAX_MD_SIZE];
    unsigned          hmac_len = 0;
    struct buf        text, whole;

    if (len > 16 * 1024)
        return 0;
    ticket_key_init(&key, span_str(secret));
    check(&key, span_of(bytes, len));
    must(HMAC(EVP_sha256(), secret, (int)sizeof secret - 1, bytes, len, hmac, &hmac_len) != NULL);
    buf_init(&whole, 32 * 1024);
    buf_init(&text, TICKET_TEXT_BYTES_MAX);
    buf_put(&whole, span_of(bytes, len));
    buf_put(&whole, span_of(hmac, hmac_len));
    base64url_put(&text, buf_span(&whole));
    check(&key, buf_span(&text));
    buf_fini(&whole);
    buf_fini(&text);
    ticket_key_fini(&key);
    return 0;
}
