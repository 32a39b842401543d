#include "longwire/native_wait.h"

#include "longwire/cli.h"

bool native_is_put_off(const struct lw_status *status)
{
    return status->code != 0;
}

const char *native_waits_because(const struct lw_status *status, bool was_connected)
{
    if (was_connected)
        return "link lost";
    return native_is_put_off(status) ? "the server asks to wait" : "can't reach the server";
}

void native_say_waiting(const struct lw_status *status, bool was_connected)
{
    say("%s: %s; next try in %.1f s", native_waits_because(status, was_connected), status->reason, (double)status->wait_ms / 1000);
}
