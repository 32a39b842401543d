/* store_sim.h - a disk that can be crashed, torn, filled and broken by the seed: a maker of the store port.
 *
 * The disk is a journal of whole batches; memory is what reading the journal gives. A batch is numbered, written
 * and visible at one virtual instant some time after it was handed in. A crash keeps of what was under way
 * a prefix of whole batches. A batch answered APPEND_BROKEN may be in the journal all the same, and then turns up
 * when the store has reopened.
 *
 * With world.has_shared_store it is a database that nodes share, as PostgreSQL: each node has a connection of its own, whose
 * loss leaves a commit written, not written, or still to come; ids are taken in blocks; a replica may take over that lacks
 * the last commits. */
#ifndef SIM_STORE_SIM_H
#define SIM_STORE_SIM_H

#include "store/store.h"
#include "world.h"

struct store_sim;

struct store_sim *store_sim_new(struct world *world);
/* What is not durable, for all nodes of a cluster (world.shared_memory). It may be emptied; and where it begins anew with what
 * it had, idempotency keys are forgotten. */
struct store_sim *store_sim_new_memory(struct world *world);
void              store_sim_free(struct store_sim *sim);
/* As this node sees it: several have it open at once. */
struct store     *store_sim_port(struct store_sim *sim, unsigned node);

/* While a node begins it waits for what it asks: answered at once, and surely. */
void              store_sim_open(struct store_sim *sim, unsigned node, bool is_opening);

/* Draws what breaks and heals, and completes what is due. */
void store_sim_turn(struct store_sim *sim);

/* Is nothing under way? */
bool store_sim_is_idle(const struct store_sim *sim);

/* The process is gone: everything under way is answered (to nobody that counts), and the disk is read anew. With
 * `is_wiped` there is nothing on it, and the logs begin new lives. */
void store_sim_crash(struct store_sim *sim, bool is_wiped);

/* One node is gone, the store lives on: what that node had under way is written or not. A store of one node is opened by its next
 * start: nothing that was written shows itself later. */
void store_sim_cut_node(struct store_sim *sim, unsigned node);

/* Ends whatever is wrong with it. */
void store_sim_heal(struct store_sim *sim);

/* A replica takes over that lacks the last commits: the logs begin new lives with what it has. */
void store_sim_fail_over(struct store_sim *sim);
/* No connection of this node can be made for so long. */
void store_sim_refuse(struct store_sim *sim, unsigned node, msec span);

/* Is a commit still to come that its node has given up? */
bool store_sim_expects_late(const struct store_sim *sim);

/* --- the truth, for the checks --- */
/* Did a failover lose what stood there in that life of the log? */
bool store_sim_has_lost(const struct store_sim *sim, unsigned channel, uint64_t epoch, uint64_t seq);
struct log_now        store_sim_log(const struct store_sim *sim, unsigned channel);
/* The head that reads tell: of what nobody knows whether it was written they tell nothing yet. */
uint64_t              store_sim_shown(const struct store_sim *sim, unsigned channel);
/* Borrowed; NULL: there is none, or it's trimmed. */
const struct message *store_sim_at(const struct store_sim *sim, unsigned channel, uint64_t seq);
bool                  store_sim_is_corrupt(const struct store_sim *sim, unsigned channel, uint64_t seq);
/* What was written, in its order. NULL: it was no message. */
size_t                store_sim_record_count(const struct store_sim *sim);
const struct message *store_sim_record_at(const struct store_sim *sim, size_t at, unsigned *ret_channel);
/* The rows that were written with it; NULL: none. */
const struct ledger_write *store_sim_rows_at(const struct store_sim *sim, size_t at);
/* The generation of a row, and its value; 0: there is none. */
uint64_t              store_sim_row(struct store_sim *sim, uint8_t kind, struct span key, struct buf *value);
/* Would it be there after a crash right now? */
bool                  store_sim_is_durable(const struct store_sim *sim, const struct append_answer *answer,
                                           unsigned channel);

#endif
