/* vouch.h - who vouches for the identity of a link, told from one process of the server to the next one, and found there again
 * (docs/decisions/0124). What a reload keeps, a new process keeps; what a reload revokes, it revokes
 * (docs/decisions/0015). Pure. */
#ifndef AUTH_VOUCH_H
#define AUTH_VOUCH_H

#include "auth/caller_identifier.h"
#include "auth/key_identifier.h"
#include "codec/handover/handover.h"

/* What another process has to know of it. Borrows from the identity, from the settings and from `scratch`, which is cleared. */
void identity_tell(const struct key_identifier *keys, const struct caller_identifier *callers, const struct identity *identity,
                   struct buf *scratch, struct handover_identity *ret);

/* A reference to the identity that it is here. If nobody here vouches for it, it is revoked already. */
struct identity *identity_hear(struct key_identifier *keys, struct caller_identifier *callers,
                               const struct handover_identity *told);

#endif
