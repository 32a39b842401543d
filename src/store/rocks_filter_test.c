/* What a compaction may drop: rows below their channel's floor, payloads of expired messages, idempotency keys past
 * their window, ledger rows that have expired.
 *
 * This file replaces RocksDB's functions that make filters by structs, so that a test can ask for each decision. */
#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "store/rocks_priv.h"

#include <cmocka.h>

typedef unsigned char filter_function(void *state, int level, const char *key, size_t key_len, const char *value,
                                      size_t value_len, char **ret_value, size_t *ret_len,
                                      unsigned char *ret_is_changed);

struct rocksdb_compactionfilter_t {
    void            *state;
    void           (*destroy)(void *state);
    filter_function *decide;
};

struct rocksdb_compactionfilterfactory_t {
    void *state;
    void (*destroy)(void *state);
    rocksdb_compactionfilter_t *(*make)(void *state, rocksdb_compactionfiltercontext_t *context);
};

rocksdb_compactionfilter_t *rocksdb_compactionfilter_create(void *state, void (*destroy)(void *),
                                                            filter_function *decide, const char *(*name)(void *))
{
    rocksdb_compactionfilter_t *filter = calloc(1, sizeof *filter);

    assert_non_null(filter);
    assert_non_null(name(state));
    *filter = (rocksdb_compactionfilter_t){ state, destroy, decide };
    return filter;
}

rocksdb_compactionfilterfactory_t *rocksdb_compactionfilterfactory_create(
    void *state, void (*destroy)(void *),
    rocksdb_compactionfilter_t *(*make)(void *, rocksdb_compactionfiltercontext_t *), const char *(*name)(void *))
{
    rocksdb_compactionfilterfactory_t *factory = calloc(1, sizeof *factory);

    assert_non_null(factory);
    assert_non_null(name(state));
    *factory = (rocksdb_compactionfilterfactory_t){ state, destroy, make };
    return factory;
}

/* --- one compaction --------------------------------------------------------------------------------------------- */

enum { COUNT_MAX = 3, WALL = 5000000, BYTES_MAX = 4096 };

enum fate { KEPT, DROPPED, CHANGED };

static rocksdb_compactionfilter_t *compaction_begin(struct filter_floors *floors, enum family family)
{
    rocksdb_compactionfilterfactory_t *factory = rocks_make_filter(floors, family);
    rocksdb_compactionfilter_t        *filter  = factory->make(factory->state, NULL);

    factory->destroy(factory->state);
    free(factory);
    return filter;
}

static void compaction_end(rocksdb_compactionfilter_t *filter)
{
    filter->destroy(filter->state);
    free(filter);
}

/* *ret_changed: the row's new value, valid until the next row is asked about. */
static enum fate fate_of(rocksdb_compactionfilter_t *filter, struct span key, struct span value,
                         struct span *ret_changed)
{
    char         *changed    = NULL;
    size_t        len        = 0;
    unsigned char is_changed = 0;
    unsigned char is_dropped = filter->decide(filter->state, 1, key.at, key.len, value.at, value.len, &changed, &len,
                                              &is_changed);

    assert_false(is_dropped && is_changed);
    *ret_changed = span_of(changed, len);
    return is_dropped ? DROPPED : is_changed ? CHANGED : KEPT;
}

static enum fate fate_of_row(rocksdb_compactionfilter_t *filter, uint64_t number, uint64_t seq, const struct row *row)
{
    struct row_key key = row_key(number, seq);
    struct span    changed;
    struct buf     value;

    buf_init(&value, BYTES_MAX);
    row_put(&value, number, seq, row);
    enum fate fate = fate_of(filter, row_key_span(&key), buf_span(&value), &changed);
    buf_fini(&value);
    return fate;
}

/* --- message rows ----------------------------------------------------------------------------------------------- */

#define PLAIN .kind = MESSAGE_PLAIN, .id = 7, .time = 1000, .media = SPAN("text/plain"), .payload = SPAN("hello")

