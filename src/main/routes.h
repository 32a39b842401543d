/* routes.h - which handler serves a request, and what that handler needs of the connection (a body and its maximum, the
 * connection for itself, an empty line of answers). Sessions have a row each; all other paths are the API's, which has
 * its own table. */
#ifndef MAIN_ROUTES_H
#define MAIN_ROUTES_H

#include "http/http.h"

/* ctx is a struct worker. */
extern const struct http_service worker_service;

#endif
