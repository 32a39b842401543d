/* one_route.h - for tests: routes to back ends that are one [uplink], which takes GET and POST of users. */
#ifndef LIB_ONE_ROUTE_H
#define LIB_ONE_ROUTE_H

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "publish/request_check.h"
#include "settings/settings.h"

struct one_route {
    struct settings       *settings;
    struct request_routes *routes;
};

static inline void one_route_init(struct one_route *route, const char *backend, const char *path, uint64_t body_bytes_max)
{
    struct uplink_section *section;

    *route = (struct one_route){ .settings = calloc(1, sizeof *route->settings) };
    must(route->settings != NULL);
    section  = &route->settings->uplinks[route->settings->uplink_count++];
    *section = (struct uplink_section){ .allow = ALLOW_USER, .methods = REQUEST_GET | REQUEST_POST, .body_bytes_max = body_bytes_max };
    snprintf(section->name, sizeof section->name, "%s", backend);
    snprintf(section->backend, sizeof section->backend, "%s", backend);
    snprintf(section->path, sizeof section->path, "%s", path);
    route->routes = request_routes_new(route->settings);
}

static inline void one_route_fini(struct one_route *route)
{
    request_routes_free(route->routes);
    free(route->settings);
}

#endif
