/* link_revoke.h - ends the links that a revocation is meant for. */
#ifndef SESSION_LINK_REVOKE_H
#define SESSION_LINK_REVOKE_H

#include "auth/revocations.h"

struct session_worker;

/* On this loop. Returns how many links there were. */
uint64_t session_worker_revoke(struct session_worker *worker, const struct revocation *revocation);

/* After a reload: links whose holders are revoked end within a heartbeat (docs/decisions/0015), those too whose clients beat
 * less often by themselves. */
void session_worker_find_unwelcome(struct session_worker *worker);

#endif
