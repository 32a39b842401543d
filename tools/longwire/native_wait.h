/* native_wait.h - the native protocol: how the commands put it that the client library waits before its next try. */
#ifndef LONGWIRE_NATIVE_WAIT_H
#define LONGWIRE_NATIVE_WAIT_H

#include <stdbool.h>

#include "longwire.h"

/* LW_WAITING: the server has answered, and asks to come again. Else it could not be reached, or not spoken with. */
bool native_is_put_off(const struct lw_status *status);

/* "link lost", "the server asks to wait" or "can't reach the server". */
const char *native_waits_because(const struct lw_status *status, bool was_connected);

/* One sentence on standard error. */
void native_say_waiting(const struct lw_status *status, bool was_connected);

#endif
