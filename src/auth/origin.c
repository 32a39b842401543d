#include "auth/origin.h"

#include <arpa/inet.h>

#include "settings/origin_rule.h"

/* --- the server's own names --------------------------------------------------------------------------------------- */

/* Without its port. */
static struct span name_of(struct span host)
{
    const char *colon = host.len == 0 || host.at[0] == '[' ? NULL : memchr(host.at, ':', host.len);
    return colon == NULL ? host : span_head(host, (size_t)(colon - host.at));
}

static bool is_address(struct span name)
{
    char           text[INET_ADDRSTRLEN];
    struct in_addr address;

    if (name.len > 0 && name.at[0] == '[')
        return true;  /* nothing but an address may stand in brackets (RFC 3986 3.2.2), and no name begins with one */
    if (name.len >= sizeof text)
        return false;
    memcpy(text, name.at, name.len);
    text[name.len] = '\0';
    return inet_pton(AF_INET, text, &address) == 1;
}

static bool is_listed_host(const struct settings *settings, struct span name)
{
    for (size_t i = 0; i < settings->origin_count; i++) {
        struct span rule = span_str(settings->origin_list[i]);
        if (span_eq(rule, SPAN("*")) || origin_host_fits(name, origin_rule_host(rule)))
            return true;
    }
    return false;
}

bool host_is_served(const struct settings *settings, struct span host)
{
    struct span name = name_of(host);

    return !settings_are_open(settings) || host.len == 0 || is_address(name) || span_eq_nocase(name, SPAN("localhost")) ||
           origin_host_fits(name, SPAN("*.localhost")) || is_listed_host(settings, name);
}

/* --- origins ------------------------------------------------------------------------------------------------------ */

/* A Host may name the scheme's own port, an origin never does (RFC 6454 6.1). */
static bool is_default_port(struct span scheme, struct span port)
{
    return span_eq(port, span_eq_nocase(scheme, SPAN("https")) ? SPAN(":443") : SPAN(":80"));
}

static bool origin_is_own(struct span origin, struct span host)
{
    struct origin_parts parts;

    if (!origin_parse(origin, &parts) ||
        !(span_eq_nocase(parts.scheme, SPAN("http")) || span_eq_nocase(parts.scheme, SPAN("https"))))
        return false;
    struct span asked = span_skip(origin, parts.scheme.len + 3);
    if (host.len < asked.len || !span_eq_nocase(span_head(host, asked.len), asked))
        return false;
    struct span rest = span_skip(host, asked.len);
    return rest.len == 0 || (parts.port.len == 0 && is_default_port(parts.scheme, rest));
}

static bool origin_is_near(struct span origin)
{
    return origin_rule_fits(origin, SPAN("http://localhost:*")) ||
           origin_rule_fits(origin, SPAN("http://127.0.0.1:*")) || origin_rule_fits(origin, SPAN("http://[::1]:*"));
}

enum origin_standing origin_judge(const struct settings *settings, struct span origin, struct span host)
{
    enum origin_standing standing = ORIGIN_REFUSED;

    if (origin_is_own(origin, host) && host_is_served(settings, host))
        return ORIGIN_KNOWN;
    if (settings->origin_count == 0)
        return origin_is_near(origin) ? ORIGIN_KNOWN : ORIGIN_REFUSED;
    for (size_t i = 0; i < settings->origin_count; i++) {
        struct span rule = span_str(settings->origin_list[i]);
        if (span_eq(rule, SPAN("*")))
            standing = ORIGIN_OPEN;
        else if (origin_rule_fits(origin, rule))
            return ORIGIN_KNOWN;
    }
    return standing;
}
