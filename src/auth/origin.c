#include "auth/origin.h"

/* `rule` is in lower case; ":*" at its end stands for any port, or none. */
static bool origin_fits(struct span origin, struct span rule)
{
    if (span_eq(rule, SPAN("*")) || span_eq_nocase(origin, rule))
        return true;
    if (rule.len < 2 || rule.at[rule.len - 1] != '*' || rule.at[rule.len - 2] != ':')
        return false;

    struct span stem = span_head(rule, rule.len - 2), port;
    uint64_t    number;
    if (origin.len < stem.len || !span_eq_nocase(span_head(origin, stem.len), stem))
        return false;
    port = span_skip(origin, stem.len);
    return port.len == 0 || (port.at[0] == ':' && span_u64(span_skip(port, 1), &number) && number <= 65535);
}

static bool origin_is_own(struct span origin, struct span host)
{
    static const struct span schemes[] = { SPAN("http://"), SPAN("https://") };

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (span_starts(origin, schemes[i]) && host.len > 0 &&
            span_eq_nocase(span_skip(origin, schemes[i].len), host))
            return true;
    return false;
}

bool origin_is_allowed(const struct settings *settings, struct span origin, struct span host)
{
    for (size_t i = 0; i < settings->origin_count; i++)
        if (origin_fits(origin, span_str(settings->origin_list[i])))
            return true;
    if (settings->origin_count > 0)
        return false;
    return origin_is_own(origin, host) || origin_fits(origin, SPAN("http://localhost:*")) ||
           origin_fits(origin, SPAN("http://127.0.0.1:*"));
}
