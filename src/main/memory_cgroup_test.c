/* Which limit of memory counts, in the files of both versions of control groups. */
#include "main/memory_cgroup.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/must.h"

static char folder[] = "/tmp/longwire-cgroup-XXXXXX";

/* Makes the folders above it, too. */
static void put(const char *path, const char *text)
{
    char file[PATH_MAX];

    snprintf(file, sizeof file, "%s/%s", folder, path);
    for (char *at = file + sizeof folder; *at != '\0'; at++)
        if (*at == '/') {
            *at = '\0';
            mkdir(file, 0700);
            *at = '/';
        }
    FILE *out = fopen(file, "w");
    must(out != NULL && fputs(text, out) >= 0 && fclose(out) == 0);
}

static uint64_t limit(const char *membership)
{
    char file[PATH_MAX], root[PATH_MAX];

    put("membership", membership);
    snprintf(file, sizeof file, "%s/membership", folder);
    snprintf(root, sizeof root, "%s/fs", folder);
    return memory_cgroup_limit(file, root);
}

static void the_least_limit_counts(void **state)
{
    (void)state;
    put("fs/memory.max", "max\n");
    put("fs/system/memory.max", "3000\n");
    put("fs/system/one.service/memory.max", "5000\n");
    put("fs/system/two.service/memory.max", "2000\n");
    put("fs/free/memory.max", "max\n");
    put("fs/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("fs/memory/box/memory.limit_in_bytes", "7000\n");
    static const struct { const char *name, *membership; uint64_t want; } rows[] = {
        { "version 2, its own",               "0::/system/two.service\n", 2000 },
        { "… the one above is less",          "0::/system/one.service\n", 3000 },
        { "… none",                           "0::/free\n", 0 },
        { "… a group that can't be seen",     "0::/elsewhere/x\n", 0 },
        { "version 1",                        "3:cpu,cpuacct:/x\n9:memory:/box\n", 7000 },
        { "… among others",                   "9:hugetlb,memory:/box\n", 7000 },
        { "… no limit",                       "9:memory:/\n", 0 },
        { "both",                             "9:memory:/box\n0::/system/two.service\n", 2000 },
        { "another controller",               "9:memoryless:/box\n", 0 },
        { "nothing",                          "", 0 },
        { "garbage",                          "memory\n:::\n9:memory\n", 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (limit(rows[i].membership) != rows[i].want)
            fail_msg("%s: %llu", rows[i].name, (unsigned long long)limit(rows[i].membership));
}

/* A container sees its own group as the root, whatever it is called outside. */
static void the_root_of_a_container_counts(void **state)
{
    (void)state;
    put("fs/memory.max", "4000\n");
    assert_int_equal(limit("0::/\n"), 4000);
    assert_int_equal(limit("0::/../outside\n"), 4000);
    put("fs/memory.max", "max\n");
}

static void without_the_file_there_is_none(void **state)
{
    (void)state;
    assert_int_equal(memory_cgroup_limit("/nowhere/cgroup", "/nowhere"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_limit_counts),
        cmocka_unit_test(the_root_of_a_container_counts),
        cmocka_unit_test(without_the_file_there_is_none),
    };
    must(mkdtemp(folder) != NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[PATH_MAX];
    snprintf(command, sizeof command, "rm -r %s", folder);
    must(system(command) == 0);
    return failed;
}
