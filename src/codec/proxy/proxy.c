#include "codec/proxy/proxy.h"

enum {
    V1_BYTES_MAX = 107, V2_BYTES_MIN = 16,
    V2_LOCAL = 0x20, V2_PROXY = 0x21,       /* version and command */
    V2_TCP4 = 0x11, V2_TCP6 = 0x21,         /* family and kind of socket */
};

static const struct span v1_begin = SPAN("PROXY ");
static const struct span v2_begin = SPAN("\r\n\r\n\0\r\nQUIT\n");

static enum proxy_verdict proxy_fault(struct proxy_header *ret, const char *why)
{
    ret->fault = why;
    return PROXY_FAULT;
}

static enum proxy_verdict proxy_done(struct proxy_header *ret, size_t len, const struct ip_address *client)
{
    ret->len    = len;
    ret->client = *client;
    return PROXY_DONE;
}

/* --- version 1 --------------------------------------------------------------------------------------------------- */

/* 0 … 65535, without a leading zero. */
static bool port_is_fine(struct span text)
{
    unsigned port = 0;

    if (text.len == 0 || text.len > 5 || (text.len > 1 && text.at[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        port = port * 10 + (unsigned)(text.at[i] - '0');
    }
    return port <= 65535;
}

static bool v1_address_read(struct span text, bool is_v4, struct ip_address *ret)
{
    return ip_read(text, ret) && (text.len > 0 && memchr(text.at, ':', text.len) == NULL) == is_v4;
}

/* `line` stands behind the family and ends before CR LF: SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT. */
static bool v1_line_read(struct span line, bool is_v4, struct ip_address *ret)
{
    struct span       source, destination, source_port;
    struct ip_address other;

    return span_cut(&line, ' ', &source) && span_cut(&line, ' ', &destination) && span_cut(&line, ' ', &source_port) &&
           v1_address_read(source, is_v4, ret) && v1_address_read(destination, is_v4, &other) &&
           port_is_fine(source_port) && port_is_fine(line);
}

static enum proxy_verdict v1_read(struct span input, struct proxy_header *ret)
{
    const size_t      looked = input.len < V1_BYTES_MAX ? input.len : V1_BYTES_MAX;
    const char       *end    = memchr(input.at, '\n', looked);
    struct ip_address client = IP_UNKNOWN;

    if (end == NULL)
        return looked < V1_BYTES_MAX ? PROXY_MORE : proxy_fault(ret, "its line is longer than 107 bytes");
    struct span line = span_of(input.at, (size_t)(end - input.at));
    size_t      len  = line.len + 1;
    if (line.at[line.len - 1] != '\r')
        return proxy_fault(ret, "its line does not end with CR LF");
    line = span_skip(span_of(line.at, line.len - 1), v1_begin.len);
    if (span_starts(line, SPAN("UNKNOWN")) && (line.len == 7 || line.at[7] == ' '))
        return proxy_done(ret, len, &client);
    bool is_v4 = span_starts(line, SPAN("TCP4 "));
    if (!is_v4 && !span_starts(line, SPAN("TCP6 ")))
        return proxy_fault(ret, "it names a family other than TCP4, TCP6 and UNKNOWN");
    if (!v1_line_read(span_skip(line, 5), is_v4, &client))
        return proxy_fault(ret, "its addresses or ports can't be read");
    return proxy_done(ret, len, &client);
}

/* --- version 2 --------------------------------------------------------------------------------------------------- */

/* The bytes that the addresses of a family take, by its number. */
static const size_t v2_address_bytes[] = { 0, 12, 36, 216 };

static struct ip_address v2_client(uint8_t family, const char *addresses)
{
    return family == V2_TCP4 ? ip_of_v4(addresses) : family == V2_TCP6 ? ip_of_v6(addresses) : IP_UNKNOWN;
}

static enum proxy_verdict v2_read(struct span input, struct proxy_header *ret)
{
    if (input.len < V2_BYTES_MIN)
        return PROXY_MORE;
    const uint8_t *bytes   = (const uint8_t *)input.at;
    const uint8_t  command = bytes[12], family = bytes[13];
    const size_t   behind  = (size_t)bytes[14] << 8 | bytes[15], len = V2_BYTES_MIN + behind;

    if (command != V2_LOCAL && command != V2_PROXY)
        return proxy_fault(ret, "its version is not 2, or its command is neither LOCAL nor PROXY");
    if ((family >> 4) > 3 || (family & 15) > 2)
        return proxy_fault(ret, "its family or kind of socket is not known");
    if (len > PROXY_HEADER_BYTES_MAX)
        return proxy_fault(ret, "it is longer than 4096 bytes");
    if (command == V2_PROXY && behind < v2_address_bytes[family >> 4])
        return proxy_fault(ret, "it is too short for its addresses");
    if (input.len < len)
        return PROXY_MORE;
    const struct ip_address client = command == V2_PROXY ? v2_client(family, input.at + V2_BYTES_MIN) : IP_UNKNOWN;
    return proxy_done(ret, len, &client);
}

/* --- either ------------------------------------------------------------------------------------------------------ */

/* Is the input the beginning of this, or the other way round? */
static bool begins_alike(struct span input, struct span begin)
{
    return span_starts(begin, input) || span_starts(input, begin);
}

bool proxy_is_begun(struct span input)
{
    return span_starts(input, v1_begin) || span_starts(input, v2_begin);
}

enum proxy_verdict proxy_read(struct span input, struct proxy_header *ret)
{
    if (span_starts(input, v1_begin))
        return v1_read(input, ret);
    if (span_starts(input, v2_begin))
        return v2_read(input, ret);
    if (begins_alike(input, v1_begin) || begins_alike(input, v2_begin))
        return PROXY_MORE;
    return proxy_fault(ret, "there is none: something else came first");
}
