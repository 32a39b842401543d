/* control.h - the log `sys:control` as one loop follows it: what every node has to do, in order. Revocations now.
 *
 * A revocation is one commit: its message in `sys:control` carries its row of the ledger. The rows tell a process at its
 * start what is revoked (revocations_load.h); from then on each loop follows the log, on this node and on others. The loop
 * that was asked also sends a command round, so that it can answer how many links were cut. Whatever comes first on a loop,
 * message or command, does the work; the other finds it done.
 *
 * If messages of the log are gone that this loop has not read, it reads the rows anew, until all could be read. */
#ifndef MAIN_CONTROL_H
#define MAIN_CONTROL_H

#include "auth/revocations.h"
#include "codec/json/json.h"
#include "node/shard.h"
#include "session/session_worker.h"

enum { CONTROL_DONE_KEPT = 256 };  /* how many of the newest messages are known by what they did */

struct control {
    struct shard          *shard;        /* borrowed, as are the next two */
    struct session_worker *sessions;
    struct revocations    *revocations;
    struct channel_name   *name;
    struct pool            subs;
    struct subscription   *sub;          /* the one of `subs` */
    struct json_doc        doc;
    struct buf             strings;
    /* `digest`: of what was revoked. A database that has lost messages gives their seqs again, in another epoch. */
    struct control_done { uint64_t seq, digest, cut; } done[CONTROL_DONE_KEPT];
    bool                   is_ready;     /* there is something to read */
    bool                   is_reading;   /* the rows, anew */
    bool                   must_read;    /* … as soon as they are not being read */
    struct counter         revoked, cut; /* revocations that came; links that they cut */
};

/* Follows from `start` on. */
void control_open(struct control *control, struct shard *shard, struct session_worker *sessions,
                  struct revocations *revocations, struct start start);
void control_close(struct control *control, msec now);

/* shard_port.ready for this subscription: is it ours? Then it is read before the turn ends. */
bool control_take_ready(struct control *control, const struct subscription *sub);
void control_read(struct control *control, msec wall);

/* All rows were carried out, or not all could be read; the next control_tick() then begins anew. */
void control_rows_came(struct control *control, bool are_all);

/* Once a second: forgets revocations that are older than any token, and asks for rows that could not be read. */
void control_tick(struct control *control, msec wall, int64_t token_life_s);

/* Carries a revocation out on all loops: it was the message `seq` of sys:control. answered() gets the number of links that
 * were cut, on this loop. */
void control_send_round(struct shard *shard, const struct revocation *revocation, uint64_t seq,
                        void (*answered)(void *owner, uint64_t cut), void *owner);

/* control_round.c: what the command does at a loop. Returns how many links were cut. */
uint64_t control_revoke(struct control *control, uint64_t seq, const struct revocation *revocation);

#endif
