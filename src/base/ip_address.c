#include "base/ip_address.h"

#include <arpa/inet.h>

static const uint8_t v4_prefix[12] = { [10] = 0xff, [11] = 0xff };

struct ip_address ip_of_v4(const void *bytes)
{
    struct ip_address address;

    memcpy(address.bytes, v4_prefix, sizeof v4_prefix);
    memcpy(address.bytes + sizeof v4_prefix, bytes, 4);
    return address;
}

struct ip_address ip_of_v6(const void *bytes)
{
    struct ip_address address;

    memcpy(address.bytes, bytes, sizeof address.bytes);
    return address;
}

bool ip_read(struct span text, struct ip_address *ret)
{
    char    plain[IP_TEXT_BYTES_MAX];
    uint8_t bytes[IP_BYTES];

    if (text.len == 0 || text.len >= sizeof plain || memchr(text.at, '\0', text.len) != NULL)
        return false;
    memcpy(plain, text.at, text.len);
    plain[text.len] = '\0';
    if (inet_pton(AF_INET, plain, bytes) == 1)
        *ret = ip_of_v4(bytes);
    else if (inet_pton(AF_INET6, plain, bytes) == 1)
        *ret = ip_of_v6(bytes);
    else
        return false;
    return true;
}

/* inet_ntop() prints with printf, which is most of what a request's address costs. */
static void put_v4(struct buf *out, const uint8_t bytes[static 4])
{
    for (size_t i = 0; i < 4; i++) {
        if (i > 0)
            buf_putc(out, '.');
        buf_put_u64(out, bytes[i]);
    }
}

void ip_put(const struct ip_address *address, struct buf *out)
{
    char text[IP_TEXT_BYTES_MAX];

    if (!ip_is_known(address))
        return;
    if (ip_is_v4(address)) {
        put_v4(out, address->bytes + sizeof v4_prefix);
        return;
    }
    inet_ntop(AF_INET6, address->bytes, text, sizeof text);
    buf_put(out, span_str(text));
}

bool ip_is_known(const struct ip_address *address)
{
    return !ip_eq(address, &IP_UNKNOWN);
}

bool ip_is_v4(const struct ip_address *address)
{
    return memcmp(address->bytes, v4_prefix, sizeof v4_prefix) == 0;
}

bool ip_eq(const struct ip_address *one, const struct ip_address *other)
{
    return memcmp(one->bytes, other->bytes, sizeof one->bytes) == 0;
}

static uint64_t ip_number(const uint8_t *bytes, size_t count)
{
    uint64_t number = 0;

    for (size_t i = 0; i < count; i++)
        number = number << 8 | bytes[i];
    return number;
}

uint64_t ip_customer(const struct ip_address *address)
{
    if (!ip_is_known(address))
        return 0;
    if (ip_is_v4(address))
        return UINT64_C(1) << 32 | ip_number(address->bytes + sizeof v4_prefix, 4);
    return UINT64_C(1) << 63 | ip_number(address->bytes, 8);  /* ::/64 has a number too */
}
