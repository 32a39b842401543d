#include "settings/secret_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

bool secret_is_valid(struct span secret)
{
    size_t len = secret.len;
    while (len > 0 && secret.at[len - 1] == '=')
        len--;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)secret.at[i]) && strchr("-._~+/", secret.at[i]) == NULL)
            return false;
    return len > 0 && secret.len >= KEY_SECRET_BYTES_MIN && secret.len <= KEY_SECRET_BYTES_MAX;
}

void secret_put_fault(bool is_given, struct buf *why)
{
    buf_putf(why, "%s %d to %d letters, digits and -._~+/, with = only at the end%s",
             is_given ? "the secret must have" : "secret must be there:", KEY_SECRET_BYTES_MIN, KEY_SECRET_BYTES_MAX,
             is_given ? "" : "; or secret_file");
}

bool secret_file_path_is_valid(struct span path)
{
    return path.len > 1 && path.len <= SECRET_FILE_BYTES_MAX && path.at[0] == '/';
}

bool secret_file_is_public(const char *path)
{
    struct stat stat_of_it;
    return stat(path, &stat_of_it) == 0 && (stat_of_it.st_mode & S_IROTH);
}

/* The beginning of the file; one byte more than any secret with its line end, so that a longer line is noticed. */
enum { READ_BYTES = KEY_SECRET_BYTES_MAX + 3 };

/* Reads until the bytes are full or the file ends. False: errno says why. */
static bool file_begin(int fd, char *bytes, size_t *ret_len)
{
    size_t  len = 0;
    ssize_t got = 1;

    while (len < READ_BYTES && got > 0) {
        got = read(fd, bytes + len, READ_BYTES - len);
        if (got < 0)
            return false;
        len += (size_t)got;
    }
    *ret_len = len;
    return true;
}

/* A pipe or a device could keep the start waiting for ever. */
static bool open_regular(const char *line, const char *path, int *ret_fd, struct buf *why)
{
    struct stat stat_of_it;
    int         fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        buf_putf(why, "%s: %s can't be read: %s", line, path, strerrordesc_np(errno));
        return false;
    }
    if (fstat(fd, &stat_of_it) != 0 || !S_ISREG(stat_of_it.st_mode)) {
        buf_putf(why, "%s: %s must be a regular file", line, path);
        close(fd);
        return false;
    }
    *ret_fd = fd;
    return true;
}

static bool line_take(const char *path, struct span text, char *ret, struct buf *why)
{
    struct span line = { 0 };

    span_cut(&text, '\n', &line);
    if (line.len > 0 && line.at[line.len - 1] == '\r')
        line.len--;
    if (!secret_is_valid(line)) {
        buf_putf(why, "secret_file: the first line of %s must be the secret: %d to %d letters, digits and -._~+/, with = "
                 "only at the end", path, KEY_SECRET_BYTES_MIN, KEY_SECRET_BYTES_MAX);
        return false;
    }
    memcpy(ret, line.at, line.len);
    ret[line.len] = '\0';
    return true;
}

bool secret_file_read(const char *path, char *ret, struct buf *why)
{
    char   bytes[READ_BYTES];
    size_t len;
    int    fd;

    if (!open_regular("secret_file", path, &fd, why))
        return false;
    bool is_good = file_begin(fd, bytes, &len);
    if (!is_good)
        buf_putf(why, "secret_file: %s can't be read: %s", path, strerrordesc_np(errno));
    close(fd);
    is_good = is_good && line_take(path, span_of(bytes, len), ret, why);
    explicit_bzero(bytes, sizeof bytes);
    return is_good;
}

static bool file_read_all(int fd, struct buf *ret)
{
    char    piece[4096];
    ssize_t got;

    while ((got = read(fd, piece, sizeof piece)) > 0 && !buf_is_over(ret))
        buf_put(ret, span_of(piece, (size_t)got));
    explicit_bzero(piece, sizeof piece);
    return got >= 0;
}

bool key_file_read(const char *line, const char *path, struct buf *ret, struct buf *why)
{
    int fd;

    if (!open_regular(line, path, &fd, why))
        return false;
    bool is_read = file_read_all(fd, ret);
    if (!is_read)
        buf_putf(why, "%s: %s can't be read: %s", line, path, strerrordesc_np(errno));
    else if (buf_is_over(ret))
        buf_putf(why, "%s: %s may have at most %zu bytes", line, path, ret->max);
    close(fd);
    return is_read && !buf_is_over(ret);
}
