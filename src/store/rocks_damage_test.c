/* Damage on the disk: whatever bit is wrong, each seq is the message that was published or is told as a gap, and
 * everything that can be read is delivered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/must.h"
#include "store/rocks_battery.h"

#include <cmocka.h>

enum {
    CHANNELS = 3, MESSAGES = 2000, BATCH = 500, SEQS_MAX = 16384, PAGE = 700,
    PLACES = 24, TAIL_PLACES = 24, SMALL_PLACES = 12, LOG_PLACES = 24, NEW_EPOCH = 4712,
    TAIL_BYTES = 2500,  /* filter, index, properties, footer */
    BLOCK_MESSAGES = 200,
};

static const char *channel_of(int i)
{
    static const char *const names[CHANNELS] = { "topic:a", "topic:b", "user:c" };

    return names[i];
}

/* --- what was published ------------------------------------------------------------------------------------------ */

/* The channels' messages are mixed, so that each table has some of each. */
static void publish_batch(struct bench *bench, uint64_t from)
{
    static char      texts[CHANNELS * BATCH][PAYLOAD_MAX];
    struct publish   publishes[CHANNELS * BATCH];
    struct published said[CHANNELS * BATCH];

    for (size_t i = 0; i < CHANNELS * BATCH; i++) {
        const char *channel = channel_of((int)(i % CHANNELS));
        publishes[i]        = (struct publish){ .channel = channel,
                                                .payload = payload_of(texts[i], PAYLOAD_MAX, channel, from + i / CHANNELS) };
    }
    bench_publish_all(bench, publishes, CHANNELS * BATCH, said);
    for (size_t i = 0; i < CHANNELS * BATCH; i++)
        assert_int_equal(said[i].answer.seq, from + i / CHANNELS);
}

static void publish_all_into_log(struct bench *bench)
{
    for (uint64_t seq = 1; seq <= MESSAGES; seq += BATCH)
        publish_batch(bench, seq);
}

static void publish_all(struct bench *bench)
{
    publish_all_into_log(bench);
    reopen(bench);  /* puts all of it into tables */
}

/* --- what is read ------------------------------------------------------------------------------------------------ */

enum seen { SEEN_NOTHING, SEEN_MESSAGE, SEEN_GAP };

struct channel_view {
    uint64_t head, lost;
    char     seen[SEQS_MAX];
};

static void view_take(struct channel_view *view, const char *channel, const struct entry *entry)
{
    char text[PAYLOAD_MAX];

    const uint64_t from = entry->message != NULL ? entry->message->seq : entry->gap.from;
    for (uint64_t seq = from; seq <= entry_last(entry); seq++) {
        assert_true(seq < SEQS_MAX && view->seen[seq] == SEEN_NOTHING);
        view->seen[seq] = entry->message != NULL ? SEEN_MESSAGE : SEEN_GAP;
        view->lost += entry->message == NULL;
    }
    if (entry->message == NULL)
        assert_int_equal(entry->gap.why, GAP_CORRUPT);
    else
        assert_true(span_eq(message_payload(entry->message), span_str(payload_of(text, sizeof text, channel, from))));
}

/* Reads the whole channel, up or down. RC_OK: `ret` tells of each seq up to the head. */
static enum rc view_read(struct bench *bench, const char *channel, enum read_way way, struct channel_view *ret)
{
    uint64_t at = 0;

    memset(ret, 0, sizeof *ret);
    do {
        struct store_read read = bench_read(bench, channel, way, at, PAGE, 1 << 20);
        if (read.rc != RC_OK)
            return read.rc;
        ret->head = read.head;
        if (read.head == 0)
            return RC_OK;
        assert_true(read.entry_count > 0);
        for (size_t i = 0; i < read.entry_count; i++)
            view_take(ret, channel, &read.entries[i]);
        const struct entry *first = &read.entries[0];
        at = way == READ_AFTER        ? entry_last(&read.entries[read.entry_count - 1])
             : first->message != NULL ? first->message->seq
                                      : first->gap.from;
        store_read_fini(&read);
    } while (way == READ_AFTER ? at < ret->head : at > 1);
    for (uint64_t seq = 1; seq <= ret->head; seq++)
        assert_int_not_equal(ret->seen[seq], SEEN_NOTHING);
    return RC_OK;
}

