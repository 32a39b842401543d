/* ledger_rule.h - what a row's generation decides; the same for all makers. */
#ifndef STORE_LEDGER_RULE_H
#define STORE_LEDGER_RULE_H

#include "store/ledger.h"

/* Keys of a kind are ordered by their bytes, a key before its continuations. Below 0, 0, or above 0. */
static inline int ledger_key_order(struct span a, struct span b)
{
    size_t len   = a.len < b.len ? a.len : b.len;
    int    order = len == 0 ? 0 : memcmp(a.at, b.at, len);

    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The generation of a row that is stored: 0 once the row has expired. */
static inline uint64_t ledger_generation(uint64_t generation, msec expires_at, msec wall)
{
    return expires_at != 0 && expires_at <= wall ? 0 : generation;
}

static inline bool ledger_change_holds(const struct ledger_change *change, uint64_t now)
{
    return !change->is_conditional || change->if_generation == now;
}

/* What the row's generation becomes; `seq` is that of the append which carries the change. */
static inline uint64_t ledger_change_generation(const struct ledger_change *change, uint64_t seq)
{
    return change->takes_seq ? seq : change->generation;
}

/* Whether the change writes its row; its conditions hold. */
static inline bool ledger_change_puts(const struct ledger_change *change, uint64_t seq, uint64_t now)
{
    return change->op == LEDGER_PUT || (change->op == LEDGER_RAISE && ledger_change_generation(change, seq) > now);
}

/* Whether the decision depends on the row that is stored now. */
static inline bool ledger_change_asks(const struct ledger_change *change)
{
    return change->is_conditional || change->op == LEDGER_RAISE;
}

static inline size_t ledger_change_bytes(const struct ledger_change *change)
{
    return change->key.bytes.len + change->value.len;
}

/* The change at `at` refuses the write: sets outcome, stale_at and `now`, with a copy of the row's value. */
void ledger_write_refuse(struct ledger_write *write, size_t at, uint64_t generation, msec expires_at,
                         struct span value);

#endif
