#include "longwire/channel_name.h"

#include "longwire/cli.h"

/* MQTT's + and # and NATS' > are patterns only as a whole part of a name; * is one anywhere, as in a shell. */
static bool is_pattern_part(struct span part)
{
    return span_eq(part, SPAN("+")) || span_eq(part, SPAN("#")) || span_eq(part, SPAN(">")) ||
           (part.len > 0 && memchr(part.at, '*', part.len) != NULL);
}

static bool is_separator(char byte)
{
    return byte == ':' || byte == '/' || byte == '.';
}

enum channel_name_doubt channel_name_judge(struct span name)
{
    size_t begin = 0;
    for (size_t i = 0; i <= name.len; i++) {
        if (i < name.len && !is_separator(name.at[i]))
            continue;
        if (is_pattern_part(span_of(name.at + begin, i - begin)))
            return NAME_WILDCARD;
        begin = i + 1;
    }
    return name.len > 0 && memchr(name.at, ':', name.len) == NULL ? NAME_NO_NAMESPACE : NAME_FINE;
}

void channel_name_warn(const char *name)
{
    switch (channel_name_judge(span_str(name))) {
    case NAME_FINE:
        break;
    case NAME_NO_NAMESPACE:
        say("\"%s\" names no namespace; did you mean topic:%s?", name, name);
        break;
    case NAME_WILDCARD:
        say("there are no wildcards: \"%s\" is the name of one channel like any other", name);
        break;
    }
}
