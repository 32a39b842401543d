/* ledger_battery.h - one set of tests that the ledger of every store passes, and what they use: the bench of
 * store_battery.h, and short functions that write and read rows. */
#ifndef STORE_LEDGER_BATTERY_H
#define STORE_LEDGER_BATTERY_H

#include "store/store_battery.h"

/* Kinds of the tests. */
enum { KIND_SESSION = 1, KIND_PLACE = 2, KIND_MEMBER = 3, KIND_LAST = 255 };

struct ledger_key bench_key(uint8_t kind, const char *text);

/* Changes without a condition; change_if() adds one. */
struct ledger_change bench_put(uint8_t kind, const char *key, uint64_t generation, const char *value);
struct ledger_change change_if(struct ledger_change change, uint64_t generation);

/* Submits one batch with one write for each change, and waits. */
void bench_write_all(struct bench *bench, struct ledger_write *writes, size_t count);

/* Submits one write, and frees what it reports of a row that refused it. */
enum ledger_outcome bench_write(struct bench *bench, struct ledger_change *changes, size_t count);
enum ledger_outcome bench_change(struct bench *bench, struct ledger_change change);

/* Reads and waits; free with ledger_read_fini(). */
struct ledger_read bench_scan(struct bench *bench, uint8_t kind, struct span prefix, struct span after, uint32_t limit);

/* The generation of one row; 0: there is none. Fails if it can't be read. */
uint64_t bench_generation(struct bench *bench, uint8_t kind, const char *key);

/* Asserts that the row as text, "generation value" or "none", equals `transcript`. */
#define expect_row(bench, kind, key, transcript) bench_expect_row(bench, kind, key, transcript, __FILE__, __LINE__)
void bench_expect_row(struct bench *bench, uint8_t kind, const char *key, const char *transcript, const char *file,
                      int line);

/* Runs all tests; returns the number of failures, as cmocka counts them. */
int ledger_battery_run(const struct store_maker *maker);

#endif
