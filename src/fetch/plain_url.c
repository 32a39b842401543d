#include "fetch/plain_url.h"

/* RFC 3986 3.2.2, without what needs percent-encoding or is never in a name. */
static bool is_host_name(struct span host)
{
    for (size_t i = 0; i < host.len; i++) {
        char byte = host.at[i];
        if (!(byte >= 'a' && byte <= 'z') && !(byte >= 'A' && byte <= 'Z') && !(byte >= '0' && byte <= '9') &&
            byte != '-' && byte != '.' && byte != '_')
            return false;
    }
    return host.len > 0;
}

static bool is_address_of_ipv6(struct span host)
{
    for (size_t i = 0; i < host.len; i++)
        if (memchr("0123456789abcdefABCDEF:.", host.at[i], 24) == NULL)
            return false;
    return host.len > 0;
}

static bool read_port(struct span text, struct plain_url *url)
{
    uint64_t port = 80;

    if (text.len > 6 || (text.len > 0 && (text.at[0] != ':' || !span_u64(span_skip(text, 1), &port))))
        return false;
    if (port == 0 || port > 65535)
        return false;
    url->port = (unsigned)port;
    return true;
}

static bool read_authority(struct span text, struct plain_url *url)
{
    struct span port;

    if (span_starts(text, SPAN("["))) {
        const char *close = memchr(text.at, ']', text.len);
        if (close == NULL)
            return false;
        url->host = span_of(text.at + 1, (size_t)(close - text.at) - 1);
        port      = span_skip(text, url->host.len + 2);
    } else {
        const char *colon = memchr(text.at, ':', text.len);
        url->host = span_head(text, colon == NULL ? text.len : (size_t)(colon - text.at));
        port      = span_skip(text, url->host.len);
    }
    bool is_host = text.at[0] == '[' ? is_address_of_ipv6(url->host) : is_host_name(url->host);
    if (!is_host || !read_port(port, url))
        return false;
    url->authority = url->port == 80 ? span_head(text, text.len - port.len) : text;
    return true;
}

/* libcurl takes such segments away. */
static bool has_dot_segment(struct span target)
{
    struct span path = target, segment;

    if (target.len == 0 || memchr(target.at, '.', target.len) == NULL)
        return false;
    span_cut(&target, '?', &path);
    while (span_cut(&path, '/', &segment))
        if (span_eq(segment, SPAN(".")) || span_eq(segment, SPAN("..")))
            return true;
    return false;
}

/* Of eight bytes each is one from `!` to `~`. */
static bool is_url_word(const char *at)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t       word;

    memcpy(&word, at, sizeof word);
    /* Without high bits nothing is carried from byte to byte, so the high bit of each sum compares its own byte. */
    return (word & highs) == 0 && ((word + ones) & highs) == 0 && (~(word + ones * (0x80 - '!')) & highs) == 0;
}

static bool is_url_text(struct span text)
{
    size_t i = 0;

    while (text.len - i >= sizeof(uint64_t) && is_url_word(text.at + i))
        i += sizeof(uint64_t);
    for (; i < text.len; i++)
        if (text.at[i] <= ' ' || text.at[i] >= 0x7f)
            return false;
    return true;
}

bool plain_url_read(struct span text, struct plain_url *ret)
{
    struct plain_url url = { .port = 80 };
    struct span      rest, fragment;

    if (!span_starts(text, SPAN("http://")) || !is_url_text(text))
        return false;
    rest       = span_skip(text, 7);
    size_t len = 0;
    while (len < rest.len && rest.at[len] != '/' && rest.at[len] != '?' && rest.at[len] != '#')
        len++;
    if (len == 0 || len > PLAIN_AUTHORITY_BYTES_MAX || !read_authority(span_head(rest, len), &url))
        return false;
    fragment = span_skip(rest, len);
    if (!span_cut(&fragment, '#', &url.target))
        url.target = span_skip(rest, len);
    if (has_dot_segment(url.target))
        return false;
    url.lacks_slash = !span_starts(url.target, SPAN("/"));
    *ret            = url;
    return true;
}
