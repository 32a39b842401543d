/* store.c - `longwire store copy`: longwired does it, because it knows the formats and the namespaces. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "longwire/cli.h"
#include "longwire/command.h"

/* The longwired beside this program; else that of the search path. */
static void longwired_path(char *path, size_t size)
{
    ssize_t len   = readlink("/proc/self/exe", path, size - 1);
    char   *slash = NULL;

    path[len < 0 ? 0 : len] = '\0';
    slash                   = strrchr(path, '/');
    if (slash == NULL || (size_t)(slash - path) + sizeof "/longwired" > size) {
        snprintf(path, size, "longwired");
        return;
    }
    memcpy(slash, "/longwired", sizeof "/longwired");
    if (access(path, X_OK) != 0)
        snprintf(path, size, "longwired");
}

/* The URL may hold a password, so it goes through the environment, which other users of the machine can't read. */
int command_store(struct invocation *invocation)
{
    char path[PATH_MAX];

    if (!invocation_read(invocation, NULL, NULL))
        return invocation->exit;
    if (strcmp(invocation->words[0], "copy") != 0) {
        say("%s", invocation->command->words_ask);
        return EXIT_USAGE;
    }
    longwired_path(path, sizeof path);
    if (setenv("LONGWIRE_DATA", invocation->words[1], 1) == 0 && setenv("LONGWIRE_STORE", invocation->words[2], 1) == 0)
        execlp(path, path, "--copy", (char *)NULL);
    say("can't run longwired, which makes the copy: %s", strerror(errno));
    return EXIT_REFUSED;
}
