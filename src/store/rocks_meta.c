/* The log's metadata: its version, its epoch, and the ceilings of all numbers. */
#include <stdio.h>

#include "base/must.h"
#include "store/rocks_commit.h"

enum { NUMBER_BLOCK = 65536 };  /* ids that a crash may skip */

#define NUMBER_FIRST_AFTER_LOSS (UINT64_C(1) << 40)  /* where the ceilings themselves are lost */
#define NUMBER_LEAP (UINT64_C(1) << 32)  /* ids that lost commits may have used, and more */

static const struct span numbers_key = { "numbers", 7 }, log_key = { "log", 3 };

enum { LOG_VERSION, LOG_EPOCH, LOG_COUNT, LOG_VERSION_NOW = 1 };

static void numbers_save(struct rocks *rocks, rocksdb_writebatch_t *write)
{
    rocks_db_put_record(&rocks->db, write, FAMILY_META, numbers_key, rocks->numbers.ceiling, NUMBER_COUNT);
}

uint64_t number_next(struct rocks *rocks, rocksdb_writebatch_t *write, size_t kind)
{
    struct rocks_numbers *numbers = &rocks->numbers;

    must(kind < NUMBER_COUNT && numbers->next[kind] != 0);
    uint64_t number = numbers->next[kind]++;
    if (number >= numbers->ceiling[kind]) {
        numbers->ceiling[kind] = number + NUMBER_BLOCK;
        numbers_save(rocks, write);
    }
    return number;
}

static enum rc log_create(struct rocks *rocks, uint64_t epoch)
{
    rocksdb_writebatch_t *write         = rocksdb_writebatch_create();
    const uint64_t        log[LOG_COUNT] = { LOG_VERSION_NOW, epoch };

    rocks_db_put_record(&rocks->db, write, FAMILY_META, log_key, log, LOG_COUNT);
    numbers_save(rocks, write);
    char    why[ROCKS_WHY_BYTES];
    enum rc rc = rocks_db_write(&rocks->db, write, why, sizeof why);
    rocksdb_writebatch_destroy(write);
    if (rc == RC_OK)
        rocks->epoch = epoch;
    return rc;
}

static void numbers_set(struct rocks_numbers *numbers, uint64_t number)
{
    for (size_t i = 0; i < NUMBER_COUNT; i++)
        numbers->next[i] = numbers->ceiling[i] = number;
}

enum rc rocks_meta_load(struct rocks *rocks, bool *ret_is_lost, char *ret_why, size_t why_size)
{
    struct rocks_numbers *numbers = &rocks->numbers;
    uint64_t              log[LOG_COUNT], ceiling[NUMBER_COUNT];

    enum rc rc = rocks_db_get_record(&rocks->db, FAMILY_META, rocks->db.get, log_key, log, LOG_COUNT);
    if (rc == RC_GONE && rocks_db_sequence(&rocks->db) == 0) {
        numbers_set(numbers, 1);
        rc = log_create(rocks, rocks->options.epoch_new);
        if (rc != RC_OK)
            snprintf(ret_why, why_size, "the log in %s can't be created: %s", rocks->path, rc_text(rc));
        return rc;
    }
    if (rc == RC_OK)
        rc = rocks_db_get_record(&rocks->db, FAMILY_META, rocks->db.get, numbers_key, ceiling, NUMBER_COUNT);
    *ret_is_lost = rc == RC_GONE || rc == RC_CORRUPT;
    if (*ret_is_lost) {
        numbers_set(numbers, NUMBER_FIRST_AFTER_LOSS);
        return RC_OK;
    }
    if (rc != RC_OK) {
        snprintf(ret_why, why_size, "the metadata of the database in %s can't be read: %s", rocks->path, rc_text(rc));
        return rc;
    }
    if (log[LOG_VERSION] != LOG_VERSION_NOW) {
        snprintf(ret_why, why_size, "the log in %s has format %llu, this program knows only %d", rocks->path,
                 (unsigned long long)log[LOG_VERSION], LOG_VERSION_NOW);
        return RC_CORRUPT;
    }
    rocks->epoch = log[LOG_EPOCH];
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        numbers->ceiling[i] = ceiling[i];
        if (numbers->next[i] < ceiling[i])
            numbers->next[i] = ceiling[i];
    }
    return RC_OK;
}

/* Lost commits can have used ids without number, and channel numbers that other rows still name. */
enum rc rocks_numbers_leap(struct rocks *rocks)
{
    struct rocks_numbers *numbers  = &rocks->numbers;
    uint64_t              channels = 0;

    enum rc rc = channels_last_number(rocks, &channels);
    if (rc != RC_OK && rc != RC_CORRUPT)
        return rc;
    const uint64_t messages = messages_last_number(rocks);
    for (size_t i = 0; i < NUMBER_CHANNEL; i++)
        numbers->next[i] = numbers->ceiling[i] += NUMBER_LEAP;
    uint64_t *next = &numbers->next[NUMBER_CHANNEL];
    if (*next <= channels)
        *next = channels + 1;
    if (*next <= messages)
        *next = messages + 1;
    if (numbers->ceiling[NUMBER_CHANNEL] < *next)
        numbers->ceiling[NUMBER_CHANNEL] = *next;
    return RC_OK;
}

enum rc rocks_epoch_change(struct rocks *rocks, uint64_t epoch)
{
    return log_create(rocks, epoch);
}
