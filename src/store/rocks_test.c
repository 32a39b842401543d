/* The RocksDB maker: runs the battery, and tests what only a disk can do to it. */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "base/rng.h"
#include "lib/slice.h"
#include "store/ledger_battery.h"
#include "store/rocks_battery.h"
#include "store/rocks_priv.h"
#include "store/wake_soon.h"

#include <cmocka.h>

/* Publishes the same message again until it is accepted. */
static struct published publish_until_done(struct bench *bench, struct publish publish)
{
    time_t           until = time(NULL) + DEADLINE_S;
    struct published said;

    do
        said = bench_publish(bench, publish);
    while (said.outcome != APPEND_DONE && time(NULL) < until);
    assert_int_equal(said.outcome, APPEND_DONE);
    return said;
}

/* The same for a row: NO_SPACE and AWAY say that nothing was written and that it will work again by itself. Under the
 * thread sanitizer a commit was once refused for want of space behind one that was taken. */
static void change_until_done(struct bench *bench, struct ledger_change change)
{
    time_t              until = time(NULL) + DEADLINE_S;
    enum ledger_outcome outcome;

    do
        outcome = bench_change(bench, change);
    while ((outcome == LEDGER_NO_SPACE || outcome == LEDGER_AWAY) && time(NULL) < until);
    assert_int_equal(outcome, LEDGER_DONE);
}

/* --- across a reopen -------------------------------------------------------------------------------------------- */

static void all_is_there_after_a_reopen(void **state)
{
    struct bench *bench = *state;

    for (int i = 0; i < 10; i++)
        bench_publish(bench, (struct publish){ .channel = i % 2 ? "topic:a" : "user:b", .payload = "x" });
    struct published before = bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x" });
    reopen(bench);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1 2 3 4 5 6");
    expect_page(bench, "user:b", READ_BEFORE, 0, 10, "1 2 3 4 5");
    struct published after = bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x" });
    assert_int_equal(after.answer.seq, 7);
    assert_true(after.answer.epoch == before.answer.epoch);
    assert_true(after.answer.id > before.answer.id);
}

static void a_key_replays_after_a_reopen_threat_17(void **state)
{
    struct bench        *bench = *state;
    const struct publish once  = { .channel = "topic:a", .payload = "x", .key = "k", .publisher = "p" };

    struct published first = bench_publish(bench, once);
    reopen(bench);
    struct published again = bench_publish(bench, once);
    assert_int_equal(again.outcome, APPEND_REPLAYED);
    assert_memory_equal(&again.answer, &first.answer, sizeof first.answer);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1");
}

static void recall_and_expiry_hold_after_a_reopen_threat_18(void **state)
{
    struct bench *bench = *state;

    bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "one" });
    bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "two", .ttl_ms = 1000 });
    struct published first = bench_publish(bench, (struct publish){ .channel = "topic:a", .recall = 1 });
    reopen(bench);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1(recalled) 2 3(recalls 1)");
    bench->wall += 1000;
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1(recalled) [2-2 expired] 3(recalls 1)");
    struct published again = bench_publish(bench, (struct publish){ .channel = "topic:a", .recall = 1 });
    assert_int_equal(again.outcome, APPEND_REPLAYED);
    assert_memory_equal(&again.answer, &first.answer, sizeof first.answer);
}

static void bytes_are_remembered(void **state)
{
    struct bench *bench = *state;

    for (int i = 0; i < 20; i++)
        bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = i < 10 ? "0123456789" : "x" });
    reopen(bench);
    assert_int_equal(bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1).bytes, 110);
}

static void the_newest_time_is_remembered(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(bench->store->wall_seen, 0);
    bench->store->ops->tick(bench->store, bench->wall);
    reopen(bench);
    assert_int_equal(bench->store->wall_seen, bench->wall);
}

/* --- space ------------------------------------------------------------------------------------------------------ */

static uint64_t disk_bytes(struct bench *bench)
{
    struct store_stats stats;

    bench->store->ops->stats(bench->store, &stats);
    return stats.disk_bytes;
}

static void publish_kibs(struct bench *bench, const char *channel, size_t count)
{
    char text[KIB + 1];

    for (size_t i = 0; i < count; i++) {
        for (size_t c = 0; c < KIB; c++)
            text[c] = (char)('!' + (i * 31 + c * (c + i)) % 90);
        text[KIB] = '\0';
        assert_int_equal(bench_publish(bench, (struct publish){ .channel = channel, .payload = text }).outcome,
                         APPEND_DONE);
    }
}

static void tend_until_disk_below(struct bench *bench, uint64_t bytes)
{
    time_t until = time(NULL) + DEADLINE_S;

    while (disk_bytes(bench) == 0 || disk_bytes(bench) > bytes) {
        assert_true(time(NULL) < until);
        bench->store->ops->tick(bench->store, bench->wall);
        bench_read(bench, "topic:none", READ_AFTER, 0, 0, 1);
    }
}

static void trimmed_space_comes_back_and_the_head_stays(void **state)
{
    struct bench *bench = *state;

    publish_kibs(bench, "brief:a", 3000);
    publish_run(bench, "topic:kept", 1, 20);
    bench->store->ops->tick(bench->store, bench->wall);
    bench->wall += 2000;
    tend_until_disk_below(bench, 1500 * KIB);
    struct store_read info = bench_read(bench, "brief:a", READ_AFTER, 0, 0, 1);
    assert_int_equal(info.head, 3000);
    assert_int_equal(info.first, 3001);
    reopen(bench);
    info = bench_read(bench, "brief:a", READ_AFTER, 0, 0, 1);
    assert_int_equal(info.head, 3000);
    assert_int_equal(info.first, 3001);
    assert_int_equal(bench_publish(bench, (struct publish){ .channel = "brief:a", .payload = "x" }).answer.seq, 3001);
    expect_page(bench, "brief:a", READ_AFTER, 0, 10, "[1-3000 trimmed] 3001");
    expect_all(bench, "topic:kept", 20);
}

static void expired_payloads_leave_the_disk_but_not_the_log(void **state)
{
    struct bench *bench = *state;

    publish_kibs(bench, "few:dead", 1000);  /* so that there is a reason to compact */
    for (int i = 0; i < 10; i++)
        bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "secret", .ttl_ms = i % 2 ? 0 : 1000 });
    bench->wall += 1000;
    tend_until_disk_below(bench, 700 * KIB);
    expect_page(bench, "topic:a", READ_AFTER, 0, 4, "[1-1 expired] 2 [3-3 expired] 4");
    reopen(bench);
    expect_page(bench, "topic:a", READ_AFTER, 0, 4, "[1-1 expired] 2 [3-3 expired] 4");
    assert_int_equal(bench_publish(bench, (struct publish){ .channel = "topic:a", .recall = 1 }).outcome,
                     APPEND_NO_TARGET);
}

/* Simulates a crash: copies what a running store has on disk, and opens the copy. */
static void crash(struct bench *bench)
{
    char *copy = copy_path(bench);

    copy_running(bench, copy);
    bench_shut(bench);
    copy_tree(copy, bench->context);
    directory_remove(copy);
    free(copy);
    bench->store = open_at(bench, bench->context);
}

/* Maintenance visits channels in the order of their names. This channel is the last one: once it was visited, all
 * were. */
static void tend_light_channels(struct bench *bench)
{
    char text[101] = "";

    memset(text, 'z', sizeof text - 1);
    for (int i = 0; i < 4; i++) {  /* a step saves its results after the last channel, so the next step sees them */
        struct published said = bench_publish(bench, (struct publish){ .channel = "light:zzz", .payload = text });
        bench_tend_until_first(bench, "light:zzz", said.answer.seq);
    }
}

static void a_guess_of_bytes_lets_no_message_go(void **state)
{
    struct bench *bench = *state;

    for (int i = 0; i < 30; i++)
        bench_publish(bench, (struct publish){ .channel = "light:a", .payload = "x" });
    bench_publish(bench, (struct publish){ .channel = "light:a", .payload = "a large one, unlike all others of them" });
    crash(bench);
    tend_light_channels(bench);
    struct store_read info = bench_read(bench, "light:a", READ_AFTER, 0, 0, 1);
    assert_int_equal(info.first, 1);
    assert_int_equal(info.bytes, 68);

    /* The limit also holds for new messages. */
    for (int i = 0; i < 5; i++)
        bench_publish(bench, (struct publish){ .channel = "light:a", .payload = "0123456789" });
    bench_tend_until_first(bench, "light:a", 19);
    assert_int_equal(bench_read(bench, "light:a", READ_AFTER, 0, 0, 1).bytes, 100);
}

static void two_that_let_the_same_go_count_it_once(void **state)
{
    struct bench        *bench = *state;
    struct rocks        *store = rocks_of(bench->store);
    struct channel_name *name  = NULL;
    struct channel_state was, raised;

    for (int i = 0; i < 10; i++)
        bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "0123456789" });
    assert_int_equal(channel_name_new(&bench->spaces, &bench->hash_key, SPAN("topic:a"), &name), CHANNEL_NAME_OK);
    assert_int_equal(channel_state_get(store, name, store->db.get, &was), RC_OK);
    raised = was;
    state_raise_floor(&raised, 6);
    for (int i = 0; i < 2; i++)
        channel_raise_floor(store, name, &was, &raised);
    channel_name_unref(name);
    struct store_read info = bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1);
    assert_true(info.first == 6 && info.bytes == 50);
}

