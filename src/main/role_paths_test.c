/* Which role serves which path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "main/role_paths.h"

#include <cmocka.h>

static void each_path_has_its_role(void **state)
{
    (void)state;
    static const struct { const char *path; unsigned role; } rows[] = {
        { "/v1/ws", ROLE_ACCESS },
        { "/v1/subscribe", ROLE_ACCESS },
        { "/v1/ack", ROLE_ACCESS },
        { "/v1/allocate", ROLE_ROUTER },
        { "/v1/channels/topic:a/messages", ROLE_API },
        { "/v1/messages", ROLE_API },
        { "/v1/revocations", ROLE_API },
        { "/v1/nodes", 0 },
        { "/v1/nodes/a/drain", 0 },
        { "/healthz", 0 },
        { "/readyz/read", 0 },
        { "/metrics", 0 },
        { "/", 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (role_of_path(span_str(rows[i].path)) != rows[i].role)
            fail_msg("%s: %u", rows[i].path, role_of_path(span_str(rows[i].path)));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_path_has_its_role) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
