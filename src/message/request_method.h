/* request_method.h - the methods of requests that clients make over their link, as bits of a set. Pure. */
#ifndef MESSAGE_REQUEST_METHOD_H
#define MESSAGE_REQUEST_METHOD_H

#include "base/span.h"

enum request_method {
    REQUEST_GET     = 1 << 0,
    REQUEST_HEAD    = 1 << 1,
    REQUEST_POST    = 1 << 2,
    REQUEST_PUT     = 1 << 3,
    REQUEST_PATCH   = 1 << 4,
    REQUEST_DELETE  = 1 << 5,
    REQUEST_OPTIONS = 1 << 6,
};

enum { REQUEST_METHOD_COUNT = 7 };

/* "GET"; NULL: not one bit of a method. */
const char *request_method_name(enum request_method method);

/* Upper case counts, as in HTTP. False: there is no such method here. */
bool request_method_find(struct span name, enum request_method *ret);

#endif
