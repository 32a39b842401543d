/* pg_sql.h - the statements that a connection prepares, and the schema. */
#ifndef STORE_PG_SQL_H
#define STORE_PG_SQL_H

enum { PG_SCHEMA_VERSION = 11 };

enum pg_statement {
    SQL_LOCK_CHANNELS, SQL_MAKE_CHANNELS, SQL_EPOCH, SQL_IDS, SQL_USED_KEYS, SQL_TARGETS, SQL_FIRSTS, SQL_LOCK_ROWS,
    SQL_ROWS, SQL_INSERT, SQL_RECALL, SQL_SET_CHANNELS, SQL_KEEP_KEYS, SQL_PUT_ROWS, SQL_RAISE_ROWS, SQL_DELETE_ROWS, SQL_MARK,
    SQL_STORE, SQL_STORE_PLAIN, SQL_STORED,
    SQL_MAKE_DAY, SQL_PLACE, SQL_PLACES, SQL_READ_UP, SQL_READ_DOWN, SQL_LIST, SQL_GET_ROWS, SQL_SCAN_ROWS,
    SQL_DROP_DAY, SQL_TEND, SQL_SIZES, SQL_TRY_ROOM, SQL_GREET, SQL_BEGIN, SQL_COMMIT, SQL_ROLLBACK,
    SQL_LISTEN, SQL_MOVED_COUNT, SQL_MOVED, SQL_KEEP_UP,
    SQL_COUNT,
};

struct pg_text {
    const char *name, *text;
};

extern const struct pg_text pg_texts[SQL_COUNT];

/* Switches off what bounds the waiting of a role or of a database (transaction_timeout came with PostgreSQL 17). Those bounds are made for the
 * programs that people write; each connection of the server, of --init and of --copy begins with this one statement, and bounds
 * its waiting itself. */
#define PG_NO_TIMEOUTS \
    "select set_config(name, '0', false) from pg_settings where name in ('statement_timeout', 'lock_timeout'," \
    " 'transaction_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout')"

/* The schema is made in steps: pg_schema_steps[n] leads from version n to version n + 1. A step that was released does
 * not change any more. NUL-terminated. */
extern const char *const pg_schema_steps[PG_SCHEMA_VERSION];

/* A statement or a step as it is for memory namespaces: in the schema `longwire_memory`, whose tables are unlogged. To be
 * freed. */
char *pg_volatile_text(const char *text);

#endif
