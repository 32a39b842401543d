/* store_sim_priv.h - what the simulated disk is made of, for the logs (store_sim.c) and the rows (ledger_sim.c). */
#ifndef SIM_STORE_SIM_PRIV_H
#define SIM_STORE_SIM_PRIV_H

#include "store/ledger_mem.h"
#include "store_sim.h"

enum { SYNC_MS = 2, SYNC_SLOW_MS = 60, READ_MS = 3, TROUBLE_MS = 150, STUCK_MS_MAX = 900, LANES_MAX = 3,
       LATE_COMMIT_MS_MAX = 400, ID_BLOCK = 32, FAILOVERS_MAX = 3, LOST_RECORDS_MAX = 8, EPOCH_FIRST = 1000 };

/* One thing written: a numbered message with its key and the rows that it carried, rows alone, or where a log now
 * begins. */
struct record {
    struct message *message;  /* NULL: a trim, or rows alone */
    unsigned        channel;
    uint64_t        first;    /* of a trim; 0: rows alone */
    struct ledger_write *write;  /* owned; NULL: no rows */
    msec            wall;     /* when the rows were written */
    char            key[24];  /* empty: none */
    uint64_t        publisher; /* a hash of whoever the key is of */
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
    msec              away_until;  /* no connection can be made */
    struct list       late;        /* commits that the node has given up, and that may still come */
    struct list        late_rows;       /* writes of rows, likewise */
    uint64_t          id_next, id_end;  /* of a shared store: its block of ids */
};

/* An append of a transaction that the node has given up. Owns all it points at. */
struct late_append {
    struct list   link;
    struct append append;
    char          key[24];
    char          publisher[160];
    msec          due, wall;
};

struct store_sim {
    struct sim_port ports[NODES_SIM_MAX];
    struct world  *world;
    struct record *journal;
    size_t         journal_count, journal_cap;
    struct log     logs[CHANNELS_MAX];
    struct ledger_mem rows;       /* what the journal says */
    struct ledger_mem rows_shown; /* what reads are told: behind `rows` until a broken store has reopened */
    size_t         shown_count;   /* so many records are told */
    uint64_t       id;
    unsigned       wipes;
    bool           is_shared;     /* as PostgreSQL is (store_sim_shared.c) */
    bool           is_memory;     /* … or as Redis is, for what is not durable */
    unsigned       failover_count;
    uint64_t       kept[FAILOVERS_MAX][CHANNELS_MAX];  /* where each log ended after that failover */
    msec           stalled_until;
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
void sim_append_one(struct sim_port *port, struct append *append, msec wall);
void sim_write_batch(struct sim_port *port, struct append_batch *batch);
/* A copy, as it is told in this life of its log. */
struct message *message_told_in(const struct message *message, uint64_t epoch);
void batch_fail(struct append_batch *batch, enum append_outcome outcome);
/* Reads the journal anew, into logs of a new epoch if there is one. */
void sim_read_journal(struct store_sim *sim);
void journal_cut(struct store_sim *sim, size_t count);
/* Everything that a node has under way is answered, to nobody that counts. */
void port_cut(struct sim_port *port, bool is_kept);

/* --- store_sim_shared.c --- */

uint64_t port_next_id(struct sim_port *port);
/* The connection is lost while it commits. */
void     port_lose_commit(struct sim_port *port, struct append_batch *batch);
void     port_turn_late(struct sim_port *port);
void     port_drop_late(struct sim_port *port);
void     sim_draw_shared_trouble(struct store_sim *sim);

static inline bool port_is_away(const struct sim_port *port)
{
    return port->away_until > port->sim->world->now || port->sim->away_until > port->sim->world->now;
}

static inline bool port_has_io_trouble(const struct sim_port *port)
{
    return port->away_until > port->sim->world->now || port->sim->io_until > port->sim->world->now;
}

/* --- ledger_sim.c --- */

void ledger_port_init(struct sim_port *port);
void ledger_port_turn(struct sim_port *port);
/* The process is gone: what is under way is written or not. */
void ledger_port_cut(struct sim_port *port, bool is_kept);
bool ledger_port_is_idle(const struct sim_port *port);
void ledger_port_drop_late(struct sim_port *port);

/* The rows as the journal has none. */
void rows_forget(struct store_sim *sim);
void rows_apply(struct ledger_mem *rows, const struct record *record);

/* Whether the write that an append carries is possible. If not, the append has its outcome. */
bool rows_carried_hold(struct store_sim *sim, struct append *append, msec wall);
/* Nobody knows any more what became of it. */
void rows_carried_fail(struct ledger_write *write);

struct ledger_write *ledger_write_copy(const struct ledger_write *write);

#endif