static const struct row plain = { PLAIN }, mortal = { PLAIN, .expires_at = WALL };

enum damage { WHOLE, FLIPPED, CUT, EMPTY, VERSION_BEFORE, VERSION_AFTER, OF_ANOTHER_PLACE, KEY_CUT };

static void row_damage(struct buf *value, uint64_t number, uint64_t seq, enum damage damage)
{
    const struct hash_key place = { number, seq };

    switch (damage) {
    case WHOLE:
    case KEY_CUT:
        return;
    case FLIPPED:
        value->at[value->len - 1] ^= 1;
        return;
    case CUT:
        value->len--;
        return;
    case EMPTY:
        value->len = 0;
        return;
    case OF_ANOTHER_PLACE:
        value->len = 0;
        row_put(value, number, seq + 1, &mortal);
        return;
    case VERSION_BEFORE:
    case VERSION_AFTER:
        value->at[4] = (char)((ROW_VERSION + (damage == VERSION_AFTER ? 1 : -1)) << 4 | MESSAGE_PLAIN);
        uint32_t checksum = htole32((uint32_t)hash_bytes(&place, span_skip(buf_span(value), sizeof checksum)));
        memcpy(value->at, &checksum, sizeof checksum);
        return;
    }
}

static void every_row_has_its_fate(void **state)
{
    (void)state;
    enum { NUMBER = 3, FLOOR = 10 };
    static const struct {
        const char *name;
        uint64_t    number, seq;
        struct row  row;
        enum damage damage;
        enum fate   want;
    } rows[] = {
        { "at the floor", NUMBER, FLOOR, { PLAIN }, WHOLE, KEPT },
        { "below the floor", NUMBER, FLOOR - 1, { PLAIN }, WHOLE, DROPPED },
        { "the first of all", NUMBER, 1, { PLAIN }, WHOLE, DROPPED },
        { "below, of a channel without a floor", NUMBER + 1, 1, { PLAIN }, WHOLE, KEPT },
        { "expires never", NUMBER, FLOOR, { PLAIN }, WHOLE, KEPT },
        { "expires a millisecond later", NUMBER, FLOOR, { PLAIN, .expires_at = WALL + 1 }, WHOLE, KEPT },
        { "expires now", NUMBER, FLOOR, { PLAIN, .expires_at = WALL }, WHOLE, CHANGED },
        { "expired long ago", NUMBER, FLOOR, { PLAIN, .expires_at = 1 }, WHOLE, CHANGED },
        { "expired, of a channel without a floor", NUMBER + 1, 1, { PLAIN, .expires_at = 1 }, WHOLE, CHANGED },
        { "expired, below the floor", NUMBER, FLOOR - 1, { PLAIN, .expires_at = 1 }, WHOLE, DROPPED },
        { "expired, a husk already", NUMBER, FLOOR,
          { .kind = ROW_EXPIRED, .id = 7, .time = 1000, .expires_at = 1, .target = 5 }, WHOLE, KEPT },
        { "a husk below the floor", NUMBER, FLOOR - 1,
          { .kind = ROW_EXPIRED, .id = 7, .time = 1000, .expires_at = 1, .target = 5 }, WHOLE, DROPPED },
        { "recall", NUMBER, FLOOR, { .kind = MESSAGE_RECALL, .id = 8, .time = 1, .target = 4 }, WHOLE, KEPT },
        { "recall below the floor", NUMBER, 9, { .kind = MESSAGE_RECALL, .id = 8, .time = 1, .target = 4 }, WHOLE,
          DROPPED },
        { "recalled", NUMBER, FLOOR, { .kind = MESSAGE_RECALLED, .id = 9, .time = 1, .answer_id = 10 }, WHOLE, KEPT },
        { "recalled and expired", NUMBER, FLOOR,
          { .kind = MESSAGE_RECALLED, .id = 9, .time = 1, .expires_at = 1, .answer_id = 10 }, WHOLE, CHANGED },
        /* An unreadable row is never changed, so that its reader reports the damage. */
        { "expired, a bit flipped", NUMBER, FLOOR, { PLAIN, .expires_at = 1 }, FLIPPED, KEPT },
        { "expired, cut", NUMBER, FLOOR, { PLAIN, .expires_at = 1 }, CUT, KEPT },
        { "expired, empty", NUMBER, FLOOR, { PLAIN, .expires_at = 1 }, EMPTY, KEPT },
        { "expired, of the version before", NUMBER, FLOOR, { PLAIN, .expires_at = 1 }, VERSION_BEFORE, KEPT },
        { "expired, of the next version", NUMBER, FLOOR, { PLAIN, .expires_at = 1 }, VERSION_AFTER, KEPT },
        { "expired, in another's place", NUMBER, FLOOR, { PLAIN, .expires_at = 1 }, OF_ANOTHER_PLACE, KEPT },
        { "below the floor, a key that is none", NUMBER, 1, { PLAIN }, KEY_CUT, KEPT },
        /* Below the floor nobody reads the row any more. */
        { "below the floor, a bit flipped", NUMBER, 1, { PLAIN }, FLIPPED, DROPPED },
        { "below the floor, of the next version", NUMBER, 1, { PLAIN }, VERSION_AFTER, DROPPED },
    };
    struct filter_floors floors;

    filter_floors_init(&floors, COUNT_MAX);
    floors.wall = WALL;
    filter_floors_set(&floors, NUMBER, FLOOR);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rocksdb_compactionfilter_t *filter = compaction_begin(&floors, FAMILY_MESSAGES);
        struct row_key              key    = row_key(rows[i].number, rows[i].seq);
        struct span                 place  = row_key_span(&key), changed;
        struct buf                  value;
        buf_init(&value, BYTES_MAX);
        row_put(&value, rows[i].number, rows[i].seq, &rows[i].row);
        row_damage(&value, rows[i].number, rows[i].seq, rows[i].damage);
        enum fate fate = fate_of(filter, span_head(place, place.len - (rows[i].damage == KEY_CUT)), buf_span(&value),
                                 &changed);
        if (fate != rows[i].want)
            fail_msg("%s: %d", rows[i].name, (int)fate);
        buf_fini(&value);
        compaction_end(filter);
    }
    filter_floors_fini(&floors);
}

