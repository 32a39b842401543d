/* pg_engine.h - the engine of a cluster on PostgreSQL alone, for a handful of nodes: in the database that is the store.
 *
 * Leases and routes are rows, in tables that are not logged (store/pg_schema_2.sql, made by --init). The bus is NOTIFY: all
 * frames for one node that wait together leave in one notice, on a connection of their own and after the commit that
 * they tell of. A notice takes 8,000 bytes, so a longer frame is put into a row that the notice names. A message costs
 * more here than a read of its log (prefers_heads).
 *
 * Life. A random word in a table that is not logged; it is read each second and with each lease. A crash empties the tables, and
 * so does a failover.
 *
 * Failures. There are two connections, one for questions and one for the bus. While either is away, calls that need it are
 * RC_IO at once, and attempts go on with growing pauses. A connection that does not answer for answer_ms is lost; a call that waits for
 * a lock of the database is RC_IO after two thirds of that. `down` comes when one of them is lost, `up` when both stand. While a host name
 * is looked up, the engine's thread waits.
 *
 * Bounds. ENGINE_CALLS_MAX calls and PG_FRAMES_BYTES of frames under way, then RC_FULL. */
#ifndef CLUSTER_PG_ENGINE_H
#define CLUSTER_PG_ENGINE_H

#include "cluster/engine.h"

enum { PG_FRAMES_BYTES = 64 << 20, PG_FRAME_BYTES_MAX = 2 << 20 };

struct pg_engine_options {
    const char                 *url;         /* a connection string of libpq; as that of the store's first database */
    struct node_id              self;
    const struct engine_events *events;      /* borrowed until close */
    void                       *ctx;
    msec                        connect_ms;  /* 0: 5 s */
    msec                        answer_ms;   /* 0: 3 s */
};

/* RC_BAD: libpq can't read the URL; ret_why is a sentence without its password. Connections are made later, and made again.
 * A database without the schema is one that can't be reached. */
enum rc pg_engine_open(const struct pg_engine_options *options, struct engine **ret, char *ret_why, size_t why_size) RC_MUST_USE;

#endif
