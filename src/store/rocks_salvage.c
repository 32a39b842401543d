#include "store/rocks_salvage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/must.h"
#include "store/record_file.h"
#include "store/rocks_table.h"

enum {
    TOLD_BYTES_MAX   = 4096,
    MEND_COUNT_MAX   = 256,  /* damaged files that one start mends */
    MARK_BATCH_COUNT = 1000,
    NAME_BYTES       = 256,
    FOUND_BYTES      = 600,
};

void salvage_init(struct salvage *salvage)
{
    *salvage = (struct salvage){ .has_lost_commits = false };
    buf_init(&salvage->told, TOLD_BYTES_MAX);
}

void salvage_fini(struct salvage *salvage)
{
    buf_fini(&salvage->told);
}

/* --- files ------------------------------------------------------------------------------------------------------ */

/* Gives a file of the database a second name in DATA/damaged, so that it outlives what RocksDB does with it. */
static enum rc set_aside(struct rocks *rocks, const char *name, char *ret_why, size_t why_size)
{
    char from[NAME_BYTES + 8], to[NAME_BYTES + 16];

    snprintf(from, sizeof from, "db/%s", name);
    snprintf(to, sizeof to, "damaged/%s", name);
    if ((mkdirat(rocks->directory_fd, "damaged", 0700) == 0 || errno == EEXIST) &&
        (linkat(rocks->directory_fd, from, rocks->directory_fd, to, 0) == 0 || errno == EEXIST || errno == ENOENT))
        return RC_OK;
    snprintf(ret_why, why_size, "%s/%s is damaged, and can't be set aside as %s: %s", rocks->path, from, to,
             strerror(errno));
    return RC_IO;
}

/* The database's file with the highest number that has this beginning and end. False: there is none. */
static bool newest_file(struct rocks *rocks, const char *head, char ret_name[NAME_BYTES])
{
    DIR *directory = opendir(rocks->db_path);
    bool is_found  = false;

    if (directory == NULL)
        return false;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (strncmp(entry->d_name, head, strlen(head)) != 0 || (is_found && strcmp(entry->d_name, ret_name) <= 0))
            continue;
        snprintf(ret_name, NAME_BYTES, "%s", entry->d_name);
        is_found = true;
    }
    closedir(directory);
    return is_found;
}

/* --- the write-ahead log ------------------------------------------------------------------------------------------ */

static bool file_put(void *file, struct span bytes)
{
    return fwrite(bytes.at, 1, bytes.len, file) == bytes.len;
}

/* Writes what is whole in the log into a new file, which takes its place. */
static bool log_replace(const char *path, struct span bytes)
{
    char  *path_new = NULL;
    must(asprintf(&path_new, "%s.new", path) >= 0);
    FILE *file      = fopen(path_new, "w");
    bool  is_whole  = file != NULL && record_file_clean(bytes, &(struct record_sink){ file_put, file }) &&
                      fflush(file) == 0 && fsync(fileno(file)) == 0;

    if (file != NULL)
        is_whole &= fclose(file) == 0;
    is_whole = is_whole && rename(path_new, path) == 0;
    free(path_new);
    return is_whole;
}

static enum rc log_clean_bytes(struct salvage *salvage, struct rocks *rocks, const char *name, struct span bytes,
                               char *ret_why, size_t why_size)
{
    char   path[NAME_BYTES * 2];
    size_t at = 0;

    if (!record_file_damage(bytes, &at))
        return RC_GONE;
    snprintf(path, sizeof path, "%s/%s", rocks->db_path, name);
    enum rc rc = set_aside(rocks, name, ret_why, why_size);
    if (rc == RC_OK && !log_replace(path, bytes)) {
        snprintf(ret_why, why_size, "%s is damaged at offset %zu, and can't be written anew: %s", path, at,
                 strerror(errno));
        rc = RC_IO;
    }
    if (rc != RC_OK)
        return rc;
    salvage->has_lost_commits = true;
    buf_putf(&salvage->told,
             "%s was damaged at offset %zu: acknowledged commits there are lost, so the log has a new epoch; the "
             "file is kept in %s/damaged. ",
             path, at, rocks->path);
    return RC_OK;
}