/* A missing row always means damage. So an expired message leaves a small row, which counts for as many bytes as the
 * message did. */
static void what_expired_leaves_a_husk(void **state)
{
    (void)state;
    struct filter_floors floors;
    struct row_key     key = row_key(3, 10);
    struct span        changed;
    struct row         husk;
    struct buf         value;

    filter_floors_init(&floors, COUNT_MAX);
    floors.wall = WALL;
    rocksdb_compactionfilter_t *filter = compaction_begin(&floors, FAMILY_MESSAGES);
    buf_init(&value, BYTES_MAX);
    row_put(&value, 3, 10, &mortal);
    assert_int_equal(fate_of(filter, row_key_span(&key), buf_span(&value), &changed), CHANGED);
    assert_true(row_get(changed, 3, 10, &husk));
    assert_int_equal(husk.kind, ROW_EXPIRED);
    assert_true(husk.id == mortal.id && husk.time == mortal.time && husk.expires_at == mortal.expires_at);
    assert_int_equal(row_kept_bytes(&husk), row_kept_bytes(&mortal));
    assert_true(husk.payload.len == 0 && husk.media.len == 0 && husk.from.len == 0);

    /* An older value of the same row comes after the newer one, and is decided on its own. */
    assert_int_equal(fate_of_row(filter, 3, 10, &plain), KEPT);
    assert_int_equal(fate_of(filter, row_key_span(&key), buf_span(&value), &changed), CHANGED);
    assert_true(row_get(changed, 3, 10, &husk) && husk.kind == ROW_EXPIRED && husk.payload.len == 0);
    buf_fini(&value);
    compaction_end(filter);
    filter_floors_fini(&floors);
}