/* How many of the channel's seqs are lost; both ways tell the same. */
static uint64_t channel_lost(struct bench *bench, const char *channel)
{
    static struct channel_view up, down;

    assert_int_equal(view_read(bench, channel, READ_AFTER, &up), RC_OK);
    assert_int_equal(view_read(bench, channel, READ_BEFORE, &down), RC_OK);
    assert_true(up.head >= MESSAGES && up.head == down.head);
    assert_memory_equal(up.seen, down.seen, sizeof up.seen);
    return up.lost;
}

static uint64_t all_lost(struct bench *bench)
{
    uint64_t lost = 0;

    for (int i = 0; i < CHANNELS; i++)
        lost += channel_lost(bench, channel_of(i));
    return lost;
}

static uint64_t damage_count(struct bench *bench)
{
    struct store_stats stats;

    bench->store->ops->stats(bench->store, &stats);
    return stats.damage_count;
}

/* New messages get seqs above all that were ever given. */
static void goes_on(struct bench *bench)
{
    for (int i = 0; i < CHANNELS; i++) {
        struct published said = bench_publish(bench, (struct publish){ .channel = channel_of(i), .payload = "new" });
        assert_int_equal(said.outcome, APPEND_DONE);
        assert_true(said.answer.seq > MESSAGES);
    }
}

/* --- tables ------------------------------------------------------------------------------------------------------ */

/* The table with the most bytes: one of messages. */
static char *largest_table(const char *directory)
{
    struct names tables = names_of(directory, ".sst");
    struct stat  about, most = { .st_size = 0 };
    char        *largest = NULL;

    for (size_t i = 0; i < tables.count; i++) {
        assert_int_equal(stat(tables.at[i], &about), 0);
        if (about.st_size <= most.st_size)
            continue;
        most = about;
        free(largest);
        largest = strdup(tables.at[i]);
    }
    names_free(&tables);
    assert_non_null(largest);
    return largest;
}

/* A copy of the directory with one bit flipped in that file. */
static void copy_spoilt(struct bench *bench, const char *copy, const char *file, struct buf *whole, size_t at)
{
    char *spoilt = NULL;

    copy_tree(bench->context, copy);
    must(asprintf(&spoilt, "%s/db/%s", copy, strrchr(file, '/') + 1) >= 0);
    flip(spoilt, whole, at);
    free(spoilt);
}

static void a_flipped_bit_in_a_block_costs_that_block_threat_6(void **state)
{
    struct bench *bench = *state;
    size_t        exact = 0;

    publish_all(bench);
    bench_shut(bench);
    char      *copy = copy_path(bench), *table = largest_table(bench->context);
    struct buf whole = file_read(table);
    for (size_t i = 0; i < PLACES; i++) {
        copy_spoilt(bench, copy, table, &whole, (whole.len - TAIL_BYTES) * i / PLACES + i);
        bench->store        = open_at(bench, copy);
        const uint64_t lost = all_lost(bench);
        assert_true(lost > 0);
        assert_true(damage_count(bench) > 0);
        exact += lost <= BLOCK_MESSAGES;
        goes_on(bench);
        bench_shut(bench);
    }
    /* The rest were in blocks that hold the end of one channel and the beginning of another. */
    assert_true(exact >= PLACES / 2);
    buf_fini(&whole);
    free(table);
    directory_remove(copy);
    free(copy);
    bench->store = open_at(bench, bench->context);
    assert_int_equal(all_lost(bench), 0);
    assert_int_equal(damage_count(bench), 0);
}

/* Retention by age goes on behind the damage. */
static void retention_passes_damage(void **state)
{
    struct bench *bench = *state;

    publish_all(bench);
    bench_shut(bench);
    char      *table = largest_table(bench->context);
    struct buf whole = file_read(table);
    flip(table, &whole, whole.len / 6);
    bench->store = open_at(bench, bench->context);
    assert_true(all_lost(bench) > 0);
    bench->wall += 6 * 24 * 3600 * INT64_C(1000);
    publish_run(bench, "topic:a", MESSAGES + 1, MESSAGES + 10);
    bench->wall += 2 * 24 * 3600 * INT64_C(1000);
    bench_tend_until_first(bench, "topic:a", MESSAGES + 1);
    bench_tend_until_first(bench, "user:c", MESSAGES + 1);
    expect_page(bench, "topic:a", READ_AFTER, MESSAGES - 2, 3, "[1999-2000 trimmed] 2001 2002");
    buf_fini(&whole);
    free(table);
}

