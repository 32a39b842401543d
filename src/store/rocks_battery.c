#include "store/rocks_battery.h"

#include <dirent.h>
#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "store/rocks_priv.h"

#include <cmocka.h>

/* --- a directory of its own for each store ---------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about, (void)kind, (void)where;
    return remove(path);
}

/* TMPDIR may name a faster disk. */
char *directory_new(void)
{
    const char *folder = getenv("TMPDIR");
    char       *path   = NULL;

    assert_true(asprintf(&path, "%s/rocks_test.XXXXXX", folder == NULL ? "/tmp" : folder) > 0);
    assert_non_null(mkdtemp(path));
    return path;
}

void directory_remove(const char *path)
{
    assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

struct rocks_store_options options_at(struct bench *bench, const char *path)
{
    return (struct rocks_store_options){
        .path = path, .epoch_new = 4711, .spaces = &bench->spaces, .hash_key = bench->hash_key,
        .write_buffer_bytes = 256 * KIB, .dead_bytes_max = 1,
    };
}

struct store *open_at(struct bench *bench, const char *path)
{
    const struct rocks_store_options options = options_at(bench, path);
    struct store                    *store   = NULL;
    char                             why[WHY_BYTES];

    if (rocks_store_open(&options, &store, why, sizeof why) != RC_OK)
        fail_msg("%s", why);
    return store;
}

static struct store *open_new(struct bench *bench)
{
    bench->context = directory_new();
    return open_at(bench, bench->context);
}

static void remove_all(struct bench *bench)
{
    directory_remove(bench->context);
    free(bench->context);
}

const struct store_maker rocks_maker = { "rocks", open_new, remove_all };

void reopen(struct bench *bench)
{
    bench_shut(bench);
    bench->store = open_at(bench, bench->context);
}

/* --- files ------------------------------------------------------------------------------------------------------ */

char *path_of(const struct bench *bench, const char *name)
{
    char *path = NULL;

    must(asprintf(&path, "%s/%s", (const char *)bench->context, name) >= 0);
    return path;
}

char *copy_path(const struct bench *bench)
{
    char *path = NULL;

    must(asprintf(&path, "%s.copy", (const char *)bench->context) >= 0);
    return path;
}

struct buf file_read(const char *path)
{
    struct buf bytes;
    FILE      *file = fopen(path, "r");

    assert_non_null(file);
    buf_init(&bytes, FILE_BYTES_MAX);
    for (int c; (c = fgetc(file)) != EOF;)
        buf_putc(&bytes, (char)c);
    fclose(file);
    return bytes;
}

void file_write(const char *path, struct span bytes)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes.at, 1, bytes.len, file), bytes.len);
    fclose(file);
}

void copy_tree(const char *from, const char *to)
{
    char *command = NULL;

    must(asprintf(&command, "rm -rf '%s' && cp -a '%s' '%s'", to, from, to) >= 0);
    assert_int_equal(system(command), 0);
    free(command);
}

static bool is_busy(struct rocks_db *db)
{
    static const char *const works[] = { "rocksdb.num-running-flushes", "rocksdb.num-running-compactions",
                                         "rocksdb.mem-table-flush-pending", "rocksdb.compaction-pending" };
    uint64_t count = 0;

    for (enum family family = 0; family < FAMILY_COUNT; family++)
        for (size_t i = 0; i < sizeof works / sizeof works[0]; i++)
            count += rocks_db_number(db, family, works[i]);
    return count > 0;
}

void copy_running(struct bench *bench, const char *to)
{
    struct rocks_db *db     = &rocks_of(bench->store)->db;
    const time_t     until  = time(NULL) + DEADLINE_S;
    char            *status = NULL;

    while (is_busy(db)) {
        assert_true(time(NULL) < until);
        sched_yield();
    }
    rocksdb_disable_file_deletions(db->db, &status);
    assert_null(status);
    copy_tree(bench->context, to);
    rocksdb_enable_file_deletions(db->db, 0, &status);
    assert_null(status);
}

static int name_order(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names names_of(const char *directory, const char *suffix)
{
    struct names names = { .count = 0 };
    char        *path  = NULL;

    must(asprintf(&path, "%s/db", directory) >= 0);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const char *end = strrchr(entry->d_name, '.');
        if (end == NULL || strcmp(end, suffix) != 0)
            continue;
        assert_true(names.count < NAMES_MAX);
        must(asprintf(&names.at[names.count++], "%s/%s", path, entry->d_name) >= 0);
    }
    closedir(dir);
    free(path);
    qsort(names.at, names.count, sizeof names.at[0], name_order);
    return names;
}

void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->at[i]);
}

/* --- what a channel should hold --------------------------------------------------------------------------------- */

const char *payload_of(char *text, size_t size, const char *channel, uint64_t seq)
{
    snprintf(text, size, "%s #%llu ....................................", channel, (unsigned long long)seq);
    return text;
}

void publish_run(struct bench *bench, const char *channel, uint64_t from, uint64_t to)
{
    char text[PAYLOAD_MAX];

    for (uint64_t seq = from; seq <= to; seq++) {
        const struct publish publish = { .channel = channel, .payload = payload_of(text, sizeof text, channel, seq) };
        struct published     said    = bench_publish(bench, publish);
        assert_int_equal(said.outcome, APPEND_DONE);
        assert_int_equal(said.answer.seq, seq);
    }
}

struct audit channel_audit(struct bench *bench, const char *channel, enum gap_why why_allowed)
{
    struct audit audit = { 0 };
    uint64_t     at    = 0;
    char         text[PAYLOAD_MAX];

    do {
        struct store_read read = bench_read(bench, channel, READ_AFTER, at, READ_ENTRIES_MAX, 1 << 20);
        audit.rc               = read.rc;
        audit.head             = read.head;
        for (size_t i = 0; i < read.entry_count; i++) {
            const struct entry *entry = &read.entries[i];
            if (entry->message != NULL) {
                assert_int_equal(entry->message->seq, at + 1);
                assert_true(span_eq(message_payload(entry->message),
                                    span_str(payload_of(text, sizeof text, channel, at + 1))));
                audit.message_count++;
            } else {
                assert_int_equal(entry->gap.from, at + 1);
                assert_int_equal(entry->gap.why, why_allowed);
                audit.gap_count += entry->gap.to - at;
            }
            at = entry_last(entry);
        }
        store_read_fini(&read);
    } while (audit.rc == RC_OK && at < audit.head);
    return audit;
}

void expect_all(struct bench *bench, const char *channel, uint64_t head)
{
    struct audit audit = channel_audit(bench, channel, GAP_TRIMMED);

    assert_int_equal(audit.rc, RC_OK);
    assert_int_equal(audit.head, head);
    assert_int_equal(audit.message_count, head);
}

void flip(const char *path, const struct buf *whole, size_t at)
{
    whole->at[at] ^= 0x10;
    file_write(path, buf_span(whole));
    whole->at[at] ^= 0x10;
}
