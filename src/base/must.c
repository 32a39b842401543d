#include "base/must.h"

#include <stdio.h>
#include <stdlib.h>

void must_failed(const char *promise, const char *file, int line)
{
    fprintf(stderr, "longwire: broken promise: %s (%s:%d)\n", promise, file, line);
    abort();
}