/* RC_GONE: it has no damage. */
static enum rc log_clean(struct salvage *salvage, struct rocks *rocks, const char *name, char *ret_why, size_t why_size)
{
    char        path[NAME_BYTES + 8];
    struct stat about;
    enum rc     rc = RC_GONE;

    snprintf(path, sizeof path, "db/%s", name);
    const int fd = openat(rocks->directory_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return RC_GONE;
    if (fstat(fd, &about) == 0 && about.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes != MAP_FAILED) {
            rc = log_clean_bytes(salvage, rocks, name, span_of(bytes, (size_t)about.st_size), ret_why, why_size);
            munmap(bytes, (size_t)about.st_size);
        }
    }
    close(fd);
    return rc;
}

/* RC_GONE: no log has damage. */
static enum rc logs_mend(struct salvage *salvage, struct rocks *rocks, char *ret_why, size_t why_size)
{
    DIR *directory = opendir(rocks->db_path);
    bool is_any    = false;

    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        const char *end = strrchr(entry->d_name, '.');
        if (end == NULL || strcmp(end, ".log") != 0)
            continue;
        const enum rc rc = log_clean(salvage, rocks, entry->d_name, ret_why, why_size);
        is_any |= rc == RC_OK;
        if (rc != RC_OK && rc != RC_GONE) {
            closedir(directory);
            return rc;
        }
    }
    if (directory != NULL)
        closedir(directory);
    return is_any && fsync(rocks->directory_fd) == 0 ? RC_OK : RC_GONE;
}

/* --- CURRENT ------------------------------------------------------------------------------------------------------ */

static enum rc current_write(struct rocks *rocks, const char *manifest)
{
    const int fd = openat(rocks->directory_fd, "db/CURRENT.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return RC_IO;

    const bool is_written = dprintf(fd, "%s\n", manifest) > 0 && fsync(fd) == 0;
    close(fd);
    if (!is_written || renameat(rocks->directory_fd, "db/CURRENT.new", rocks->directory_fd, "db/CURRENT") != 0)
        return RC_IO;
    return RC_OK;
}

static enum rc current_mend(struct salvage *salvage, struct rocks *rocks, char *ret_why, size_t why_size)
{
    char manifest[NAME_BYTES];

    if (!newest_file(rocks, "MANIFEST-", manifest))
        return RC_GONE;
    const enum rc rc = current_write(rocks, manifest);
    if (rc != RC_OK)
        snprintf(ret_why, why_size, "%s/CURRENT is damaged, and can't be written: %s", rocks->db_path, strerror(errno));
    else
        buf_putf(&salvage->told, "%s/CURRENT was damaged, and names %s again; nothing is lost. ", rocks->db_path, manifest);
    return rc;
}

/* --- tables ------------------------------------------------------------------------------------------------------- */

/* RocksDB's sentence names the table. */
static bool table_number(const char *why, uint64_t *ret)
{
    const char *end = strstr(why, ".sst"), *from = end;

    while (from != NULL && from > why && from[-1] >= '0' && from[-1] <= '9')
        from--;
    return end != NULL && span_u64(span_of(from, (size_t)(end - from)), ret);
}

static enum rc table_refuse(const struct rocks *rocks, const struct table_place *place, const char *found,
                            char *ret_why, size_t why_size)
{
    static const char *const costs[FAMILY_COUNT] = {
        [FAMILY_CHANNELS] = "channels are forgotten with their messages, and all readers get a gap `epoch`",
        [FAMILY_KEYS]     = "publishes that are repeated may be stored twice",
        [FAMILY_LEDGER]   = "rows of state are lost or older than they were",
    };

    snprintf(ret_why, why_size,
             "a table of `%s` with %llu entries in %s is damaged (%s); `longwired --repair` with the same settings sets it "
             "aside and keeps the rest: %s",
             rocks_family_name(place->family), (unsigned long long)place->entries, rocks->path, found,
             costs[place->family]);
    return RC_CORRUPT;
}

struct head_marks {
    struct rocks         *rocks;
    rocksdb_writebatch_t *batch;
    enum rc               rc;
    char                 *why;
    size_t                why_size;
};

static void marks_flush(struct head_marks *marks)
{
    if (rocksdb_writebatch_count(marks->batch) > 0)
        marks->rc = rocks_db_write(&marks->rocks->db, marks->batch, marks->why, marks->why_size);
    rocksdb_writebatch_clear(marks->batch);
}

/* Channels whose last rows may stand in the table go on above their ceilings. */
static enum rc heads_mark(struct rocks *rocks, const struct table_place *place, char *ret_why, size_t why_size)
{
    struct head_marks   marks    = { .rocks = rocks, .batch = rocksdb_writebatch_create(), .why = ret_why,
                                     .why_size = why_size };
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[FAMILY_CHANNELS]);

