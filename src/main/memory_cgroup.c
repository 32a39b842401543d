#include "main/memory_cgroup.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What version 1 says where there is no limit is near this; no machine has it. */
#define NO_LIMIT (UINT64_C(1) << 60)

/* "max", and what is no number, is no limit. */
static uint64_t limit_in(const char *root, const char *path, const char *name)
{
    char               file[PATH_MAX];
    unsigned long long bytes = 0;
    FILE              *limit = NULL;

    if (snprintf(file, sizeof file, "%s%s/%s", root, path, name) < (int)sizeof file)
        limit = fopen(file, "re");
    if (limit == NULL)
        return NO_LIMIT;
    if (fscanf(limit, "%llu", &bytes) != 1)
        bytes = NO_LIMIT;
    fclose(limit);
    return bytes < NO_LIMIT ? bytes : NO_LIMIT;
}

/* Of the group and of all above it, the root included. */
static uint64_t least_limit(const char *root, char *path, const char *name)
{
    uint64_t least = NO_LIMIT;

    for (;;) {
        const uint64_t limit = limit_in(root, path, name);
        if (limit < least)
            least = limit;
        char *end = strrchr(path, '/');
        if (end == NULL)
            return least;
        *end = '\0';
    }
}

/* "0::/path" is version 2; "9:cpu,memory:/path" is version 1. NULL: the line is about something else. */
static char *path_of(char *line, bool *ret_is_v2)
{
    char *controllers = strchr(line, ':');
    char *path        = controllers == NULL ? NULL : strchr(controllers + 1, ':');

    if (path == NULL)
        return NULL;
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    if (strcmp(path, "/") == 0)
        path[0] = '\0';
    *ret_is_v2 = controllers[1] == '\0';
    for (char *rest = controllers + 1, *word; (word = strsep(&rest, ",")) != NULL;)
        if (*ret_is_v2 || strcmp(word, "memory") == 0)
            return path;
    return NULL;
}

uint64_t memory_cgroup_limit(const char *membership, const char *root)
{
    char     line[PATH_MAX], memory[PATH_MAX];
    uint64_t least  = NO_LIMIT;
    FILE    *groups = fopen(membership, "re");

    if (groups == NULL)
        return 0;
    snprintf(memory, sizeof memory, "%s/memory", root);
    while (fgets(line, sizeof line, groups) != NULL) {
        bool  is_v2;
        char *path = path_of(line, &is_v2);
        if (path == NULL)
            continue;
        uint64_t limit = is_v2 ? least_limit(root, path, "memory.max") : least_limit(memory, path, "memory.limit_in_bytes");
        if (limit < least)
            least = limit;
    }
    fclose(groups);
    return least < NO_LIMIT ? least : 0;
}