/* --- floors that move ------------------------------------------------------------------------------------------- */

static void a_floor_that_moves_holds_from_the_channels_next_visit(void **state)
{
    (void)state;
    struct filter_floors floors;

    filter_floors_init(&floors, COUNT_MAX);
    filter_floors_set(&floors, 3, 10);
    rocksdb_compactionfilter_t *filter = compaction_begin(&floors, FAMILY_MESSAGES);
    assert_int_equal(fate_of_row(filter, 3, 9, &plain), DROPPED);
    assert_int_equal(fate_of_row(filter, 3, 10, &plain), KEPT);
    filter_floors_set(&floors, 3, 12);
    assert_int_equal(fate_of_row(filter, 3, 11, &plain), KEPT);
    assert_int_equal(fate_of_row(filter, 4, 1, &plain), KEPT);
    assert_int_equal(fate_of_row(filter, 3, 11, &plain), DROPPED);
    assert_int_equal(fate_of_row(filter, 3, 12, &plain), KEPT);
    compaction_end(filter);

    filter = compaction_begin(&floors, FAMILY_MESSAGES);
    assert_int_equal(fate_of_row(filter, 3, 11, &plain), DROPPED);
    compaction_end(filter);

    filter_floors_clear(&floors);
    filter = compaction_begin(&floors, FAMILY_MESSAGES);
    assert_int_equal(fate_of_row(filter, 3, 1, &plain), KEPT);
    compaction_end(filter);
    filter_floors_fini(&floors);
}

static void the_clock_is_looked_at_with_each_channel(void **state)
{
    (void)state;
    struct filter_floors floors;

    filter_floors_init(&floors, COUNT_MAX);
    floors.wall = WALL - 1;
    rocksdb_compactionfilter_t *filter = compaction_begin(&floors, FAMILY_MESSAGES);
    assert_int_equal(fate_of_row(filter, 3, 1, &mortal), KEPT);
    floors.wall = WALL;
    assert_int_equal(fate_of_row(filter, 4, 1, &mortal), CHANGED);
    compaction_end(filter);
    filter_floors_fini(&floors);
}

/* A floor that the filter doesn't know costs disk space for a while, but no message. */
static void more_floors_than_may_be_noted_wait(void **state)
{
    (void)state;
    struct filter_floors floors;

    filter_floors_init(&floors, COUNT_MAX);
    for (uint64_t number = 1; number <= COUNT_MAX + 1; number++)
        filter_floors_set(&floors, number, 10);
    filter_floors_set(&floors, 1, 20);  /* a floor that is there already still rises */
    rocksdb_compactionfilter_t *filter = compaction_begin(&floors, FAMILY_MESSAGES);
    assert_int_equal(fate_of_row(filter, 1, 19, &plain), DROPPED);
    for (uint64_t number = 2; number <= COUNT_MAX; number++)
        assert_int_equal(fate_of_row(filter, number, 9, &plain), DROPPED);
    assert_int_equal(fate_of_row(filter, COUNT_MAX + 1, 9, &plain), KEPT);
    compaction_end(filter);
    filter_floors_fini(&floors);
}

/* --- idempotency keys ------------------------------------------------------------------------------------------- */