    for (rocksdb_iter_seek_to_first(iterator); marks.rc == RC_OK && rocksdb_iter_valid(iterator);
         rocksdb_iter_next(iterator)) {
        channel_mark_lost(rocks, marks.batch, iterator, place->channel_first, place->channel_last);
        if (rocksdb_writebatch_count(marks.batch) >= MARK_BATCH_COUNT)
            marks_flush(&marks);
    }
    if (marks.rc == RC_OK)
        marks_flush(&marks);
    rocksdb_iter_destroy(iterator);
    rocksdb_writebatch_destroy(marks.batch);
    return marks.rc;
}

/* The database is open, and trusts its files. */
static enum rc table_give_up(struct salvage *salvage, struct rocks *rocks, const struct rocks_db_options *options,
                             const struct table_place *place, const char *found, char *ret_why, size_t why_size)
{
    enum rc rc = RC_OK;

    if (place->family == FAMILY_MESSAGES)
        rc = heads_mark(rocks, place, ret_why, why_size);
    else if (place->family != FAMILY_FLOORS && place->family != FAMILY_META && !options->may_repair)
        return table_refuse(rocks, place, found, ret_why, why_size);
    salvage->has_lost_commits |= place->family != FAMILY_MESSAGES && place->family != FAMILY_FLOORS;
    if (rc == RC_OK)
        rc = set_aside(rocks, place->name, ret_why, why_size);
    if (rc == RC_OK)
        buf_putf(&salvage->told,
                 "a table of `%s` with %llu entries was damaged (%s): they are lost; the file is kept in %s/damaged. ",
                 rocks_family_name(place->family), (unsigned long long)place->entries, found, rocks->path);
    return rc;
}

