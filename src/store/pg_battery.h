/* pg_battery.h - a PostgreSQL server of the test's own, and a proxy before it that can cut and stall connections.
 *
 * The server runs in a new directory under /tmp, as another user if the test runs as root, and is reached by a Unix
 * socket there. It syncs nothing: the tests end processes, not the machine. */
#ifndef STORE_PG_BATTERY_H
#define STORE_PG_BATTERY_H

#include "store/pg.h"
#include "store/store_battery.h"

/* Starts the server once for the whole program. False: PostgreSQL's programs are not installed; says where it looked. */
bool engine_start(void);
void engine_stop(void);       /* for good: removes the directory */

/* Ends all its processes at once, as a crash does; starts it again and waits until it answers. */
void engine_crash(void);
void engine_resume(void);

/* While the server is down: a copy of its directory; the server then begins with that copy, as a standby. */
void engine_copy(void);
void engine_resume_copy(void);

const char *engine_url(void);

/* Runs SQL with a connection of its own, and returns the first column of the first row as a number (0 without one). */
long long engine_sql(const char *sql);

/* Runs SQL in a transaction that stays open, and ends it. */
void engine_hold(const char *sql);
void engine_let_go(void);

/* From now on messages without a retention by age lie on a file system of 3 MiB, of 16 MiB after growing. False: this
 * process may not mount one. */
bool engine_small_disk(void);
void engine_small_disk_grow(void);
void engine_small_disk_end(void);  /* the schema goes with it */

/* Drops the schema and makes it anew. */
void engine_clear(void);

/* Makes the schema; the database has all slots. */
enum { ENGINE_WHY_BYTES = 600 };
enum rc engine_init(const char *url, char why[ENGINE_WHY_BYTES]) RC_MUST_USE;

extern const struct store_maker pg_maker, pg_spread_maker, pg_volatile_maker;

struct store *engine_store(struct bench *bench, const char *url);  /* so patient that a busy machine does not look like an engine that is away */
struct store *engine_volatile_store(struct bench *bench);

/* For tests that wait for an end of it: how long an answer, a connection and the outcome of a COMMIT may take. What must succeed with
 * such a store is tried again. */
struct engine_patience {
    msec answer_ms, connect_ms, doubt_ms;
};
struct store *engine_impatient_store(struct bench *bench, const char *url, struct engine_patience patience);

/* --- the proxy ---------------------------------------------------------------------------------------------------- */

enum proxy_mode {
    PROXY_PASS,
    PROXY_REFUSE,         /* closes whatever comes */
    PROXY_STALL,          /* takes connections and bytes, and passes nothing on */
    PROXY_CUT_BEFORE,     /* the next COMMIT does not reach the server: the connection is cut instead; then PASS */
    PROXY_CUT_AFTER,      /* the next COMMIT reaches the server, its answer does not come back; then PASS */
    PROXY_CUT_AND_REFUSE, /* as CUT_AFTER, then REFUSE */
    PROXY_LATE,           /* as CUT_BEFORE, but the server gets the COMMIT when a later connection has passed bytes */
};

void        proxy_start(void);
void        proxy_stop(void);
const char *proxy_url(void);
void        proxy_set(enum proxy_mode mode);
void        proxy_cut_all(void);     /* closes all connections that pass through it */
bool        proxy_has_cut(void);     /* has it cut a COMMIT since proxy_set()? */
bool        proxy_saw_guess(void);   /* did a place and its rows travel together since then? */

#endif
