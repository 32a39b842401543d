/* revocations_load.h - what is revoked, from the rows of the ledger: at the start of the process, and again if a loop has
 * missed messages of `sys:control`. */
#ifndef MAIN_REVOCATIONS_LOAD_H
#define MAIN_REVOCATIONS_LOAD_H

#include "auth/revocations.h"
#include "base/rc.h"
#include "hub/hub.h"
#include "node/shard.h"
#include "store/store.h"

struct control;

/* Before any other thread uses the store; waits. *ret_start is where loops begin to follow `sys:control`, so that nothing
 * is missed between these rows and the messages. Not RC_OK: some could not be read. */
enum rc revocations_load(struct revocations *revocations, struct store *store, struct channel_name *control, msec wall,
                         struct start *ret_start) RC_MUST_USE;

/* On a loop: reads all rows, page by page, and carries them out. */
void revocations_read_anew(struct shard *shard, struct control *control);

#endif