static void keys_are_forgotten_in_time(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        msec        forget_at;
        size_t      numbers;    /* numbers in the record; KEY_COUNT: as many as there should be */
        const char *key;        /* the record was written for "a key" */
        enum fate   want;
    } rows[] = {
        { "later", WALL + 1, KEY_COUNT, "a key", KEPT },
        { "now", WALL, KEY_COUNT, "a key", DROPPED },
        { "long ago", 1, KEY_COUNT, "a key", DROPPED },
        { "long ago, of another shape", 1, KEY_COUNT - 1, "a key", KEPT },
        { "long ago, in another's place", 1, KEY_COUNT, "another key", KEPT },
    };
    struct filter_floors floors;

    filter_floors_init(&floors, COUNT_MAX);
    floors.wall = WALL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rocksdb_compactionfilter_t *filter             = compaction_begin(&floors, FAMILY_KEYS);
        uint64_t                    numbers[KEY_COUNT] = { [KEY_FORGET_AT] = (uint64_t)rows[i].forget_at };
        struct span                 changed;
        struct buf                  value;
        buf_init(&value, BYTES_MAX);
        record_put(&value, SPAN("a key"), numbers, rows[i].numbers);
        enum fate fate = fate_of(filter, span_str(rows[i].key), buf_span(&value), &changed);
        if (fate != rows[i].want)
            fail_msg("%s: %d", rows[i].name, (int)fate);
        if (fate == DROPPED) {
            value.at[value.len - 1] ^= 1;  /* what can't be read stays */
            assert_int_equal(fate_of(filter, span_str(rows[i].key), buf_span(&value), &changed), KEPT);
        }
        buf_fini(&value);
        compaction_end(filter);
    }
    filter_floors_fini(&floors);
}

/* --- the ledger ------------------------------------------------------------------------------------------------- */

static void rows_of_the_ledger_go_when_they_expire(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        msec        expires_at;
        const char *key;  /* the row was written for "a key" */
        msec        began_at;  /* the store was opened then */
        enum fate   want;
    } rows[] = {
        { "never", 0, "a key", 1, KEPT },
        { "later", WALL + 1, "a key", 1, KEPT },
        { "now", WALL, "a key", 1, DROPPED },
        { "long ago", 1, "a key", 1, DROPPED },
        { "long ago, and the store has just been opened", 1, "a key", WALL - LEDGER_REST_MS + 1, KEPT },
        { "long ago, and the store was opened a while ago", 1, "a key", WALL - LEDGER_REST_MS, DROPPED },
        { "long ago, in another's place", 1, "another key", 1, KEPT },
    };
    struct filter_floors floors;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        filter_floors_init(&floors, COUNT_MAX);
        filter_floors_set_wall(&floors, rows[i].began_at);
        filter_floors_set_wall(&floors, WALL);
        rocksdb_compactionfilter_t *filter = compaction_begin(&floors, FAMILY_LEDGER);
        const struct ledger_disk_value           cell   = { 7, rows[i].expires_at, SPAN("value") };
        struct span                 changed;
        struct buf                  value;
        buf_init(&value, BYTES_MAX);
        ledger_value_put(&value, SPAN("a key"), &cell);
        enum fate fate = fate_of(filter, span_str(rows[i].key), buf_span(&value), &changed);
        if (fate != rows[i].want)
            fail_msg("%s: %d", rows[i].name, (int)fate);
        value.at[value.len - 1] ^= 1;  /* what can't be read stays */
        assert_int_equal(fate_of(filter, span_str(rows[i].key), buf_span(&value), &changed), KEPT);
        buf_fini(&value);
        compaction_end(filter);
        filter_floors_fini(&floors);
    }
}

static void other_families_are_not_filtered(void **state)
{
    (void)state;
    struct filter_floors floors;

    filter_floors_init(&floors, COUNT_MAX);
    for (int family = 0; family < FAMILY_COUNT; family++)
        if (family != FAMILY_MESSAGES && family != FAMILY_KEYS && family != FAMILY_LEDGER)
            assert_null(rocks_make_filter(&floors, (enum family)family));
    filter_floors_fini(&floors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_has_its_fate),
        cmocka_unit_test(what_expired_leaves_a_husk),
        cmocka_unit_test(a_floor_that_moves_holds_from_the_channels_next_visit),
        cmocka_unit_test(the_clock_is_looked_at_with_each_channel),
        cmocka_unit_test(more_floors_than_may_be_noted_wait),
        cmocka_unit_test(keys_are_forgotten_in_time),
        cmocka_unit_test(rows_of_the_ledger_go_when_they_expire),
        cmocka_unit_test(other_families_are_not_filtered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
