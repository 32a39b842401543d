/* Runs in the project's folder, as all tests do. */
#include "main/pages.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool page_is_there(const char *path)
{
    const struct api_page *pages;
    size_t                 count = pages_get(&pages);

    for (size_t i = 0; i < count; i++)
        if (strcmp(pages[i].path, path) == 0)
            return pages[i].bytes.len > 0;
    return false;
}

/* A file that the page can't fetch breaks it whole. */
static void each_file_of_the_client_is_served(void **state)
{
    (void)state;
    DIR           *folder = opendir("clients/js/lib");
    struct dirent *entry;
    size_t         count = 0;

    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        char path[300];
        snprintf(path, sizeof path, "/longwire/lib/%s", entry->d_name);
        if (entry->d_name[0] == '.' || strncmp(entry->d_name, "node_", strlen("node_")) == 0)  /* for Node.js alone */
            continue;
        if (!page_is_there(path))
            fail_msg("pages.c lacks %s", path);
        count++;
    }
    closedir(folder);
    assert_true(count > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_file_of_the_client_is_served) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
