/* ledger_battery.h - one set of tests that the ledger of every store passes, and what they stand on: the bench of
 * store_battery.h, and short ways to write rows and look at them. */
#ifndef STORE_LEDGER_BATTERY_H
#define STORE_LEDGER_BATTERY_H

#include "store/store_battery.h"

/* Kinds of the tests. */
enum { KIND_SESSION = 1, KIND_PLACE = 2, KIND_MEMBER = 3, KIND_LAST = 255 };

struct ledger_key bench_key(uint8_t kind, const char *text);

/* Changes without a condition; set one with change_if(). */
struct ledger_change bench_put(uint8_t kind, const char *key, uint64_t generation, const char *value);
struct ledger_change change_if(struct ledger_change change, uint64_t generation);

/* As one batch of one write each; waits. */
void bench_write_all(struct bench *bench, struct ledger_write *writes, size_t count);

/* One write; what it told of a row that refused is freed. */
enum ledger_outcome bench_write(struct bench *bench, struct ledger_change *changes, size_t count);
enum ledger_outcome bench_change(struct bench *bench, struct ledger_change change);

/* Reads and waits; free with ledger_read_fini(). */
struct ledger_read bench_scan(struct bench *bench, uint8_t kind, struct span prefix, struct span after, uint32_t limit);

/* Of one row; 0: there is none. Fails unless it can be read. */
uint64_t bench_generation(struct bench *bench, uint8_t kind, const char *key);

/* The row, told as "generation value", or "none", is `transcript`. */
#define expect_row(bench, kind, key, transcript) bench_expect_row(bench, kind, key, transcript, __FILE__, __LINE__)
void bench_expect_row(struct bench *bench, uint8_t kind, const char *key, const char *transcript, const char *file,
                      int line);

/* Runs all tests; the number of failures, as cmocka counts them. */
int ledger_battery_run(const struct store_maker *maker);

#endif
