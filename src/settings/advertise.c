#include "settings/advertise.h"

#include <string.h>

static const struct span schemes[] = { SPAN("http"), SPAN("https"), SPAN("tcp"), SPAN("tcps") };

/* The scheme of an address; *ret_rest is what follows it. */
static struct span scheme_of(struct span address, struct span *ret_rest)
{
    const char *at = memmem(address.at, address.len, "://", 3);

    *ret_rest = address;
    if (at == NULL)
        return SPAN("");
    *ret_rest = span_skip(address, (size_t)(at - address.at) + 3);
    return span_head(address, (size_t)(at - address.at));
}

static bool is_scheme(struct span word)
{
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (span_eq(word, schemes[i]))
            return true;
    return false;
}

static bool address_is_valid(struct span address)
{
    struct span rest, scheme = scheme_of(address, &rest);

    if (rest.len == 0 || (rest.len != address.len && !is_scheme(scheme)))
        return false;
    for (size_t i = 0; i < rest.len; i++)
        if (rest.at[i] <= ' ' || rest.at[i] > '~' || strchr("\"\\?#<>@", rest.at[i]) != NULL)
            return false;
    return true;
}

bool advertise_is_valid(struct span list)
{
    struct span address;

    while (list.len > 0 && span_cut(&list, ',', &address))
        if (!address_is_valid(span_trim(address)))
            return false;
    return true;
}

struct span advertise_find(struct span list, struct span scheme)
{
    struct span address, rest;

    while (list.len > 0 && span_cut(&list, ',', &address)) {
        address           = span_trim(address);
        struct span its = scheme_of(address, &rest);
        if (span_eq(its.len == 0 ? schemes[0] : its, scheme))
            return address;
    }
    return SPAN("");
}
