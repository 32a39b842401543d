/* store_copy_priv.h - a copy from within: where it stands with one database, and what is asked of that database. */
#ifndef STORE_STORE_COPY_PRIV_H
#define STORE_STORE_COPY_PRIV_H

#include <libpq-fe.h>

#include "store/pg_args.h"
#include "store/shard_table.h"
#include "store/store_copy.h"

enum copy_statement { COPY_BEGIN, COPY_COMMIT, COPY_CHANNEL, COPY_DAY, COPY_MESSAGES, COPY_KEYS, COPY_ROWS, COPY_NOTE, COPY_STATE,
                      COPY_STATEMENT_COUNT };

enum { COPY_KIND_END = 256 };

enum target_state {
    TARGET_EMPTY,  /* made by --init, and never used */
    TARGET_BEGUN,  /* being filled, by this run or an earlier one */
    TARGET_FULL,   /* a store like any other */
};

/* Where a copy stands with one database. */
struct copy {
    const struct store_copy_options *options;
    struct store                    *from;
    PGconn                          *to;
    struct pg_args                   args;
    struct shard_place               place;   /* which slots the database has */
    struct store_copied              copied, before;  /* before: of the databases that were filled earlier */
    uint64_t                         epoch, last_id, seq;
    unsigned                         kind;    /* 0: channels; 1 … 255: rows of the ledger; COPY_KIND_END: all is there */
    struct buf                       done;
    int32_t                          day;     /* the last one that was made sure of */
    enum target_state                state;
    char                            *why;
    size_t                           why_size;
};

enum rc copy_say(struct copy *copy, enum rc rc, const char *what);

/* Connects, and finds out the state and how far an earlier run has come; changes nothing. */
enum rc target_open(struct copy *copy, const char *url) RC_MUST_USE;
/* What is empty becomes what is being filled; what is being filled already goes on from where an earlier run came to. */
enum rc target_go_on(struct copy *copy) RC_MUST_USE;
/* Says that it holds something already. */
enum rc target_refuse_full(struct copy *copy);
/* What is in it. */
enum rc target_count(struct copy *copy, struct store_copied *ret) RC_MUST_USE;
/* Compares what is there with what was copied. Then it is a store like any other, whose new ids are above copy->last_id, and are
 * those of number `part` of `parts` databases. */
enum rc target_finish(struct copy *copy, size_t part, size_t parts) RC_MUST_USE;

/* With copy->args; *ret_result is the caller's to clear, NULL: it is not needed. */
enum rc target_send(struct copy *copy, enum copy_statement statement, PGresult **ret_result) RC_MUST_USE;
enum rc target_plain(struct copy *copy, enum copy_statement statement) RC_MUST_USE;
/* Notes how far it has come, and commits. */
enum rc copy_commit(struct copy *copy) RC_MUST_USE;

#endif
