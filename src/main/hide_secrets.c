#include "main/hide_secrets.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "settings/url_list.h"

/* What is shown may be longer than what was there. */
static void hide_secret(char *argument)
{
    size_t     len = strlen(argument);
    struct buf shown;

    buf_init(&shown, len + 4096);
    url_put_shown(&shown, span_of(argument, len));
    explicit_bzero(argument, len);
    memcpy(argument, shown.at, shown.len < len ? shown.len : len);
    buf_fini(&shown);
}

char **hide_secrets(char **argv)
{
    size_t count = 0;

    while (argv[count] != NULL)
        count++;
    char **copy = calloc(count + 1, sizeof *copy);
    must(copy != NULL);
    for (size_t i = 0; i < count; i++) {
        copy[i] = strdup(argv[i]);
        must(copy[i] != NULL);
        if (url_has_secret(span_str(argv[i])))
            hide_secret(argv[i]);
    }
    return copy;
}

void secrets_free(char **copy)
{
    for (size_t i = 0; copy[i] != NULL; i++) {
        explicit_bzero(copy[i], strlen(copy[i]));
        free(copy[i]);
    }
    free(copy);
}