/* --- files that RocksDB refuses ----------------------------------------------------------------------------------- */

static uint64_t epoch_of(struct bench *bench)
{
    return bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1).epoch;
}

/* Opens a directory with damage. False: it is refused, with a sentence that says what to do. */
static bool opens(struct bench *bench, const char *path, bool may_repair, char ret_why[WHY_BYTES])
{
    struct rocks_store_options options = options_at(bench, path);

    options.may_repair = may_repair;
    options.epoch_new  = NEW_EPOCH;
    if (rocks_store_open(&options, &bench->store, ret_why, WHY_BYTES) == RC_OK)
        return true;
    assert_non_null(strstr(ret_why, path));
    return false;
}

/* As channel_lost(), but commits at the end may be gone, if the epoch says so. */
static uint64_t channel_lost_or_renewed(struct bench *bench, const char *channel)
{
    static struct channel_view up;

    assert_int_equal(view_read(bench, channel, READ_AFTER, &up), RC_OK);
    if (up.head >= MESSAGES)
        return up.lost;
    assert_int_equal(epoch_of(bench), NEW_EPOCH);
    return up.lost + MESSAGES - up.head;
}

/* The epoch is the old one, or whatever seqs are given again are given in a new one. */
static void is_honest(struct bench *bench, const char *why)
{
    uint64_t lost = 0;

    for (int i = 0; i < CHANNELS; i++)
        lost += channel_lost_or_renewed(bench, channel_of(i));
    if (lost > 0)
        assert_true(damage_count(bench) > 0 || why[0] != '\0');
    for (int i = 0; i < CHANNELS; i++) {
        struct published said = bench_publish(bench, (struct publish){ .channel = channel_of(i), .payload = "new" });
        assert_int_equal(said.outcome, APPEND_DONE);
        assert_true(said.answer.seq > MESSAGES || said.answer.epoch == NEW_EPOCH);
    }
}

/* Damage in the rows of channels is found only when a channel is read. */
static bool all_are_readable(struct bench *bench)
{
    for (int i = 0; i < CHANNELS; i++)
        if (bench_read(bench, channel_of(i), READ_AFTER, 0, 0, 1).rc != RC_OK)
            return false;
    return true;
}

/* A bit of a file is flipped at `count` places from `from` on. Gives how many were refused without may_repair. */
static size_t flip_and_open(struct bench *bench, const char *file, size_t from, size_t count)
{
    char      *copy  = copy_path(bench);
    struct buf whole = file_read(file);
    char       why[WHY_BYTES];
    size_t     refused = 0;

    for (size_t i = 0; i < count; i++) {
        copy_spoilt(bench, copy, file, &whole, from + (whole.len - from) * i / count);
        bool is_open = opens(bench, copy, false, why);
        if (!is_open && strstr(why, "--repair") == NULL)
            fail_msg("%s: %s", file, why);
        if (is_open && !all_are_readable(bench)) {
            assert_true(damage_count(bench) > 0);
            bench_shut(bench);
            is_open = false;
        }
        if (!is_open) {
            refused++;
            is_open = opens(bench, copy, true, why);
        }
        if (!is_open)
            fail_msg("a flip at %zu of %zu in %s: %s", from + (whole.len - from) * i / count, whole.len, file, why);
        is_honest(bench, why);
        bench_shut(bench);
    }
    buf_fini(&whole);
    directory_remove(copy);
    free(copy);
    return refused;
}

static char *killed_path(const struct bench *bench)
{
    char *path = NULL;

    must(asprintf(&path, "%s.killed", (const char *)bench->context) >= 0);
    return path;
}

/* The directory as it is after a kill: everything is in the write-ahead log. */
static void a_damaged_log_is_read_past_the_damage_threats_4_and_6(void **state)
{
    struct bench *bench = *state;

    publish_all_into_log(bench);
    char *killed = killed_path(bench);
    copy_running(bench, killed);
    bench_shut(bench);
    char *lived    = bench->context;
    bench->context = killed;
    struct names logs = names_of(killed, ".log");
    assert_true(logs.count > 0);
    for (size_t i = 0; i < logs.count; i++)
        assert_int_equal(flip_and_open(bench, logs.at[i], 0, LOG_PLACES / logs.count), 0);
    names_free(&logs);
    bench->context = lived;
    directory_remove(killed);
    free(killed);
}

