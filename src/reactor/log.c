#include "reactor/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "base/utf8.h"

enum { SECOND_MS = 1000, TAIL_BYTES_MAX = 16 };  /* the tail: `,"cut":true}` and the newline */

struct counter log_level_least = { LOG_WARN };

/* `lock` is held for a few instructions, never over a write: for that there is `writing`. Format and descriptor are set
 * before there are other threads. */
static struct {
    pthread_mutex_t lock, writing;
    struct list     sites;  /* all that have ever logged; they are static and stay */
    uint64_t        lost;
    enum log_format format;
    int             fd;
} the_log = {
    .lock    = PTHREAD_MUTEX_INITIALIZER,
    .writing = PTHREAD_MUTEX_INITIALIZER,
    .sites   = { &the_log.sites, &the_log.sites },
    .format  = LOG_LOGFMT,
    .fd      = STDERR_FILENO,
};

static msec clock_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (msec)now.tv_sec * SECOND_MS + now.tv_nsec / 1000000;
}

/* --- one text, made harmless --------------------------------------------------------------------------------- */

/* How many bytes the UTF-8 character at the start takes, and which it is; 0 if there is none. */
static size_t character_at(struct span text, uint32_t *ret_point)
{
    unsigned char lead  = (unsigned char)text.at[0];
    size_t        len   = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint32_t      point = lead < 0x80 ? lead : lead & (0x7fu >> len);

    if (len > text.len || !utf8_is_valid(span_head(text, len)))
        return 0;
    for (size_t i = 1; i < len; i++)
        point = point << 6 | ((unsigned char)text.at[i] & 0x3f);
    *ret_point = point;
    return len;
}

/* Neither moves the cursor nor turns the line around: no C0 and C1 controls (ESC and the one-character CSI
 * among them), no line and paragraph separators, no bidirectional overrides, nothing of no width. */
static bool log_is_plain(uint32_t point)
{
    return point >= 0x20 && !(point >= 0x7f && point <= 0x9f) && !(point >= 0x200b && point <= 0x200f) &&
           !(point >= 0x2028 && point <= 0x202e) && !(point >= 0x2060 && point <= 0x206f) && point != 0x61c &&
           point != 0xfeff && !(point >= 0xe0000 && point <= 0xe0fff);
}

static void escape_put(struct buf *line, uint32_t point)
{
    switch (point) {
    case '"': buf_put_lit(line, "\\\""); break;
    case '\\': buf_put_lit(line, "\\\\"); break;
    case '\n': buf_put_lit(line, "\\n"); break;
    case '\r': buf_put_lit(line, "\\r"); break;
    case '\t': buf_put_lit(line, "\\t"); break;
    default:
        /* RFC 8259 7: beyond the first plane two halves, and we have but one use for that. */
        if (point > 0xffff)
            buf_putf(line, "\\u%04x\\u%04x", 0xd7c0 + (point >> 10), 0xdc00 + (point & 0x3ff));
        else
            buf_putf(line, "\\u%04x", point);
    }
}

static void quoted_put(struct buf *line, enum log_format format, struct span text)
{
    buf_putc(line, '"');
    while (text.len > 0) {
        uint32_t point;
        size_t   len = character_at(text, &point);
        if (len == 0 && format == LOG_JSON)
            buf_put_lit(line, "\\ufffd");
        else if (len == 0)
            buf_putf(line, "\\x%02x", (unsigned char)text.at[0]);
        else if (point == '"' || point == '\\' || !log_is_plain(point))
            escape_put(line, point);
        else
            buf_put(line, span_head(text, len));
        text = span_skip(text, len == 0 ? 1 : len);
    }
}

/* logfmt: a value that can't be misread stands without quotes. */
static bool needs_quotes(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] <= ' ' || text.at[i] >= 0x7f || text.at[i] == '"' || text.at[i] == '=' || text.at[i] == '\\')
            return true;
    return text.len == 0;
}

