#include "main/role_paths.h"

#include "settings/settings.h"

/* The settings read roles into these bits. */
_Static_assert(ROLE_ACCESS == 1 && ROLE_API == 2 && ROLE_ROUTER == 4 && ROLE_FORWARD == 8, "settings_text.c counts them");

/* The first that fits. A path that ends with a slash stands for all below it. */
static const struct { struct span path; unsigned role; } role_rows[] = {
    { SPAN("/v1/ws"), ROLE_ACCESS },
    { SPAN("/v1/subscribe"), ROLE_ACCESS },
    { SPAN("/v1/ack"), ROLE_ACCESS },
    { SPAN("/v1/allocate"), ROLE_ROUTER },
    { SPAN("/v1/nodes"), 0 },
    { SPAN("/v1/nodes/"), 0 },
    { SPAN("/v1/echo"), 0 },
    { SPAN("/v1/"), ROLE_API },
};

unsigned role_of_path(struct span path)
{
    for (size_t i = 0; i < sizeof role_rows / sizeof role_rows[0]; i++) {
        const struct span row = role_rows[i].path;
        if (row.at[row.len - 1] == '/' ? span_starts(path, row) : span_eq(path, row))
            return role_rows[i].role;
    }
    return 0;
}

const char *role_missing_text(unsigned role)
{
    switch (role) {
    case ROLE_ACCESS: return "clients do not connect to this node: access is not among its roles";
    case ROLE_ROUTER: return "this node does not allocate: router is not among its roles";
    default: return "this node does not answer calls of back ends: api is not among its roles";
    }
}
