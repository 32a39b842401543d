#include "message/request_method.h"

static const char *const names[REQUEST_METHOD_COUNT] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" };

const char *request_method_name(enum request_method method)
{
    for (int i = 0; i < REQUEST_METHOD_COUNT; i++)
        if ((unsigned)method == 1u << i)
            return names[i];
    return NULL;
}

bool request_method_find(struct span name, enum request_method *ret)
{
    for (int i = 0; i < REQUEST_METHOD_COUNT; i++) {
        if (!span_eq(name, span_str(names[i])))
            continue;
        *ret = (enum request_method)(1 << i);
        return true;
    }
    return false;
}
