#include "base/must.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A lack of memory is not a mistake in our code, so the message must not call it one (docs/decisions/0013). */
static bool is_for_want_of_memory(const char *promise)
{
    return errno == ENOMEM && (strstr(promise, "!= NULL") != NULL || strstr(promise, "!= MAP_FAILED") != NULL);
}

void must_failed(const char *promise, const char *file, int line)
{
    const char *what = is_for_want_of_memory(promise) ? "out of memory" : "broken promise";

    fprintf(stderr, "longwire: %s: %s (%s:%d)\n", what, promise, file, line);
    abort();
}