static void what_expired_weighs_what_it_weighed(void **state)
{
    struct bench *bench = *state;

    publish_kibs(bench, "few:dead", 1000);  /* so that there is a reason to compact */
    for (int i = 0; i < 5; i++)
        bench_publish(bench, (struct publish){ .channel = "light:a", .payload = "0123456789", .ttl_ms = 1000 });
    bench->wall += 1000;
    tend_until_disk_below(bench, 700 * KIB);
    for (int i = 0; i < 7; i++)
        bench_publish(bench, (struct publish){ .channel = "light:a", .payload = "0123456789" });
    bench_tend_until_first(bench, "light:a", 3);
    expect_page(bench, "light:a", READ_AFTER, 0, 10, "[1-2 trimmed] [3-5 expired] 6 7 8 9 10 11 12");
}

/* Readers replay a channel while retention trims it: each seq comes as a message or as trimmed, never as damage. */
struct racer {
    struct bench *bench;
    pthread_t     thread;
    atomic_bool  *is_over;
    uint64_t      seen;
};

static void *race_run(void *context)
{
    struct racer *racer = context;

    while (!atomic_load(racer->is_over) || racer->seen == 0) {  /* it may not have run before the end */
        struct audit audit = channel_audit(racer->bench, "few:race", GAP_TRIMMED);
        must(audit.rc == RC_OK && audit.message_count + audit.gap_count >= audit.head);
        racer->seen += audit.message_count;
    }
    return NULL;
}

static void retention_may_race_readers_threat_13(void **state)
{
    struct bench *bench = *state;
    struct racer  racers[3];
    atomic_bool   is_over = false;

    for (size_t i = 0; i < 3; i++) {
        racers[i] = (struct racer){ .bench = bench, .is_over = &is_over };
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race_run, &racers[i]), 0);
    }
    for (uint64_t from = 1; from < 1500; from += 50) {
        publish_run(bench, "few:race", from, from + 49);
        bench->store->ops->tick(bench->store, bench->wall);
    }
    atomic_store(&is_over, true);
    for (size_t i = 0; i < 3; i++) {
        pthread_join(racers[i].thread, NULL);
        assert_true(racers[i].seen > 0);
    }
}

/* --- the directory ---------------------------------------------------------------------------------------------- */

static enum rc open_fails(struct bench *bench, const char *path, char *ret_why)
{
    const struct rocks_store_options options = options_at(bench, path);
    struct store                    *store   = NULL;

    enum rc rc = rocks_store_open(&options, &store, ret_why, WHY_BYTES);
    if (rc == RC_OK)
        store->ops->close(store);
    else
        assert_non_null(strstr(ret_why, path));
    return rc;
}

static void a_second_opener_is_refused_threat_15(void **state)
{
    struct bench *bench = *state;
    char          why[WHY_BYTES];

    assert_int_equal(open_fails(bench, bench->context, why), RC_BUSY);
    assert_non_null(strstr(why, "another process"));
    publish_run(bench, "topic:a", 1, 3);

    char *file = path_of(bench, "lock"), *nowhere = path_of(bench, "no/such");
    assert_int_equal(open_fails(bench, file, why), RC_IO);
    assert_int_equal(open_fails(bench, nowhere, why), RC_IO);
    free(file);
    free(nowhere);
}

/* What RocksDB has removed meanwhile has no mode. */
static int mode_check(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)where;
    if (kind == FTW_NS)
        return access(path, F_OK) == 0;
    return (about->st_mode & 0777) != (kind == FTW_D ? 0700 : 0600);
}

static void nobody_else_may_read_threat_16(void **state)
{
    struct bench *bench = *state;

    publish_kibs(bench, "topic:a", 1000);  /* so that there are tables, not only the log */
    assert_int_equal(nftw(bench->context, mode_check, 16, FTW_PHYS), 0);
}

static void a_log_that_was_lost_is_never_silently_empty_threat_7(void **state)
{
    struct bench *bench = *state;
    static const struct { const char *name; const char *spoil; enum rc rc; const char *why; } rows[] = {
        { "no database", "rm -rf '%s/db'", RC_CORRUPT, "exist" },
        { "no CURRENT", "rm '%s/db/CURRENT'", RC_OK, "CURRENT" },
        { "empty CURRENT", ": > '%s/db/CURRENT'", RC_OK, "CURRENT" },
        { "no MANIFEST", "rm '%s'/db/MANIFEST-*", RC_CORRUPT, "MANIFEST" },
        { "empty MANIFEST", "for f in '%s'/db/MANIFEST-*; do : > \"$f\"; done", RC_CORRUPT, "" },
        { "newer format", "echo 'longwire data directory, format 5' > '%s/format'", RC_CORRUPT, "format 5" },
        { "garbled format", "echo 'hello' > '%s/format'", RC_CORRUPT, "format" },
        { "empty format", ": > '%s/format'", RC_CORRUPT, "format" },
        { "no format", "rm '%s/format'", RC_OK, "" },
        { "no synced", "rm '%s/synced'", RC_OK, "" },
        { "garbled synced", "echo 'hello' > '%s/synced'", RC_OK, "" },
    };

    publish_kibs(bench, "topic:bulk", 600);
    publish_run(bench, "topic:a", 1, 5);
    bench_shut(bench);
    char *copy = copy_path(bench);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char  why[WHY_BYTES];
        char *command = NULL;
        copy_tree(bench->context, copy);
        must(asprintf(&command, rows[i].spoil, copy) >= 0);
        assert_int_equal(system(command), 0);
        free(command);
        enum rc rc = open_fails(bench, copy, why);
        if (rc != rows[i].rc || strstr(why, rows[i].why) == NULL)
            fail_msg("%s: %s: %s", rows[i].name, rc_text(rc), why);
        if (rc != RC_OK)
            continue;
        bench->store = open_at(bench, copy);
        expect_all(bench, "topic:a", 5);
        bench_shut(bench);
    }
    directory_remove(copy);
    free(copy);
    bench->store = open_at(bench, bench->context);
}

static void a_log_that_was_reset_has_another_epoch_threat_14(void **state)
{
    struct bench *bench = *state;

    struct published before = bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x" });
    bench_shut(bench);
    directory_remove(bench->context);
    struct rocks_store_options options = options_at(bench, bench->context);
    char                       why[WHY_BYTES];
    options.epoch_new = 4712;
    assert_int_equal(rocks_store_open(&options, &bench->store, why, sizeof why), RC_OK);
    struct published after = bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x" });
    assert_int_equal(after.answer.seq, 1);
    assert_true(after.answer.epoch != before.answer.epoch);
}

/* --- damage ----------------------------------------------------------------------------------------------------- */

enum { DAMAGE_CHANNELS = 20, DAMAGE_MESSAGES = 60, FLIPS_A_FILE = 30 };

static void damage_channel(char *text, size_t size, int i)
{
    snprintf(text, size, "topic:damage-%d", i);
}

/* Audits all channels after one byte was flipped; returns how many seqs came as gaps or in a channel that can't be
 * read. */
static uint64_t damage_audit(struct bench *bench)
{
    uint64_t gaps = 0;

    for (int i = 0; i < DAMAGE_CHANNELS; i++) {
        char channel[64];
        damage_channel(channel, sizeof channel, i);
        struct audit audit = channel_audit(bench, channel, GAP_CORRUPT);
        if (audit.rc == RC_OK) {
            assert_true(audit.head >= DAMAGE_MESSAGES);
            assert_true(audit.message_count + audit.gap_count == audit.head);
        }
        gaps += audit.rc != RC_OK ? DAMAGE_MESSAGES : DAMAGE_MESSAGES - audit.message_count;
    }
    return gaps;
}

/* If the end of a log can't be read, new messages get seqs above all that were ever given. */
static void seqs_are_not_given_twice(struct bench *bench)
{
    for (int i = 0; i < DAMAGE_CHANNELS; i++) {
        char channel[64];
        damage_channel(channel, sizeof channel, i);
        struct published said = bench_publish(bench, (struct publish){ .channel = channel, .payload = "new" });
        assert_true(said.outcome == APPEND_BROKEN || said.answer.seq > DAMAGE_MESSAGES);
    }
}

/* Retention removes everything, so that compaction meets the damage and RocksDB stops all writes: soon the store takes
 * new messages again. */
static void compaction_meets_damage(struct bench *bench)
{
    const msec before = bench->wall;

    bench->wall += 8 * 24 * 3600 * INT64_C(1000);
    for (int i = 0; i < 20; i++) {
        bench->store->ops->tick(bench->store, bench->wall);
        publish_until_done(bench, (struct publish){ .channel = "topic:new", .payload = "x" });
    }
    bench->wall = before;
}

/* Opens the store with the damage. Either it reads what it can, reports the rest as gaps, and takes new messages; or it
 * refuses to open. */
static void damage_check(struct bench *bench, const char *path, uint64_t *partly)
{
    const struct rocks_store_options options = options_at(bench, path);
    char                             why[WHY_BYTES];

    if (rocks_store_open(&options, &bench->store, why, sizeof why) != RC_OK) {
        assert_non_null(strstr(why, path));
        return;
    }
    uint64_t lost = damage_audit(bench);
    /* Damage in a table of channels may make all of these few channels unreadable; damage in a table of messages only
     * some seqs. */
    if (lost > 0 && lost < DAMAGE_CHANNELS * DAMAGE_MESSAGES) {
        ++*partly;
        seqs_are_not_given_twice(bench);
        compaction_meets_damage(bench);
    }
    bench_shut(bench);
}