static char *manifest_path(const struct bench *bench)
{
    char      *current = path_of(bench, "db/CURRENT"), *path = NULL;
    struct buf name    = file_read(current);

    must(asprintf(&path, "%s/db/%.*s", (const char *)bench->context, (int)name.len - 1, name.at) >= 0);
    buf_fini(&name);
    free(current);
    return path;
}

static void cut_copy(struct bench *bench, const char *copy, const char *file, size_t bytes)
{
    char *path = NULL;

    copy_tree(bench->context, copy);
    must(asprintf(&path, "%s/db/%s", copy, strrchr(file, '/') + 1) >= 0);
    assert_int_equal(truncate(path, (off_t)bytes), 0);
    free(path);
}

/* A manifest that ends early does not name all families: what the log holds for them must not be passed over in silence. */
static void a_manifest_that_was_cut_loses_nothing_in_silence(void **state)
{
    struct bench *bench = *state;
    char          why[WHY_BYTES];
    struct stat   about;
    size_t        refused = 0;

    publish_all_into_log(bench);
    char *killed = killed_path(bench), *copy = copy_path(bench), *lived = bench->context;
    copy_running(bench, killed);
    bench_shut(bench);
    bench->context   = killed;
    char *manifest   = manifest_path(bench);
    assert_int_equal(stat(manifest, &about), 0);
    for (size_t i = 0; i < SMALL_PLACES; i++) {
        const size_t bytes = (size_t)about.st_size * i / SMALL_PLACES;
        cut_copy(bench, copy, manifest, bytes);
        if (!opens(bench, copy, false, why)) {
            refused++;
            if (strstr(why, "--repair") == NULL)
                fail_msg("cut at %zu: %s", bytes, why);
            if (!opens(bench, copy, true, why)) {
                print_message("cut at %zu: %s\n", bytes, why);  /* RocksDB can't make it anew from logs alone, and it says so */
                if (opens(bench, copy, true, why) || strstr(why, "/lost") == NULL)
                    fail_msg("cut at %zu, repaired twice: %s", bytes, why);
                continue;
            }
        }
        is_honest(bench, why);
        bench_shut(bench);
    }
    assert_true(refused > SMALL_PLACES / 2);
    bench->context = lived;
    directory_remove(copy);
    directory_remove(killed);
    free(manifest);
    free(copy);
    free(killed);
}

/* What stands behind the rows of a table: if RocksDB can't open it for that, the table is given up. */
static void a_damaged_end_of_a_table_costs_the_table_threat_6(void **state)
{
    struct bench *bench = *state;
    struct stat   about;

    publish_all(bench);
    bench_shut(bench);
    char *table = largest_table(bench->context);
    assert_int_equal(stat(table, &about), 0);
    const size_t refused = flip_and_open(bench, table, (size_t)about.st_size - TAIL_BYTES, TAIL_PLACES);
    print_message("%zu of %d flips need a repair\n", refused, TAIL_PLACES);
    assert_true(refused < TAIL_PLACES / 2);
    free(table);
}

/* Tables of all that is no message, and the manifest: with --repair each of them opens. */
static void everything_else_opens_with_a_repair_threats_6_and_7(void **state)
{
    struct bench *bench = *state;

    publish_all(bench);
    bench_shut(bench);
    char        *largest = largest_table(bench->context);
    struct names tables  = names_of(bench->context, ".sst");
    for (size_t i = 0; i < tables.count; i++)
        if (strcmp(tables.at[i], largest) != 0)
            flip_and_open(bench, tables.at[i], 0, SMALL_PLACES);
    names_free(&tables);
    char *manifest = manifest_path(bench);
    flip_and_open(bench, manifest, 0, SMALL_PLACES);
    free(manifest);
    free(largest);
}

static int setup(void **state)
{
    struct bench *bench = malloc(sizeof *bench);

    assert_non_null(bench);
    bench_open(bench, &rocks_maker);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    bench_close(*state);
    free(*state);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);

#define DAMAGE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        DAMAGE_TEST(a_flipped_bit_in_a_block_costs_that_block_threat_6),
        DAMAGE_TEST(retention_passes_damage),
        DAMAGE_TEST(a_damaged_end_of_a_table_costs_the_table_threat_6),
        DAMAGE_TEST(everything_else_opens_with_a_repair_threats_6_and_7),
        DAMAGE_TEST(a_damaged_log_is_read_past_the_damage_threats_4_and_6),
        DAMAGE_TEST(a_manifest_that_was_cut_loses_nothing_in_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
