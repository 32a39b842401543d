/* pg_args.h - the parameters of one statement in PostgreSQL's binary format, and the columns of its answer.
 *
 * All numbers travel as bigint, all text as bytea. An array grows element by element; several grow side by side, as
 * the columns of an unnest(). */
#ifndef STORE_PG_ARGS_H
#define STORE_PG_ARGS_H

#include <libpq-fe.h>

#include "base/buf.h"

enum { PG_ARGS_COUNT = 21 };

struct pg_args {
    struct buf bytes[PG_ARGS_COUNT];
    uint32_t   elements[PG_ARGS_COUNT];
    bool       is_array[PG_ARGS_COUNT];
    size_t     count;
};

void pg_args_init(struct pg_args *args);
void pg_args_fini(struct pg_args *args);

/* Begins the parameters of another statement. */
void pg_args_clear(struct pg_args *args);

/* One more parameter. */
void pg_args_i64(struct pg_args *args, int64_t value);
void pg_args_bytes(struct pg_args *args, struct span value);

/* `count` arrays at once; `types` has a letter for each: 'i' bigint[], 'b' bytea[]. The first gets the number `count` of
 * parameters that were there before. */
void pg_args_arrays(struct pg_args *args, const char *types);

/* One more element of the array that is parameter `at`, from 0. */
void pg_push_i64(struct pg_args *args, size_t at, int64_t value);
void pg_push_bytes(struct pg_args *args, size_t at, struct span value);

/* Sends the prepared statement `name`. False: the connection is lost. */
bool pg_args_send(struct pg_args *args, PGconn *conn, const char *name);

/* A bigint of an answer; 0 where it is null. */
int64_t pg_i64(const PGresult *result, int row, int column);

/* Element `index`, from 0, of a bigint[] of an answer, which has no nulls. */
int64_t pg_array_i64(const PGresult *result, int row, int column, size_t index);

/* A bytea of an answer; borrowed from the result. */
struct span pg_bytes(const PGresult *result, int row, int column);

#endif