static void damage_prepare(struct bench *bench)
{
    char channel[64];

    for (int i = 0; i < DAMAGE_CHANNELS; i++) {
        damage_channel(channel, sizeof channel, i);
        publish_run(bench, channel, 1, DAMAGE_MESSAGES);
    }
    publish_kibs(bench, "topic:bulk", 600);  /* pushes the rest out of memory, into tables */
}

static void a_flipped_bit_in_a_table_is_found_threat_6(void **state)
{
    struct bench *bench = *state;
    uint64_t      partly = 0;

    damage_prepare(bench);
    bench_shut(bench);
    char        *copy   = copy_path(bench);
    struct names tables = names_of(bench->context, ".sst");
    assert_true(tables.count > 0);
    for (size_t i = 0; i < tables.count; i++) {
        struct buf whole = file_read(tables.at[i]);
        for (size_t n = 0; n < FLIPS_A_FILE / tables.count + 1; n++) {
            char *spoiled = NULL;
            copy_tree(bench->context, copy);
            must(asprintf(&spoiled, "%s/db/%s", copy, strrchr(tables.at[i], '/') + 1) >= 0);
            flip(spoiled, &whole, (whole.len - 1) * n / (FLIPS_A_FILE / tables.count + 1));
            damage_check(bench, copy, &partly);
            free(spoiled);
        }
        buf_fini(&whole);
    }
    assert_true(partly > 0);
    names_free(&tables);
    directory_remove(copy);
    free(copy);
    bench->store = open_at(bench, bench->context);
    assert_int_equal(damage_audit(bench), 0);
}

/* What the log holds beside the damage is there, in a new epoch, and the sentence names the file. */
static void log_opens_renewed(struct bench *bench, const char *path, const char *log)
{
    struct rocks_store_options options = options_at(bench, path);
    char                       why[WHY_BYTES];

    options.epoch_new = 4712;
    assert_int_equal(rocks_store_open(&options, &bench->store, why, sizeof why), RC_OK);
    assert_non_null(strstr(why, log));
    assert_non_null(strstr(why, "offset"));
    struct audit audit = channel_audit(bench, "topic:a", GAP_CORRUPT);
    assert_int_equal(audit.rc, RC_OK);
    assert_true(audit.message_count < 5 || audit.head == 5);
    struct published said = bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x" });
    assert_true(said.answer.epoch >= 4712);
    bench_shut(bench);
}

/* A log of which the first `len` bytes were written, and so many zeros ahead of them. */
static void log_cut(const char *path, const struct buf *whole, size_t len, size_t zeros)
{
    file_write(path, span_of(whole->at, len));
    assert_int_equal(truncate(path, (off_t)(len + zeros)), 0);
}

/* Nothing that was acknowledged is missing, and the store knows that. */
static void log_opens_whole(struct bench *bench, const char *path, uint64_t epoch)
{
    bench->store = open_at(bench, path);
    expect_all(bench, "topic:a", 5);
    assert_true(bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1).epoch == epoch);
    bench_shut(bench);
}

/* Where the zeros begin that are kept ahead of a log. */
static size_t records_end(const char *log)
{
    struct buf bytes = file_read(log);
    size_t     end   = bytes.len;

    while (end > 0 && bytes.at[end - 1] == 0)
        end--;
    buf_fini(&bytes);
    return end;
}

/* Damage in the log, before the last acknowledged commit: what is whole is kept, the file as it was too, and the epoch is
 * new. */
static void a_flipped_bit_in_the_log_costs_its_commit_threats_4_and_6(void **state)
{
    struct bench *bench = *state;

    publish_run(bench, "topic:a", 1, 5);
    struct names logs = names_of(bench->context, ".log");
    assert_int_equal(logs.count, 1);
    const size_t   end   = records_end(logs.at[0]);
    const uint64_t epoch = bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1).epoch;
    bench_shut(bench);  /* writes once more, but nothing that was acknowledged */
    struct buf whole = file_read(logs.at[0]);
    char      *copy = copy_path(bench), *spoiled = NULL, *kept = NULL;
    must(asprintf(&spoiled, "%s/db/%s", copy, strrchr(logs.at[0], '/') + 1) >= 0);
    must(asprintf(&kept, "%s/damaged/%s", copy, strrchr(logs.at[0], '/') + 1) >= 0);
    assert_true(end > 300);
    for (size_t at = 0; at < end; at += 7) {
        copy_tree(bench->context, copy);
        flip(spoiled, &whole, at);
        log_opens_renewed(bench, copy, spoiled);
        struct buf after = file_read(kept);
        assert_int_equal(after.len, whole.len);
        buf_fini(&after);
    }
    /* Damage behind it: a torn tail, which is cut off. Zeros ahead of the log are behind it, or none. */
    assert_true(whole.len > end);
    for (size_t at = end + 7; at < whole.len; at += 7) {
        copy_tree(bench->context, copy);
        flip(spoiled, &whole, at);
        assert_int_equal(truncate(spoiled, (off_t)(whole.len + (at % 2) * LOG_AHEAD_BYTES_MAX)), 0);
        log_opens_whole(bench, copy, epoch);
        log_cut(spoiled, &whole, at, LOG_AHEAD_BYTES_MAX);
        log_opens_whole(bench, copy, epoch);
    }
    directory_remove(copy);
    free(spoiled);
    free(kept);
    free(copy);
    buf_fini(&whole);
    names_free(&logs);
    bench->store = open_at(bench, bench->context);
    expect_all(bench, "topic:a", 5);
}

/* At every `step`th byte of its three commits; with LW_EVERY_BYTE at each (make soak). `zeros`: how many are behind it, in
 * turn. */
static void torn_tails_keep_whole_commits(struct bench *bench, size_t step, const size_t zeros[2])
{
    struct ledger_change change = bench_put(KIND_PLACE, "torn", 0, "x");
    struct ledger_write  write  = { .changes = &change, .count = 1 };

    change.takes_seq = true;
    for (int i = 0; i < 3; i++) {
        struct published     said[2];
        const struct publish both[2] = { { .channel = "topic:a", .payload = "x", .write = &write },
                                         { .channel = "topic:b", .payload = "y" } };
        bench_publish_all(bench, both, 2, said);
    }
    uint64_t epoch = bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1).epoch;
    bench_shut(bench);
    char        *copy = copy_path(bench);
    struct names logs = names_of(bench->context, ".log");
    assert_int_equal(logs.count, 1);
    struct buf whole   = file_read(logs.at[0]);
    uint64_t   head_at[4] = { 0 };
    if (getenv("LW_EVERY_BYTE") != NULL)
        step = 1;
    for (size_t len = whole.len; len > 100; len -= step) {
        char *cut = NULL;
        copy_tree(bench->context, copy);
        must(asprintf(&cut, "%s/db/%s", copy, strrchr(logs.at[0], '/') + 1) >= 0);
        log_cut(cut, &whole, len, zeros[len % 2]);
        free(cut);
        const struct rocks_store_options options = options_at(bench, copy);
        char                             why[WHY_BYTES];
        enum rc                          rc = rocks_store_open(&options, &bench->store, why, sizeof why);
        if (rc != RC_OK)
            fail_msg("cut at %zu of %zu: %s", len, whole.len, why);
        struct store_read a = bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1);
        struct store_read b = bench_read(bench, "topic:b", READ_AFTER, 0, 0, 1);
        assert_int_equal(a.head, b.head);
        assert_int_equal(bench_generation(bench, KIND_PLACE, "torn"), a.head);
        head_at[a.head]++;
        /* Acknowledged messages are missing, and the store says so. */
        assert_int_equal(a.head < 3, why[0] != '\0' && a.epoch != epoch && a.head < 3);
        bench_shut(bench);
    }
    assert_true(head_at[1] > 0 && head_at[2] > 0 && head_at[3] > 0);
    buf_fini(&whole);
    names_free(&logs);
    directory_remove(copy);
    free(copy);
    bench->store = open_at(bench, bench->context);
}

static void a_torn_tail_keeps_whole_commits_threat_4(void **state)
{
    torn_tails_keep_whole_commits(*state, 3, (size_t[]){ 0, 0 });
}

/* The zeros end within the next block of the log, and several blocks behind it. */
static void a_torn_tail_before_zeros_keeps_whole_commits_threat_4(void **state)
{
    torn_tails_keep_whole_commits(*state, 7, (size_t[]){ 1000, LOG_AHEAD_BYTES_MAX });
}

/* --- zeros ahead of the log -------------------------------------------------------------------------------------- */

static size_t file_size(const char *path)
{
    struct stat about;

    assert_int_equal(stat(path, &about), 0);
    return (size_t)about.st_size;
}

/* A sync of a commit has no new size to save. What a kill leaves has zeros at its end; a store that is closed has none. */
static void a_log_is_written_over_zeros(void **state)
{
    struct bench *bench = *state;
    size_t        grown = 0;

    if (rocks_of(bench->store)->db.ahead == NULL)
        skip();  /* not on ext4 */
    struct names logs = names_of(bench->context, ".log");
    assert_int_equal(logs.count, 1);
    size_t size = file_size(logs.at[0]);
    for (uint64_t seq = 1; seq <= 200; seq++) {
        publish_run(bench, "topic:a", seq, seq);
        grown += file_size(logs.at[0]) != size;
        size = file_size(logs.at[0]);
    }
    assert_true(grown <= 2);
    const size_t end  = records_end(logs.at[0]);
    char        *copy = copy_path(bench);
    assert_true(end < size);
    copy_running(bench, copy);
    bench_shut(bench);
    assert_true(file_size(logs.at[0]) < size);
    /* Killed, again and again: each start finds zeros behind its last commit. */
    char *lived    = bench->context;
    bench->context = copy;
    for (uint64_t head = 200; head < 204; head++) {
        bench->store = open_at(bench, bench->context);
        expect_all(bench, "topic:a", head);
        publish_run(bench, "topic:a", head + 1, head + 1);
        char *killed = NULL;
        must(asprintf(&killed, "%s.killed", copy) >= 0);
        copy_running(bench, killed);
        bench_shut(bench);
        copy_tree(killed, bench->context);
        directory_remove(killed);
        free(killed);
    }
    bench->context = lived;
    directory_remove(copy);
    free(copy);
    names_free(&logs);
    bench->store = open_at(bench, bench->context);
    expect_all(bench, "topic:a", 200);
}

