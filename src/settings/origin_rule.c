#include "settings/origin_rule.h"

#include <ctype.h>
#include <string.h>

/* RFC 3986 3.1 */
static bool scheme_is_valid(struct span scheme)
{
    for (size_t i = 0; i < scheme.len; i++)
        if (!isalnum((unsigned char)scheme.at[i]) && (i == 0 || memchr("+-.", scheme.at[i], 3) == NULL))
            return false;
    return scheme.len > 0 && isalpha((unsigned char)scheme.at[0]);
}

static bool host_is_valid(struct span host)
{
    bool is_address = host.len > 2 && host.at[0] == '[' && host.at[host.len - 1] == ']';

    for (size_t i = is_address; i < host.len - is_address; i++)
        if (!isalnum((unsigned char)host.at[i]) && memchr(is_address ? ":.." : "-._", host.at[i], 3) == NULL)
            return false;
    return host.len > 0;
}

static bool port_is_valid(struct span port)
{
    uint64_t number;
    return span_u64(port, &number) && number > 0 && number <= 65535;
}

/* Only the form; what the parts hold is not looked at. */
static bool split(struct span text, struct origin_parts *ret)
{
    const char *mark = text.len == 0 ? NULL : memmem(text.at, text.len, "://", 3);

    if (mark == NULL)
        return false;
    ret->scheme = span_head(text, (size_t)(mark - text.at));
    ret->host   = span_skip(text, ret->scheme.len + 3);
    ret->port   = SPAN("");

    size_t from = 0;
    while (from < ret->host.len && ret->host.at[0] == '[' && ret->host.at[from] != ']')
        from++;
    const char *colon = from == ret->host.len ? NULL : memchr(ret->host.at + from, ':', ret->host.len - from);
    if (colon == NULL)
        return true;
    ret->port = span_skip(ret->host, (size_t)(colon - ret->host.at) + 1);
    ret->host = span_head(ret->host, (size_t)(colon - ret->host.at));
    return ret->port.len > 0;
}

bool origin_parse(struct span text, struct origin_parts *ret)
{
    return split(text, ret) && scheme_is_valid(ret->scheme) && host_is_valid(ret->host) &&
           (ret->port.len == 0 || port_is_valid(ret->port));
}

/* ".example.com" of "*.example.com"; empty: the pattern is a host. */
static struct span tail_of(struct span pattern)
{
    return span_starts(pattern, SPAN("*.")) ? span_skip(pattern, 1) : SPAN("");
}

bool origin_rule_is_valid(struct span rule)
{
    struct origin_parts parts;

    if (span_eq(rule, SPAN("*")) || span_eq(rule, SPAN("null")))
        return true;
    if (!split(rule, &parts) || !scheme_is_valid(parts.scheme))
        return false;
    struct span tail = tail_of(parts.host);
    return host_is_valid(tail.len > 0 ? span_skip(tail, 1) : parts.host) &&
           (parts.port.len == 0 || span_eq(parts.port, SPAN("*")) || port_is_valid(parts.port));
}

bool origin_host_fits(struct span host, struct span pattern)
{
    struct span tail = tail_of(pattern);

    if (tail.len == 0)
        return span_eq_nocase(host, pattern);
    return host.len > tail.len && span_eq_nocase(span_skip(host, host.len - tail.len), tail);
}

bool origin_rule_fits(struct span origin, struct span rule)
{
    struct origin_parts is, wanted;

    if (span_eq(rule, SPAN("null")))
        return span_eq(origin, rule);
    if (!origin_parse(origin, &is) || !split(rule, &wanted))
        return false;
    return span_eq_nocase(is.scheme, wanted.scheme) && origin_host_fits(is.host, wanted.host) &&
           (span_eq(wanted.port, SPAN("*")) || span_eq(is.port, wanted.port));
}

struct span origin_rule_host(struct span rule)
{
    struct origin_parts parts;
    bool                has_host = split(rule, &parts) && (span_eq_nocase(parts.scheme, SPAN("http")) ||
                                                           span_eq_nocase(parts.scheme, SPAN("https")));

    return has_host ? parts.host : SPAN("");
}
