#include "store/rocks_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/record_file.h"
#include "store/rocks_row.h"
#include "store/write_whole.h"

/* Tags of a manifest's records. */
enum { EDIT_DELETED_FILE = 6, EDIT_COLUMN_FAMILY = 200, EDIT_BYTES_MAX = 64, PATH_BYTES = 4096 };

/* --- find --------------------------------------------------------------------------------------------------------- */

static uint64_t channel_number(const char *key, size_t len)
{
    uint64_t number = 0, seq = 0;

    return row_key_get(span_of(key, len), &number, &seq) ? number : 0;
}

static void table_take(struct rocks_db *db, const rocksdb_livefiles_t *files, int at, struct table_place *ret)
{
    const char *family = rocksdb_livefiles_column_family_name(files, at);
    size_t      len    = 0;

    ret->level   = (uint32_t)rocksdb_livefiles_level(files, at);
    ret->entries = rocksdb_livefiles_entries(files, at);
    while (ret->family + 1 < FAMILY_COUNT && strcmp(family, rocks_family_name(ret->family)) != 0)
        ret->family++;
    ret->family_id = rocksdb_column_family_handle_get_id(db->families[ret->family]);
    if (ret->family != FAMILY_MESSAGES)
        return;
    const char *first  = rocksdb_livefiles_smallestkey(files, at, &len);
    ret->channel_first = channel_number(first, len);
    const char *last   = rocksdb_livefiles_largestkey(files, at, &len);
    ret->channel_last  = channel_number(last, len);
}

bool rocks_table_find(struct rocks_db *db, uint64_t number, struct table_place *ret)
{
    const rocksdb_livefiles_t *files    = rocksdb_livefiles(db->db);
    bool                       is_found = false;

    *ret = (struct table_place){ .number = number };
    snprintf(ret->name, sizeof ret->name, "%06llu.sst", (unsigned long long)number);
    for (int i = 0; !is_found && i < rocksdb_livefiles_count(files); i++) {
        const char *name = rocksdb_livefiles_name(files, i);
        is_found         = strcmp(name + (name[0] == '/'), ret->name) == 0;
        if (is_found)
            table_take(db, files, i, ret);
    }
    rocksdb_livefiles_destroy(files);
    return is_found;
}

/* --- drop --------------------------------------------------------------------------------------------------------- */

static void put_edit_number(struct buf *buf, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_putc(buf, (char)(value | 0x80));
    buf_putc(buf, (char)value);
}

static void put_edit(struct buf *buf, const struct table_place *place)
{
    put_edit_number(buf, EDIT_DELETED_FILE);
    put_edit_number(buf, place->level);
    put_edit_number(buf, place->number);
    if (place->family_id == 0)
        return;
    put_edit_number(buf, EDIT_COLUMN_FAMILY);
    put_edit_number(buf, place->family_id);
}

/* The manifest's name is the one line of the file CURRENT. */
static int manifest_open(const char *db_path)
{
    char path[PATH_BYTES], name[64];

    snprintf(path, sizeof path, "%s/CURRENT", db_path);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    const ssize_t len = read(fd, name, sizeof name - 1);
    close(fd);
    name[len < 0 ? 0 : len]  = '\0';
    name[strcspn(name, "\n")] = '\0';
    snprintf(path, sizeof path, "%s/%s", db_path, name);
    return open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
}

static bool manifest_put(void *fd, struct span bytes)
{
    return write_whole(*(int *)fd, bytes);
}

static bool edit_append(int fd, const struct table_place *place)
{
    struct stat about;
    struct buf  edit;

    if (fstat(fd, &about) != 0)
        return false;
    buf_init(&edit, EDIT_BYTES_MAX);
    put_edit(&edit, place);
    const struct record_sink sink = { manifest_put, &fd };
    const bool is_written = record_file_put(&sink, (uint64_t)about.st_size, buf_span(&edit)) && fdatasync(fd) == 0;
    buf_fini(&edit);
    return is_written;
}

enum rc rocks_table_drop(const char *db_path, const struct table_place *place, char *ret_why, size_t why_size)
{
    const int  fd         = manifest_open(db_path);
    const bool is_written = fd >= 0 && edit_append(fd, place);

    if (!is_written)
        snprintf(ret_why, why_size, "the manifest in %s can't be written: %s", db_path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return is_written ? RC_OK : RC_IO;
}