/* Logs are rolled all the time: each gets zeros, and an audit of what a kill leaves finds all of it. */
static void each_log_gets_zeros(void **state)
{
    struct bench *bench = *state;
    size_t        over = 0, commits = 0;

    if (rocks_of(bench->store)->db.ahead == NULL)
        skip();
    for (uint64_t seq = 1; seq <= 3000; seq++) {
        struct names before = names_of(bench->context, ".log");
        const char  *log    = before.at[before.count - 1];
        const size_t size   = file_size(log);
        publish_run(bench, "topic:a", seq, seq);
        over += file_size(log) == size;
        commits++;
        names_free(&before);
    }
    assert_true(over >= commits * 8 / 10);
    char *copy = copy_path(bench);
    copy_running(bench, copy);
    bench_shut(bench);
    bench->store = open_at(bench, copy);
    expect_all(bench, "topic:a", 3000);
    bench_shut(bench);
    directory_remove(copy);
    free(copy);
    bench->store = open_at(bench, bench->context);
}

/* --- sudden death ----------------------------------------------------------------------------------------------- */

/* The child process: publishes to three channels until it is killed, and writes each answer into the pipe once it has
 * it. Each message carries a ledger row that takes its seq. */
static int child_publish(const char *path)
{
    struct bench bench;
    char         text[PAYLOAD_MAX];
    const struct store_maker here = { "child", NULL, NULL };

    bench_prepare(&bench, &here);
    bench.store = open_at(&bench, path);
    for (uint64_t i = 0;; i++) {
        char channel[32];
        snprintf(channel, sizeof channel, "topic:%d", (int)(i % 3));
        struct ledger_change change  = bench_put(KIND_PLACE, channel, 0, "carried");
        struct ledger_write  carried = { .changes = &change, .count = 1 };
        change.takes_seq             = true;
        uint64_t head = bench_read(&bench, channel, READ_AFTER, 0, 0, 1).head;
        struct published said = bench_publish(&bench, (struct publish){
            .channel = channel, .payload = payload_of(text, sizeof text, channel, head + 1), .write = &carried });
        const uint64_t line[3] = { i % 3, said.answer.seq, said.answer.id };
        if (said.outcome != APPEND_DONE || write(STDOUT_FILENO, line, sizeof line) != sizeof line)
            return 1;
    }
}

static void child_kill_after(const char *path, uint64_t answers, uint64_t *heads, uint64_t *ret_id)
{
    int      ends[2];
    uint64_t line[3];

    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execl("/proc/self/exe", "rocks_test", "--publish", path, NULL);
        _exit(127);
    }
    close(ends[1]);
    for (uint64_t i = 0; read(ends[0], line, sizeof line) == sizeof line; i++) {
        assert_int_equal(line[1], heads[line[0]] + 1);
        heads[line[0]] = line[1];
        assert_true(line[2] > *ret_id);
        *ret_id = line[2];
        if (i == answers)
            kill(child, SIGKILL);
    }
    close(ends[0]);
    waitpid(child, NULL, 0);
}

static void what_was_acknowledged_survives_a_kill_threat_1(void **state)
{
    struct bench *bench = *state;
    uint64_t      heads[3] = { 0 }, id = 0;

    for (uint64_t round = 0; round < 6; round++) {
        bench_shut(bench);
        child_kill_after(bench->context, 20 + 137 * round, heads, &id);
        bench->store = open_at(bench, bench->context);
        for (size_t i = 0; i < 3; i++) {
            char channel[32];
            snprintf(channel, sizeof channel, "topic:%zu", i);
            struct audit audit = channel_audit(bench, channel, GAP_TRIMMED);
            /* One message may be in the log although its answer was never sent. */
            assert_true(audit.head == heads[i] || audit.head == heads[i] + 1);
            assert_int_equal(audit.message_count, audit.head);
            assert_int_equal(bench_generation(bench, KIND_PLACE, channel), audit.head);
            heads[i] = audit.head;
        }
        struct published next = bench_publish(bench, (struct publish){ .channel = "topic:ids", .payload = "x" });
        assert_true(next.answer.id > id);
        id = next.answer.id;
    }
}

/* --- a disk that fails ------------------------------------------------------------------------------------------ */

/* RocksDB calls these, because the program's own definitions precede those of libc. */
static atomic_int sync_error;

/* While the gate is held every sync waits. */
struct sync_gate {
    pthread_mutex_t lock;
    pthread_cond_t  moved;
    bool            is_held;
    unsigned        waiting;
};

static struct sync_gate sync_gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0 };

static void sync_pass(void)
{
    pthread_mutex_lock(&sync_gate.lock);
    sync_gate.waiting++;
    pthread_cond_broadcast(&sync_gate.moved);
    while (sync_gate.is_held)
        pthread_cond_wait(&sync_gate.moved, &sync_gate.lock);
    sync_gate.waiting--;
    pthread_mutex_unlock(&sync_gate.lock);
}

static void sync_hold(bool is_held)
{
    pthread_mutex_lock(&sync_gate.lock);
    sync_gate.is_held = is_held;
    pthread_cond_broadcast(&sync_gate.moved);
    pthread_mutex_unlock(&sync_gate.lock);
}

static void sync_wait_held(void)
{
    pthread_mutex_lock(&sync_gate.lock);
    while (sync_gate.waiting == 0)
        pthread_cond_wait(&sync_gate.moved, &sync_gate.lock);
    pthread_mutex_unlock(&sync_gate.lock);
}

int fdatasync(int fd)
{
    sync_pass();
    if ((errno = atomic_load(&sync_error)) != 0)
        return -1;
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    if ((errno = atomic_load(&sync_error)) != 0)
        return -1;
    return (int)syscall(SYS_fsync, fd);
}

/* So many file reads succeed, and all after them fail; below 0: none fails. */
static atomic_int reads_left = -1;

ssize_t pread(int fd, void *bytes, size_t count, off_t at)
{
    int left = atomic_load(&reads_left);

    if (left == 0) {
        errno = EIO;
        return -1;
    }
    if (left > 0)
        atomic_store(&reads_left, left - 1);
    return syscall(SYS_pread64, fd, bytes, count, at);
}

/* A file system that doesn't tell its size. */
static atomic_bool disk_is_silent;

int fstatvfs(int fd, struct statvfs *ret)
{
    struct statfs disk;

    if (syscall(SYS_fstatfs, fd, &disk) != 0)
        return -1;
    *ret = (struct statvfs){ .f_frsize = (unsigned long)disk.f_frsize, .f_blocks = disk.f_blocks, .f_bavail = disk.f_bavail };
    if (atomic_load(&disk_is_silent))
        ret->f_blocks = ret->f_bavail = 0;
    return 0;
}

static void a_disk_that_tells_no_size_is_not_full(void **state)
{
    struct bench              *bench   = *state;
    struct rocks_store_options options = options_at(bench, bench->context);
    struct store_stats         stats;
    char                       why[WHY_BYTES];

    options.reserve_bytes = 8 * MIB;
    bench_shut(bench);
    atomic_store(&disk_is_silent, true);
    assert_int_equal(rocks_store_open(&options, &bench->store, why, sizeof why), RC_OK);
    publish_run(bench, "topic:a", 1, 3);
    bench->store->ops->stats(bench->store, &stats);
    atomic_store(&disk_is_silent, false);
    assert_false(stats.is_full);
}

/* Each write at a place: 0: as it should be; 1: a byte at a time; above: fails with that errno. */
static atomic_int pwrite_fault;

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at)
{
    const int fault = atomic_load(&pwrite_fault);

    if (fault > 1) {
        errno = fault;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes, fault == 1 && count > 1 ? 1 : count, at);
}

static void a_short_write_of_synced_is_finished(void **state)
{
    struct bench      *bench = *state;
    struct store_stats stats;

    atomic_store(&pwrite_fault, 1);
    publish_run(bench, "topic:a", 1, 3);
    atomic_store(&pwrite_fault, 0);
    reopen(bench);
    expect_all(bench, "topic:a", 3);
    atomic_store(&pwrite_fault, EDQUOT);
    const struct publish next = { .channel = "topic:a", .payload = "x" };
    assert_int_equal(bench_publish(bench, next).outcome, APPEND_BROKEN);
    atomic_store(&pwrite_fault, 0);
    bench->store->ops->stats(bench->store, &stats);
    assert_non_null(strstr(stats.failure, strerror(EDQUOT)));
    publish_until_done(bench, next);
}

