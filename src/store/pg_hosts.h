/* pg_hosts.h - the servers that one URL names, such as postgres://db1,db2/push?target_session_attrs=read-write.
 *
 * libpq tries them in the order of the URL, and leaves one that never answers only by connect_timeout, which counts for
 * blocking connections alone. A connection that does not block would stay with a first server that takes connections and says
 * nothing, or whose machine is gone. So the caller gives an attempt up when its time is over, and begins the next one with
 * the server behind. */
#ifndef STORE_PG_HOSTS_H
#define STORE_PG_HOSTS_H

#include <libpq-fe.h>
#include <stddef.h>

/* How many servers the URL names, at least 1. */
size_t pg_hosts_count(const char *url);

/* Begins a connection to the servers of `url`, as PQconnectStart() does, that with number `first` before the others. Of several only one
 * that takes writes counts, unless the URL has another target_session_attrs. NULL: no memory. */
PGconn *pg_hosts_start(const char *url, size_t first, const char *application_name);

/* Which of the servers the connection has come to, from 0. */
size_t pg_hosts_reached(const char *url, const PGconn *conn);

/* "a,b,c" from the item with number `first` on, from 0: "c,a,b" for 2. A number beyond the last one begins anew. The caller frees it. */
char *pg_hosts_turned(const char *list, size_t first);

#endif