/* At most LOG_VALUE_BYTES_MAX bytes, not cut within a character. */
static struct span text_bounded(struct span text)
{
    if (text.len <= LOG_VALUE_BYTES_MAX)
        return text;
    size_t len = LOG_VALUE_BYTES_MAX;
    while (len > LOG_VALUE_BYTES_MAX - 4 && ((unsigned char)text.at[len] & 0xc0) == 0x80)
        len--;
    return span_head(text, len);
}

static void text_put(struct buf *line, enum log_format format, struct span text)
{
    struct span shown = text_bounded(text);

    if (format == LOG_LOGFMT && shown.len == text.len && !needs_quotes(text)) {
        buf_put(line, text);
        return;
    }
    quoted_put(line, format, shown);
    if (shown.len < text.len)
        buf_put_lit(line, "...");
    buf_putc(line, '"');
}

/* --- one line ------------------------------------------------------------------------------------------------ */

static void name_put(struct buf *line, enum log_format format, const char *name)
{
    if (format == LOG_JSON)
        buf_putf(line, ",\"%s\":", name);
    else
        buf_putf(line, " %s=", name);
}

static void field_put(struct buf *line, enum log_format format, const struct log_field *field)
{
    name_put(line, format, field->name);
    switch (field->kind) {
    case LOG_TEXT: text_put(line, format, field->text); break;
    case LOG_U64: buf_put_u64(line, field->u64); break;
    case LOG_I64: buf_putf(line, "%lld", (long long)field->i64); break;
    }
}

/* RFC 3339, UTC, milliseconds. */
static void head_put(struct buf *line, enum log_format format, enum log_level level, msec wall)
{
    time_t    second = (time_t)(wall / SECOND_MS);
    struct tm tm;

    gmtime_r(&second, &tm);
    buf_put(line, format == LOG_JSON ? SPAN("{\"time\":\"") : SPAN("time="));
    buf_putf(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
             tm.tm_min, tm.tm_sec, (int)(wall % SECOND_MS));
    buf_putf(line, format == LOG_JSON ? "\",\"level\":\"%s\"" : " level=%s", log_level_text(level));
}

void log_line_put(struct buf *line, enum log_format format, enum log_level level, msec wall,
                  const struct log_field *fields, size_t count)
{
    bool is_cut = false;

    head_put(line, format, level, wall);
    for (size_t i = 0; i < count; i++) {
        size_t before = line->len;
        field_put(line, format, &fields[i]);
        if (!line->is_over && line->len <= LOG_LINE_BYTES_MAX - TAIL_BYTES_MAX)
            continue;
        line->len     = before;
        line->is_over = false;
        is_cut        = true;
    }
    if (is_cut) {
        name_put(line, format, "cut");
        buf_put_lit(line, "true");
    }
    buf_put(line, format == LOG_JSON ? SPAN("}\n") : SPAN("\n"));
}

const char *log_level_text(enum log_level level)
{
    switch (level) {
    case LOG_DEBUG: return "debug";
    case LOG_INFO: return "info";
    case LOG_WARN: return "warn";
    case LOG_ERROR: return "error";
    }
    return "unknown";
}

struct log_field log_errno(int error)
{
    const char *text = strerrordesc_np(error);  /* unlike strerror(): the same in every thread and locale */
    return log_str("error", text == NULL ? "unknown error" : text);
}

/* --- sites and the descriptor -------------------------------------------------------------------------------- */

bool log_site_pass(struct log_site *site, msec now, uint64_t *ret_suppressed)
{
    if (now - site->second_at >= SECOND_MS) {
        site->second_at = now;
        site->written   = 0;
    }
    if (site->written == LOG_LINES_A_SECOND_MAX) {
        site->suppressed++;
        return false;
    }
    site->written++;
    *ret_suppressed  = site->suppressed;
    site->suppressed = 0;
    return true;
}