static void a_channel_that_can_not_be_read_just_now_keeps_its_numbers(void **state)
{
    struct bench *bench  = *state;
    uint64_t      head   = 10;
    int           broken = 0;

    publish_run(bench, "topic:a", 1, head);
    for (int reads = 0; reads < 8; reads++) {
        reopen(bench);
        atomic_store(&reads_left, reads);
        struct store_read info = bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1);
        assert_true(info.rc == RC_IO || info.head == head);
        struct published said = bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x" });
        atomic_store(&reads_left, -1);
        broken += said.outcome == APPEND_BROKEN;
        head += said.outcome == APPEND_DONE;
        assert_true(said.outcome == APPEND_BROKEN || said.answer.seq == head);
        assert_int_equal(bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1).head, head);
    }
    assert_true(broken > 0 && head > 10);
}

static void a_failed_sync_is_believed_threat_8(void **state)
{
    struct bench      *bench = *state;
    struct store_stats stats;

    publish_run(bench, "topic:a", 1, 10);
    atomic_store(&sync_error, EIO);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "lost?" }).outcome,
                         APPEND_BROKEN);
        assert_int_equal(bench_publish(bench, (struct publish){ .channel = "topic:b", .payload = "lost?" }).outcome,
                         APPEND_BROKEN);
    }
    bench->store->ops->stats(bench->store, &stats);
    assert_true(stats.is_broken);
    atomic_store(&sync_error, 0);
    struct published said = publish_until_done(bench, (struct publish){ .channel = "topic:a", .payload = "x" });
    /* The message whose outcome was unknown may be there; those that were refused at once are not. */
    assert_true(said.answer.seq == 11 || said.answer.seq == 12);
    assert_int_equal(bench_publish(bench, (struct publish){ .channel = "topic:b", .payload = "x" }).answer.seq, 1);
    bench->store->ops->stats(bench->store, &stats);
    assert_false(stats.is_broken);
    reopen(bench);
    assert_int_equal(bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1).head, said.answer.seq);
}

/* While nothing can be written, what is there can be read, and nothing that was not acknowledged. */
static void what_is_there_is_read_while_writes_fail(void **state)
{
    struct bench      *bench = *state;
    struct store_stats stats;

    publish_run(bench, "topic:a", 1, 10);
    reopen(bench);
    publish_run(bench, "topic:a", 11, 20);
    publish_run(bench, "topic:old", 1, 3);
    atomic_store(&sync_error, EIO);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "lost?" }).outcome,
                         APPEND_BROKEN);
        assert_int_equal(bench_publish(bench, (struct publish){ .channel = "topic:new", .payload = "lost?" }).outcome,
                         APPEND_BROKEN);
        expect_all(bench, "topic:a", 20);
        expect_all(bench, "topic:old", 3);
        assert_int_equal(bench_read(bench, "topic:new", READ_AFTER, 0, 0, 1).head, 0);
    }
    bench->store->ops->stats(bench->store, &stats);
    assert_true(stats.is_broken && !stats.is_unreadable);
    atomic_store(&sync_error, 0);
    publish_until_done(bench, (struct publish){ .channel = "topic:a", .payload = "x" });
}

static void publish_kib_until(struct bench *bench, enum append_outcome outcome, uint64_t *acknowledged)
{
    char       text[4 * KIB + 1];
    struct rng rng = { 5 };

    for (size_t i = 0; i < 20000; i++) {
        for (size_t c = 0; c < 4 * KIB; c++)
            text[c] = (char)('!' + rng_below(&rng, 90));
        text[4 * KIB] = '\0';
        struct published said = bench_publish(bench, (struct publish){ .channel = "topic:bulk", .payload = text });
        if (said.outcome == outcome)
            return;
        assert_int_equal(said.outcome, APPEND_DONE);
        assert_int_equal(said.answer.seq, ++*acknowledged);
    }
    fail_msg("never");
}

/* Mounts a disk of 24 MiB with a file on it that can be removed. False: this machine doesn't permit it. */
static bool small_disk(char **ret_path)
{
    char *path = directory_new();

    if (mount("tmpfs", path, "tmpfs", 0, "size=24m,mode=0700") != 0) {
        print_message("skipped: a small tmpfs can't be mounted here: %s\n", strerror(errno));
        directory_remove(path);
        free(path);
        return false;
    }
    *ret_path = path;
    return true;
}

static void filler_write(const char *path, size_t bytes)
{
    char *name = NULL, *nothing = calloc(1, bytes);

    must(asprintf(&name, "%s/filler", path) >= 0 && nothing != NULL);
    file_write(name, span_of(nothing, bytes));
    free(name);
    free(nothing);
}

static void filler_remove(const char *path)
{
    char *name = NULL;

    must(asprintf(&name, "%s/filler", path) >= 0);
    assert_int_equal(unlink(name), 0);
    free(name);
}

static void full_disk_refuses_rows(struct bench *bench)
{
    struct ledger_change change = bench_put(KIND_SESSION, "full", 9, "refused");
    struct ledger_write  write  = { .changes = &change, .count = 1 };
    const struct publish join   = { .channel = "topic:a", .payload = "x", .write = &write };

    assert_int_equal(bench_change(bench, change), LEDGER_NO_SPACE);
    assert_int_equal(bench_publish(bench, join).outcome, APPEND_NO_SPACE);
}

static void full_disk_transcript(struct bench *bench, const char *disk, uint64_t reserve_bytes)
{
    char                      *path         = NULL;
    uint64_t                   acknowledged = 0;
    char                       why[WHY_BYTES];
    struct store_stats         stats;

    must(asprintf(&path, "%s/data", disk) >= 0);
    struct rocks_store_options options = options_at(bench, path);
    options.reserve_bytes              = reserve_bytes;
    filler_write(disk, 12 * MIB);
    bench_shut(bench);
    assert_int_equal(rocks_store_open(&options, &bench->store, why, sizeof why), RC_OK);
    publish_run(bench, "topic:a", 1, 50);
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "full", 1, "before")), LEDGER_DONE);
    publish_kib_until(bench, APPEND_NO_SPACE, &acknowledged);
    assert_true(acknowledged > 0);
    /* A smaller message that would fit is refused too, until there is room for the reserve. Without a reserve it may
     * succeed at once, because RocksDB reopens. */
    if (reserve_bytes > 1) {
        bench->store->ops->stats(bench->store, &stats);
        assert_true(stats.is_full);
        const struct publish small = { .channel = "topic:a", .payload = "x" };
        assert_int_equal(bench_publish(bench, small).outcome, APPEND_NO_SPACE);
        full_disk_refuses_rows(bench);
    }
    expect_all(bench, "topic:a", 50);
    expect_row(bench, KIND_SESSION, "full", "1 before");

    filler_remove(disk);
    char                 text[PAYLOAD_MAX];
    const struct publish next = { .channel = "topic:a", .payload = payload_of(text, sizeof text, "topic:a", 51) };
    publish_until_done(bench, next);
    expect_all(bench, "topic:a", 51);
    change_until_done(bench, change_if(bench_put(KIND_SESSION, "full", 2, "after"), 1));
    assert_int_equal(bench_read(bench, "topic:bulk", READ_AFTER, 0, 0, 1).head, acknowledged);
    bench_shut(bench);
    assert_int_equal(rocks_store_open(&options, &bench->store, why, sizeof why), RC_OK);
    assert_int_equal(bench_read(bench, "topic:bulk", READ_AFTER, 0, 0, 1).head, acknowledged);
    expect_all(bench, "topic:a", 51);
    bench_shut(bench);
    bench->store = open_at(bench, bench->context);
    free(path);
}

static void full_disk(struct bench *bench, uint64_t reserve_bytes)
{
    char *disk = NULL;

    if (!small_disk(&disk))
        skip();
    full_disk_transcript(bench, disk, reserve_bytes);
    assert_int_equal(umount2(disk, MNT_DETACH), 0);
    directory_remove(disk);
    free(disk);
}

static void a_full_disk_refuses_and_recovers_threat_10(void **state)
{
    full_disk(*state, 3 * MIB);
}

/* Without a reserve RocksDB itself meets the full disk. */
static void a_full_disk_under_rocksdb_too_threat_10(void **state)
{
    full_disk(*state, 1);
}

static void a_file_size_limit_is_a_full_disk_threat_11(void **state)
{
    struct bench       *bench        = *state;
    uint64_t            acknowledged = 0;
    struct rlimit       before, tight = { 150 * KIB, RLIM_INFINITY };
    struct store_stats  stats;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    publish_run(bench, "topic:a", 1, 10);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    publish_kib_until(bench, APPEND_NO_SPACE, &acknowledged);
    bench->store->ops->stats(bench->store, &stats);
    assert_true(stats.failure_count > 0);
    assert_non_null(strstr(stats.failure, "File too large"));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    publish_until_done(bench, (struct publish){ .channel = "topic:b", .payload = "x" });
    expect_all(bench, "topic:a", 10);
    assert_int_equal(bench_read(bench, "topic:bulk", READ_AFTER, 0, 0, 1).head, acknowledged);
}

/* --- the ledger ------------------------------------------------------------------------------------------------- */

static void rows_are_there_after_a_reopen(void **state)
{
    struct bench        *bench = *state;
    struct ledger_change ended = bench_put(KIND_SESSION, "c", 3, "x");

    ended.expires_at = bench->wall + 1000;
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "a", 1, "one")), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "b", 2, "two")), LEDGER_DONE);
    assert_int_equal(bench_change(bench, ended), LEDGER_DONE);
    reopen(bench);
    assert_int_equal(bench_change(bench, change_if(bench_put(KIND_SESSION, "a", 2, "again"), 1)), LEDGER_DONE);
    struct ledger_change gone = { .op = LEDGER_DELETE, .key = bench_key(KIND_SESSION, "b") };
    assert_int_equal(bench_change(bench, gone), LEDGER_DONE);
    reopen(bench);
    expect_row(bench, KIND_SESSION, "a", "2 again");
    expect_row(bench, KIND_SESSION, "b", "none");
    expect_row(bench, KIND_SESSION, "c", "3 x");
    bench->wall += 1000;
    expect_row(bench, KIND_SESSION, "c", "none");
}

