/* store_sim_priv.h - what the simulated disk is made of, for the logs (store_sim.c) and the rows (ledger_sim.c). */
#ifndef SIM_STORE_SIM_PRIV_H
#define SIM_STORE_SIM_PRIV_H

#include "store/ledger_mem.h"
#include "store_sim.h"

enum { SYNC_MS = 2, SYNC_SLOW_MS = 60, READ_MS = 3, TROUBLE_MS = 150, STUCK_MS_MAX = 900, LANES_MAX = 3 };

/* One thing written: a numbered message with its key and the rows that it carried, rows alone, or where a log now
 * begins. */
struct record {
    struct message *message;  /* NULL: a trim, or rows alone */
    unsigned        channel;
    uint64_t        first;    /* of a trim; 0: rows alone */
    struct ledger_write *write;  /* owned; NULL: no rows */
    msec            wall;     /* when the rows were written */
    char            key[24];  /* empty: none */
    uint64_t        digest;
    bool            is_corrupt;
    bool            is_synced;
};

struct log {
    uint64_t        epoch;
    uint64_t        first, head;
    uint64_t        shown;    /* the head that reads tell: behind `head` until a broken store has reopened */
    struct message *at[4096]; /* by seq - 1 */
};

/* One node's connection to it. */
struct sim_port {
    struct store      store;
    struct store_sim *sim;
    unsigned          node;
    struct list       batches, reads, questions;
    struct list       stuck;   /* batches that take much longer than anybody waits */
    msec              batch_due, read_due, stuck_until;
    struct ledger     ledger;
    struct list       row_batches, row_reads;
    msec              row_due, row_read_due;
    bool              is_opening;  /* the node begins, and waits for what it asks */
};

struct store_sim {
    struct sim_port ports[NODES_MAX];
    struct world  *world;
    struct record *journal;
    size_t         journal_count, journal_cap;
    struct log     logs[CHANNELS_MAX];
    struct ledger_mem rows;       /* what the journal says */
    struct ledger_mem rows_shown; /* what reads are told: behind `rows` until a broken store has reopened */
    size_t         shown_count;   /* so many records are told */
    uint64_t       id;
    unsigned       wipes;
    msec           full_until, away_until, broken_until, io_until;
    bool           is_broken;
    struct store_stats stats;
};

/* Adds to the journal, and takes what the record owns. */
void sim_write(struct store_sim *sim, struct record record);
/* All that is in the journal is told from now on. */
void sim_show(struct store_sim *sim);
/* A write has failed: nobody knows whether it is in the journal, until the store has reopened. */
void sim_begin_broken(struct store_sim *sim);
/* Is this node gone? Nothing of it is taken up any more. */
bool port_is_cut(const struct sim_port *port);

/* --- ledger_sim.c --- */

void ledger_port_init(struct sim_port *port);
void ledger_port_turn(struct sim_port *port);
/* The process is gone: what is under way is written or not. */
void ledger_port_cut(struct sim_port *port, bool is_kept);
bool ledger_port_is_idle(const struct sim_port *port);

/* The rows as the journal has none. */
void rows_forget(struct store_sim *sim);
void rows_apply(struct ledger_mem *rows, const struct record *record);

/* Whether the write that an append carries is possible. If not, the append has its outcome. */
bool rows_carried_hold(struct store_sim *sim, struct append *append, msec wall);
/* Nobody knows any more what became of it. */
void rows_carried_fail(struct ledger_write *write);

struct ledger_write *ledger_write_copy(const struct ledger_write *write);

#endif