static enum rc table_mend(struct salvage *salvage, struct rocks *rocks, const struct rocks_db_options *options,
                          uint64_t number, char *ret_why, size_t why_size)
{
    struct rocks_db_options trusting = *options;
    struct table_place      place;
    char                    found[FOUND_BYTES];

    snprintf(found, sizeof found, "%s", ret_why);
    trusting.is_trusting = trusting.is_compaction_off = true;
    enum rc rc = rocks_db_open(&rocks->db, &trusting, ret_why, why_size);
    if (rc != RC_OK)
        return rc;
    rc = rocks_table_find(&rocks->db, number, &place) ? RC_OK : RC_CORRUPT;
    if (rc == RC_OK)
        rc = table_give_up(salvage, rocks, options, &place, found, ret_why, why_size);
    rocks_db_close(&rocks->db);
    return rc == RC_OK ? rocks_table_drop(rocks->db_path, &place, ret_why, why_size) : rc;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

/* RocksDB makes tables of a log only for the families that it knows by other tables, and moves the log away. A second repair would find a whole
 * database without it. */
static bool log_was_left_out(const struct rocks *rocks)
{
    char *path   = NULL;
    bool  is_left = false;

    must(asprintf(&path, "%s/lost", rocks->db_path) >= 0);
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory != NULL && !is_left && (entry = readdir(directory)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        is_left         = dot != NULL && strcmp(dot, ".log") == 0;
    }
    if (directory != NULL)
        closedir(directory);
    free(path);
    return is_left;
}

static enum rc manifest_mend(struct salvage *salvage, struct rocks *rocks, struct rocks_db_options *options,
                             char *ret_why, size_t why_size)
{
    char manifest[NAME_BYTES], found[FOUND_BYTES];

    snprintf(found, sizeof found, "%s", ret_why);
    if (!options->may_repair) {
        snprintf(ret_why, why_size,
                 "%s; `longwired --repair` with the same settings makes the database anew from its tables: tables with "
                 "damage are set aside, and all readers get a gap `epoch`",
                 found);
        return RC_CORRUPT;
    }
    if (log_was_left_out(rocks)) {
        snprintf(ret_why, why_size,
                 "%s; a repair has left out logs, which are in %s/lost, and acknowledged messages may be in them alone: restore the copy that "
                 "was made before, or a backup; or move that folder away, which gives them up",
                 found, rocks->db_path);
        return RC_IO;
    }
    enum rc rc = newest_file(rocks, "MANIFEST-", manifest) ? set_aside(rocks, manifest, ret_why, why_size) : RC_OK;
    if (rc == RC_OK)
        rc = rocks_db_rebuild(options, ret_why, why_size);
    if (rc != RC_OK)
        return rc;
    options->is_rebuilt       = true;
    salvage->has_lost_commits = true;
    buf_putf(&salvage->told, "the database was made anew from its tables (%s); what RocksDB left out is in %s/lost. ", found,
             rocks->db_path);
    return RC_OK;
}

/* Mends what this sentence tells of. */
static enum rc damage_mend(struct salvage *salvage, struct rocks *rocks, struct rocks_db_options *options, char *ret_why,
                           size_t why_size)
{
    uint64_t number = 0;

    if (table_number(ret_why, &number))
        return table_mend(salvage, rocks, options, number, ret_why, why_size);
    if (strstr(ret_why, "CURRENT") != NULL) {
        const enum rc rc = current_mend(salvage, rocks, ret_why, why_size);
        return rc == RC_GONE ? RC_CORRUPT : rc;
    }
    const enum rc rc = logs_mend(salvage, rocks, ret_why, why_size);
    return rc == RC_GONE ? manifest_mend(salvage, rocks, options, ret_why, why_size) : rc;
}

enum rc salvage_open(struct salvage *salvage, struct rocks *rocks, struct rocks_db_options *options, char *ret_why,
                     size_t why_size)
{
    enum rc rc = RC_CORRUPT;

    for (int i = 0; rc == RC_CORRUPT && i < MEND_COUNT_MAX; i++) {
        rc = damage_mend(salvage, rocks, options, ret_why, why_size);
        if (rc != RC_OK)
            return rc;
        rc = rocks_db_open(&rocks->db, options, ret_why, why_size);
    }
    if (rc == RC_OK)
        ret_why[0] = '\0';
    return rc;
}

/* RC_CORRUPT: a row can't be read, and ret_why is RocksDB's sentence. */
static enum rc family_check(struct rocks *rocks, enum family family, char *ret_why, size_t why_size)
{
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[family]);
    char               *status   = NULL;

    for (rocksdb_iter_seek_to_first(iterator); rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator))
        continue;
    rocksdb_iter_get_error(iterator, &status);
    if (status != NULL)
        snprintf(ret_why, why_size, "%s", status);
    rocksdb_free(status);
    const enum rc rc = rocks_iterator_rc(&rocks->db, iterator);
    rocksdb_iter_destroy(iterator);
    return rc;
}

enum rc salvage_small_families(struct salvage *salvage, struct rocks *rocks, struct rocks_db_options *options,
                               char *ret_why, size_t why_size)
{
    enum rc rc = RC_OK;

    for (enum family family = 0; rc == RC_OK && family < FAMILY_COUNT; family++) {
        if (family == FAMILY_MESSAGES)
            continue;
        for (int i = 0; i < MEND_COUNT_MAX && (rc = family_check(rocks, family, ret_why, why_size)) == RC_CORRUPT; i++) {
            rocks_db_close(&rocks->db);
            rc = salvage_open(salvage, rocks, options, ret_why, why_size);
            if (rc != RC_OK)
                return rc;
        }
    }
    return rc;
}