static void a_failed_sync_leaves_rows_settled_once_it_is_over(void **state)
{
    struct bench        *bench   = *state;
    struct ledger_change unknown = bench_put(KIND_SESSION, "a", 2, "unknown");
    struct ledger_write  write   = { .changes = &unknown, .count = 1 };
    const struct publish join    = { .channel = "topic:a", .payload = "x", .write = &write };
    time_t               until   = time(NULL) + DEADLINE_S;
    enum ledger_outcome  outcome;

    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "a", 1, "known")), LEDGER_DONE);
    atomic_store(&sync_error, EIO);
    assert_int_equal(bench_change(bench, unknown), LEDGER_BROKEN);
    for (int i = 0; i < 5; i++)
        assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "b", 9, "never")), LEDGER_AWAY);
    assert_int_equal(bench_publish(bench, join).outcome, APPEND_BROKEN);
    atomic_store(&sync_error, 0);

    /* A write with a condition shows which of the two values is stored. */
    do {
        outcome = bench_change(bench, change_if(bench_put(KIND_SESSION, "a", 3, "mine"), 2));
        assert_true(outcome != LEDGER_BROKEN && time(NULL) < until);
    } while (outcome == LEDGER_AWAY);
    assert_true(outcome == LEDGER_DONE || outcome == LEDGER_STALE);
    expect_row(bench, KIND_SESSION, "a", outcome == LEDGER_DONE ? "3 mine" : "1 known");
    expect_row(bench, KIND_SESSION, "b", "none");
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "");
}

/* A batch that is submitted without waiting for it. */
struct pending {
    struct bench        *bench;
    struct ledger_batch  batch;
    struct ledger_write  write;
    struct ledger_change changes[4];
    bool                 is_done;
};

static void on_pending_done(struct ledger_batch *batch)
{
    struct pending *pending = container_of(batch, struct pending, batch);

    bench_say_done(pending->bench, &pending->is_done);
}

static void pending_submit_as(struct pending *pending, struct bench *bench, const char *key, size_t count, bool is_lazy)
{
    static const char *const values[] = { "x", "y", "z", "last" };

    *pending = (struct pending){ .bench = bench, .batch = { .wall = bench->wall, .is_lazy = is_lazy, .done = on_pending_done } };
    for (size_t i = 0; i < count; i++)
        pending->changes[i] = bench_put((uint8_t)(i + 1), key, 1, values[i]);
    pending->write = (struct ledger_write){ .changes = pending->changes, .count = count };
    list_init(&pending->batch.writes);
    list_push(&pending->batch.writes, &pending->write.link);
    pending->batch.change_count = count;
    bench->store->ledger->ops->write(bench->store->ledger, &pending->batch);
}

static void pending_submit(struct pending *pending, struct bench *bench, const char *key, size_t count)
{
    pending_submit_as(pending, bench, key, count, false);
}

static void pending_submit_lazy(struct pending *pending, struct bench *bench, const char *key, size_t count)
{
    pending_submit_as(pending, bench, key, count, true);
}

static void pending_expect(struct pending *pending, enum ledger_outcome outcome)
{
    bench_wait(pending->bench, &pending->is_done);
    assert_int_equal(pending->write.outcome, outcome);
}

static void too_many_changes_that_wait_are_refused(void **state)
{
    struct bench              *bench   = *state;
    struct rocks_store_options options = options_at(bench, bench->context);
    struct pending             first, waiting, refused;
    char                       why[WHY_BYTES];

    options.change_count_max = 4;
    bench_shut(bench);
    assert_int_equal(rocks_store_open(&options, &bench->store, why, sizeof why), RC_OK);
    sync_hold(true);
    pending_submit(&first, bench, "a", 1);
    sync_wait_held();
    pending_submit(&waiting, bench, "b", 4);
    pending_submit(&refused, bench, "c", 1);
    pending_expect(&refused, LEDGER_BUSY);
    sync_hold(false);
    pending_expect(&first, LEDGER_DONE);
    pending_expect(&waiting, LEDGER_DONE);
    expect_row(bench, 1, "c", "none");
    pending_submit(&refused, bench, "c", 1);
    pending_expect(&refused, LEDGER_DONE);
}

static uint64_t sync_count_of(struct bench *bench)
{
    struct store_stats stats;

    bench->store->ops->stats(bench->store, &stats);
    return stats.sync_count;
}

static void *publish_in_background(void *bench)
{
    must(bench_publish(bench, (struct publish){ .channel = "topic:b", .payload = "x" }).outcome == APPEND_DONE);
    return NULL;
}

static bool append_is_waiting(struct rocks *rocks_store)
{
    pthread_mutex_lock(&rocks_store->commits.lock);
    bool is_waiting = !list_is_empty(&rocks_store->commits.batches);
    pthread_mutex_unlock(&rocks_store->commits.lock);
    return is_waiting;
}

static void appends_and_rows_of_a_moment_share_a_sync(void **state)
{
    struct bench  *bench = *state;
    struct pending first, second, third;
    pthread_t      publisher;

    uint64_t before = sync_count_of(bench);
    sync_hold(true);
    pending_submit(&first, bench, "a", 1);
    sync_wait_held();
    pending_submit(&second, bench, "b", 1);
    pending_submit(&third, bench, "c", 1);
    assert_int_equal(pthread_create(&publisher, NULL, publish_in_background, bench), 0);
    while (!append_is_waiting(rocks_of(bench->store)))
        sched_yield();
    sync_hold(false);
    pthread_join(publisher, NULL);
    pending_expect(&first, LEDGER_DONE);
    pending_expect(&second, LEDGER_DONE);
    pending_expect(&third, LEDGER_DONE);
    assert_int_equal(sync_count_of(bench), before + 2);
}

static void reopen_with_company_ms(struct bench *bench, uint32_t company_ms)
{
    struct rocks_store_options options = options_at(bench, bench->context);
    char                       why[WHY_BYTES];

    options.company_ms = company_ms;
    bench_shut(bench);
    assert_int_equal(rocks_store_open(&options, &bench->store, why, sizeof why), RC_OK);
}

enum { COMPANY_MS_LONG = 1000 * 1000 };  /* longer than a test may take: what waits so long waits for company alone */

static void lazy_rows_share_the_sync_of_what_comes_next(void **state)
{
    struct bench  *bench = *state;
    struct pending lazy, urgent;

    reopen_with_company_ms(bench, COMPANY_MS_LONG);
    assert_int_equal(bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x" }).outcome, APPEND_DONE);
    uint64_t before = sync_count_of(bench);
    pending_submit_lazy(&lazy, bench, "a", 1);
    assert_int_equal(bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "y" }).outcome, APPEND_DONE);
    pending_expect(&lazy, LEDGER_DONE);
    assert_int_equal(sync_count_of(bench), before + 1);

    pending_submit_lazy(&lazy, bench, "b", 1);
    pending_submit(&urgent, bench, "c", 1);
    pending_expect(&urgent, LEDGER_DONE);
    pending_expect(&lazy, LEDGER_DONE);
    assert_int_equal(sync_count_of(bench), before + 2);
    expect_row(bench, 1, "a", "1 x");
    expect_row(bench, 1, "b", "1 x");
    expect_row(bench, 1, "c", "1 x");
}

/* Without appends in the commit before, none are expected. */
static void lazy_rows_do_not_wait_where_nobody_publishes(void **state)
{
    struct bench  *bench = *state;
    struct pending lazy;

    reopen_with_company_ms(bench, COMPANY_MS_LONG);
    pending_submit_lazy(&lazy, bench, "a", 1);
    pending_expect(&lazy, LEDGER_DONE);
}