static bool site_may_write(struct log_site *site, const char *event, uint64_t *ret_suppressed)
{
    msec now = clock_ms(CLOCK_MONOTONIC);

    pthread_mutex_lock(&the_log.lock);
    if (!list_is_linked(&site->link)) {
        site->event = event;
        list_push(&the_log.sites, &site->link);
    }
    bool may = log_site_pass(site, now, ret_suppressed);
    pthread_mutex_unlock(&the_log.lock);
    return may;
}

/* A reader that has stopped must not stop the server, and the descriptor may be shared with other processes, so it
 * can't be made non-blocking. A pipe that poll() calls writable takes PIPE_BUF bytes at once. A lock lets one line
 * through at a time, so that no other line takes the room that poll() saw. */
static bool line_leaves(struct span line)
{
    struct pollfd out     = { .fd = the_log.fd, .events = POLLOUT };
    ssize_t       written = -1;

    pthread_mutex_lock(&the_log.writing);
    if (poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) != 0)
        do
            written = write(the_log.fd, line.at, line.len);
        while (written < 0 && errno == EINTR);
    pthread_mutex_unlock(&the_log.writing);
    return written == (ssize_t)line.len;
}

static void line_write(struct span line)
{
    if (line_leaves(line))
        return;
    pthread_mutex_lock(&the_log.lock);
    the_log.lost++;
    pthread_mutex_unlock(&the_log.lock);
}

static void fields_write(enum log_level level, const struct log_field *fields, size_t count)
{
    char       scratch[LOG_LINE_BYTES_MAX];
    struct buf line = { .at = scratch, .cap = sizeof scratch, .max = sizeof scratch };  /* full-grown: never mallocs */

    log_line_put(&line, the_log.format, level, clock_ms(CLOCK_REALTIME), fields, count);
    line_write(buf_span(&line));
}

void log_write(struct log_site *site, enum log_level level, const struct log_field *fields, size_t count)
{
    uint64_t suppressed;
    if (!site_may_write(site, fields[0].text.at, &suppressed))
        return;
    struct log_field all[LOG_FIELDS_MAX + 1];
    must(count <= LOG_FIELDS_MAX);
    memcpy(all, fields, count * sizeof fields[0]);
    if (suppressed > 0)
        all[count++] = log_u64("suppressed", suppressed);
    fields_write(level, all, count);
}

/* False: no site has a count to report. */
static bool suppressed_take(msec now, const char **ret_event, uint64_t *ret_suppressed)
{
    bool is_found = false;

    pthread_mutex_lock(&the_log.lock);
    for (struct list *at = the_log.sites.next; at != &the_log.sites && !is_found; at = at->next) {
        struct log_site *site = container_of(at, struct log_site, link);
        if (site->suppressed == 0 || now - site->second_at < SECOND_MS)
            continue;
        *ret_event       = site->event;
        *ret_suppressed  = site->suppressed;
        site->suppressed = 0;
        is_found         = true;
    }
    pthread_mutex_unlock(&the_log.lock);
    return is_found;
}

void log_tell_suppressed(void)
{
    const char *event;
    uint64_t    suppressed;
    msec        now = clock_ms(CLOCK_MONOTONIC);

    while (suppressed_take(now, &event, &suppressed))
        fields_write(LOG_WARN,
                     (const struct log_field[]){ log_str("event", "log_suppressed"), log_str("of", event),
                                                 log_u64("suppressed", suppressed) },
                     3);
}

void log_init(enum log_level least, enum log_format format, int fd)
{
    log_set_level(least);
    the_log.format  = format;
    the_log.fd      = fd;
}

void log_set_level(enum log_level least)
{
    counter_set(&log_level_least, (uint64_t)least);
}

uint64_t log_lost(void)
{
    pthread_mutex_lock(&the_log.lock);
    uint64_t lost = the_log.lost;
    pthread_mutex_unlock(&the_log.lock);
    return lost;
}
