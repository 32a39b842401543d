/* ticket_secret.h - the key that signs tickets, if the configuration names none: the server makes one, and keeps it in the
 * ledger, so that tickets outlive the process and nodes on one store share it. */
#ifndef MAIN_TICKET_SECRET_H
#define MAIN_TICKET_SECRET_H

#include "store/ledger.h"

enum { TICKET_SECRET_BYTES = 32 };

/* Reads the key, or makes one and stores it. It waits for the ledger, so it is called before the threads start. `fresh`: random
 * bytes for a new key. RC_OK, or why the ledger can't say it: then *ret is unchanged. */
enum rc ticket_secret_get(struct ledger *ledger, msec wall, const char fresh[TICKET_SECRET_BYTES],
                          char ret[TICKET_SECRET_BYTES]) RC_MUST_USE;

#endif