static void lazy_rows_wait_for_a_moment_only(void **state)
{
    struct bench  *bench = *state;
    struct pending lazy;

    reopen_with_company_ms(bench, 1);
    assert_int_equal(bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x" }).outcome, APPEND_DONE);
    pending_submit_lazy(&lazy, bench, "a", 1);
    pending_expect(&lazy, LEDGER_DONE);
}

static void lazy_rows_that_wait_are_written_when_the_store_closes(void **state)
{
    struct bench  *bench = *state;
    struct pending lazy;

    reopen_with_company_ms(bench, COMPANY_MS_LONG);
    assert_int_equal(bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x" }).outcome, APPEND_DONE);
    pending_submit_lazy(&lazy, bench, "a", 1);
    reopen_with_company_ms(bench, COMPANY_MS_LONG);
    pending_expect(&lazy, LEDGER_DONE);
    expect_row(bench, 1, "a", "1 x");
}

/* --- who runs at once --- */

static uint64_t slice_of(pid_t thread)
{
    struct slice_attr attr;

    return slice_attr_get(thread, &attr) ? attr.slice_ns : 0;
}

static size_t threads_that_wake_soon(void)
{
    DIR   *threads = opendir("/proc/self/task");
    size_t count   = 0;

    assert_non_null(threads);
    for (struct dirent *entry; (entry = readdir(threads)) != NULL;)
        count += entry->d_name[0] != '.' && slice_of(atoi(entry->d_name)) == WAKE_SOON_US * UINT64_C(1000);
    closedir(threads);
    return count;
}

static void *slice_run(void *slice)
{
    thread_wake_soon();
    *(uint64_t *)slice = slice_of(0);
    return NULL;
}

/* … and lets a thread change its own, which not every sandbox does. */
static bool system_knows_slices(void)
{
    uint64_t  slice = 0;
    pthread_t thread;

    must(pthread_create(&thread, NULL, slice_run, &slice) == 0 && pthread_join(thread, NULL) == 0);
    return slice == WAKE_SOON_US * UINT64_C(1000);
}

/* The committer, and none of those that merge tables. */
static void the_committer_alone_wakes_soon(void **state)
{
    struct bench *bench = *state;

    if (slice_of(0) == WAKE_SOON_US * UINT64_C(1000) || !system_knows_slices())
        skip();
    publish_kibs(bench, "topic:a", 8);
    rocks_db_flush(&rocks_of(bench->store)->db);
    assert_int_equal(threads_that_wake_soon(), 1);
}

/* --- rows that can't be read --- */

static void a_row_that_can_not_be_read_just_now_is_not_taken_for_absent(void **state)
{
    struct bench *bench      = *state;
    uint64_t      generation = 1;
    int           away       = 0;

    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "a", 1, "x")), LEDGER_DONE);
    for (int reads = 0; reads < 8; reads++) {
        reopen(bench);
        atomic_store(&reads_left, reads);
        assert_true(bench_change(bench, change_if(bench_put(KIND_SESSION, "a", 99, "no"), 0)) != LEDGER_DONE);
        enum ledger_outcome outcome =
            bench_change(bench, change_if(bench_put(KIND_SESSION, "a", generation + 1, "y"), generation));
        atomic_store(&reads_left, -1);
        assert_true(outcome == LEDGER_AWAY || outcome == LEDGER_DONE);
        away += outcome == LEDGER_AWAY;
        generation += outcome == LEDGER_DONE;
        assert_int_equal(bench_generation(bench, KIND_SESSION, "a"), generation);
    }
    assert_true(away > 0 && generation > 1);
}

static rocksdb_column_family_handle_t *ledger_family(struct bench *bench)
{
    return rocks_of(bench->store)->db.families[FAMILY_LEDGER];
}

static void row_damage(struct bench *bench, uint8_t kind, const char *key)
{
    struct ledger_disk_key  place;
    rocksdb_writeoptions_t *how    = rocksdb_writeoptions_create();
    char                   *status = NULL;

    ledger_disk_key_set(&place, kind, span_str(key));
    rocksdb_put_cf(rocks_of(bench->store)->db.db, how, ledger_family(bench), place.bytes, place.len, "spoiled", 7,
                   &status);
    rocksdb_writeoptions_destroy(how);
    assert_null(status);
}

static void expect_scan(struct bench *bench, struct span after, enum rc rc, const char *first, const char *next)
{
    struct ledger_read read = bench_scan(bench, KIND_SESSION, SPAN(""), after, 10);

    assert_int_equal(read.rc, rc);
    assert_true(span_eq(read.row_count == 0 ? SPAN("") : read.rows[0].key, span_str(first)));
    assert_true(span_eq(read.next, span_str(next)));
    ledger_read_fini(&read);
}

static void a_damaged_row_is_told_and_hides_no_other(void **state)
{
    struct bench        *bench  = *state;
    struct ledger_change change = change_if(bench_put(KIND_SESSION, "b", 2, "x"), 1);
    struct ledger_write  write  = { .changes = &change, .count = 1 };
    const struct publish join   = { .channel = "topic:a", .payload = "x", .write = &write };

    for (int i = 0; i < 3; i++)
        assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, i == 0 ? "a" : i == 1 ? "b" : "c", 1, "x")),
                         LEDGER_DONE);
    row_damage(bench, KIND_SESSION, "b");
    reopen(bench);  /* the store does not read again what it wrote a moment ago */
    expect_scan(bench, SPAN(""), RC_OK, "a", "a");
    expect_scan(bench, SPAN("a"), RC_CORRUPT, "", "b");
    expect_scan(bench, SPAN("b"), RC_OK, "c", "");
    expect_row(bench, KIND_SESSION, "a", "1 x");
    assert_int_equal(bench_change(bench, change), LEDGER_BROKEN);
    assert_int_equal(bench_publish(bench, join).outcome, APPEND_BROKEN);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "");

    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "b", 7, "mended")), LEDGER_DONE);
    expect_row(bench, KIND_SESSION, "b", "7 mended");
}

/* --- space --- */

static size_t rows_on_disk(struct bench *bench)
{
    struct rocks_db    *db       = &rocks_of(bench->store)->db;
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(db->db, db->get, ledger_family(bench));
    size_t              count    = 0;

    for (rocksdb_iter_seek_to_first(iterator); rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator))
        count++;
    rocksdb_iter_destroy(iterator);
    return count;
}

static void ledger_flush(struct bench *bench)
{
    rocksdb_flushoptions_t *how    = rocksdb_flushoptions_create();
    char                   *status = NULL;

    rocksdb_flush_cf(rocks_of(bench->store)->db.db, how, ledger_family(bench), &status);
    rocksdb_flushoptions_destroy(how);
    assert_null(status);
}

static void the_space_of_expired_rows_comes_back(void **state)
{
    struct bench        *bench  = *state;
    struct ledger_change change = bench_put(KIND_SESSION, "a", 2, "ends");
    time_t               until  = time(NULL) + DEADLINE_S;

    change.expires_at = bench->wall + 1000;
    bench->store->ops->tick(bench->store, bench->wall);
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "a", 1, "older, without an end")), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "b", 1, "stays")), LEDGER_DONE);
    ledger_flush(bench);
    assert_int_equal(bench_change(bench, change), LEDGER_DONE);
    ledger_flush(bench);
    assert_int_equal(rows_on_disk(bench), 2);
    while (rows_on_disk(bench) > 1) {
        assert_true(time(NULL) < until);
        bench->wall += 24 * 3600 * INT64_C(1000);  /* a window of idempotency keys: after a part of it expired rows are
                                                    * compacted away */
        bench->store->ops->tick(bench->store, bench->wall);
        bench_read(bench, "topic:none", READ_AFTER, 0, 0, 1);
    }
    expect_row(bench, KIND_SESSION, "b", "1 stays");
    bench->wall = change.expires_at - 1;
    expect_row(bench, KIND_SESSION, "a", "none");
}

static void ledger_compact(struct bench *bench)
{
    ledger_flush(bench);
    rocksdb_compact_range_cf(rocks_of(bench->store)->db.db, ledger_family(bench), NULL, 0, NULL, 0);
}

/* A turn of the maintenance thread has begun behind this, at the time of the bench. */
static void maintain(struct bench *bench)
{
    time_t until = time(NULL) + DEADLINE_S;

    for (bool is_there = false; !is_there;) {
        assert_true(time(NULL) < until);
        bench->store->ops->tick(bench->store, bench->wall);
        bench_read(bench, "topic:none", READ_AFTER, 0, 0, 1);
        pthread_mutex_lock(&rocks_of(bench->store)->filter_floors.lock);
        is_there = rocks_of(bench->store)->filter_floors.wall == bench->wall;
        pthread_mutex_unlock(&rocks_of(bench->store)->filter_floors.lock);
    }
}

/* The server was down for longer than the row lasts. What was under way when it stopped is found out by such rows, as of then. */
static void what_expired_while_the_server_was_down_stays_a_while(void **state)
{
    struct bench        *bench  = *state;
    struct ledger_change change = bench_put(KIND_SESSION, "a", 2, "ends");
    const msec           before = bench->wall;

    change.expires_at = before + 1000;
    assert_int_equal(bench_change(bench, change), LEDGER_DONE);
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "b", 1, "stays")), LEDGER_DONE);
    reopen(bench);
    bench->wall = before + 24 * 3600 * INT64_C(1000);
    maintain(bench);
    ledger_compact(bench);
    bench->wall = before;
    expect_row(bench, KIND_SESSION, "a", "2 ends");
    bench->wall = before + 24 * 3600 * INT64_C(1000) + LEDGER_REST_MS;
    maintain(bench);
    ledger_compact(bench);
    bench->wall = before;
    expect_row(bench, KIND_SESSION, "a", "none");
    expect_row(bench, KIND_SESSION, "b", "1 stays");
}

static uint64_t buffered_bytes(struct bench *bench)
{
    return rocks_db_number(&rocks_of(bench->store)->db, FAMILY_MESSAGES, "rocksdb.cur-size-active-mem-table");
}

/* Rows of a quiet store don't stay in memory; few of them may. */
static void a_quiet_store_gives_its_write_buffers_back(void **state)
{
    struct bench *bench = *state;
    time_t        until = time(NULL) + DEADLINE_S;

    publish_run(bench, "topic:many", 1, 500);
    uint64_t before = buffered_bytes(bench);
    assert_true(before >= 64 * KIB);
    while (buffered_bytes(bench) > before / 2) {
        assert_true(time(NULL) < until);
        bench->wall += 500;
        bench->store->ops->tick(bench->store, bench->wall);
        bench_read(bench, "topic:none", READ_AFTER, 0, 0, 1);
    }
    expect_all(bench, "topic:many", 500);
    reopen(bench);
    expect_all(bench, "topic:many", 500);
}

/* --- many threads --- */

enum { RAISERS = 3, RAISES = 60 };

