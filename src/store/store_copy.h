/* store_copy.h - moves what an embedded store holds into PostgreSQL: messages, heads, first seqs, the epoch, idempotency keys and rows
 * of the ledger. Numbers are kept, so clients go on from the places that they have. The target is one database, or all databases of
 * a cluster: each channel, and each row, goes into the one that has its slot.
 *
 * The source is opened as a server would open it, with its lock, so no server may run on it; it is not changed otherwise. What the
 * namespaces keep no longer is left out, as a reader would not get it. The target has the schema and nothing else. While one of its
 * databases is being filled no server starts on it (its schema's version is negative); all are filled before the first is released.
 *
 * Each step is one transaction that also notes how far the copy has come, so a copy that was ended at any moment goes on when it is
 * begun again. A page of the log is in memory, no more. */
#ifndef STORE_STORE_COPY_H
#define STORE_STORE_COPY_H

#include "store/ledger.h"
#include "store/rocks.h"

struct store_copied {
    uint64_t channels, messages, keys, rows;
};

struct store_copy_options {
    struct rocks_store_options from;
    const char *const         *to;      /* connection strings of libpq: the databases */
    size_t                     to_count;  /* 1 … SHARDS_MAX */
    unsigned                 (*slot_of)(const struct ledger_key *key);  /* of a row, as in shards.h */
    msec                       wall;
    /* Called now and then; NULL: nobody wants to know. */
    void (*told)(void *ctx, const struct store_copied *copied);
    void *ctx;
};

/* RC_OK: all of it is there, and was counted in the target. Else ret_why is a sentence. RC_BUSY: a server uses the source, or another
 * copy the target. RC_BAD: the target is not empty, or is filled from another source, or has another schema, or is not the whole of
 * one cluster; or the source has channels of a namespace that from.spaces does not have. */
enum rc store_copy(const struct store_copy_options *options, struct store_copied *ret, char *ret_why, size_t why_size) RC_MUST_USE;

#endif
