/* ledger_round.h - questions that belong together: where some logs end, then some scans of the ledger. An engine that is
 * far away answers all of them at once.
 *
 * They are carried out in their order: first the heads, then the scans, and each sees what those before it saw, or what is
 * newer. So a row that is read says at least as much as the log did at its head. */
#ifndef STORE_LEDGER_ROUND_H
#define STORE_LEDGER_ROUND_H

#include "store/store.h"

enum { ROUND_READS = 4 };

/* The owner keeps it, and all it points at, until done(). */
struct ledger_round {
    struct store_heads heads;       /* count 0: none. The round sets its done() … */
    struct round_read {
        struct ledger_read   read;  /* a scan, first page; to be freed by ledger_read_fini() in any case. … and this one's */
        struct ledger_round *round;
    }                  of[ROUND_READS];
    size_t             read_count;  /* 1 … ROUND_READS */
    void             (*done)(struct ledger_round *round);  /* on a thread of the store, as with ledger_ops.read */
    struct store      *store;       /* the round's own */
    size_t             at;          /* … likewise: the scan under way */
    struct list        link;        /* the ledger's, until it is done */
};

void ledger_round_ask(struct store *store, struct ledger_round *round);

/* For makers, at the call: all is within the maxima. */
void ledger_round_check(const struct ledger_round *round);

/* One after the other: for a ledger without ledger_ops.round. */
void ledger_round_in_turn(struct store *store, struct ledger_round *round);

/* For makers: nothing of it could be asked. Does not call done(). */
void ledger_round_refuse(struct ledger_round *round, enum rc rc);

#endif
