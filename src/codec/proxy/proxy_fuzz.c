/* Any bytes as a header: what is taken is not longer than what came, it stays the same when more comes behind it, and no
 * shorter part of it would have been taken. */
#include "base/must.h"
#include "codec/proxy/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* In memory of its own length, so that a read behind the end is seen. */
static enum proxy_verdict read_alone(const uint8_t *bytes, size_t len, struct proxy_header *ret)
{
    struct buf copy;

    buf_init(&copy, len + 1);
    buf_put(&copy, span_of(bytes, len));
    enum proxy_verdict verdict = proxy_read(buf_span(&copy), ret);
    buf_fini(&copy);
    return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct proxy_header header = { 0 }, part = { 0 };
    enum proxy_verdict  verdict = read_alone(bytes, len, &header);

    if (verdict == PROXY_MORE)
        must(len < PROXY_HEADER_BYTES_MAX);
    if (verdict == PROXY_FAULT)
        must(header.fault != NULL);
    if (verdict != PROXY_DONE)
        return 0;
    must(header.len <= len && header.len <= PROXY_HEADER_BYTES_MAX && proxy_is_begun(span_of(bytes, len)));
    must(read_alone(bytes, header.len, &part) == PROXY_DONE);
    must(part.len == header.len && ip_eq(&part.client, &header.client));
    must(read_alone(bytes, header.len - 1, &part) == PROXY_MORE);
    return 0;
}