/* Raises a generation that other threads raise too, as the links of one session would do on several nodes. */
static void *raise_run(void *context)
{
    struct bench *bench = context;

    for (int i = 0; i < RAISES;) {
        uint64_t            seen    = bench_generation(bench, KIND_SESSION, "shared");
        enum ledger_outcome outcome = bench_change(
            bench, change_if(bench_put(KIND_SESSION, "shared", seen + 1, "x"), seen));
        must(outcome == LEDGER_DONE || outcome == LEDGER_STALE);
        i += outcome == LEDGER_DONE;
    }
    return NULL;
}

static void no_raise_is_lost_among_many_threads(void **state)
{
    struct bench *bench = *state;
    pthread_t     raisers[RAISERS];

    for (size_t i = 0; i < RAISERS; i++)
        assert_int_equal(pthread_create(&raisers[i], NULL, raise_run, bench), 0);
    publish_run(bench, "topic:a", 1, 50);
    for (size_t i = 0; i < RAISERS; i++)
        pthread_join(raisers[i], NULL);
    assert_int_equal(bench_generation(bench, KIND_SESSION, "shared"), RAISERS * RAISES);
    expect_all(bench, "topic:a", 50);
}

/* --- directories of format 1 --- */

/* A directory as an earlier version left it: without the ledger. If `lost` names another family, without that one
 * too. */
static void make_format_1(struct bench *bench, enum family lost)
{
    struct rocks_db *db     = &rocks_of(bench->store)->db;
    char            *status = NULL, *format = path_of(bench, "format");

    rocksdb_drop_column_family(db->db, db->families[FAMILY_LEDGER], &status);
    assert_null(status);
    if (lost != FAMILY_COUNT)
        rocksdb_drop_column_family(db->db, db->families[lost], &status);
    assert_null(status);
    bench_shut(bench);
    file_write(format, SPAN("longwire data directory, format 1\n"));
    free(format);
}

static void expect_format(struct bench *bench, struct span text)
{
    char      *path = path_of(bench, "format");
    struct buf said = file_read(path);

    assert_true(span_eq(buf_span(&said), text));
    buf_fini(&said);
    free(path);
}

static void a_directory_of_format_1_gets_a_ledger(void **state)
{
    struct bench *bench = *state;

    publish_run(bench, "topic:a", 1, 20);
    make_format_1(bench, FAMILY_COUNT);
    bench->store = open_at(bench, bench->context);
    expect_format(bench, SPAN("longwire data directory, format 4\n"));
    expect_all(bench, "topic:a", 20);
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "a", 1, "x")), LEDGER_DONE);
    reopen(bench);
    expect_row(bench, KIND_SESSION, "a", "1 x");

    /* Simulates a crash before the new format was written: the ledger exists already. */
    bench_shut(bench);
    char *format = path_of(bench, "format");
    file_write(format, SPAN("longwire data directory, format 1\n"));
    free(format);
    bench->store = open_at(bench, bench->context);
    expect_row(bench, KIND_SESSION, "a", "1 x");
    expect_format(bench, SPAN("longwire data directory, format 4\n"));
}

static void a_directory_of_format_1_with_a_torn_log_gets_a_ledger_too(void **state)
{
    struct bench *bench = *state;

    publish_run(bench, "topic:a", 1, 20);
    make_format_1(bench, FAMILY_COUNT);
    /* What close wrote last was never acknowledged. */
    struct names logs  = names_of(bench->context, ".log");
    struct buf   whole = file_read(logs.at[logs.count - 1]);
    flip(logs.at[logs.count - 1], &whole, whole.len - 5);
    buf_fini(&whole);
    names_free(&logs);
    bench->store = open_at(bench, bench->context);
    expect_all(bench, "topic:a", 20);
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "a", 1, "x")), LEDGER_DONE);
}

/* A program that knows only format 2 or 3 would take a message with an event or a collapse key for a damaged one. */
static void a_directory_of_an_old_format_is_refused_by_older_programs_from_now_on(void **state)
{
    static const struct span olds[] = { SPAN("longwire data directory, format 2\n"),
                                        SPAN("longwire data directory, format 3\n") };
    struct bench            *bench  = *state;

    publish_run(bench, "topic:a", 1, 20);
    for (size_t i = 0; i < sizeof olds / sizeof olds[0]; i++) {
        bench_shut(bench);
        char *format = path_of(bench, "format");
        file_write(format, olds[i]);
        free(format);
        bench->store = open_at(bench, bench->context);
        expect_format(bench, SPAN("longwire data directory, format 4\n"));
        expect_all(bench, "topic:a", 20);
    }
}

static void a_ledger_that_was_lost_is_never_silently_empty(void **state)
{
    struct bench *bench = *state;
    char          why[WHY_BYTES];

    make_format_1(bench, FAMILY_KEYS);
    assert_int_not_equal(open_fails(bench, bench->context, why), RC_OK);
    assert_non_null(strstr(why, "keys"));

    directory_remove(bench->context);
    bench->store = open_at(bench, bench->context);
    make_format_1(bench, FAMILY_COUNT);
    char *format = path_of(bench, "format");
    file_write(format, SPAN("longwire data directory, format 2\n"));
    free(format);
    assert_int_not_equal(open_fails(bench, bench->context, why), RC_OK);
    assert_non_null(strstr(why, "ledger"));
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
    if (argc == 3 && strcmp(argv[1], "--publish") == 0)
        return child_publish(argv[2]);
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);

    /* The mounts of the full-disk tests end with this process, however it ends. This must happen before any thread
     * starts. */
    if (unshare(CLONE_NEWNS) == 0)
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);

#define DISK_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        DISK_TEST(all_is_there_after_a_reopen),
        DISK_TEST(a_key_replays_after_a_reopen_threat_17),
        DISK_TEST(recall_and_expiry_hold_after_a_reopen_threat_18),
        DISK_TEST(bytes_are_remembered),
        DISK_TEST(the_newest_time_is_remembered),
        DISK_TEST(trimmed_space_comes_back_and_the_head_stays),
        DISK_TEST(expired_payloads_leave_the_disk_but_not_the_log),
        DISK_TEST(a_guess_of_bytes_lets_no_message_go),
        DISK_TEST(two_that_let_the_same_go_count_it_once),
        DISK_TEST(what_expired_weighs_what_it_weighed),
        DISK_TEST(retention_may_race_readers_threat_13),
        DISK_TEST(a_second_opener_is_refused_threat_15),
        DISK_TEST(nobody_else_may_read_threat_16),
        DISK_TEST(a_log_that_was_lost_is_never_silently_empty_threat_7),
        DISK_TEST(a_log_that_was_reset_has_another_epoch_threat_14),
        DISK_TEST(a_flipped_bit_in_a_table_is_found_threat_6),
        DISK_TEST(a_flipped_bit_in_the_log_costs_its_commit_threats_4_and_6),
        DISK_TEST(a_torn_tail_keeps_whole_commits_threat_4),
        DISK_TEST(a_torn_tail_before_zeros_keeps_whole_commits_threat_4),
        DISK_TEST(a_log_is_written_over_zeros),
        DISK_TEST(each_log_gets_zeros),
        DISK_TEST(what_was_acknowledged_survives_a_kill_threat_1),
        DISK_TEST(a_channel_that_can_not_be_read_just_now_keeps_its_numbers),
        DISK_TEST(a_disk_that_tells_no_size_is_not_full),
        DISK_TEST(a_short_write_of_synced_is_finished),
        DISK_TEST(a_failed_sync_is_believed_threat_8),
        DISK_TEST(what_is_there_is_read_while_writes_fail),
        DISK_TEST(a_full_disk_refuses_and_recovers_threat_10),
        DISK_TEST(a_full_disk_under_rocksdb_too_threat_10),
        DISK_TEST(a_file_size_limit_is_a_full_disk_threat_11),
        DISK_TEST(rows_are_there_after_a_reopen),
        DISK_TEST(a_failed_sync_leaves_rows_settled_once_it_is_over),
        DISK_TEST(too_many_changes_that_wait_are_refused),
        DISK_TEST(appends_and_rows_of_a_moment_share_a_sync),
        DISK_TEST(lazy_rows_share_the_sync_of_what_comes_next),
        DISK_TEST(lazy_rows_do_not_wait_where_nobody_publishes),
        DISK_TEST(lazy_rows_wait_for_a_moment_only),
        DISK_TEST(lazy_rows_that_wait_are_written_when_the_store_closes),
        DISK_TEST(the_committer_alone_wakes_soon),
        DISK_TEST(a_row_that_can_not_be_read_just_now_is_not_taken_for_absent),
        DISK_TEST(a_damaged_row_is_told_and_hides_no_other),
        DISK_TEST(the_space_of_expired_rows_comes_back),
        DISK_TEST(what_expired_while_the_server_was_down_stays_a_while),
        DISK_TEST(a_quiet_store_gives_its_write_buffers_back),
        DISK_TEST(no_raise_is_lost_among_many_threads),
        DISK_TEST(a_directory_of_format_1_gets_a_ledger),
        DISK_TEST(a_directory_of_format_1_with_a_torn_log_gets_a_ledger_too),
        DISK_TEST(a_directory_of_an_old_format_is_refused_by_older_programs_from_now_on),
        DISK_TEST(a_ledger_that_was_lost_is_never_silently_empty),
    };
#undef DISK_TEST
    return store_battery_run(&rocks_maker) + ledger_battery_run(&rocks_maker) +
           cmocka_run_group_tests_name("rocks, the disk", tests, NULL, NULL);
}
